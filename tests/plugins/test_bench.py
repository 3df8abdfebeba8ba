"""The bench of the kernels: bounds by hand, plans in words, and numbers that are checked before they are timed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from edgekit.cli import main
from edgekit.errors import EdgekitError
from edgekit.plugins import abi
from edgekit.plugins.bench import rows
from edgekit.plugins.bench_cases import CASES
from edgekit.plugins.bounds import attention_bound, recurrent_bound


class Pretender:
    """The emulator's memory, and a clock that says what it likes: no time of it is one."""

    name, stream = "no GPU", 0

    def __init__(self, emulator, wrong: bool = False) -> None:
        self._handle, self._wrong = emulator.handle, wrong

    def put(self, array: np.ndarray) -> int:
        address = self._handle.ek_emu_alloc(array.nbytes)
        ctypes.memmove(address, np.ascontiguousarray(array).ctypes.data, array.nbytes)
        return address

    def get(self, address: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        found = np.empty(shape, dtype)
        ctypes.memmove(found.ctypes.data, address, found.nbytes)
        return found * dtype(1.1) if self._wrong else found

    def times_ms(self, call: Callable[[], None], runs: int) -> list[float]:
        return [100.0] * 10 + [float(number) for number in range(runs - 10)]


def test_the_bound_by_hand(emulator):
    """2 directions, 3 steps of 5 rows, 128 units: INT8 weights once, xproj and y in FP32; 16 warps read h each step."""
    problem = abi.LSTM(steps=3, batch=5, hidden=128, direction=2, weights=abi.INT8)
    bound = recurrent_bound(problem, emulator.plan(problem, emulator.device(87, 16)))
    assert bound.bytes == 2 * 4 * 128 * 128 + 4 * 3 * 5 * 2 * 128 * 5
    assert bound.flop == 2 * (2 * 4 * 128 * 128) * 5 * 3
    assert bound.cycles == 3 * 16 * (8 * 128 * 2) // 128
    assert bound.seconds(1e9, 1e9) == bound.bytes / 1e9


def test_a_block_of_many_reads_its_weights_too(emulator):
    problem = abi.LSTM(steps=10, batch=1, hidden=256, weights=abi.FLOAT16)
    plan = emulator.plan(problem, emulator.device(87, 16))
    units = plan.threads_per_block // 4
    step = units // 8 * 8 * 256 * 2 + 4 * units * 256 * 2
    assert recurrent_bound(problem, plan).cycles == 10 * step // 128
    assert recurrent_bound(problem, plan).seconds(1e9, 1e12) == 10 * step // 128 / 1e9


def test_without_a_gpu_nothing_was_run(emulator):
    made = list(rows(emulator, emulator.device(87, 8)))
    assert len(made) == len(CASES)
    assert all("not run; " in str(row) and row.p50_ms is None for row in made)
    assert "one block a group of 256 threads; bound: " in str(made[0])
    assert "blocks a group of" in str(made[4])
    assert "12 heads of 64, 1 queries over 1024 keys: not run; " in str(made[-1])


def test_what_a_device_cannot_run_says_why(emulator):
    (row,) = (row for row in rows(emulator, emulator.device(75, 2)) if row.bound is None and "512 units" in row.title)
    assert "expected recurrent weights that fit on the chip, found 512 hidden units in INT8" in str(row)


@pytest.mark.slow  # a thousand steps of the kernels on a CPU, each beside its definition
def test_times_follow_right_numbers(emulator):
    made = [row for row in rows(emulator, emulator.device(87, 16), Pretender(emulator)) if row.bound]
    assert {(row.p50_ms, row.p99_ms) for row in made} == {(49.5, 99.0)}, "the warm-up does not count"


def test_wrong_numbers_are_not_timed(emulator):
    with pytest.raises(EdgekitError, match="expected LSTM of 64 units in FP16, batch 1, 100 steps as defined"):
        list(rows(emulator, emulator.device(87, 16), Pretender(emulator, wrong=True)))


def test_the_command_shows_what_would_run(capsys, monkeypatch, emulator):
    monkeypatch.setattr("edgekit.plugins.bench.find_library", lambda kind, workshop: emulator.path)
    refused = "Orin", "8²:16", "87:1⑥", "٨٧:16", "87:8:8", f"{2**32 + 87}:16", f"87:{'9' * 5000}"
    wrong = ((device, 2, f"expected --device SM:MULTIPROCESSORS, found {device!r}") for device in refused)
    for device, code, says in (("87:8", 0, "not run; "), *wrong):
        with pytest.raises(SystemExit) as exit_info:
            main(["plugins", "bench", "--device", device])
        said = capsys.readouterr()
        assert int(exit_info.value.code or 0) == code
        assert (said.out or said.err).count(says) == (len(CASES) if code == 0 else 1)


def test_the_bound_of_attention_by_hand():
    """FP16, 2 rows, 4 heads on 2: 3 queries and as many new keys behind 5 of a cache that is copied, heads of 8."""
    sizes = {"batch": 2, "heads": 4, "kv_heads": 2, "queries": 3, "keys": 3, "past": 5, "head_size": 8, "value_size": 8}
    problem = abi.Attention(**sizes, type=abi.FLOAT16, causal=1, window_left=-1, window_right=-1, past_k=1)
    bound = attention_bound(problem)
    read_and_written = 2 * 4 * 3 * 16 + 2 * 2 * 8 * 16
    assert bound.bytes == 2 * (read_and_written + 2 * 2 * 8 * 16), "the cache is written again"
    assert bound.flop == 2 * (2 * 4) * (6 + 7 + 8) * 16, "each query sees what is before it, and itself"
    problem.window_left = 1
    assert attention_bound(problem).flop == 2 * (2 * 4) * (2 + 2 + 2) * 16


def test_in_place_only_the_new_keys_are_written():
    sizes = {"batch": 1, "heads": 1, "kv_heads": 1, "queries": 1, "keys": 1, "head_size": 4, "value_size": 4}
    problem = abi.Attention(**sizes, capacity=16, window_left=-1, window_right=-1, present_k=1)
    assert attention_bound(problem).bytes == 4 * (8 + 16 * 8 + 8)
