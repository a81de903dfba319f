"""The parts of a run, wired the same way whether it is trained, continued or replayed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ensue.core.config import to_dict
from ensue.core.device import choose_device, choose_precision
from ensue.core.seeds import seed_for
from ensue.model.gpt import GPT
from ensue.model.weights.huggingface import config_text, stored_tensors
from ensue.recipes.compiling import compiled_states
from ensue.recipes.crew import Crew, Work, objective_at, place_of_this
from ensue.recipes.data import Data
from ensue.recipes.display import Display
from ensue.recipes.failure import RunFailed
from ensue.recipes.fp8 import check_fp8, multiply_in_fp8
from ensue.recipes.machine import ready_machine
from ensue.recipes.run_config import OF_THE_SURROUNDINGS, RunConfig, check_objective
from ensue.recipes.warm_start import warm_start
from ensue.text.document import Document
from ensue.tokens.masking import Masked
from ensue.tokens.mixture import Mixed, MixturePart
from ensue.tokens.moved import MovedStream
from ensue.tokens.packing import Packing, Sequences
from ensue.tokens.shards import DocumentSpan
from ensue.tokens.stream import SequenceStream
from ensue.tokens.tokenizer import Tokenizer
from ensue.train.checkpoint import Contents, Progress, gather
from ensue.train.engine import Diverged, Engine, Step
from ensue.train.fingerprint import fingerprint
from ensue.train.optimizer import Optimizer
from ensue.train.parallel import Place, make_mesh, tell
from ensue.train.parallel_model import Copies, Pieces, recompute
from ensue.train.parallel_replica import Replica
from ensue.train.parallel_tensors import local
from ensue.train.spikes import SpikeGuard

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Parts:
    """What trains (`model`, within `engine`), on what (`data`, through `stream`), as `config` says, and with whom.

    Of a model that is cut over processes, `model` and `parameters` are this one's pieces; `crew` has the whole.
    """

    config: RunConfig
    data: Data
    model: GPT
    stream: MovedStream
    engine: Engine
    parameters: Mapping[str, Tensor]
    crew: Crew


def build_parts(config: RunConfig, data: Data, source: GPT | None, display: Display) -> Parts:
    """Wire a model to its data, its optimizer, the device that `config` names, and the processes it is spread over.

    `source` is the model as it is to begin; only the process that leads has it. Raises ValueError where the processes
    are not those of the config's mesh, or the objective does not go with the model.
    """
    place = place_of_this(config)
    device = choose_device(config.device)
    check_fp8(config, device)
    check_objective(config)
    if place.leads and place.processes > 1:
        tell({"do": "build", "config": to_dict(config), "data": str(data.path.resolve())})
    precision = choose_precision(config.precision, device)
    ready_machine(device, precision, display)
    model = _model_of_this(config, source, place, device)
    if config.fp8:
        multiply_in_fp8(model.blocks)
    if config.parallel.recompute:
        recompute(model.blocks)
    states = compiled_states(model, config.compile, display) if not place.sharded else None
    objective = objective_at(place, states)
    replica: Replica | None = None
    if place.sharded:
        mesh = make_mesh(place, device)
        replica = Pieces(model, objective, place, mesh, low_precision=precision == "bf16" and device.type == "cuda")
        model.to_empty(device=device)
    elif place.processes > 1:
        replica = Copies(model, objective, place)
    stream = stream_of(config, data, place)
    engine = Engine(
        model=model,
        objective=objective,
        stream=stream,
        optimizer=Optimizer(model, config.optimizer),
        schedule=config.schedule,
        clip=config.optimizer.clip,
        device=device,
        precision=precision,
        seed=config.seed,
        replica=replica,
    )
    work = Work(config, data, model, engine, stream, place, source if place.sharded or source is None else model)
    if place.sharded:
        work.spread(source)
    pieces = {name: local(parameter) for name, parameter in model.named_parameters()}
    return Parts(config, data, model, stream, engine, pieces, Crew(work))


def stream_of(config: RunConfig, data: Data, place: Place) -> MovedStream:
    """The batches of a run, of which the process at `place` reads its part."""
    sequences = sequences_of(config, data)
    shared = SequenceStream(
        sequences, batch=config.batch, micro_batch=config.micro_batch, rank=place.reader, processes=place.readers
    )
    return MovedStream(shared)


def sequences_of(config: RunConfig, data: Data) -> Sequences:
    """The sequences of a run's data, one after the other, with tokens hidden where the config says so."""
    sequences = _plain_sequences(config, data)
    return Masked(sequences, config.masking, seed=config.seed) if config.masking is not None else sequences


def _plain_sequences(config: RunConfig, data: Data) -> Sequences:
    """Of the data's one shard, or of a mixture's."""
    context, seed, segments = config.model.context, config.seed, config.separate_documents
    if len(data.parts) == 1:
        return Packing(data.train, context=context, seed=seed, segments=segments)
    parts = [MixturePart(part.name, part.train, part.weight) for part in data.parts]
    length = config.batch.before(config.schedule.steps)
    return Mixed(parts, context=context, seed=seed, length=length, segments=segments)


