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
# An address for what a plan only asks to be there.
_SOMEWHERE = 16
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


@dataclass(frozen=True)
class AttentionSize:
    """An attention: `dtype` is fp32, fp16 or bf16; N batch, S_q `queries`, S_kv new `keys`, P `past` ones, which only
    matter where it `has_cache`."""

    dtype: str
    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    past: int
    head_size: int
    value_size: int
    causal: bool
    has_cache: bool


_TYPES = {"fp32": abi.FLOAT32, "fp16": abi.FLOAT16, "bf16": abi.BFLOAT16}


def attention_reason(size: AttentionSize, place: Place) -> str:
    """Why edgekit's kernel does not run it there, or had better not; empty where it does. Raises nothing.

    The launch plan expects TensorRT's own fused attention to be faster for a long prompt without a cache; that is an
    expectation, not a measurement.
    """
    if size.dtype not in _TYPES:
        return f"edgekit's kernel has no {size.dtype}"
    problem = abi.Attention(
        batch=size.batch,
        heads=size.heads,
        kv_heads=size.kv_heads,
        queries=size.queries,
        keys=size.keys,
        past=size.past,
        head_size=size.head_size,
        value_size=size.value_size,
        type=_TYPES[size.dtype],
        causal=size.causal,
        window_left=-1,
        window_right=-1,
        scale=1.0,
        present_k=_SOMEWHERE if size.has_cache else None,
        present_v=_SOMEWHERE if size.has_cache else None,
        past_k=_SOMEWHERE if size.past else None,
        past_v=_SOMEWHERE if size.past else None,
    )
    try:
        tiling = place.library.plan(problem, place.library.device(place.sm, place.multiprocessors))
    except EdgekitError as error:
        return error.problem
    return "TensorRT's own fused attention is expected to be faster" if tiling.tensorrt_is_better else ""
