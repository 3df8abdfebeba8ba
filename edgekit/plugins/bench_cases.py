"""What `edgekit plugins bench` measures: problems, their seeded numbers, and what is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit import reference
from edgekit.plugins import abi
from edgekit.plugins.bounds import Bound, attention_bound, recurrent_bound

Array = npt.NDArray[Any]

_NAMES = {abi.FLOAT32: "FP32", abi.FLOAT16: "FP16", abi.INT8: "INT8", abi.BFLOAT16: "BF16"}
_DTYPES = {abi.FLOAT32: np.float32, abi.FLOAT16: np.float16, abi.INT8: np.int8}
# Beyond this the kernel is wrong, and its time means nothing.
_MOST_ERROR = {abi.FLOAT32: 1e-5, abi.FLOAT16: 5e-3, abi.INT8: 5e-3}


class Memory(Protocol):
    """Device memory with contents."""

    def put(self, array: Array) -> int:
        """Copy an array to the device and return its address."""


@dataclass(frozen=True)
class Placed:
    """A problem on a device: `launch(stream)` enqueues it, its output lies at `address` and should be `wanted`."""

    launch: Callable[[int], None]
    address: int
    dtype: npt.DTypeLike
    wanted: Array


class Case(Protocol):
    """One problem: what it is called, how a device runs it, and itself in a device's memory."""

    @property
    def title(self) -> str:
        """Operator, sizes and type."""

    @property
    def most_error(self) -> float:
        """How far from its definition the output may be."""

    def refused(self, library: abi.Library, device: abi.Device) -> str:
        """Why the device cannot run it; empty when it can."""

    def plan(self, library: abi.Library, device: abi.Device) -> tuple[str, Bound]:
        """What will run, in words, and what it cannot go below."""

    def place(self, library: abi.Library, device: abi.Device, memory: Memory) -> Placed:
        """Copy its seeded inputs to the device."""


@dataclass(frozen=True)
class RecurrentCase:
    """An LSTM, GRU or RNN in one direction."""

    operator: type[abi.Recurrent]
    steps: int
    batch: int
    hidden: int
    weights: int

    @property
    def title(self) -> str:
        """Operator, sizes and type."""
        name, of = self.operator.__name__, _NAMES[self.weights]
        return f"{name} of {self.hidden} units in {of}, batch {self.batch}, {self.steps} steps"

    @property
    def most_error(self) -> float:
        """How far from its definition the output may be."""
        return _MOST_ERROR[self.weights]

    def problem(self) -> abi.Recurrent:
        """Its sizes, without any pointer."""
        problem = self.operator(steps=self.steps, batch=self.batch, hidden=self.hidden, weights=self.weights)
        if isinstance(problem, abi.GRU):
            problem.linear_before_reset = 1
        return problem

    def refused(self, library: abi.Library, device: abi.Device) -> str:
        """Why the device cannot run it; empty when it can."""
        return library.supported(self.problem(), device)

    def plan(self, library: abi.Library, device: abi.Device) -> tuple[str, Bound]:
        """What will run, in words, and what it cannot go below."""
        plan = library.plan(self.problem(), device)
        blocks = "one block a group" if plan.form == 0 else f"{plan.blocks_per_group} blocks a group"
        launches = f", {plan.launches} launches" if plan.launches > 1 else ""
        return f"{blocks} of {plan.threads_per_block} threads{launches}", recurrent_bound(self.problem(), plan)

    def place(self, library: abi.Library, device: abi.Device, memory: Memory) -> Placed:
        """Copy its seeded inputs to the device."""
        problem, op = self.problem(), self.seeded()
        wanted = _defined(op)
        problem.xproj, problem.r = memory.put(op.xproj), memory.put(op.r)
        problem.r_scale = None if op.r_scale is None else memory.put(op.r_scale)
        problem.y = memory.put(np.full(wanted.shape, np.nan, np.float32))
        size = library.plan(problem, device).workspace
        workspace = memory.put(np.zeros(size, np.uint8)) if size else None
        return Placed(
            lambda stream: library.launch(problem, device, workspace, stream), int(problem.y), np.float32, wanted
        )

    def seeded(self) -> reference.Recurrent:
        """Numbers as a trained network has them, always the same."""
        operators: dict[str, type[reference.Recurrent]] = {
            "lstm": reference.LSTM,
            "gru": reference.GRU,
            "rnn": reference.RNN,
        }
        operator = operators[self.operator.op]
        random, rows = np.random.default_rng(0), operator.gates * self.hidden
        r = random.normal(size=(1, rows, self.hidden)) / np.sqrt(self.hidden)
        scale = np.abs(r).max(axis=2) / 127 if self.weights == abi.INT8 else None
        return operator(
            xproj=random.normal(size=(self.steps, self.batch, 1, rows)).astype(np.float32),
            r=(r if scale is None else np.round(r / scale[..., None])).astype(_DTYPES[self.weights]),
            r_scale=None if scale is None else scale.astype(np.float32),
        )