def take_up(parts: Parts, guard: SpikeGuard, checkpoint: Path, *, weights: bool) -> Progress:
    """Make optimizer, counters, the data's place and the guard what they were at a whole checkpoint, the weights if
    said."""
    progress = parts.crew.load(checkpoint, weights=weights)
    parts.stream.moves = [(first, moved) for first, moved in progress.record.get("moves", [])]
    if "spikes" in progress.record:
        guard.load_state_dict(progress.record["spikes"])
    return progress


def _model_of_this(config: RunConfig, source: GPT | None, place: Place, device: torch.device) -> GPT:
    """The model that this process trains: `source` itself, or an empty one that its weights will be put into."""
    if place.sharded:
        with torch.device("meta"):
            return GPT(config.model)
    return (source if source is not None else GPT.empty(config.model)).to(device)


def fresh_model(config: RunConfig, data: Data, display: Display) -> GPT:
    """The model before its first step: drawn from the seed, and fitted to bigrams where the config says so."""
    model = GPT.build(config.model, config.seed)
    if config.warm_start:
        try:
            shards = [(part.train, part.weight.mean) for part in data.parts]
            loss = warm_start(model, shards, steps=config.warm_start, seed=config.seed, display=display)
        except Diverged as error:
            raise RunFailed("fitting the bigrams diverged; leave it out with --warm_start 0", 3) from error
        display.say(
            f"embeddings and head start at the corpus's bigrams: {loss:.3f} nats a token before any block learns"
        )
    return model


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """The tokenizer's files, made once: they go into every checkpoint."""
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def checkpoint_contents(
    parts: Parts, step: int, *, tokenizer: Mapping[str, bytes], record: Mapping[str, Any]
) -> Contents:
    """All of a checkpoint after `step` steps: a Hugging Face model folder, and what a run continues from."""
    facts = {"format": 1, "tokenizer": parts.data.tokenizer.fingerprint, "step": step}
    model_files = {
        **tokenizer,
        "config.json": config_text(parts.model, end_token=parts.data.tokenizer.end).encode(),
        "ensue.json": (json.dumps(facts) + "\n").encode(),
    }
    return gather(
        parts.engine,
        step=step,
        model_files=model_files,
        model_tensors={WEIGHTS: stored_tensors(parts.crew.whole_model())},
        optimizer_tensors=parts.crew.optimizer_tensors(),
        record={"config": to_dict(parts.config), "data": data_identity(parts.data), **record},
    )


def data_identity(data: Data) -> dict[str, str]:
    """What the data is, wherever it lies: the digests of its token files, and of the tokenizer that made them.

    Those of a mixture are of its sources' names, weights and token files.
    """
    digests = {
        "train": [part.train.tokens_sha256 for part in data.parts],
        "held_out": [part.held_out.tokens_sha256 for part in data.parts],
    }
    names = [(part.name, part.weight.points) for part in data.parts]
    told = {what: of_each[0] if len(of_each) == 1 else _digest([names, of_each]) for what, of_each in digests.items()}
    return {**told, "tokenizer": data.tokenizer.fingerprint}


def training_digest(config: RunConfig) -> str:
    """Hex digits of every field that decides what is trained."""
    fields = {name: value for name, value in to_dict(config).items() if name not in OF_THE_SURROUNDINGS}
    return _digest(fields)[:12]


def receipt(parts: Parts, step: Step, *, config: str, code: str) -> dict[str, Any]:
    """What went into a step and what came out, in the order in which one thing causes the next."""
    index = step.index - 1
    row = {
        "step": step.index,
        "code": code,
        "config": config,
        "samples": parts.stream.samples_digest(index),
        "tokens": parts.stream.tokens_digest(index),
        "rng": f"{seed_for(parts.config.seed, 'dropout', index, 0):016x}",
        "lr": step.lr,
        "loss": as_json(step.loss),
        "grad_norm": as_json(step.grad_norm),
        "weights": fingerprint(parts.parameters, step.index),
    }
    return row if step.skipped is None else {**row, "skipped": step.skipped}


def changed_documents(parts: Parts, index: int) -> list[DocumentSpan]:
    """The documents of step `index` (counted from 0) whose tokens no longer spell the text they were named after."""
    tokenizer = parts.data.tokenizer
    if not tokenizer.lossless:
        return []

    def is_changed(span: DocumentSpan) -> bool:
        ids = parts.stream.text_tokens(span)
        known = len(ids) == 0 or int(ids.max()) < tokenizer.vocab_size
        return not known or Document.of(tokenizer.decode(ids.tolist()), span.source).id != span.id

    return [span for span in parts.stream.documents(index) if is_changed(span)]


def as_json(value: float) -> float | None:
    """JSON has no word for what is not a finite number; it becomes null."""
    return value if math.isfinite(value) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
