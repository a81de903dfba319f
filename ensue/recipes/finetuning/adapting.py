"""What of a model a run trains: all of it, or an adapter beside weights that are read from where they began."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ensue.core.config import to_dict
from ensue.generate.lm import LM
from ensue.generate.load import load
from ensue.model.gpt import GPT
from ensue.model.lora import adapt, merged, take_trained, trained
from ensue.recipes.finetuning.config import FineTuneConfig

ADAPTER, ADAPTER_RECORD = "adapter.safetensors", "adapter.json"
"""What a checkpoint has beside the merged model: everything that is trained, and what it is to be put beside."""


@dataclass(frozen=True)
class Weights:
    """How a run's GPT becomes a checkpoint: `whole` is a plain GPT that computes the same, and the files and tensors
    are those that only an adapter's checkpoint has."""

    whole: Callable[[], GPT]
    files: Mapping[str, bytes]
    tensors: Callable[[], Mapping[str, Mapping[str, Tensor]]]


def beginning_of(config: FineTuneConfig, lm: LM) -> LM:
    """Where the weights of a run that is continued from the checkpoint `lm` begin: there, or with an adapter, at the
    model that the run began with. Raises ValueError where that one is gone or is another now."""
    if config.lora is None:
        return lm
    path = lm.path / ADAPTER_RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        base, digest = Path(record["base"]), record["base_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}); the run cannot be continued from there.") from error
    try:
        began = load(base, device="cpu")
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"the model that this run's adapter stands beside is gone from {base} ({error})\nPut it back there to "
            f"continue; {lm.path} is whole without it, and can be loaded or tuned on."
        ) from error
    if digest_of(began.model) != digest:
        raise ValueError(
            f"the model in {base} is not the one that this run's adapter stands beside: its weights have changed. Put "
            f"the old ones back to continue; {lm.path} is whole without them, and can be loaded or tuned on."
        )
    return began


def weights_of(
    config: FineTuneConfig, model: nn.Module, gpt: GPT, *, base: LM, checkpoint: Path | None, new_tokens: int
) -> Weights:
    """The weights of `gpt`, which `model` has or is, ready to train: with an adapter where the config says so, as it is
    in `checkpoint` where there is one. The model is on its device; `base` is where it began, as it was loaded.

    Raises ValueError for an adapter of another model.
    """
    if config.lora is None:
        return Weights(lambda: gpt, {}, dict)
    facts = {
        "format": 1,
        "lora": to_dict(config.lora),
        "base": str(base.path.resolve()),
        "base_sha256": digest_of(base.model),
    }
    adapt(gpt, config.lora, seed=config.seed, new_tokens=new_tokens)
    if checkpoint is not None:
        try:
            take_trained(model, load_file(checkpoint / ADAPTER))
        except (OSError, SafetensorError, ValueError) as error:
            raise ValueError(f"{checkpoint / ADAPTER} is not this run's adapter: {error}") from error
    files = {ADAPTER_RECORD: (json.dumps(facts, indent=1) + "\n").encode()}
    return Weights(lambda: merged(gpt), files, lambda: {ADAPTER: trained(model)})


def digest_of(gpt: GPT) -> str:
    """Hex digits of all weights, by their names."""
    digest = hashlib.sha256()
    for name, parameter in gpt.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)},".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
