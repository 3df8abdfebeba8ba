"""What a kernel cannot go below on any device: bytes that have to move, operations, cycles of its shared memory.

These are computed from the problem and its plan, never measured. A measured time below one of them means that the
measurement is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.plugins import abi

_GATES, _ROWS = {"lstm": 4, "gru": 3, "rnn": 1}, 8
_BYTES = {abi.FLOAT32: 4, abi.FLOAT16: 2, abi.INT8: 1}
# A multiprocessor reads 32 banks of 4 bytes a cycle (CUDA C++ Programming Guide, "Shared Memory").
_SHARED_BYTES_PER_CYCLE = 128


@dataclass(frozen=True)
class Bound:
    """`bytes` of global memory and `flop` in all, and the `cycles` for which shared memory keeps a block busy."""

    bytes: int
    flop: int
    cycles: int

    def __str__(self) -> str:
        cycles = f", {self.cycles} cycles" if self.cycles else ""
        return f"{self.bytes} bytes, {self.flop} flop{cycles}"

    def seconds(self, clock_hz: float, bytes_per_s: float) -> float:
        """The longest of what memory and shared memory take at these speeds."""
        return max(self.bytes / bytes_per_s, self.cycles / clock_hz)


def recurrent_bound(problem: abi.Recurrent, plan: abi.Plan) -> Bound:
    """Each weight is read once, xproj is read and y is written; then T steps, of which none can overlap the next.

    In a step, each warp reads h of eight rows of the batch, and a block of the second form also its weights.
    """
    gates, directions = _GATES[problem.op], 2 if problem.direction == 2 else 1
    weights = directions * gates * problem.hidden**2
    rows = problem.steps * problem.batch * directions * problem.hidden
    return Bound(
        bytes=weights * _BYTES[problem.weights] + 4 * rows * (gates + 1),
        flop=2 * weights * problem.batch * problem.steps,
        cycles=plan.launches * problem.steps * _step_bytes(problem, plan) // _SHARED_BYTES_PER_CYCLE,
    )


def _step_bytes(problem: abi.Recurrent, plan: abi.Plan) -> int:
    """What one block reads of its shared memory in a step."""
    tile = 16 if plan.form else 32
    inputs = -(-problem.hidden // tile) * tile
    warps = plan.threads_per_block // 32
    state = warps * _ROWS * inputs * (4 if problem.weights == abi.FLOAT32 else 2)
    weights = _GATES[problem.op] * 8 * warps * inputs * _BYTES[problem.weights] if plan.form else 0
    return int(state + weights)


def attention_bound(problem: abi.Attention) -> Bound:
    """q, k and v are read once and o is written; of the products only what a mask by position leaves.

    The cache counts where it is copied. Shared memory keeps no block as busy as the tensor cores are: no cycles.
    """
    keys = problem.keys + (problem.capacity - problem.keys if problem.capacity else problem.past)
    size = 4 if problem.type == abi.FLOAT32 else 2
    both = problem.head_size + problem.value_size
    rows = problem.batch * problem.heads * problem.queries
    moved = rows * both + problem.batch * problem.kv_heads * keys * both
    if problem.past_k or problem.present_k:
        moved += problem.batch * problem.kv_heads * (problem.keys if problem.capacity else keys) * both
    return Bound(
        bytes=size * moved,
        flop=2 * problem.batch * problem.heads * _live_pairs(problem, keys) * both,
        cycles=0,
    )


def _live_pairs(problem: abi.Attention, keys: int) -> int:
    """How many keys all queries see together, by causality and windows alone."""
    offset = keys - problem.keys
    pairs = 0
    for query in range(problem.queries):
        position = offset + query
        last = position if problem.causal else keys - 1
        if problem.window_right >= 0:
            last = min(last, position + problem.window_right)
        first = position - problem.window_left if problem.window_left >= 0 else 0
        pairs += max(0, min(last, keys - 1) - max(first, 0) + 1)
    return pairs
