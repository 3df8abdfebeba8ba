"""EdgekitAttention on the emulator, from NumPy arrays."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit import reference
from edgekit.plugins import abi
from edgekit.plugins.emulator import DeviceMemory, Emulator

Array = npt.NDArray[Any]

# The types of q, k, v, o and the cache, by name; BF16 lies in memory as the upper half of FP32.
TYPES = {"FP32": abi.FLOAT32, "FP16": abi.FLOAT16, "BF16": abi.BFLOAT16}
_STORED = {"FP32": np.float32, "FP16": np.float16, "BF16": np.uint16}


@dataclass(frozen=True)
class How:
    """In which numbers: a key of TYPES, for the bias too or that in FP32; `capacity` of a cache in place, 0 for copies.

    BF16 arrays go in and come out as FP32, rounded on the way in.
    """

    type: str = "FP32"
    narrow_bias: bool = False
    capacity: int = 0


def attention(emulator: Emulator, op: reference.Attention, how: How = How()) -> reference.AttentionOutputs:
    """Run EdgekitAttention on the emulator; raises as `launch` does.

    In place, present_k and present_v are the whole cache, NaN where nothing is.
    """
    batch, heads, queries, _ = op.q.shape
    with emulator.memory() as memory:
        problem = problem_of(op, how)
        caches, cache_shapes = _put_arrays(memory, problem, op, how)
        shape = (batch, heads, queries, op.v.shape[3])
        problem.o = memory.allocate(int(np.prod(shape)) * np.dtype(_STORED[how.type]).itemsize)
        workspace = memory.allocate(emulator.plan(problem, emulator.chosen).workspace)
        emulator.launch(problem, emulator.chosen, workspace)
        o = _get(memory, problem.o, shape, how.type)
        presents = [_get(memory, *pair, how.type) for pair in zip(caches, cache_shapes, strict=True)]
        return reference.AttentionOutputs(o, *presents or (None, None))


def problem_of(op: reference.Attention, how: How = How()) -> abi.Attention:
    """Its sizes and attributes, without any pointer."""
    batch, heads, queries, size = op.q.shape
    return abi.Attention(
        batch, heads, op.k.shape[1], queries, op.k.shape[2], 0 if how.capacity else op.past, how.capacity,
        size, op.v.shape[3], TYPES[how.type], TYPES[how.type] if how.narrow_bias else abi.FLOAT32,
        int(op.causal), int(op.at_end), op.window_left, op.window_right, op.scaling, op.softcap,
    )  # fmt: skip


def _put_arrays(
    memory: DeviceMemory, problem: abi.Attention, op: reference.Attention, how: How
) -> tuple[list[int | None], list[tuple[int, ...]]]:
    """Copy the inputs to the device; returns the addresses and shapes of the cache's two arrays, if there is one."""

    def put(array: Array | None, type_name: str = how.type) -> int | None:
        return None if array is None else memory.put(stored(array, type_name), _STORED[type_name])

    problem.q, problem.k, problem.v = put(op.q), put(op.k), put(op.v)
    problem.key_lengths = memory.put(op.key_lengths, np.int32)
    if op.bias is not None:
        problem.bias = put(op.bias, how.type if how.narrow_bias else "FP32")
        problem.bias_strides = _strides(op.bias)
    if op.past_k is None or op.past_v is None:
        return [], []
    rows = how.capacity or op.past + op.k.shape[2]
    shapes = [(*new.shape[:2], rows, new.shape[3]) for new in (op.k, op.v)]
    if how.capacity:
        problem.past_length = memory.put(np.array([op.past]), np.int32)
        nothing = (np.full((*s[:2], rows - op.past, s[3]), np.nan, np.float32) for s in shapes)
        caches = [put(np.concatenate([past, n], 2)) for past, n in zip((op.past_k, op.past_v), nothing, strict=True)]
    else:
        problem.past_k, problem.past_v = put(op.past_k), put(op.past_v)
        size = np.dtype(_STORED[how.type]).itemsize
        caches = [memory.allocate(int(np.prod(shape)) * size) for shape in shapes]
    problem.present_k, problem.present_v = caches
    return caches, shapes


def stored(array: Array, type_name: str) -> Array:
    """Numbers as memory has them in this type: BF16 as uint16, rounded to nearest even."""
    if type_name != "BF16":
        return array.astype(_STORED[type_name])
    bits = array.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(array), np.uint16(0x7FFF), rounded)


def widened(array: Array, type_name: str) -> Array:
    """What memory has as numbers: BF16 as FP32."""
    return (array.astype(np.uint32) << 16).view(np.float32) if type_name == "BF16" else array


def _get(memory: DeviceMemory, address: int | None, shape: tuple[int, ...], type_name: str) -> Array:
    return widened(memory.get(address, shape, _STORED[type_name]), type_name)


def _strides(bias: Array) -> Any:
    """Of [N,h,S_q,S_total] in elements, 0 where the array has one element or no axis."""
    shape = (1,) * (4 - bias.ndim) + bias.shape
    steps = [int(np.prod(shape[axis + 1 :])) for axis in range(4)]
    return (ctypes.c_longlong * 4)(*(step if size > 1 else 0 for step, size in zip(steps, shape, strict=True)))
