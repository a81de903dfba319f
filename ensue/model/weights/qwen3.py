"""The `modern` preset as `transformers` lays it out (`qwen3`, with as many key heads as query heads)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ensue.core.config import from_dict
from ensue.model.config import GPTConfig
from ensue.model.weights.layout import Layout, mlp_width, read_keys, sees_all


@dataclass(frozen=True, kw_only=True)
class RotaryKeys:
    """Plain rotary positions: `transformers` 5 keeps them together, 4 kept only the base, beside the other keys."""

    rope_type: Literal["default"] = "default"
    rope_theta: float = 10_000.0


@dataclass(frozen=True, kw_only=True)
class Qwen3Keys:
    """What `config.json` says of a Qwen3, with the defaults `transformers` gives to what is left out."""

    vocab_size: int = 151_936
    hidden_size: int = 4096
    intermediate_size: int = 22_016
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 32
    head_dim: int = 128
    hidden_act: Literal["silu"] = "silu"
    max_position_embeddings: int = 32_768
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: None = None
    attention_bias: Literal[False] = False
    use_sliding_window: Literal[False] = False
    attention_dropout: float = 0.0
    tie_word_embeddings: bool = False


def _fits(config: GPTConfig) -> bool:
    return (
        (config.positions, config.norm, config.norm_place, config.mlp) == ("rotary", "rms", "pre", "swiglu")
        and (config.bias, config.qkv_bias, config.qk_norm) == (False, False, True)
        and config.attention_scale is None
        and sees_all(config)
    )


def _write(config: GPTConfig) -> dict[str, Any]:
    keys = Qwen3Keys(
        vocab_size=config.vocab,
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.head_width,
        max_position_embeddings=config.context,
        initializer_range=config.init_std,
        rms_norm_eps=config.norm_epsilon,
        rope_theta=config.rotary_base,
        attention_dropout=config.attention_dropout,
        tie_word_embeddings=config.tied,
    )
    return {**asdict(keys), "rope_parameters": asdict(RotaryKeys(rope_theta=config.rotary_base))}


def _read(data: Mapping[str, Any]) -> GPTConfig:
    keys = read_keys(Qwen3Keys, data)
    rotary = RotaryKeys(rope_theta=keys.rope_theta)
    if data.get("rope_parameters") is not None:
        rotary = from_dict(RotaryKeys, data["rope_parameters"], "rope_parameters")
    if keys.num_key_value_heads not in (None, keys.num_attention_heads):
        raise ValueError(
            f"num_key_value_heads is {keys.num_key_value_heads} for {keys.num_attention_heads} query heads; "
            "Ensue has no grouped-query attention, so it can load only a qwen3 with as many of both."
        )
    if keys.head_dim * keys.num_attention_heads != keys.hidden_size:
        raise ValueError(
            f"{keys.num_attention_heads} heads of head_dim {keys.head_dim} do not make hidden_size {keys.hidden_size}; "
            "Ensue can load only a qwen3 where they do."
        )
    return GPTConfig(
        vocab=keys.vocab_size,
        context=keys.max_position_embeddings,
        layers=keys.num_hidden_layers,
        width=keys.hidden_size,
        heads=keys.num_attention_heads,
        mlp="swiglu",
        mlp_width=mlp_width(keys.hidden_size, keys.intermediate_size),
        norm="rms",
        norm_epsilon=keys.rms_norm_eps,
        positions="rotary",
        rotary_base=rotary.rope_theta,
        bias=False,
        qkv_bias=False,
        qk_norm=True,
        tied=keys.tie_word_embeddings,
        attention_dropout=keys.attention_dropout,
        init_std=keys.initializer_range,
        residual_init="zero",
    )


_ATTENTION = "model.layers.{}.self_attn"
_MLP = "model.layers.{}.mlp"

QWEN3 = Layout(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    fits=_fits,
    write=_write,
    read=_read,
    modules={
        "token_embedding": ("model.embed_tokens",),
        "blocks.{}.attention_norm": ("model.layers.{}.input_layernorm",),
        "blocks.{}.attention.qkv": (f"{_ATTENTION}.q_proj", f"{_ATTENTION}.k_proj", f"{_ATTENTION}.v_proj"),
        "blocks.{}.attention.query_norm": (f"{_ATTENTION}.q_norm",),
        "blocks.{}.attention.key_norm": (f"{_ATTENTION}.k_norm",),
        "blocks.{}.attention.out": (f"{_ATTENTION}.o_proj",),
        "blocks.{}.mlp_norm": ("model.layers.{}.post_attention_layernorm",),
        "blocks.{}.mlp.gate_up": (f"{_MLP}.gate_proj", f"{_MLP}.up_proj"),
        "blocks.{}.mlp.down": (f"{_MLP}.down_proj",),
        "final_norm": ("model.norm",),
        "head": ("lm_head",),
    },
    prefix="model.",
    ignored=("rotary_emb.inv_freq",),
)
