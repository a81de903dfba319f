"""One pass of a plan as tensors, through the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ensue.generate.forward import pad
from ensue.generate.prefix_plan import Pass, Row
from ensue.generate.prefix_tree import Ids
from ensue.model.branches import Branches, Trunk
from ensue.model.gpt import GPT

# Legend: B rows, T tokens of the longest, W width.


def run_pass(model: GPT, sequences: Sequence[Ids], planned: Pass, trunk: Trunk) -> Tensor:
    """The (B, T, W) states of a pass, whose pieces are parts of `sequences`; the trunk is cut to what it reads."""
    device = model.token_embedding.weight.device
    trunk.cut(planned.trunk)
    tokens = pad([_tokens(row, sequences) for row in planned.rows], device)
    if planned.plain:
        return model.hidden(tokens)
    rows, longest = tokens.shape
    positions = np.zeros((rows, longest), dtype=np.int64)
    ancestors = np.zeros((rows, longest, longest), dtype=np.bool_)
    ancestors[:, np.arange(longest), np.arange(longest)] = True  # what pads a row sees itself alone
    for place, row in enumerate(planned.rows):
        _describe(row, positions[place], ancestors[place])
    branches = Branches(
        trunk,
        torch.from_numpy(positions).to(device),
        torch.from_numpy(ancestors).to(device),
        held=max(piece.end for row in planned.rows for piece in row),
        keep=planned.keep,
    )
    return model.hidden(tokens, cache=branches)


def offsets(row: Row) -> list[int]:
    """Where in its row each piece begins."""
    starts = [0]
    for piece in row[:-1]:
        starts.append(starts[-1] + piece.length)
    return starts


def _tokens(row: Row, sequences: Sequence[Ids]) -> list[int]:
    return [token for piece in row for token in sequences[piece.row][piece.begin : piece.end]]


def _describe(row: Row, positions: np.ndarray, ancestors: np.ndarray) -> None:
    """Fill in one row's (T,) positions and (T, T) ancestors."""
    starts = offsets(row)
    for piece, start in zip(row, starts, strict=True):
        inside = slice(start, start + piece.length)
        positions[inside] = np.arange(piece.begin, piece.end)
        if piece.after >= 0:
            ancestors[inside] = ancestors[starts[piece.after] + row[piece.after].length - 1]
        ancestors[inside, inside] = np.tri(piece.length, dtype=np.bool_)
