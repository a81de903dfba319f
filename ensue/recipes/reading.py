"""What is read of a run along the way: its loss on held-out text, and what it writes."""

from __future__ import annotations

import math

from ensue.core.run import RunFolder
from ensue.generate.lm import LM
from ensue.recipes.display import Display
from ensue.recipes.failure import RunFailed
from ensue.recipes.held_out import HeldOutLoss
from ensue.recipes.parts import Parts
from ensue.recipes.run_log import RunLog


class Reader:
    """Readings of the model as it stands; they leave it as it is."""

    def __init__(self, run: RunFolder, parts: Parts, log: RunLog, display: Display) -> None:
        self._run, self._parts, self._log, self._display = run, parts, log, display

    def read(self, step: int) -> HeldOutLoss:
        """The loss on the first held-out documents after this step, told."""
        loss = self._held_out(self._parts.config.evaluate_tokens)
        self._log.held_out(step, {**_of_whole(loss), **_of_parts(loss)})
        each = "".join(f"; {name} {part.nats:.3f}" for name, part in loss.parts.items())
        bits = f", {loss.bits_per_byte:.3f} bits per byte" if loss.bits_per_byte is not None else " a hidden token"
        self._display.say(f"step {step:,}: held-out loss {loss.nats:.3f}{bits}{each}")
        return loss

    def lacks(self, step: int) -> bool:
        """Whether the run was killed after it saved this step, but before it read the held-out loss that was due."""
        every = self._parts.config.evaluate_every
        due = every > 0 and step % every == 0
        return due and not any(row["step"] == step and "val_loss" in row for row in self._run.rows())

    def read_at_the_end(self, step: int) -> HeldOutLoss:
        """The loss on more held-out text, each token with at least half a context before it, told once."""
        loss = self._held_out(self._parts.config.final_tokens, stride=max(1, self._parts.config.model.context // 2))
        # A finished run that is resumed has this reading already.
        if not any("val_tokens" in row and row["step"] == step for row in self._run.rows()):
            self._log.held_out(step, {**_of_whole(loss), "val_tokens": loss.tokens, **_of_parts(loss)})
        return loss

    def sample(self, step: int) -> None:
        """Continue the sample prompts, into samples/<step>.txt; a model that sees both sides cannot write."""
        if self._parts.config.masked:
            return
        prompts = self._parts.config.sample_prompts
        lm = LM(model=self._parts.crew.whole_model(), tokenizer=self._parts.data.tokenizer, path=self._run.path)
        pieces = [
            f"{prompt}{lm.generate(prompt, max_new_tokens=60, temperature=0.8, top_k=50, seed=step)}"
            for prompt in prompts
        ]
        text = "\n\n---\n\n".join(pieces)
        (self._run.path / "samples" / f"{step:08d}.txt").write_text(text + "\n", encoding="utf-8")
        self._display.say(f"step {step:,} writes: {pieces[0]!r}", style="dim")

    def _held_out(self, limit_tokens: int | None, stride: int | None = None) -> HeldOutLoss:
        loss = self._parts.crew.held_out(limit_tokens=limit_tokens, stride=stride)
        if not math.isfinite(loss.nats):
            raise RunFailed(
                f"the held-out loss is no longer finite: the weights have run away. The newest checkpoint is "
                f"{self._run.checkpoints()[-1]}. Start again with a lower --optimizer.lr; config.json has the one that "
                "was used.",
                3,
            )
        return loss


def _of_whole(loss: HeldOutLoss) -> dict[str, float]:
    """The loss on all together, as metrics.jsonl has it; `val_hidden` tells that it is of so many hidden tokens."""
    if loss.bits_per_byte is None:
        return {"val_loss": loss.nats, "val_hidden": loss.tokens}
    return {"val_loss": loss.nats, "val_bits_per_byte": loss.bits_per_byte}


def _of_parts(loss: HeldOutLoss) -> dict[str, float]:
    """The loss on each source of a mixture, as metrics.jsonl has it."""
    return {f"val_loss/{name}": part.nats for name, part in loss.parts.items()}
