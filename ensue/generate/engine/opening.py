"""An engine for a model: in which precision, with how much memory, and how it guesses ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ensue.generate.engine.drafts import Drafter, DraftModel, PromptLookup
from ensue.generate.engine.engine import Engine
from ensue.generate.engine.groups import groups_of, pages_in
from ensue.generate.engine.pages import PAGE
from ensue.generate.engine.passes import PackedPasses, Passes, PlainPasses
from ensue.generate.engine.static_passes import StaticPasses, merged
from ensue.generate.engine.static_step import why_not_static
from ensue.generate.lm import LM
from ensue.generate.packed import PackedModel, why_not_packed
from ensue.generate.packing import Precision
from ensue.model.config import GPTConfig
from ensue.model.patterns import TwoWay


@dataclass(frozen=True)
class EngineSettings:
    """How a model is run.

    precision    of the weights; int8 and bf16 need the C++ pass, which takes fp32 as well
    cache_bytes  of keys and values: all that they will ever take
    most         requests that share a pass at most
    pass_tokens  tokens of a pass, about: longer prompts are read in pieces
    lookup       guess what comes next from the text itself
    graphs       on a GPU, record the passes in which requests only write, and replay them
    compiled     let torch.compile merge the kernels of these passes first, which takes a while for each shape
    """

    precision: Precision = "fp32"
    cache_bytes: int = 1 << 30
    most: int = 64
    pass_tokens: int = 256
    lookup: bool = False
    graphs: bool = True
    compiled: bool = False


def open_engine(lm: LM, settings: EngineSettings, *, draft: LM | None = None) -> Engine:
    """An engine that runs `lm`, with `draft` guessing ahead where it is given.

    Raises ValueError for a precision that cannot be had here, a cache too small for one context, a two-way model, or a
    draft model with another tokenizer.
    """
    config = lm.config
    if any(isinstance(pattern, TwoWay) for pattern in config.patterns):
        raise ValueError("a model with a two-way pattern sees what it should foretell; it cannot write.")
    passes = _passes(lm, settings)
    engine = Engine(
        passes,
        vocabulary=lm.tokenizer.vocab_size,
        most=settings.most,
        pass_tokens=settings.pass_tokens,
        drafter=_drafter(lm, settings, draft),
    )
    if not engine.pool.can_ever_hold(config.context):
        needed = context_bytes(config, settings)
        raise ValueError(
            f"a cache of {settings.cache_bytes:,} bytes holds less than this model's context of {config.context:,} "
            f"tokens; give it at least {needed:,} bytes."
        )
    return engine


def context_bytes(config: GPTConfig, settings: EngineSettings) -> int:
    """Bytes of the keys and values of one request as long as the context."""
    of_page = 2 * PAGE * config.width * _value_bytes(settings)
    return sum(
        group.pages_for(config.context, settings.pass_tokens) * len(group.layers) * of_page
        for group in groups_of(config)
    )


def _value_bytes(settings: EngineSettings) -> int:
    return 4 if settings.precision == "fp32" else 2


def _passes(lm: LM, settings: EngineSettings) -> Passes:
    config, weight = lm.config, lm.model.token_embedding.weight
    reason = why_not_packed(config)
    value = _value_bytes(settings)
    pages = pages_in(config, settings.cache_bytes, value_bytes=value, span=settings.pass_tokens)
    if reason is None and weight.device.type == "cpu":
        return PackedPasses(PackedModel.of(lm.model, settings.precision), pages)
    plain = {"fp32": "torch.float32", "bf16": "torch.bfloat16"}
    if plain.get(settings.precision) != str(weight.dtype):
        said = reason or f"the model is on {weight.device}"
        raise ValueError(
            f"{settings.precision} is not to be had here: {said}. PyTorch runs the model in the precision it was "
            "loaded in: fp32, or bf16 with dtype='bf16'."
        )
    if weight.is_cuda and settings.graphs and why_not_static(config) is None:
        return StaticPasses(lm.model, pages, compiler=merged if settings.compiled else None)
    return PlainPasses(lm.model, pages)


def _drafter(lm: LM, settings: EngineSettings, draft: LM | None) -> Drafter | None:
    if draft is None:
        return PromptLookup() if settings.lookup else None
    if draft.tokenizer.fingerprint != lm.tokenizer.fingerprint:
        raise ValueError(
            f"{draft.path} has another tokenizer than {lm.path}, so it cannot guess for it; give a smaller model "
            "trained with the same one."
        )
    small = replace(settings, cache_bytes=settings.cache_bytes // 4, lookup=False)
    return DraftModel(open_engine(draft, small))
