"""A model's weights in the order in which one C++ call reads them, in fp32, bf16, int8 or int4.

The call is a whole forward pass over a paged cache (`ensue/core/kernels/inference.cpp`), for models it knows:
attention to all, to a band or to the own block, and a width that is a multiple of 64. `GPT.forward` is its slow twin.

Legend: O outputs, K inputs, V vocabulary, W width, C context, D head width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ensue.core.native import INFERENCE, Kernels, kernels, why_no_kernels
from ensue.generate.engine.groups import Group, groups_of
from ensue.generate.engine.pages import PAGE
from ensue.generate.packing import BLOCK, Precision, interleaved, pack
from ensue.generate.screen import Greatest, Screen
from ensue.model.attention import Attention
from ensue.model.block import MLP, Block, GatedMLP
from ensue.model.config import GPTConfig
from ensue.model.gpt import GPT
from ensue.model.norm import LayerNorm, Norm
from ensue.model.patterns import Band, Blocks, Columns, Pattern, TwoWay
from ensue.model.rotary import rotation_of

KINDS: dict[Precision, int] = {"fp32": 0, "bf16": 1, "int8": 2, "int4": 3}
WIDEST_HEAD = 256
NO_WINDOW = 1 << 40


class _Norm(ctypes.Structure):
    _fields_ = (("gain", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_long),
        ("outputs", ctypes.c_long),
    )


class _Screen(ctypes.Structure):
    _fields_ = (("coarse", _Matrix), ("slack", ctypes.c_void_p))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("attention_norm", _Norm),
        ("mlp_norm", _Norm),
        ("qkv", _Matrix),
        ("out", _Matrix),
        ("up", _Matrix),
        ("down", _Matrix),
        ("query_gain", ctypes.c_void_p),
        ("key_gain", ctypes.c_void_p),
        ("window", ctypes.c_long),
        ("block", ctypes.c_long),
        ("group", ctypes.c_long),
        ("place", ctypes.c_long),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("kind", "layers", "width", "heads", "head_width", "hidden", "vocab")),
        *((name, ctypes.c_bool) for name in ("norm_first", "centred", "gated")),
        ("epsilon", ctypes.c_float),
        ("scale", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in ("tokens", "positions", "cosines", "sines")),
        ("final_norm", _Norm),
        ("head", _Matrix),
        ("screen", _Screen),
        ("layer", ctypes.POINTER(_Layer)),
    )


class _Pass(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in ("count", "wanted", "table")),
        *((name, ctypes.c_void_p) for name in ("ids", "places", "requests", "which")),
        ("tables", ctypes.POINTER(ctypes.c_void_p)),
        ("caches", ctypes.POINTER(ctypes.c_void_p)),
        ("pages", ctypes.POINTER(ctypes.c_long)),
        ("states", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("greatest", ctypes.c_void_p),
        ("among", ctypes.c_long),
        ("read", ctypes.POINTER(ctypes.c_long)),
    )


def why_not_packed(config: GPTConfig) -> str | None:
    """Why a model cannot be packed here, in words that follow "PyTorch computes each pass: "; None where it can."""
    reason = why_no_kernels(INFERENCE)
    if reason is not None:
        return str(reason)
    if config.width % BLOCK:
        return f"its width of {config.width} is no multiple of {BLOCK}"
    if config.head_width % 16 or config.head_width > WIDEST_HEAD:
        return f"its heads are {config.head_width} wide, no multiple of 16 up to {WIDEST_HEAD}"
    others = {type(pattern).__name__ for pattern in config.patterns if _run_of(pattern) is None}
    return f"it has {' and '.join(sorted(others))} attention" if others else None


@dataclass
class PackedModel:
    """Packed weights, ready to be run. Keep it: the C++ side reads its tensors in place."""

    config: GPTConfig
    precision: Precision
    kernels: Kernels
    _held: list[object] = field(default_factory=list)
    _model: _Model = field(default_factory=_Model)
    _screen: Screen | None = None

    @classmethod
    def of(cls, model: GPT, precision: Precision) -> PackedModel:
        """Pack `model`, which is not changed. Raises ValueError where it cannot be; see `why_not_packed`."""
        reason = why_not_packed(model.config)
        found = kernels(INFERENCE)
        if reason is not None or found is None:
            raise ValueError(f"this model cannot be packed: {reason}.")
        packed = cls(model.config, precision, found)
        packed._fill(model)
        return packed

    @property
    def groups(self) -> tuple[Group, ...]:
        """The layers whose keys and values lie together."""
        return groups_of(self.config)

    @property
    def bytes(self) -> int:
        """Memory of the packed weights."""
        return sum(held.nbytes for held in self._held if isinstance(held, Tensor))

    def bytes_read(self, *, greatest: bool) -> int:
        """Weights that one pass reads, however few its tokens: for all logits, or for the greatest alone.

        Of the embedding table, and of the outputs that may be the greatest, it reads next to nothing.
        """
        either = self._head_bytes if greatest and self._screen else self._screen_bytes
        return self.bytes - self._table_bytes - either

    def new_caches(self, pages: Sequence[int]) -> list[Tensor]:
        """Zeroed keys and values of each group of layers in so many pages: (N, 2, pages, H, 16 x D) each."""
        config = self.config
        dtype = torch.float32 if self.precision == "fp32" else torch.bfloat16
        return [
            torch.zeros(len(group.layers), 2, count, config.heads, PAGE * config.head_width, dtype=dtype)
            for group, count in zip(self.groups, pages, strict=True)
        ]

    def run(
        self,
        ids: Sequence[int],
        places: Sequence[int],
        requests: Sequence[int],
        *,
        tables: Sequence[Tensor],
        caches: Sequence[Tensor],
        wanted: Sequence[int],
        logits: bool = True,
        greatest: Greatest | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Add tokens to the caches; the (Q, W) final states and (Q, V) logits of those that are `wanted`.

        Token i has the id `ids[i]` and stands at `places[i]` of request `requests[i]`, whose pages in each group are
        the row of its table (R, P) int32. Tokens of one request are in order, and all that they see of those before
        them is in the caches or in the pass. Logits that are not among those asked for may be -inf.
        """
        assert all(table.dtype == torch.int32 and table.is_contiguous() for table in tables)
        assert max(places) < self.config.context
        count = len(ids)
        counts = self._screen.counts(greatest) if self._screen and logits else ()
        numbers = torch.tensor([*ids, *places, *requests, *wanted, *counts], dtype=torch.int32)
        states = torch.empty(len(wanted), self.config.width)
        scores = torch.empty(len(wanted), self.config.vocab) if logits else None
        at = numbers.data_ptr()
        step = 4 * count
        groups, read = len(self.groups), ctypes.c_long()
        given = _Pass(
            *(count, len(wanted), tables[0].shape[1]),
            *(at, at + step, at + 2 * step, at + 3 * step),
            (ctypes.c_void_p * groups)(*(table.data_ptr() for table in tables)),
            (ctypes.c_void_p * groups)(*(cache.data_ptr() for cache in caches)),
            (ctypes.c_long * groups)(*(cache.shape[2] for cache in caches)),
            *(states.data_ptr(), None if scores is None else scores.data_ptr()),
            at + 3 * step + 4 * len(wanted) if counts else None,
            greatest.among if greatest else 0,
            ctypes.pointer(read),
        )
        self.kernels.call("inference_pass", self._model, given)
        if self._screen and counts:
            self._screen.learn(read.value, len(wanted))
        return states, scores

    def _fill(self, model: GPT) -> None:
        config, given = model.config, self._model
        table_dtype = torch.float32 if self.precision == "fp32" else torch.bfloat16
        given.kind, given.layers, given.width = KINDS[self.precision], config.layers, config.width
        given.heads, given.head_width, given.hidden = config.heads, config.head_width, _whole(config.hidden)
        given.vocab = config.vocab
        given.norm_first, given.centred = config.norm_place == "pre", config.norm == "layer"
        given.gated, given.epsilon = config.mlp == "swiglu", config.norm_epsilon
        given.scale = config.attention_scale if config.attention_scale is not None else config.head_width**-0.5
        given.tokens = self._keep(model.token_embedding.weight.detach().to(table_dtype))
        self._table_bytes = self.bytes
        if model.position_embedding is not None:
            given.positions = self._keep(model.position_embedding.weight.detach().to(table_dtype))
        else:
            angles = rotation_of(torch.arange(config.context)[None], config.head_width, config.rotary_base)
            given.cosines, given.sines = (self._keep(table[0, 0]) for table in angles)
        given.final_norm = self._norm(model.final_norm)
        before = self.bytes
        given.head = self._matrix(model.head_weight, None, "int8" if self.precision == "int4" else self.precision)
        self._head_bytes, self._screen_bytes = self.bytes - before, 0
        if self.precision in ("fp32", "bf16"):
            given.screen = self._screened(model.head_weight)
        layers = (_Layer * config.layers)()
        where = {layer: (g, place) for g, group in enumerate(self.groups) for place, layer in enumerate(group.layers)}
        for place, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            layers[place] = self._layer(block, config.pattern(place), *where[place])
        self._held.append(layers)
        given.layer = layers

    def _layer(self, block: Block, pattern: Pattern, group: int, place: int) -> _Layer:
        attention, mlp = block.attention, block.mlp
        gains = [None if norm is None else self._keep(norm.weight.detach().float()) for norm in _head_norms(attention)]
        run = _run_of(pattern)
        assert run is not None
        return _Layer(
            self._norm(block.attention_norm),
            self._norm(block.mlp_norm),
            *(self._matrix(linear.weight, linear.bias) for linear in (attention.qkv, attention.out)),
            self._into_hidden(mlp),
            self._matrix(F.pad(mlp.down.weight, (0, -mlp.down.in_features % BLOCK)), mlp.down.bias),
            *gains,
            *run,
            group,
            place,
        )

    def _into_hidden(self, mlp: MLP | GatedMLP) -> _Matrix:
        """What comes before `down`, hidden units in whole blocks: those that are no model's are 0, and count for
        nothing."""
        linear, parts = (mlp.up, 1) if isinstance(mlp, MLP) else (mlp.gate_up, 2)
        weights = linear.weight.chunk(parts)
        spare = -len(weights[0]) % BLOCK
        bias = None if linear.bias is None else torch.cat([F.pad(b, (0, spare)) for b in linear.bias.chunk(parts)])
        return self._matrix(torch.cat([F.pad(weight, (0, 0, 0, spare)) for weight in weights]), bias)

    def _matrix(self, weight: Tensor, bias: Tensor | None, precision: Precision | None = None) -> _Matrix:
        outputs, inputs = weight.shape
        values, scales = pack(weight.detach().float(), precision or self.precision)
        return _Matrix(
            self._keep(values),
            None if scales is None else self._keep(scales),
            None if bias is None else self._keep(bias.detach().float()),
            inputs,
            outputs,
        )

    def _screened(self, head: Tensor) -> _Screen:
        before = self.bytes
        exact = head.detach().to(torch.bfloat16 if self.precision == "bf16" else torch.float32).float()
        screen = self._screen = Screen(exact)
        outputs, inputs = exact.shape
        spare = -outputs % BLOCK
        scales, slack = (F.pad(values, (0, spare)) for values in (screen.scales, screen.slack))
        weights = self._keep(interleaved(F.pad(screen.whole, (0, 0, 0, spare))))
        found = _Screen(_Matrix(weights, self._keep(scales), None, inputs, outputs), self._keep(slack))
        self._screen_bytes = self.bytes - before
        return found

    def _norm(self, norm: Norm | None) -> _Norm:
        if norm is None:
            return _Norm(None, None)
        bias = self._keep(norm.bias.detach().float()) if isinstance(norm, LayerNorm) else None
        return _Norm(self._keep(norm.weight.detach().float()), bias)

    def _keep(self, tensor: Tensor) -> int:
        tensor = tensor.contiguous()
        self._held.append(tensor)
        return tensor.data_ptr()


def _whole(width: int) -> int:
    return -(-width // BLOCK) * BLOCK


def _head_norms(attention: Attention) -> tuple[Norm | None, Norm | None]:
    return attention.query_norm, attention.key_norm


def _run_of(pattern: Pattern) -> tuple[int, int] | None:
    """How many positions a query sees, and the size of the blocks of which it sees its own, 0 for none; None where it
    sees more than the one run of positions that ends with it."""
    match () if isinstance(pattern, TwoWay) else pattern.parts:
        case (Band(reach),):
            return reach, 0
        case (Blocks(stride),):
            return NO_WINDOW, stride
        case (Columns(1, 0),):
            return NO_WINDOW, 0
    return None
