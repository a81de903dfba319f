"""A linear layer whose weights stay as they are, and the product of two thin matrices that is learned beside them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Legend: I inputs, O outputs, r rank.


class LowRankLinear(nn.Linear):
    """x W^T + b + scale x A^T B^T (Hu et al. 2021, equation 3): `narrow` is A (r, I), `wide` is B (O, r)."""

    def __init__(self, linear: nn.Linear, *, rank: int, scale: float, generator: torch.Generator) -> None:
        """A layer with the weights of `linear`, not copied and not trained; A is N(0, 1/I) and B is 0, so that at first
        it computes the same."""
        has_bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias=has_bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        for parameter in linear.parameters():
            parameter.requires_grad_(False)
        narrow = torch.empty(rank, linear.in_features, dtype=torch.float32)
        narrow.normal_(0.0, linear.in_features**-0.5, generator=generator)
        self.narrow = nn.Parameter(narrow.to(linear.weight))
        self.wide = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return self.beside(x, F.linear(x, self.weight, self.bias))

    def beside(self, x: Tensor, plain: Tensor) -> Tensor:
        """With (..., I) inputs, what is learned added to the (..., O) outputs of the weights alone."""
        held = F.linear(x, self.narrow).flatten(0, -2)  # (N, r)
        return torch.addmm(plain.flatten(0, -2), held, self.wide.t(), alpha=self.scale).view_as(plain)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """(O, I) weights W + scale B A that compute the same by themselves."""
        return torch.addmm(self.weight, self.wide, self.narrow, alpha=self.scale)
