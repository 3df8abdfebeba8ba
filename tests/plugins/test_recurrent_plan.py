"""Which form of the LSTM runs where: plans for every SM, and refusals that say why."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.plugins import abi

SMS = (75, 80, 86, 87, 89, 90, 100, 110, 120, 121)
BYTES = {abi.FLOAT32: 4, abi.FLOAT16: 2, abi.INT8: 1}
# Jetson AGX Orin, Orin NX of 8 multiprocessors, RTX 3060, RTX 4090, H100.
AGX_ORIN, ORIN_NANO, RTX_3060, RTX_4090, H100 = (87, 16), (87, 8), (86, 28), (89, 128), (90, 132)


def problem(hidden: int, weights: int = abi.FLOAT16, batch: int = 1, direction: int = 0, **fields: float) -> abi.LSTM:
    return abi.LSTM(
        **{"steps": 10, "batch": batch, "hidden": hidden, "direction": direction, "weights": weights, **fields}
    )


@pytest.mark.parametrize("weights", BYTES)
@pytest.mark.parametrize("sm", SMS)
def test_small_problems_are_one_block_everywhere(emulator, sm, weights):
    most = 64 if weights == abi.FLOAT32 else 128
    plan = emulator.plan(problem(most, weights, batch=9, direction=2), emulator.device(sm, 1))
    assert (plan.form, plan.launches, plan.workspace) == (0, 1, 0)
    assert plan.groups == 4, "two directions of nine rows, eight at a time"
    assert plan.threads_per_block == 32 * most // 8, "a warp has eight units"


@pytest.mark.parametrize(
    ("hidden", "weights", "device", "fits"),
    [
        (512, abi.FLOAT16, AGX_ORIN, True),  # 2 MiB of 2.5
        (512, abi.FLOAT16, ORIN_NANO, False),
        (512, abi.INT8, ORIN_NANO, True),
        (512, abi.FLOAT16, RTX_3060, False),  # 28 blocks of at most 16 units
        (384, abi.FLOAT16, RTX_3060, True),
        (512, abi.FLOAT16, RTX_4090, True),
        (1024, abi.FLOAT16, AGX_ORIN, False),
        (1024, abi.INT8, RTX_4090, True),
        (1024, abi.FLOAT16, H100, True),
        (128, abi.FLOAT32, AGX_ORIN, True),
        (256, abi.FLOAT32, ORIN_NANO, True),
        (512, abi.FLOAT32, AGX_ORIN, False),
    ],
)
def test_what_fits_where(emulator, hidden, weights, device, fits):
    reason = emulator.supported(problem(hidden, weights), emulator.device(*device))
    assert bool(reason) != fits, reason
    if not fits:
        kib = 4 * hidden * hidden * BYTES[weights] // 1024
        assert reason.startswith(f"expected recurrent weights that fit on the chip, found {hidden} hidden units in ")
        assert f": {kib} KiB and the state" in reason
        assert f"{device[1]} multiprocessors of SM {device[0] // 10}.{device[0] % 10} hold" in reason
        with pytest.raises(abi.Unsupported, match="fit on the chip"):
            emulator.plan(problem(hidden, weights), emulator.device(*device))


def test_more_rows_than_fit_at_once_take_turns(emulator):
    """512 units of FP16 fill 14 of 16 multiprocessors or more: one group at a time."""
    plan = emulator.plan(problem(512, batch=9, direction=2), emulator.device(*AGX_ORIN))
    assert (plan.form, plan.groups, plan.groups_at_once, plan.launches) == (1, 4, 1, 4)


@example(hidden=129, weights=2, batch=1, direction=0, sm=80, multiprocessors=1)
@given(
    hidden=st.integers(1, 1500),
    weights=st.sampled_from(list(BYTES)),
    batch=st.integers(1, 70),
    direction=st.integers(0, 2),
    sm=st.sampled_from(SMS),
    multiprocessors=st.integers(1, 140),
)
def test_a_plan_keeps_to_the_limits(emulator, hidden, weights, batch, direction, sm, multiprocessors):
    """All blocks of a launch that wait for one another are there at once, and all units have a place."""
    device = emulator.device(sm, multiprocessors)
    try:
        plan = emulator.plan(problem(hidden, weights, batch, direction), device)
    except abi.Unsupported:
        # Blocks hold whole warps of units: where little more than one fits, half of the memory may stay free. And a
        # multiprocessor has registers for 512 threads, four of which hold a unit.
        too_large = 4 * hidden * hidden * BYTES[weights] > 0.5 * device.shared_per_block * multiprocessors
        assert too_large or hidden > multiprocessors * 512 // 4
        return
    assert plan.groups == math.ceil(batch / 8) * (2 if direction == 2 else 1)
    assert plan.groups_at_once * plan.launches >= plan.groups > plan.groups_at_once * (plan.launches - 1)
    assert plan.blocks_per_group * plan.threads_per_block // 4 >= hidden
    assert plan.threads_per_block <= (512 if plan.form else 1024)
    assert plan.shared_per_block <= device.shared_per_block
    if plan.form:
        weights_of_block = plan.threads_per_block * math.ceil(hidden / 16) * 16 * BYTES[weights]
        assert plan.shared_per_block > weights_of_block
        by_shared = device.shared_per_multiprocessor // (plan.shared_per_block + 1024)
        by_threads = min(device.threads_per_multiprocessor, 512) // plan.threads_per_block
        assert plan.groups_at_once * plan.blocks_per_group <= multiprocessors * min(by_shared, by_threads)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": 0}, "expected steps of at least 1, found 0"),
        ({"batch": 0}, "expected batch of at least 1, found 0"),
        ({"hidden": -1}, "expected hidden of at least 1, found -1"),
        ({"direction": 3}, "expected direction 0 .* found 3"),
        ({"weights": 3}, "expected weights 0 .* found 3"),
        ({"clip": -1.0}, "expected a clip of 0"),
        ({"clip": math.nan}, "expected a clip of 0"),
    ],
)
def test_a_malformed_problem_is_one_line(emulator, fields, says):
    with pytest.raises(EdgekitError, match=says) as error:
        emulator.plan(abi.LSTM(**{"steps": 1, "batch": 1, "hidden": 1, **fields}), emulator.device(87, 16))
    assert not isinstance(error.value, abi.Unsupported)
    assert "\n" not in str(error.value)


def test_an_unknown_device_is_one_line(emulator):
    with pytest.raises(EdgekitError, match="found SM 72"):
        emulator.device(72, 8)
    with pytest.raises(EdgekitError, match="at least 1 multiprocessor, found SM 87 and 0"):
        emulator.device(87, 0)


@pytest.mark.parametrize("missing", ["xproj", "r", "y", "r_scale"])
def test_a_missing_pointer_is_one_line(emulator, missing):
    pointers = {name: 4096 for name in ("xproj", "r", "y", "r_scale") if name != missing}
    with pytest.raises(EdgekitError, match=f"expected a pointer for {missing}.*, found NULL"):
        emulator.launch(problem(8, abi.INT8, **pointers), emulator.device(87, 16), None)


def test_a_launch_of_many_blocks_needs_its_workspace(emulator):
    pointers = dict.fromkeys(("xproj", "r", "y"), 4096)
    with pytest.raises(EdgekitError, match="expected a pointer for the workspace, found NULL"):
        emulator.launch(problem(256, **pointers), emulator.device(87, 16), None)


def test_the_emulator_is_no_gpu(emulator):
    with pytest.raises(EdgekitError, match="expected a GPU, found the emulator"):
        emulator.current_device()
