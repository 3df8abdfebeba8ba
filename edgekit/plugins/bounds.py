"""What a kernel cannot go below on any device: bytes that have to move, operations, cycles of its shared memory.

These are computed from the problem and its plan, never measured. A measured time below one of them means that the
measurement is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.plugins import abi

_GATES, _ROWS = 4, 8
_BYTES = {abi.FLOAT32: 4, abi.FLOAT16: 2, abi.INT8: 1}
# A multiprocessor reads 32 banks of 4 bytes a cycle (CUDA C++ Programming Guide, "Shared Memory").
_SHARED_BYTES_PER_CYCLE = 128


@dataclass(frozen=True)
class Bound:
    """`bytes` of global memory and `flop` in all, and the `cycles` for which shared memory keeps a block busy."""

    bytes: int
    flop: int
    cycles: int

    def seconds(self, clock_hz: float, bytes_per_s: float) -> float:
        """The longest of what memory and shared memory take at these speeds."""
        return max(self.bytes / bytes_per_s, self.cycles / clock_hz)


def lstm_bound(problem: abi.LSTM, plan: abi.Plan) -> Bound:
    """Each weight is read once, xproj is read and y is written; then T steps, of which none can overlap the next.

    In a step, each warp reads h of eight rows of the batch, and a block of the second form also its weights.
    """
    directions = 2 if problem.direction == 2 else 1
    weights = directions * _GATES * problem.hidden**2
    rows = problem.steps * problem.batch * directions * problem.hidden
    return Bound(
        bytes=weights * _BYTES[problem.weights] + 4 * rows * (_GATES + 1),
        flop=2 * weights * problem.batch * problem.steps,
        cycles=plan.launches * problem.steps * _step_bytes(problem, plan) // _SHARED_BYTES_PER_CYCLE,
    )


def _step_bytes(problem: abi.LSTM, plan: abi.Plan) -> int:
    """What one block reads of its shared memory in a step."""
    tile = 16 if plan.form else 32
    inputs = -(-problem.hidden // tile) * tile
    warps = plan.threads_per_block // 32
    state = warps * _ROWS * inputs * (4 if problem.weights == abi.FLOAT32 else 2)
    weights = _GATES * 8 * warps * inputs * _BYTES[problem.weights] if plan.form else 0
    return int(state + weights)
