"""GPT with a linear layer that reads an answer from the state at the extract token (GPT 2018, sections 3.2 and 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ensue.core.seeds import seed_for
from ensue.model.gpt import GPT

# Legend: R rows, T tokens, W width, E examples, K classes or the most choices.

HEAD_STD = 0.02


class TaskModel(nn.Module):
    """A GPT and its head. A head of one output scores every row alone, and an example's rows are its choices; one of
    more reads an example's rows added up (one row, or the two orders of a similarity) and scores classes."""

    def __init__(self, gpt: GPT, *, outputs: int, dropout: float = 0.0) -> None:
        """`dropout` of what the head reads, in training; an example's choices share a mask, as in the paper's code."""
        super().__init__()
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.width, outputs)
        self.dropout = dropout

    @classmethod
    def build(cls, gpt: GPT, *, outputs: int, dropout: float, seed: int) -> TaskModel:
        """With a fresh head: weights N(0, 0.02), biases 0."""
        model = cls(gpt, outputs=outputs, dropout=dropout)
        generator = torch.Generator().manual_seed(seed_for(seed, "init", "head.weight"))
        with torch.no_grad():
            model.head.weight.normal_(0.0, HEAD_STD, generator=generator)
            model.head.bias.zero_()
        return model

    def forward(
        self,
        tokens: Tensor,
        *,
        extract: Tensor,
        example: Tensor,
        place: Tensor,
        answers: int,
        segments: Tensor | None = None,
    ) -> Tensor:
        """(E, K) scores of the answers to the examples that (R, T) rows of tokens are of; see `answer`."""
        hidden = self.gpt.hidden(tokens, segments=segments)  # (R, T, W)
        return self.answer(hidden, extract=extract, example=example, place=place, answers=answers)

    def answer(self, hidden: Tensor, *, extract: Tensor, example: Tensor, place: Tensor, answers: int) -> Tensor:
        """(R, T, W) states -> (E, K) scores before the softmax, in fp32 at least; -inf where there is no such choice.

        extract, example and place (R,) say where each row is read, of which example it is, and which of its rows.
        `answers` is K: the classes, or the most choices.
        """
        states = hidden[torch.arange(len(extract), device=hidden.device), extract]  # (R, W)
        states = states.to(torch.promote_types(states.dtype, torch.float32))
        examples = int(example[-1]) + 1
        if self.head.out_features > 1:
            summed = states.new_zeros(examples, states.shape[1]).index_add(0, example, states)  # (E, W)
            return self._score(F.dropout(summed, self.dropout, self.training))
        if self.training and self.dropout:
            mask = F.dropout(states.new_ones(examples, states.shape[1]), self.dropout)  # (E, W)
            states = states * mask[example]
        scores = self._score(states).squeeze(1)  # (R,)
        return scores.new_full((examples, answers), float("-inf")).index_put((example, place), scores)

    def _score(self, states: Tensor) -> Tensor:
        """The head is a thousand weights: rounding it to bf16 would save nothing."""
        with torch.autocast(states.device.type, enabled=False):
            return F.linear(states, self.head.weight.to(states.dtype), self.head.bias.to(states.dtype))