def _defined(op: reference.Recurrent) -> Array:
    """y by the operator's definition."""
    if isinstance(op, reference.LSTM):
        return reference.lstm(op).y
    if isinstance(op, reference.GRU):
        return reference.gru(op).y
    assert isinstance(op, reference.RNN)
    return reference.rnn(op).y


@dataclass(frozen=True)
class AttentionCase:
    """Attention in FP16 of some queries over some keys, heads of 64."""

    heads: int
    queries: int
    keys: int

    @property
    def title(self) -> str:
        """Operator, sizes and type."""
        return f"attention in FP16, {self.heads} heads of 64, {self.queries} queries over {self.keys} keys"

    @property
    def most_error(self) -> float:
        """How far from its definition the output may be."""
        return _MOST_ERROR[abi.FLOAT16]

    def seeded(self) -> reference.Attention:
        """Always the same numbers of about 1."""
        random = np.random.default_rng(0)
        sizes = (self.queries, self.keys, self.keys)
        q, k, v = (random.normal(size=(1, self.heads, rows, 64)).astype(np.float16) for rows in sizes)
        return reference.Attention(q, k, v)

    def problem(self) -> abi.Attention:
        """Its sizes, without any pointer."""
        return abi.Attention(
            batch=1, heads=self.heads, kv_heads=self.heads, queries=self.queries, keys=self.keys, head_size=64,
            value_size=64, type=abi.FLOAT16, window_left=-1, window_right=-1, scale=1 / 8,
        )  # fmt: skip

    def refused(self, library: abi.Library, device: abi.Device) -> str:
        """Why the device cannot run it; empty when it can."""
        return library.supported(self.problem(), device)

    def plan(self, library: abi.Library, device: abi.Device) -> tuple[str, Bound]:
        """What will run, in words, and what it cannot go below."""
        tiling = library.plan(self.problem(), device)
        words = f"{tiling.tiles} tiles in {tiling.splits} parts, {tiling.threads_per_block} threads a block"
        better = ", TensorRT's own is expected to be faster" if tiling.tensorrt_is_better else ""
        return words + better, attention_bound(self.problem())

    def place(self, library: abi.Library, device: abi.Device, memory: Memory) -> Placed:
        """Copy its seeded inputs to the device."""
        problem, op = self.problem(), self.seeded()
        wanted = reference.attention(op).o
        problem.q, problem.k, problem.v = memory.put(op.q), memory.put(op.k), memory.put(op.v)
        problem.o = memory.put(np.full(wanted.shape, np.nan, np.float16))
        size = library.plan(problem, device).workspace
        workspace = memory.put(np.zeros(size, np.uint8)) if size else None
        return Placed(
            lambda stream: library.launch(problem, device, workspace, stream), int(problem.o), np.float16, wanted
        )


# From a wake-up word, and a detector of speech step by step, to an encoder; a prompt, and a word behind a thousand.
CASES: tuple[Case, ...] = (
    RecurrentCase(abi.LSTM, 100, 1, 64, abi.FLOAT16),
    RecurrentCase(abi.LSTM, 1, 1, 128, abi.FLOAT16),
    RecurrentCase(abi.LSTM, 160, 8, 128, abi.FLOAT16),
    RecurrentCase(abi.LSTM, 160, 8, 128, abi.INT8),
    RecurrentCase(abi.LSTM, 160, 1, 256, abi.FLOAT16),
    RecurrentCase(abi.LSTM, 160, 1, 256, abi.INT8),
    RecurrentCase(abi.LSTM, 160, 1, 512, abi.INT8),
    RecurrentCase(abi.LSTM, 160, 1, 128, abi.FLOAT32),
    RecurrentCase(abi.GRU, 160, 8, 128, abi.FLOAT16),
    RecurrentCase(abi.GRU, 160, 1, 256, abi.INT8),
    RecurrentCase(abi.RNN, 160, 8, 128, abi.FLOAT16),
    AttentionCase(12, 64, 64),
    AttentionCase(12, 1, 1024),
)
