"""The open GPT-3 line as `transformers` lays it out (`gpt_neo`): dense and locally banded layers, unscaled scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ensue.model.config import GPTConfig
from ensue.model.patterns import Banded, Dense, Pattern
from ensue.model.weights.layout import Layout, mlp_width, read_keys

KINDS = ("global", "local")


@dataclass(frozen=True, kw_only=True)
class GPTNeoKeys:
    """What `config.json` says of a GPT-Neo. `attention_types` lists runs: (kinds of layers, how often repeated)."""

    vocab_size: int = 50_257
    max_position_embeddings: int = 2048
    hidden_size: int = 2048
    num_layers: int = 24
    num_heads: int = 16
    intermediate_size: int | None = None
    attention_types: tuple[tuple[tuple[str, ...], int], ...] = field(default=((KINDS, 12),))
    window_size: int = 256
    activation_function: Literal["gelu_new", "gelu_pytorch_tanh"] = "gelu_new"
    resid_dropout: float = 0.0
    embed_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True


def _fits(config: GPTConfig) -> bool:
    windows = {pattern.window for pattern in config.patterns if isinstance(pattern, Banded)}
    return (
        (config.positions, config.norm, config.norm_place, config.mlp) == ("learned", "layer", "pre", "gelu")
        and (config.bias, config.qkv_bias, config.qk_norm) == (True, False, False)
        and config.attention_scale == 1.0
        and all(isinstance(pattern, (Dense, Banded)) for pattern in config.patterns)
        and len(windows) <= 1
    )


def _write(config: GPTConfig) -> dict[str, Any]:
    layers = [config.pattern(layer) for layer in range(config.layers)]
    windows = [pattern.window for pattern in layers if isinstance(pattern, Banded)]
    kinds = tuple(KINDS[isinstance(pattern, Banded)] for pattern in layers)
    period = _period(kinds)
    whole = len(kinds) % period == 0
    runs = ((kinds[:period], len(kinds) // period),) if whole else ((kinds, 1),)
    keys = GPTNeoKeys(
        vocab_size=config.vocab,
        max_position_embeddings=config.context,
        hidden_size=config.width,
        num_layers=config.layers,
        num_heads=config.heads,
        intermediate_size=config.mlp_width,
        attention_types=runs,
        window_size=windows[0] if windows else 256,
        resid_dropout=config.residual_dropout,
        embed_dropout=config.embedding_dropout,
        attention_dropout=config.attention_dropout,
        layer_norm_epsilon=config.norm_epsilon,
        initializer_range=config.init_std,
        tie_word_embeddings=config.tied,
    )
    return asdict(keys)


def _read(data: Mapping[str, Any]) -> GPTConfig:
    keys = read_keys(GPTNeoKeys, data)
    kinds = tuple(kind for run, times in keys.attention_types for kind in run * times)
    if len(kinds) != keys.num_layers or not set(kinds) <= set(KINDS):
        raise ValueError(
            f"attention_types describes the layers {list(kinds)}; it must name {keys.num_layers} (num_layers), "
            f"each {' or '.join(map(repr, KINDS))}."
        )
    choice: dict[str, Pattern] = {"global": Dense(), "local": Banded(keys.window_size)}
    return GPTConfig(
        vocab=keys.vocab_size,
        context=keys.max_position_embeddings,
        layers=keys.num_layers,
        width=keys.hidden_size,
        heads=keys.num_heads,
        mlp_width=mlp_width(keys.hidden_size, keys.intermediate_size),
        norm_epsilon=keys.layer_norm_epsilon,
        qkv_bias=False,
        attention_scale=1.0,
        patterns=tuple(choice[kind] for kind in kinds[: _period(kinds)]),
        tied=keys.tie_word_embeddings,
        embedding_dropout=keys.embed_dropout,
        attention_dropout=keys.attention_dropout,
        residual_dropout=keys.resid_dropout,
        init_std=keys.initializer_range,
    )


def _period(kinds: tuple[str, ...]) -> int:
    """Length of the shortest start of `kinds` that gives all of it when cycled."""
    lengths = range(1, len(kinds))
    return next((n for n in lengths if all(kinds[i] == kinds[i % n] for i in range(len(kinds)))), len(kinds))


_ATTENTION = "transformer.h.{}.attn.attention"

GPT_NEO = Layout(
    model_type="gpt_neo",
    architecture="GPTNeoForCausalLM",
    fits=_fits,
    write=_write,
    read=_read,
    modules={
        "token_embedding": ("transformer.wte",),
        "position_embedding": ("transformer.wpe",),
        "blocks.{}.attention_norm": ("transformer.h.{}.ln_1",),
        "blocks.{}.attention.qkv": (f"{_ATTENTION}.q_proj", f"{_ATTENTION}.k_proj", f"{_ATTENTION}.v_proj"),
        "blocks.{}.attention.out": (f"{_ATTENTION}.out_proj",),
        "blocks.{}.mlp_norm": ("transformer.h.{}.ln_2",),
        "blocks.{}.mlp.up": ("transformer.h.{}.mlp.c_fc",),
        "blocks.{}.mlp.down": ("transformer.h.{}.mlp.c_proj",),
        "final_norm": ("transformer.ln_f",),
        "head": ("lm_head",),
    },
    prefix="transformer.",
    ignored=(".attn.attention.bias", ".attn.attention.masked_bias"),
)
