"""The one GPT that training, generation, scoring and interpretation all run."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensue.model.attention import Sight, Taps, tap
from ensue.model.block import Block
from ensue.model.branches import Branches
from ensue.model.cache import Cache
from ensue.model.config import GPTConfig
from ensue.model.init import initialise
from ensue.model.norm import make_norm
from ensue.model.patterns import TwoWay
from ensue.model.products import normed_for_product
from ensue.model.rotary import rotation_of

# Legend: B rows, T new tokens, S tokens held in all, W width, V vocabulary.


class GPT(nn.Module):
    """A decoder-only transformer with the parts its config names (GPT 2018, GPT-2 2019, GPT-3 2020)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = _table(config.vocab, config.width)
        learned = config.positions == "learned"
        self.position_embedding = _table(config.context, config.width) if learned else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.final_norm = make_norm(config, config.width) if config.norm_place == "pre" else None
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)

    @classmethod
    def build(cls, config: GPTConfig, seed: int) -> GPT:
        """A freshly initialised model on the CPU in fp32; the same seed gives the same weights everywhere."""
        model = cls.empty(config)
        initialise(model, config, seed)
        return model

    @classmethod
    def empty(cls, config: GPTConfig) -> GPT:
        """A model whose weights are about to be filled in; making it costs memory but no time."""
        with torch.device("meta"):
            model = cls(config)
        return model.to_empty(device="cpu")

    @property
    def head_weight(self) -> Tensor:
        """The (V, W) output matrix: the token embedding itself where the two are tied."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def forward(
        self,
        tokens: Tensor,
        *,
        cache: Cache | None = None,
        segments: Tensor | None = None,
        taps: Taps | None = None,
    ) -> Tensor:
        """Logits (B, T, V) of what ensues after each of (B, T) int64 tokens.

        With a `cache`, the tokens continue what each row holds and are added to it. `segments` (B, T) numbers documents
        that must not see each other. `taps` is called at every named place and may replace what it is shown.
        Raises ValueError for more tokens than the context, and for a cache with `segments` or a two-way pattern.
        """
        return self.logits(self.hidden(tokens, cache=cache, segments=segments, taps=taps), taps=taps)

    def hidden(
        self,
        tokens: Tensor,
        *,
        cache: Cache | Branches | None = None,
        segments: Tensor | None = None,
        taps: Taps | None = None,
    ) -> Tensor:
        """The (B, T, W) states that the output matrix is applied to; arguments as in `forward`.

        With `Branches` for a cache, the rows' tokens form trees on the end of a prefix that all rows share.
        """
        positions, held = self._place(tokens, cache, segments)
        x = self._embed(tokens)  # (B, T, W)
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        if self.training and self.config.embedding_dropout:
            x = F.dropout(x, self.config.embedding_dropout)
        x = tap(taps, "embedding", x)
        rotary = self.config.positions == "rotary"
        rotation = rotation_of(positions, self.config.head_width, self.config.rotary_base) if rotary else None
        sight = Sight(positions, held, segments, cache)
        for block in self.blocks:
            x = block(x, rotation=rotation, sight=sight, cache=cache, taps=taps)
        if cache is not None:
            cache.advance(tokens.shape[1])
        if self.final_norm is not None:
            x = normed_for_product(self.final_norm, x)
        return tap(taps, "final", x)

    def _embed(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, W).

        Where the output matrix is the same, whose gradient is dense, the rows looked up are added to that one as they
        are; on a CPU that spares a second (V, W) tensor, most of it zeros.
        """
        weight = self.token_embedding.weight
        rows = self.head is None and weight.device.type == "cpu" and type(weight) is nn.Parameter
        return F.embedding(tokens, weight, sparse=rows)

    def logits(self, hidden: Tensor, *, taps: Taps | None = None) -> Tensor:
        """(B, T, W) -> (B, T, V)."""
        return tap(taps, "logits", F.linear(hidden, self.head_weight))

    def new_cache(self, rows: int, *, capacity: int | None = None) -> Cache:
        """An empty cache for `rows` sequences of up to `capacity` tokens (the whole context unless said)."""
        weight = self.token_embedding.weight
        return Cache(
            self.config, rows, capacity=capacity or self.config.context, device=weight.device, dtype=weight.dtype
        )

    def _place(self, tokens: Tensor, cache: Cache | Branches | None, segments: Tensor | None) -> tuple[Tensor, int]:
        """Positions (B or 1, T) of the tokens, and how many keys they may look at."""
        new = tokens.shape[1]
        held = _held(cache, new)
        if cache is not None:
            if segments is not None:
                raise ValueError("segments and a cache cannot be used together: a cached row is one document.")
            if any(isinstance(pattern, TwoWay) for pattern in self.config.patterns):
                raise ValueError("a two-way pattern cannot be cached; run the whole sequence without a cache.")
        if held > self.config.context:
            raise ValueError(
                f"{held} tokens are more than this model's context of {self.config.context}; give it fewer."
            )
        positions = torch.arange(new, device=tokens.device)[None] if cache is None else cache.begin(new)
        return positions, held


def _held(cache: Cache | Branches | None, new: int) -> int:
    """How many positions a pass of `new` tokens ends with, in its longest row."""
    match cache:
        case Branches():
            return cache.held
        case Cache():
            return max(cache.lengths) + new
        case None:
            return new


def _table(rows: int, width: int) -> nn.Embedding:
    """An embedding, made without memory where that is asked for: one that fills itself would then load torch's
    compiler."""
    values = torch.empty(rows, width)
    return nn.Embedding(rows, width, _weight=values if values.is_meta else values.normal_())
