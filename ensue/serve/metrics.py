"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from ensue.generate.engine.engine import Engine
from ensue.generate.engine.requests import Event
from ensue.serve.choice import Choice

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Snapshot:
    """The engine between two steps."""

    waiting: int
    going: int
    pages: int
    pages_read: int
    pages_kept: int
    read: int
    reused: int
    drafted: int
    accepted: int

    @classmethod
    def of(cls, engine: Engine) -> Snapshot:
        pool = engine.pool
        return cls(
            engine.waiting,
            engine.going,
            pool.count,
            pool.count - pool.available,
            pool.kept,
            engine.read_tokens,
            engine.reused_tokens,
            engine.drafted_tokens,
            engine.accepted_tokens,
        )


class Metrics:
    """Counts and times of one server; it is the worker's watcher."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "ensue_requests", "Answers, by route and status", ["route", "status"], registry=registry
        )
        self._written = Counter("ensue_tokens_written", "Tokens that the model wrote", registry=registry)
        self._batch = Histogram("ensue_batch_size", "Texts that share a pass", buckets=BATCHES, registry=registry)
        self._step = Histogram("ensue_step_seconds", "Seconds of a pass", buckets=TOKEN_SECONDS, registry=registry)
        self._first = Histogram(
            "ensue_time_to_first_token_seconds",
            "From the request to its first token",
            buckets=SECONDS,
            registry=registry,
        )
        self._each = Histogram(
            "ensue_time_per_token_seconds",
            "Between a text's tokens, on average",
            buckets=TOKEN_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "ensue_request_seconds", "From the request to the end of its text", buckets=SECONDS, registry=registry
        )
        self._gauges = {
            name: Gauge(f"ensue_{name}", text, registry=registry)
            for name, text in (
                ("requests_waiting", "Texts that have not begun"),
                ("requests_running", "Texts that are being written"),
                ("cache_pages", "Pages of the key-value cache"),
                ("cache_pages_read", "Pages that a text is reading"),
                ("cache_pages_kept", "Pages that are kept for texts that begin alike"),
                ("cache_use_ratio", "Pages that a text is reading, of all"),
            )
        }
        self._totals = {
            name: Counter(f"ensue_{name}", text, registry=registry)
            for name, text in (
                ("tokens_read", "Tokens that went through the model"),
                ("tokens_reused", "Tokens of prompts that were in the cache already"),
                ("tokens_drafted", "Tokens that were guessed"),
                ("tokens_accepted", "Guesses that were right"),
            )
        }
        self._told = Snapshot(0, 0, 0, 0, 0, 0, 0, 0, 0)
        self.mean_seconds = 1.0

    def stepped(self, events: Sequence[Event], *, seconds: float) -> None:
        self._batch.observe(len(events))
        self._step.observe(seconds)
        self._written.inc(sum(len(event.new) for event in events))

    def wrote(self, choice: Choice, now: float) -> None:
        if choice.first is None:
            choice.first = now
            self._first.observe(now - choice.asked)

    def ended(self, choice: Choice, now: float) -> None:
        seconds = now - choice.asked
        self._whole.observe(seconds)
        self.mean_seconds += 0.1 * (seconds - self.mean_seconds)
        if choice.first is not None and choice.written > 1:
            self._each.observe((now - choice.first) / (choice.written - 1))

    def show(self, snapshot: Snapshot) -> bytes:
        """The page that Prometheus reads."""
        values = {
            "requests_waiting": snapshot.waiting,
            "requests_running": snapshot.going,
            "cache_pages": snapshot.pages,
            "cache_pages_read": snapshot.pages_read,
            "cache_pages_kept": snapshot.pages_kept,
            "cache_use_ratio": snapshot.pages_read / snapshot.pages,
        }
        for name, value in values.items():
            self._gauges[name].set(value)
        for name in ("read", "reused", "drafted", "accepted"):
            self._totals[f"tokens_{name}"].inc(getattr(snapshot, name) - getattr(self._told, name))
        self._told = snapshot
        return generate_latest(self.registry)
