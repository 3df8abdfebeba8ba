"""Would edgekit's kernels run a problem on a device, and as how many blocks? Asked of the library's launch plans."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import EdgekitError
from edgekit.plugins import abi
from edgekit.plugins.building import build_emulator, find_library

_PROBLEMS: dict[str, type[abi.LSTM] | type[abi.GRU] | type[abi.RNN]] = {
    "LSTM": abi.LSTM,
    "GRU": abi.GRU,
    "RNN": abi.RNN,
}
WEIGHTS = {"fp32": abi.FLOAT32, "fp16": abi.FLOAT16, "int8": abi.INT8}


@dataclass(frozen=True)
class Size:
    """A recurrence: `op` is LSTM, GRU or RNN, `weights` fp32, fp16 or int8; T `steps` of N `batch`, H `hidden`."""

    op: str
    steps: int
    batch: int
    hidden: int
    directions: int
    weights: str
    linear_before_reset: bool = True


@dataclass(frozen=True)
class Coverage:
    """`reason` says why it does not run; else `blocks` is how many thread blocks (CTAs) share one group of rows, and
    `groups` how many such groups there are. `known` is False where no launch plan could be asked."""

    known: bool
    reason: str = ""
    blocks: int = 0
    groups: int = 0

    @property
    def covers(self) -> bool:
        """Whether it runs."""
        return self.known and not self.reason


def library_for_plans() -> abi.Library:
    """A library whose plans can be asked: one that is built, else the emulator, built now with g++ (a minute, once).

    Raises TargetError or BuildError where there is none and none can be built.
    """
    found = find_library("plugins") or find_library("emulator")
    return abi.Library(found or build_emulator())


@dataclass(frozen=True)
class Place:
    """Where it would run: `sm` is the compute capability times ten, `library` has the launch plans."""

    library: abi.Library
    sm: int
    multiprocessors: int


def recurrent_coverage(size: Size, place: Place) -> Coverage:
    """Ask the plan of a recurrence for a device such as SM 87 with 16 multiprocessors."""
    problem = _PROBLEMS[size.op](
        steps=size.steps,
        batch=size.batch,
        hidden=size.hidden,
        direction=2 if size.directions == 2 else 0,
        weights=WEIGHTS[size.weights],
    )
    if isinstance(problem, abi.GRU):
        problem.linear_before_reset = size.linear_before_reset
    try:
        plan = place.library.plan(problem, place.library.device(place.sm, place.multiprocessors))
    except EdgekitError as error:
        return Coverage(True, error.problem)
    return Coverage(True, "", plan.blocks_per_group, plan.groups)
