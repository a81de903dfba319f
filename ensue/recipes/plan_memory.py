"""What one process of a training run holds on its device, by arithmetic: every coefficient is here, with its source.

Bytes per parameter are the optimizer's, bytes per token are what autograd keeps of each layer (counted exactly by
`tests/recipes/test_plan.py` with saved-tensor hooks), and the two are added up at the two moments at which a step holds
most: when the forward pass ends, and when the backward pass ends (`benchmarks/plan.py` compares with real steps).

Legend: W width, M hidden width of the MLP, H heads, T context, V vocabulary, L layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from ensue.loss.fused_cross_entropy import SLICE, chunk_rows
from ensue.loss.linear_cross_entropy import CHUNK_BYTES, FEWEST_ROWS
from ensue.model.config import GPTConfig

Device = Literal["cuda", "cpu"]
Precision = Literal["bf16", "fp32"]

FP32 = 4
"""Bytes of a master weight, of a gradient, of each of AdamW's two moments and of Muon's one; of a value of the residual
stream, and of a norm's or a softmax's statistics. Master weights stay fp32 in every precision."""

GATHERED_BLOCKS = 3
"""Whole blocks at once under sharding: the one that computes, the next one, and the buffer the next one arrives in."""

ALLOCATOR = {"cuda": 0.06, "cpu": 0.05}
"""Share of what is held that the allocator holds beside it, in pieces too small to be used again. On a CPU: that of
`core/kernels/large_blocks.cpp`, measured by `benchmarks/plan.py`; without a C++ compiler glibc holds 0.18. On a GPU: an
allowance for the caching allocator's blocks, not measured."""

FRAMEWORK = {"cuda": 2.0e9, "cpu": 0.4e9}
"""On a GPU: CUDA's context, the libraries' workspaces and NCCL's channels, an allowance; on a CPU: the interpreter and
torch."""


