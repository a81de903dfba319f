"""What tells one GPT from another, as plain values; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ensue.model.patterns import Dense, Pattern


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The shape and the parts of a GPT. The defaults are GPT-2's parts.

    `patterns` are cycled over the layers: `(Dense(), Banded(256))` alternates as GPT-3 does. `residual_init` says how
    the two output projections of a block start: like every matrix ("same", GPT), scaled by 1/sqrt(2 x layers)
    ("scaled", GPT-2), or at zero ("zero"). `attention_scale` None means 1/sqrt(head width).
    """

    vocab: int
    context: int
    layers: int
    width: int
    heads: int
    mlp_width: int | None = None
    mlp: Literal["gelu", "swiglu"] = "gelu"
    norm: Literal["layer", "rms"] = "layer"
    norm_place: Literal["pre", "post"] = "pre"
    norm_epsilon: float = 1e-5
    positions: Literal["learned", "rotary"] = "learned"
    rotary_base: float = 10_000.0
    bias: bool = True
    qkv_bias: bool = True
    qk_norm: bool = False
    attention_scale: float | None = None
    patterns: tuple[Pattern, ...] = (Dense(),)
    tied: bool = True
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    init_std: float = 0.02
    position_std: float = 0.01
    residual_init: Literal["same", "scaled", "zero"] = "scaled"

    def __post_init__(self) -> None:
        for name in ("vocab", "context", "layers", "width", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared by {self.heads} heads; make it a multiple of them.")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.head_width}; change width or heads.")
        if not self.patterns:
            raise ValueError("patterns must name at least one attention pattern, such as Dense().")
        for name in ("embedding_dropout", "attention_dropout", "residual_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}.")

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Width of the MLP's hidden layer: 4 x width in all three papers, unless set."""
        return self.mlp_width if self.mlp_width is not None else 4 * self.width

    def pattern(self, layer: int) -> Pattern:
        """The attention pattern of one layer, counted from 0."""
        return self.patterns[layer % len(self.patterns)]

    @property
    def matrix_parameters(self) -> int:
        """Weights a token is multiplied by: the blocks' matrices and the output head; embeddings are looked up."""
        attention = 4 * self.width * self.width
        mlp = (3 if self.mlp == "swiglu" else 2) * self.width * self.hidden
        return self.layers * (attention + mlp) + self.vocab * self.width

    @property
    def parameters(self) -> int:
        """Every parameter of the model, embeddings and biases included (facts: V*d + ctx*d + L*(12d^2+13d) + 2d)."""
        norm = self.width * (2 if self.norm == "layer" else 1)
        block_bias = self.width + (self.hidden * (2 if self.mlp == "swiglu" else 1) + self.width)
        block = 2 * norm
        block += block_bias if self.bias else 0
        block += 3 * self.width if self.qkv_bias else 0
        block += 2 * self.head_width * norm // self.width if self.qk_norm else 0
        positions = self.context * self.width if self.positions == "learned" else 0
        final_norm = norm if self.norm_place == "pre" else 0
        separate_head = 0 if self.tied else self.vocab * self.width
        return self.matrix_parameters + separate_head + positions + self.layers * block + final_norm

    def flops_per_token(self, length: int) -> float:
        """Training FLOPs a token in a window of `length`: 6 a matrix weight, and dense attention's 12 x layers x width
        x length, forward and backward (Kaplan et al. 2020, section 2.1; full rectangles, as MFU is usually quoted)."""
        return 6.0 * self.matrix_parameters + 12.0 * self.layers * self.width * length
