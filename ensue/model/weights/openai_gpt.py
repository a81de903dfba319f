"""GPT (2018) as `transformers` lays it out (`openai-gpt`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ensue.model.config import GPTConfig
from ensue.model.weights.layout import Layout, read_keys, sees_all


@dataclass(frozen=True, kw_only=True)
class OpenAIGPTKeys:
    """What `config.json` says of a GPT, with the defaults of `transformers`; "gelu" means the tanh form here."""

    vocab_size: int = 40_478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: Literal["gelu", "gelu_new"] = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True


def _fits(config: GPTConfig) -> bool:
    return (
        (config.positions, config.norm, config.norm_place, config.mlp) == ("learned", "layer", "post", "gelu")
        and (config.bias, config.qkv_bias, config.qk_norm) == (True, True, False)
        and config.attention_scale is None
        and config.hidden == 4 * config.width
        and sees_all(config)
    )


def _write(config: GPTConfig) -> dict[str, Any]:
    keys = OpenAIGPTKeys(
        vocab_size=config.vocab,
        n_positions=config.context,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        resid_pdrop=config.residual_dropout,
        embd_pdrop=config.embedding_dropout,
        attn_pdrop=config.attention_dropout,
        layer_norm_epsilon=config.norm_epsilon,
        initializer_range=config.init_std,
        tie_word_embeddings=config.tied,
    )
    return {**asdict(keys), "n_ctx": config.context}


def _read(data: Mapping[str, Any]) -> GPTConfig:
    keys = read_keys(OpenAIGPTKeys, data)
    return GPTConfig(
        vocab=keys.vocab_size,
        context=keys.n_positions,
        layers=keys.n_layer,
        width=keys.n_embd,
        heads=keys.n_head,
        norm_place="post",
        norm_epsilon=keys.layer_norm_epsilon,
        tied=keys.tie_word_embeddings,
        embedding_dropout=keys.embd_pdrop,
        attention_dropout=keys.attn_pdrop,
        residual_dropout=keys.resid_pdrop,
        init_std=keys.initializer_range,
        position_std=keys.initializer_range,
        residual_init="same",
    )


OPENAI_GPT = Layout(
    model_type="openai-gpt",
    architecture="OpenAIGPTLMHeadModel",
    fits=_fits,
    write=_write,
    read=_read,
    modules={
        "token_embedding": ("transformer.tokens_embed",),
        "position_embedding": ("transformer.positions_embed",),
        "blocks.{}.attention.qkv": ("transformer.h.{}.attn.c_attn",),
        "blocks.{}.attention.out": ("transformer.h.{}.attn.c_proj",),
        "blocks.{}.attention_norm": ("transformer.h.{}.ln_1",),
        "blocks.{}.mlp.up": ("transformer.h.{}.mlp.c_fc",),
        "blocks.{}.mlp.down": ("transformer.h.{}.mlp.c_proj",),
        "blocks.{}.mlp_norm": ("transformer.h.{}.ln_2",),
        "head": ("lm_head",),
    },
    prefix="transformer.",
    input_first=True,
    ignored=(".attn.bias", "position_ids"),
)
