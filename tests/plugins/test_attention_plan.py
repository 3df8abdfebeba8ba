"""How attention is cut for every SM, what is left to TensorRT, and refusals that say why."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import EdgekitError
from edgekit.plugins import abi
from edgekit.plugins.abi import Attention
from edgekit.resources import resource

SMS = (75, 80, 86, 87, 89, 90, 100, 110, 120, 121)
ORIN_NANO, AGX_ORIN, RTX_4090 = (87, 8), (87, 16), (89, 128)
FP16 = abi.FLOAT16


def problem(**fields: Any) -> Attention:
    """Eight heads of 64 in FP16, 256 queries and as many keys."""
    sizes = {"batch": 1, "heads": 8, "kv_heads": 8, "queries": 256, "keys": 256, "head_size": 64, "value_size": 64}
    return Attention(**{**sizes, "type": FP16, "window_left": -1, "window_right": -1, "scale": 1.0, **fields})


def test_prefill_is_tiles_of_64_rows(emulator):
    """Of four warps, where a tile for each has no more than the device can hold."""
    tiling = emulator.plan(problem(), emulator.device(*AGX_ORIN))
    assert (tiling.form, tiling.tile_rows, tiling.tile_keys, tiling.threads_per_block) == (1, 64, 64, 128)
    assert (tiling.tiles, tiling.splits, tiling.launches, tiling.workspace) == (8 * 4, 1, 1, 0)


@pytest.mark.parametrize("queries", [1, 4, 8])
def test_decode_shares_the_keys_between_blocks(emulator, queries):
    """Two heads of k and v are two tiles, of four heads of q each; 16 multiprocessors take more."""
    fields = {"queries": queries, "keys": queries, "past": 4096, "kv_heads": 2, "present_k": 16}
    tiling = emulator.plan(problem(**fields), emulator.device(*AGX_ORIN))
    assert tiling.tiles == 2
    assert tiling.tile_rows == (16 if queries <= 4 else 64)
    assert tiling.tiles * tiling.splits >= 16
    assert tiling.launches == 3, "the cache, the blocks, their sum"
    assert tiling.workspace == 4 * tiling.splits * 8 * queries * (64 + 2)


def test_splits_follow_the_device(emulator):
    """More multiprocessors, more shares; short sequences have none, and enough tiles need none."""
    decode = problem(queries=1, keys=1, past=16384, kv_heads=2)
    splits = [emulator.plan(decode, emulator.device(*device)).splits for device in (ORIN_NANO, AGX_ORIN, RTX_4090)]
    assert splits == sorted(splits)
    assert len(set(splits)) == 3
    assert emulator.plan(problem(queries=1, keys=1, past=100), emulator.device(*RTX_4090)).splits == 1
    assert emulator.plan(problem(queries=1, keys=1, past=4096, batch=4), emulator.device(*AGX_ORIN)).splits == 1


@pytest.mark.parametrize(
    ("size", "head", "keys"), [(8, 32, 64), (32, 32, 64), (40, 64, 64), (96, 128, 64), (128, 128, 64), (136, 256, 32)]
)
def test_heads_are_padded_to_what_is_built(emulator, size, head, keys):
    tiling = emulator.plan(problem(head_size=size), emulator.device(*AGX_ORIN))
    assert (tiling.head, tiling.tile_keys) == (max(head, 64), keys)
    tiling = emulator.plan(problem(head_size=8, value_size=size), emulator.device(*AGX_ORIN))
    assert (tiling.head, tiling.tile_keys) == (head, keys)


def test_shared_memory_is_what_the_readme_says(emulator):
    found = [
        [
            emulator.plan(problem(head_size=size, value_size=size, queries=queries), emulator.device(*AGX_ORIN))
            for size in (32, 64, 128, 256)
        ]
        for queries in (64, 16)
    ]
    kib = [", ".join(str(tiling.shared_per_block // 1024) for tiling in row) for row in found]
    readme = (resource("plugins") / "README.md").read_text(encoding="utf-8")
    assert f"| {kib[0]} KiB of 64 rows; {kib[1]} KiB of 16 |" in readme


def test_turing_has_too_little_for_four_warps_of_the_widest_head(emulator):
    wide = problem(head_size=256, value_size=256)
    assert emulator.plan(wide, emulator.device(75, 30)).tile_rows == 16
    assert emulator.plan(wide, emulator.device(86, 28)).tile_rows == 64


@pytest.mark.parametrize(
    ("fields", "better"),
    [
        ({}, True),
        ({"queries": 128}, True),
        ({"causal": 1}, True),
        ({"type": abi.BFLOAT16}, True),
        ({"queries": 127}, False),
        ({"type": abi.FLOAT32}, False),
        ({"present_k": 16}, False),
        ({"capacity": 512}, False),
        ({"softcap": 30.0}, False),
        ({"window_left": 100}, False),
        ({"window_right": 0}, False),
        ({"kv_heads": 2}, False),
        ({"value_size": 32}, False),
        ({"key_lengths": 16}, False),
    ],
    ids=str,
)
def test_what_tensorrt_fuses_itself(emulator, fields, better):
    """A long prefill, and none of what its importer refuses or what breaks its fusion."""
    assert bool(emulator.plan(problem(**fields), emulator.device(*AGX_ORIN)).tensorrt_is_better) == better


@given(
    batch=st.integers(1, 70),
    kv_heads=st.integers(1, 16),
    group=st.integers(1, 8),
    queries=st.integers(1, 3000),
    past=st.integers(0, 10000),
    head=st.integers(1, 32).map(lambda eights: 8 * eights),
    kind=st.sampled_from([abi.FLOAT32, abi.FLOAT16, abi.BFLOAT16]),
    device=st.tuples(st.sampled_from(SMS), st.integers(1, 140)),
)
def test_a_plan_keeps_to_the_limits(emulator, batch, kv_heads, group, queries, past, head, kind, device):
    sizes = {"batch": batch, "heads": kv_heads * group, "kv_heads": kv_heads, "queries": queries, "keys": queries}
    found = problem(**sizes, past=past, head_size=head, value_size=head, type=kind)
    limits = emulator.device(*device)
    if kind == abi.BFLOAT16 and limits.sm < 80:
        assert emulator.supported(found, limits) == "expected SM 8.0 or newer for BF16, found 7.5"
        return
    tiling = emulator.plan(found, limits)
    assert tiling.shared_per_block <= limits.shared_per_block
    assert tiling.threads_per_block in (32, 128)
    assert tiling.tiles == batch * kv_heads * math.ceil(group * queries / tiling.tile_rows)
    assert 1 <= tiling.splits <= 64
    if tiling.splits > 1:
        assert tiling.tiles < device[1]
        assert tiling.splits * 2 * tiling.tile_keys <= past + queries, "each has two tiles of keys or more"
    assert tiling.workspace == (tiling.splits > 1) * 4 * tiling.splits * batch * kv_heads * group * queries * (head + 2)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"head_size": 264}, "expected heads of at most 256, found 264"),
        ({"value_size": 257, "type": abi.FLOAT32}, "expected heads of at most 256, found 257"),
        ({"head_size": 60}, "expected heads of a multiple of 8 in FP16 and BF16, found 60 and 64"),
        ({"value_size": 63}, "expected heads of a multiple of 8 in FP16 and BF16, found 64 and 63"),
    ],
)
def test_what_no_kernel_computes_is_one_line(emulator, fields, says):
    assert emulator.supported(problem(**fields), emulator.device(*AGX_ORIN)) == says
    with pytest.raises(abi.Unsupported):
        emulator.plan(problem(**fields), emulator.device(*AGX_ORIN))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch": 0}, "expected batch of at least 1, found 0"),
        ({"queries": 0}, "expected queries of at least 1, found 0"),
        ({"keys": 0}, "expected keys of at least 1, found 0"),
        ({"past": -1}, "expected past of at least 0, found -1"),
        ({"window_left": -2}, "expected window_left of at least -1, found -2"),
        ({"kv_heads": 3}, "expected heads that are a multiple of kv_heads, found 8 and 3"),
        ({"type": abi.INT8}, "expected type 0 .* found 2"),
        ({"bias": 16, "bias_type": abi.BFLOAT16}, "expected bias_type 0 .* found 3"),
        ({"position": 2}, "expected position 0 .* found 2"),
        ({"softcap": math.nan}, "expected a softcap of 0"),
        ({"softcap": -1.0}, "expected a softcap of 0"),
        ({"scale": math.inf}, "expected a finite scale, found inf"),
        ({"capacity": 300, "past": 5}, "expected past 0 for a cache in place"),
        ({"capacity": 255}, "expected a capacity of at least 256 new keys, found 255"),
    ],
)
def test_a_malformed_problem_is_one_line(emulator, fields, says):
    with pytest.raises(EdgekitError, match=says) as error:
        emulator.plan(problem(**fields), emulator.device(*AGX_ORIN))
    assert not isinstance(error.value, abi.Unsupported)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        *((name, {}) for name in ("q", "k", "v", "o")),
        ("key_lengths", {"position": 1}),
        ("present_k", {"past": 5}),
        ("present_v", {"present_k": 4096}),
        *((name, {"past": 5, "present_k": 4096, "present_v": 4096}) for name in ("past_k", "past_v")),
        ("past_length", {"capacity": 500, "present_k": 4096, "present_v": 4096}),
        ("the workspace", {"queries": 1, "keys": 4096}),
    ],
)
def test_a_missing_pointer_is_one_line(emulator, missing, fields):
    pointers = dict.fromkeys(("q", "k", "v", "o", "past_k", "past_v"), 4096) | fields
    pointers.pop(missing, None)
    with pytest.raises(EdgekitError, match=f"expected a pointer for {missing}.*, found NULL"):
        emulator.launch(problem(**pointers), emulator.device(*AGX_ORIN), None)
