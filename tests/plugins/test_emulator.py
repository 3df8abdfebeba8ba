"""The CPU emulator: its numbers against NumPy, its schedules, and the one line that it says about each fault."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator

import numpy as np
import pytest

from tests.plugins.toys import fault, library, line, result, run, toy

SCHEDULES = ((0, 0), (1, 0), (2, 1), (2, 2), (2, 3))
TOYS = ("neighbours", "copies", "blocks", "tiles")
LANES = np.arange(32)


@pytest.fixture(scope="module")
def probe() -> Iterator[ctypes.CDLL]:
    probe = ctypes.CDLL(str(library("probe")))
    for name in ("probe_lanes", "probe_indices", "probe_shared"):
        getattr(probe, name).restype = ctypes.c_char_p
    probe.ek_emu_alloc.restype = ctypes.c_void_p
    probe.ek_emu_alloc.argtypes = [ctypes.c_size_t]
    probe.ek_emu_free.argtypes = [ctypes.c_void_p]
    yield probe
    probe.ek_emu_sm(87)
    probe.ek_emu_schedule(0, 0)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def lanes(probe: ctypes.CDLL, what: int, kind: int, **arrays: np.ndarray) -> np.ndarray:
    """Run one warp of the probe: `a` u32 [32,4], `b` u32 [32,2], `rows` i32 [32]; returns `out` u32 [32,4]."""
    a = np.ascontiguousarray(arrays.get("a", np.zeros((32, 4))), np.uint32)
    b = np.ascontiguousarray(arrays.get("b", np.zeros((32, 2))), np.uint32)
    rows = np.ascontiguousarray(arrays.get("rows", LANES), np.int32)
    out = np.ascontiguousarray(arrays.get("out", np.zeros((32, 4))), np.uint32)
    assert probe.probe_lanes(what, kind, pointer(a), pointer(b), pointer(rows), pointer(out)) is None
    return out


def test_every_half_becomes_its_float(probe) -> None:
    halves = np.arange(65536, dtype=np.uint16)
    out = np.empty(65536, np.float32)
    probe.probe_to_float(pointer(halves), pointer(out), 65536)
    expected = halves.view(np.float16).astype(np.float32)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(out), nan)
    assert np.array_equal(out.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


def test_floats_round_to_the_nearest_even_half(probe) -> None:
    random = np.random.default_rng(0)
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    middles = (halves[:-1] + halves[1:]) / 2  # ties, and what lies right beside them
    values = [halves, middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(-np.inf))]
    values += [random.integers(0, 2**32, 500_000, np.uint32).view(np.float32)]
    values += [np.exp(random.uniform(-25, 13, 500_000).astype(np.float32))]
    values += [np.array([65504, 65519.996, 65520, 65536, np.inf, np.nan, 0, 2**-25, 2**-149], np.float32)]
    floats = np.concatenate([*values, *(-array for array in values)])
    out = np.empty(len(floats), np.uint16)
    probe.probe_to_half(pointer(floats), pointer(out), len(floats))
    with np.errstate(over="ignore", invalid="ignore"):
        expected = floats.astype(np.float16)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(out.view(np.float16)), nan)
    assert np.array_equal(out[~nan], expected.view(np.uint16)[~nan])


def test_pack_puts_the_low_number_first(probe) -> None:
    floats = np.random.default_rng(1).normal(size=64).astype(np.float32)
    out = np.empty(32, np.uint32)
    probe.probe_pack(pointer(floats), pointer(out), 32)
    assert np.array_equal(out.view(np.float16), floats.astype(np.float16))


def test_every_byte_becomes_its_half_at_every_place(probe) -> None:
    every = np.arange(-128, 128, dtype=np.int8)
    fours = np.stack([np.roll(every, shift) for shift in (0, 1, 100, 201)], axis=1)
    out = np.empty((256, 2), np.uint32)
    probe.probe_halves_of_bytes(pointer(fours), pointer(out), 256)
    assert np.array_equal(out.view(np.float16), fours.astype(np.float16))


def fragments(a: np.ndarray, b: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The registers of each lane for a [16,K], b [K,8] (FP16), d [16,8] (FP32), as the PTX ISA draws them."""
    group, pair = LANES // 4, LANES % 4 * 2
    of_a, of_b = np.zeros((32, 8), np.float16), np.zeros((32, 4), np.float16)
    for i in range(a.shape[1] // 2):
        of_a[:, i] = a[group + i // 2 % 2 * 8, pair + i % 2 + i // 4 * 8]
    for i in range(a.shape[1] // 4):
        of_b[:, i] = b[pair + i % 2 + i // 2 * 8, group]
    of_d = np.stack([d[group + i // 2 * 8, pair + i % 2] for i in range(4)], axis=1)
    return of_a.view(np.uint32), of_b.view(np.uint32), np.ascontiguousarray(of_d, np.float32)


@pytest.mark.parametrize(("sm", "depth"), [(87, 16), (75, 16), (87, 8)])
def test_mma_is_a_matrix_product(probe, sm: int, depth: int) -> None:
    random = np.random.default_rng(depth)
    a = random.normal(size=(16, depth)).astype(np.float16)
    b = random.normal(size=(depth, 8)).astype(np.float16)
    d = random.normal(size=(16, 8)).astype(np.float32)
    of_a, of_b, of_d = fragments(a, b, d)
    probe.ek_emu_sm(sm)
    out = lanes(probe, 0, int(depth == 16), a=of_a, b=of_b, out=of_d.view(np.uint32)).view(np.float32)
    expected = fragments(a, b, d + (a.astype(np.float64) @ b.astype(np.float64)))[2]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
    probe.ek_emu_sm(87)


@pytest.mark.parametrize("kind", [2, 4, 12, 14])
def test_ldmatrix_gives_each_lane_its_pair(probe, kind: int) -> None:
    random = np.random.default_rng(kind)
    memory = random.normal(size=(32, 8)).astype(np.float16)
    rows = random.permutation(32)
    out = lanes(probe, 1, kind, a=memory.view(np.uint32), rows=rows).view(np.float16).reshape(32, 4, 2)
    for i in range(kind % 10):
        matrix = memory[rows[i * 8 : i * 8 + 8]]
        matrix = matrix.T if kind > 10 else matrix
        assert np.array_equal(out[:, i], matrix.reshape(32, 2))


@pytest.mark.parametrize("mask", [1, 6, 16, 31])
def test_shuffles_take_from_the_named_lane(probe, mask: int) -> None:
    random = np.random.default_rng(mask)
    values = random.normal(size=(32, 4)).astype(np.float32).view(np.uint32)
    rows = random.integers(0, 32, 32)
    out = lanes(probe, 2, mask, a=values, rows=rows)
    assert np.array_equal(out[:, 0], values[rows, 0])
    assert np.array_equal(out[:, 1], values[LANES ^ mask, 0])


def test_a_lane_that_waits_is_not_woken_before_its_collective_is_complete(probe) -> None:
    switches = [ctypes.c_ulonglong(), ctypes.c_ulonglong()]
    probe.ek_emu_stats(ctypes.byref(switches[0]))
    lanes(probe, 2, 1)
    probe.ek_emu_stats(ctypes.byref(switches[1]))
    # Two collectives: all start, 31 lanes wait in each, and the last thread gives back to the host.
    assert switches[1].value - switches[0].value == 32 + 2 * 31 + 1


@pytest.mark.parametrize("cooperative", [0, 1])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_thread_of_a_3d_grid_runs_once(probe, cooperative: int, schedule: tuple[int, int]) -> None:
    grid, block = np.array([3, 2, 2], np.int32), np.array([4, 3, 5], np.int32)
    out = np.full(12 * 60, -1, np.int32)
    probe.ek_emu_schedule(*schedule)
    assert probe.probe_indices(pointer(grid), pointer(block), cooperative, pointer(out)) is None
    assert np.array_equal(out, np.arange(12 * 60))
    probe.ek_emu_schedule(0, 0)


def test_a_block_of_2048_threads_is_refused(probe) -> None:
    grid, block = np.array([1, 1, 1], np.int32), np.array([1024, 2, 1], np.int32)
    text = probe.probe_indices(pointer(grid), pointer(block), 0, None)
    assert text == b"expected a grid with blocks of 1 to 1024 threads, found 1 blocks of 2048"


@pytest.mark.parametrize(("size", "word"), [(128, 0), (4096, 1023), (100, 0), (20, 4)])
def test_shared_memory_is_poisoned_for_each_block_and_aligned(probe, size: int, word: int) -> None:
    out = np.zeros(2, np.uint32)
    assert probe.probe_shared(size, word, pointer(out)) is None
    assert out.tolist() == [0, 0x7F7F7F7F]


def test_a_store_into_the_rounding_of_shared_memory_is_told(probe) -> None:
    out = np.zeros(2, np.uint32)
    text = probe.probe_shared(100, 25, pointer(out))
    assert text == b"out of bounds: a store to 4 bytes behind the end of 100 bytes of shared memory"


def test_device_memory_is_nan_and_ends_where_it_says(probe) -> None:
    memory = probe.ek_emu_alloc(70)
    values = np.ctypeslib.as_array((ctypes.c_uint16 * 35).from_address(memory)).view(np.float16)
    assert np.isnan(values).all()
    probe.probe_store_behind(ctypes.c_void_p(memory + 70), 3)
    text = probe.probe_shared(4, 0, pointer(np.zeros(2, np.uint32)))
    assert text == b"out of bounds: a store to 3 bytes behind the end of 70 bytes of device memory"
    probe.ek_emu_free(memory)
    assert probe.probe_shared(4, 0, pointer(np.zeros(2, np.uint32))) is None


def expected_of(name: str) -> np.ndarray:
    """What a right toy computes, in NumPy."""
    if name == "neighbours":
        threads = np.arange(64)
        passed = np.repeat(np.roll(threads, -1).reshape(2, 32).sum(axis=1), 32)
        return np.tile(passed[::-1] + threads, 2)
    if name == "copies":
        rows = (np.arange(6 * 256) % 7).reshape(6, 256).sum(axis=0)
        return np.roll(rows, -4).reshape(64, 4).sum(axis=1)
    if name == "blocks":
        numbers = np.arange(1, 6)
        for _ in range(4):
            numbers = numbers.sum() + numbers
        return numbers
    a, b = np.arange(256).reshape(16, 16) % 5 - 2, np.arange(128).reshape(16, 8) % 3 - 1
    return (a @ b).ravel()


@pytest.mark.parametrize("name", TOYS)
def test_a_right_kernel_gives_its_numbers_in_every_schedule(name: str) -> None:
    for schedule in SCHEDULES:
        for sm in (75, 87):
            assert result(toy(name), *schedule, sm) == expected_of(name).tolist()


@pytest.mark.parametrize("name", TOYS)
def test_a_right_kernel_is_clean_under_the_address_and_undefined_sanitizers(name: str) -> None:
    for schedule in SCHEDULES[:3]:
        done = run(toy(name, sanitize="address"), *schedule)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr
        assert "runtime error" not in done.stderr


# The toy, its bug, and what its fault says in the forward schedule; {mark} is a marked line of the toy.
FIRST = "block (0,0,0) thread (0,0,0)"
LAST = "block (0,0,0) thread (63,0,0)"
DIFFERENT = "lanes of one warp are in different collectives"
FAULTS = [
    ("neighbours", "SHARED_END", LAST + ": store, out of bounds: 0 bytes behind the end of 256 bytes of shared memory"),
    ("neighbours", "SHARED_FAR", FIRST + ": store, out of bounds: 256 bytes behind the end of 256 bytes of shared"),
    ("neighbours", "GLOBAL_END", "block (1,0,0) thread (63,0,0): store, out of bounds: 0 bytes behind the end of 512"),
    ("neighbours", "GLOBAL_END", "device memory, after shuffle_xor at {collective}"),
    ("neighbours", "STACK", LAST + ": store, stack overflow: a thread has 64 KiB here"),
    ("neighbours", "DIVERGENT", f"wait at different barriers: {FIRST} in __syncthreads at {{left barrier}}, block"),
    ("neighbours", "DIVERGENT", ", block (0,0,0) thread (32,0,0) in __syncthreads at {right barrier}"),
    ("neighbours", "ENDED", f"thread (5,0,0) ended while others wait: {FIRST} in __syncthreads at {{barrier}}"),
    ("neighbours", "MIXED", f"{DIFFERENT}: {FIRST} in sync_warp at {{even}}, block"),
    ("neighbours", "MIXED", ", block (0,0,0) thread (1,0,0) in shuffle at {odd}"),
    ("neighbours", "SHORT_WARP", "its warp has only 16 lanes, expected 32 in shuffle_xor at {collective}"),
    ("neighbours", "LANE_GONE", "lane 7 of its warp has ended, expected 32 lanes in shuffle_xor at {collective}"),
    ("copies", "MISALIGNED_SHARED", FIRST + ": copy_async: the shared address is not a multiple of 16 at {shared}"),
    ("copies", "MISALIGNED_GLOBAL", FIRST + ": copy_async: the global address is not a multiple of 16 at {global}"),
    ("copies", "OUTSIDE", "out of bounds: 0 bytes behind the end of 2048 bytes of shared memory at {outside}"),
    ("copies", "PENDING", "the kernel ended with 1 copies pending, the first from copy_async at {copy}"),
    (
        "copies",
        "FAR_ROW",
        "(62,0,0): load, out of bounds: 992 bytes behind the end of 6144 bytes of device memory, after",
    ),
    ("copies", "FAR_ROW", "device memory, after copy_async at {far}"),
    ("blocks", "DEADLOCK", "deadlock: block (0,0,0) thread (0,0,0) in wait_until at {wait} for 5, found 1; "),
    ("blocks", "DEADLOCK", "; block (0,0,0) thread (1,0,0) and 30 more in __syncthreads at {join}"),
    ("tiles", "MISALIGNED", "ldmatrix_x4: the shared address is not a multiple of 16 at {misaligned}"),
    ("tiles", "OUTSIDE", "out of bounds: 0 bytes behind the end of 768 bytes of shared memory at {outside}"),
]


@pytest.mark.parametrize(("name", "bug", "text"), FAULTS)
def test_a_fault_is_one_line_with_what_and_where(name: str, bug: str, text: str) -> None:
    if "{" in text:
        mark = text[text.index("{") + 1 : text.index("}")]
        text = text.replace("{" + mark + "}", line(name, mark))
    if platform.machine() != "x86_64":  # elsewhere a fault does not know whether it was a load or a store
        text = text.replace(": store, ", ": ").replace(": load, ", ": ")
    assert text in fault(toy(name, bug))


@pytest.mark.parametrize(("name", "bug"), sorted({(name, bug) for name, bug, _ in FAULTS}))
def test_a_fault_is_found_in_every_schedule(name: str, bug: str) -> None:
    for schedule in SCHEDULES[1:]:
        assert fault(toy(name, bug), *schedule)


def test_a_number_read_before_its_copy_is_waited_for_is_nan() -> None:
    assert np.isnan(result(toy("copies", "NO_WAIT"))).any()
    # Below SM 8.0 the copy is made at once, and nothing is wrong.
    assert result(toy("copies", "NO_WAIT"), 0, 0, 75) == expected_of("copies").tolist()


def test_a_missing_barrier_between_blocks_shows_in_some_schedule() -> None:
    results = {tuple(result(toy("blocks", "NO_BARRIER"), *schedule)) for schedule in SCHEDULES}
    assert len(results) > 1


@pytest.mark.parametrize(
    ("name", "bug", "mark"),
    [
        ("neighbours", "SHARED_PADDING", "padding"),
        ("neighbours", "GLOBAL_END", "pass end"),
        ("copies", "NO_WAIT", "load"),
    ],
)
def test_the_address_sanitizer_names_the_line(name: str, bug: str, mark: str) -> None:
    done = run(toy(name, bug, sanitize="address"))
    assert done.returncode == 99
    (summary,) = [text for text in done.stderr.splitlines() if text.startswith("SUMMARY: AddressSanitizer")]
    assert f"/{line(name, mark)} in " in summary
