"""GPT-2 as `transformers` lays it out (`gpt2`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ensue.model.config import GPTConfig
from ensue.model.weights.layout import Layout, mlp_width, read_keys, sees_all


@dataclass(frozen=True, kw_only=True)
class GPT2Keys:
    """What `config.json` says of a GPT-2, with the defaults `transformers` gives to what is left out."""

    vocab_size: int = 50_257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: Literal["gelu_new", "gelu_pytorch_tanh"] = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: Literal[False] = False
    add_cross_attention: Literal[False] = False
    tie_word_embeddings: bool = True


def _fits(config: GPTConfig) -> bool:
    return (
        (config.positions, config.norm, config.norm_place, config.mlp) == ("learned", "layer", "pre", "gelu")
        and (config.bias, config.qkv_bias, config.qk_norm) == (True, True, False)
        and config.attention_scale in (None, 1.0)
        and sees_all(config)
    )


def _write(config: GPTConfig) -> dict[str, Any]:
    keys = GPT2Keys(
        vocab_size=config.vocab,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        n_inner=config.mlp_width,
        resid_pdrop=config.residual_dropout,
        embd_pdrop=config.embedding_dropout,
        attn_pdrop=config.attention_dropout,
        layer_norm_epsilon=config.norm_epsilon,
        initializer_range=config.init_std,
        scale_attn_weights=config.attention_scale is None,
        tie_word_embeddings=config.tied,
    )
    # `transformers` no longer reads n_ctx, but other readers of these folders (llama.cpp) still do.
    return {**asdict(keys), "n_ctx": config.context}


def _read(data: Mapping[str, Any]) -> GPTConfig:
    keys = read_keys(GPT2Keys, data)
    return GPTConfig(
        vocab=keys.vocab_size,
        context=keys.n_positions,
        layers=keys.n_layer,
        width=keys.n_embd,
        heads=keys.n_head,
        mlp_width=mlp_width(keys.n_embd, keys.n_inner),
        norm_epsilon=keys.layer_norm_epsilon,
        attention_scale=None if keys.scale_attn_weights else 1.0,
        tied=keys.tie_word_embeddings,
        embedding_dropout=keys.embd_pdrop,
        attention_dropout=keys.attn_pdrop,
        residual_dropout=keys.resid_pdrop,
        init_std=keys.initializer_range,
    )


GPT2 = Layout(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    fits=_fits,
    write=_write,
    read=_read,
    modules={
        "token_embedding": ("transformer.wte",),
        "position_embedding": ("transformer.wpe",),
        "blocks.{}.attention_norm": ("transformer.h.{}.ln_1",),
        "blocks.{}.attention.qkv": ("transformer.h.{}.attn.c_attn",),
        "blocks.{}.attention.out": ("transformer.h.{}.attn.c_proj",),
        "blocks.{}.mlp_norm": ("transformer.h.{}.ln_2",),
        "blocks.{}.mlp.up": ("transformer.h.{}.mlp.c_fc",),
        "blocks.{}.mlp.down": ("transformer.h.{}.mlp.c_proj",),
        "final_norm": ("transformer.ln_f",),
        "head": ("lm_head",),
    },
    prefix="transformer.",
    input_first=True,
    ignored=(".attn.bias", ".attn.masked_bias"),
)