@dataclass(frozen=True)
class Layout:
    """How the processes share a run: `data` copies x `shard` pieces of each x `tensor` pieces of each layer.

    `rows` sequences make one micro-batch of one process, and `micro_batches` of them its part of a step. With
    `recompute` only each block's input is kept, and the block runs again in the backward pass (Chen et al. 2016).
    """

    data: int = 1
    shard: int = 1
    tensor: int = 1
    rows: int = 1
    micro_batches: int = 1
    recompute: bool = False

    @property
    def processes(self) -> int:
        return self.data * self.shard * self.tensor

    @property
    def readers(self) -> int:
        """Processes, or groups of `tensor` processes, that each read a part of the batch of their own."""
        return self.data * self.shard

    @property
    def name(self) -> str:
        if self.processes == 1:
            return "one process"
        if self.shard == self.tensor == 1:
            return "ddp"
        parts = [*(["fsdp"] if self.shard > 1 else []), *([f"tp{self.tensor}"] if self.tensor > 1 else [])]
        return "+".join(parts) + (f" x {self.data}" if self.data > 1 else "")


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the step's fullest moment, by kind."""

    weights: float
    gathered: float
    gradients: float
    optimizer: float
    activations: float
    head: float
    allocator: float
    framework: float

    @property
    def total(self) -> float:
        return sum(self.kinds.values())

    @property
    def kinds(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def memory(
    model: GPTConfig,
    layout: Layout,
    *,
    precision: Precision,
    optimizer: Literal["adamw", "muon"] = "adamw",
    device: Device = "cuda",
) -> Memory:
    """What one process holds when it holds most, of a model of this shape under this layout."""
    value = 2 if precision == "bf16" else FP32
    tokens = layout.rows * model.context
    held = _parameters(model, layout.tensor)
    owned = held.all / layout.shard
    moments = FP32 * (owned if optimizer == "muon" else 2 * owned)
    if optimizer == "muon":
        moments += FP32 * (held.all - held.block_matrices) / layout.shard
    sharded = layout.shard > 1 or layout.tensor > 1
    if sharded:
        gathered = FP32 * held.root + GATHERED_BLOCKS * value * held.block
    else:
        copies = precision == "bf16" and not _fused(
            model, precision, device
        )  # autocast's, kept until the backward pass
        gathered = float(2 * held.block_matrices) if copies else 0.0
    saved = tokens * saved_per_token(model, precision, tensor=layout.tensor, device=device)
    kept = tokens * FP32 * model.width * model.layers + saved if layout.recompute else saved * model.layers
    rows_alone = model.tied and device == "cpu" and not sharded  # `GPT._embed`: no dense gradient of the lookup
    ending, beginning = _gradients(held, layout, sharded=sharded, value=value, lookup=0.0 if rows_alone else 1.0)
    head = _head(model, tokens / layout.tensor, precision, device)
    wide = model.hidden * (2 if model.mlp == "swiglu" else 1)
    backward = tokens * (FP32 * model.width + value * wide / layout.tensor)  # gradients of the stream and of the MLP
    forward_end = (beginning, kept, head)
    backward_start = (beginning, kept + backward, 0.0)
    backward_end = (ending, saved / 2 + backward, 0.0)
    gradients, activations, head = max(forward_end, backward_start, backward_end, key=sum)
    base = FP32 * owned + gathered + gradients + moments + activations + head
    return Memory(
        weights=FP32 * owned,
        gathered=gathered,
        gradients=gradients,
        optimizer=moments,
        activations=activations,
        head=head,
        allocator=ALLOCATOR[device] * base,
        framework=FRAMEWORK[device],
    )


def saved_per_token(model: GPTConfig, precision: Precision, *, tensor: int = 1, device: Device = "cuda") -> float:
    """Bytes that autograd keeps of one layer for one token, until the backward pass comes to it.

    Kept whole by every process of a tensor group: the fp32 inputs of both norms with their statistics, and the inputs
    of both parts' first matrices. Split among them: queries, keys, values, what attention mixed with its log-sum-exp,
    and the MLP's hidden layer before and after its activation. Where a CPU's fused kernels make the inputs of products
    again (`ensue.model.fused`), only the stream, queries, keys and values, what was mixed, and the hidden layer before
    its activation are kept.
    """
    value = 2 if precision == "bf16" else FP32
    width, hidden, heads = model.width, model.hidden, model.heads
    if _fused(model, precision, device):
        stream, attention = 2 * FP32 * width, value * (3 * width + width) + FP32 * heads
        return stream + (attention + value * hidden * (2 if model.mlp == "swiglu" else 1)) / tensor
    statistics = 2 if model.norm == "layer" else 1
    whole = 2 * (FP32 * width + FP32 * statistics) + 2 * value * width
    split: float = value * (3 * width + width) + FP32 * heads
    if model.positions == "rotary" or model.qk_norm:
        split += value * 2 * width + (FP32 * 2 * heads if model.qk_norm else 0)
    split += value * (4 if model.mlp == "swiglu" else 2) * hidden
    if model.residual_dropout:
        whole += 2 * width * (1 if device == "cuda" else FP32)
    if model.attention_dropout and device == "cpu":  # no fused kernel there: probabilities, mask, and their product
        split += FP32 * 3 * heads * model.context
    return whole + split / tensor


def _fused(model: GPTConfig, precision: Precision, device: Device) -> bool:
    """Whether a CPU's kernels, which are taken to be there, run the layers."""
    return device == "cpu" and precision == "bf16" and model.norm_place == "pre" and not model.attention_dropout


@dataclass(frozen=True)
class _Parameters:
    """Counts on one process of a tensor group, before sharding: of all, outside the blocks, and in one block."""

    all: float
    root: float
    block: float
    block_matrices: float
    head: float


def _parameters(model: GPTConfig, tensor: int) -> _Parameters:
    head = model.vocab * model.width
    matrices = model.matrix_parameters - head
    tables = head * (1 if model.tied else 2) + (model.context * model.width if model.positions == "learned" else 0)
    vectors = model.parameters - matrices - tables
    blocks = matrices / tensor + vectors
    return _Parameters(blocks + tables, tables, blocks / model.layers, matrices / tensor, head)


def _gradients(held: _Parameters, layout: Layout, *, sharded: bool, value: int, lookup: float) -> tuple[float, float]:
    """Bytes of gradients when the backward pass ends, and when it begins.

    The head's is made in the forward pass already (`linear_cross_entropy`), and the tied embedding's is added to it at
    the very end, from a dense one of its own (`lookup` times its size). DDP's all live in buckets from the start; a
    second micro-batch finds all of the first one's.
    """
    embedding = FP32 * held.head
    if sharded:
        owned = FP32 * held.all / layout.shard
        arriving = 2 * FP32 * held.root + (value + FP32) * held.block
        return owned + max(arriving, embedding), FP32 * held.head + (owned if layout.micro_batches > 1 else 0.0)
    whole = FP32 * held.all
    kept = layout.processes > 1 or layout.micro_batches > 1
    return whole + lookup * embedding, whole if kept else embedding


def _head(model: GPTConfig, tokens: float, precision: Precision, device: Device) -> float:
    """The last states and their gradient, and one chunk of logits with what is made of it, for the `tokens` that this
    process scores: a tensor group shares them out."""
    matrix = model.vocab * model.width
    if precision == "fp32":  # one buffer of logits, in place
        rows = min(tokens, max(FEWEST_ROWS, CHUNK_BYTES // (FP32 * model.vocab)))
        return float(2 * FP32 * tokens * model.width + FP32 * rows * model.vocab)
    if (
        device == "cpu"
    ):  # bf16 logits in place; one slice of the matrix; the states' gradient in bf16 and as an fp32 sum
        rows = chunk_rows(math.ceil(tokens), model.vocab)
        slice_of_matrix = min(SLICE, model.vocab) * model.width
        chunk = 2 * rows * model.vocab + (2 + FP32) * rows * model.width
        return float(2 * 2 * tokens * model.width + chunk + 2 * slice_of_matrix)
    # Logits in bf16 and fp32 and their gradient; the matrix in bf16, one chunk's gradient of it in bf16 and fp32.
    rows = min(tokens, max(FEWEST_ROWS, CHUNK_BYTES // (FP32 * model.vocab)))
    return float(2 * FP32 * tokens * model.width + (2 + FP32 + 2) * rows * model.vocab + (2 + 2 + FP32) * matrix)
