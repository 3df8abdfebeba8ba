"""EdgekitAttention's kernels on the emulator, against float64: at most twice the error of torch at the same precision.

Torch computes each step (scores, softmax, product) in that precision, as a network in it does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit import reference
from edgekit.plugins.abi import Unsupported
from edgekit.plugins.attention import TYPES, How, attention, problem_of, stored, widened
from edgekit.plugins.emulator import SCHEDULES, Emulator
from edgekit.reference import Attention, AttentionOutputs
from edgekit.reference.attention import seen_keys

torch = pytest.importorskip("torch")

NARROW = {"FP32": torch.float32, "FP16": torch.float16, "BF16": torch.bfloat16}
# Where torch happens to be exact: the last place of numbers of about 1, rounded once.
FLOOR = {"FP32": 5e-7, "FP16": 2**-11, "BF16": 2**-8}
MOST = float(np.finfo(np.float32).max)


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    """With the device and the schedule of its beginning."""
    return Emulator(emulator.path)


def made(heads: tuple[int, int], queries: int, keys: int, sizes: tuple[int, int], *, batch=1, past=None, **more):
    """Seeded numbers of deviation 1; `heads` are those of q and of k, `sizes` D and D_v."""
    random = np.random.default_rng([*heads, queries, keys, *sizes, batch, past or 0])

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    q, k, v = normal(batch, heads[0], queries, sizes[0]), *(normal(batch, heads[1], keys, size) for size in sizes)
    if past is not None:
        before = (normal(batch, heads[1], past, size) for size in sizes)
        more |= dict(zip(("past_k", "past_v"), before, strict=True))
    return Attention(q, k, v, **more)


def narrowed(op: Attention, kind: str) -> Attention:
    """Its arrays as the kernel reads them, so that only what is computed differs."""
    arrays = {name: getattr(op, name) for name in ("q", "k", "v", "past_k", "past_v")}
    return replace(op, **{n: widened(stored(a, kind), kind) for n, a in arrays.items() if a is not None})


def in_torch(op: Attention, kind: str) -> np.ndarray:
    """The same computation by torch, each step in this precision; zeros for who sees nothing."""
    _, present_k, present_v = reference.attention(op) if op.past_k is not None else (None, op.k, op.v)
    q, k, v = (torch.from_numpy(np.asarray(array)).to(NARROW[kind]) for array in (op.q, present_k, present_v))
    k, v = (array.repeat_interleave(q.shape[1] // k.shape[1], 1) for array in (k, v))
    scores = (q @ k.mT) * op.scaling
    if op.softcap:
        scores = op.softcap * torch.tanh(scores / op.softcap)
    if op.bias is not None:
        scores = scores + torch.from_numpy(op.bias).to(NARROW[kind])
    seen = torch.from_numpy(np.stack([seen_keys(op, n) for n in range(q.shape[0])]))[:, None]
    if op.bias is not None:
        seen = seen & torch.from_numpy(op.bias > -np.inf)
    weights = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1).nan_to_num(0.0)
    return (weights @ v).float().numpy()


def check(emulator: Emulator, op: Attention, how: How = How()) -> AttentionOutputs:
    """Run the kernels, hold the output to the bar, and the cache to what has gone into it."""
    op = narrowed(op, how.type)
    found, wanted = attention(emulator, op, how), reference.attention(op)
    assert found.o.shape == wanted.o.shape
    error = np.abs(found.o - wanted.o).max()
    allowed = 2 * np.abs(in_torch(op, how.type) - wanted.o).max() + FLOOR[how.type] * max(1, np.abs(wanted.o).max())
    assert error <= allowed, f"{error:.3g}, where twice torch's error is {allowed:.3g}"
    for kernel, exact in zip(found[1:], wanted[1:], strict=True):
        if exact is not None:
            rows = exact.shape[2]
            np.testing.assert_array_equal(kernel[:, :, :rows], exact)
            assert np.isnan(kernel[:, :, rows:]).all(), "what is behind the new rows stays"
    return found


# Each size of a head that is built, and those just below and above it; a D_v of its own.
SIZES = [(8, 8), (32, 24), (40, 40), (64, 64), (64, 72), (128, 120), (136, 128), (256, 256)]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_size_of_a_head(emulator, sizes, kind):
    """As prefill, four warps of rows, one key over a tile; and as decode with splits."""
    check(emulator, made((2, 1), 35, 65, sizes, causal=True), How(kind))
    decode = made((4, 2), 1, 1, sizes, past=300)
    assert emulator.plan(problem_of(decode, How(kind)), emulator.chosen).splits > 1
    check(emulator, decode, How(kind))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 5), (17, 6), (255, 33)], ids=str)
def test_fp32_has_any_size(emulator, sizes):
    check(emulator, made((3, 3), 5, 33, sizes, batch=2, past=7))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("keys", [1, 31, 32, 33, 63, 64, 65, 128, 129])
def test_keys_around_a_tile(emulator, keys, kind):
    check(emulator, made((1, 1), 17, keys, (16, 16), batch=2), How(kind))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("queries", [1, 2, 8, 16, 17, 63, 64, 65])
@pytest.mark.parametrize("heads", [(1, 1), (6, 2)], ids=str)
def test_queries_around_a_tile(emulator, queries, heads, kind):
    """Of grouped heads, the queries of all that share one are rows of its tiles."""
    check(emulator, made(heads, queries, 40, (32, 32), causal=True, past=9), How(kind))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("window", [(0, 0), (1, -1), (-1, 1), (5, 70), (70, 0), (MAX := 2**31 - 1, MAX)], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_windows(emulator, causal, window, kind):
    op = made((2, 1), 40, 150, (16, 16), past=60, causal=causal, window_left=window[0], window_right=window[1])
    check(emulator, op, How(kind))
    for length in (97, 3):
        check(emulator, replace(op, key_lengths=np.array([length], np.int32), at_end=True), How(kind))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("at_end", [False, True])
def test_lengths(emulator, at_end, kind):
    """None, one, a tile and one, all, and numbers that are none; NaN in keys that are not there is not seen."""
    lengths = np.array([0, 1, 65, 100, 64, 33, -5, 1000, 99], np.int32)
    op = made((2, 2), 9, 100, (16, 24), batch=9, key_lengths=lengths, at_end=at_end, causal=at_end)
    for n, length in enumerate(lengths):
        op.k[n, :, max(length, 0) :] = op.v[n, :, max(length, 0) :] = np.nan
    clean = replace(op, k=np.nan_to_num(op.k), v=np.nan_to_num(op.v))
    found = check(emulator, clean, How(kind))
    assert not found.o[[0, 6]].any()
    np.testing.assert_array_equal(attention(emulator, narrowed(op, kind), How(kind)).o, found.o)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(50,), (20, 1), (3, 20, 50), (2, 1, 1, 50), (2, 3, 20, 50), (1, 1, 1, 1)], ids=str)
def test_bias_of_every_shape(emulator, shape, kind):
    bias = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    op = made((3, 1), 20, 50, (16, 16), batch=2, bias=bias)
    wide = check(emulator, op, How(kind))
    narrow = check(emulator, replace(op, bias=widened(stored(bias, kind), kind)), How(kind, narrow_bias=True))
    np.testing.assert_allclose(wide.o, narrow.o, atol=20 * FLOOR[kind])
    effect = np.abs(wide.o - attention(emulator, replace(op, bias=None), How(kind)).o).max()
    assert effect > 0.1 or shape[-1] == 1, "the same for all keys changes nothing"


@pytest.mark.parametrize("kind", TYPES)
def test_who_sees_nothing_gets_zeros(emulator, kind):
    """By the bias, by the causal mask and by both; with splits, too."""
    bias = np.zeros((40, 200), np.float32)
    bias[3], bias[5, :199], bias[7, 1:] = -np.inf, -np.inf, -np.inf
    for op in (made((2, 1), 40, 200, (16, 16), bias=bias), made((2, 1), 1, 200, (16, 16), bias=bias[3:4])):
        found = check(emulator, op, How(kind))
        assert not found.o[:, :, 3 if op.bias.shape[0] > 1 else 0].any()
    early = made((1, 1), 20, 20, (16, 16), key_lengths=np.array([5], np.int32), at_end=True, causal=True)
    assert not check(emulator, early, How(kind)).o[:, :, :15].any()


@pytest.mark.parametrize("kind", TYPES)
def test_the_score_of_a_masked_key_may_be_nan(emulator, kind):
    """As ONNX has it; its row of V is multiplied by 0 and has to be finite."""
    op = made((1, 1), 3, 40, (16, 16), bias=np.where(np.arange(40) % 3 == 0, -np.inf, 0).astype(np.float32))
    op.k[:, :, ::3] = np.nan
    check(emulator, op, How(kind))


def test_the_least_number_is_no_mask(emulator):
    """Who is told the least of FP32 everywhere sees all alike, as in torch."""
    op = made((1, 1), 3, 40, (16, 16), bias=np.full((1, 40), -MOST, np.float32))
    np.testing.assert_allclose(attention(emulator, op).o, np.repeat(op.v.mean(2, keepdims=True), 3, 2), atol=1e-6)


@pytest.mark.parametrize("kind", TYPES)
def test_softcap_and_scale(emulator, kind):
    op = made((2, 2), 20, 70, (32, 32), softcap=1.5, scale=0.7, causal=True, past=3)
    capped = check(emulator, op, How(kind))
    assert np.abs(capped.o - check(emulator, replace(op, softcap=0.0), How(kind)).o).max() > 0.1
    assert np.abs(capped.o - check(emulator, replace(op, scale=0.2), How(kind)).o).max() > 0.1


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("past", [0, 1, 130])
@pytest.mark.parametrize("sizes", [(16, 24), (64, 64)], ids=str)
def test_a_cache_in_place_is_the_cache_of_copies(emulator, sizes, past, kind):
    """Bit for bit; what is behind the new rows is neither read nor written."""
    op = made((4, 2), 3, 3, sizes, batch=2, past=past, causal=True)
    copies = check(emulator, op, How(kind))
    in_place = check(emulator, op, How(kind, capacity=past + 70))
    same_splits = [emulator.plan(problem_of(op, How(kind, capacity=c)), emulator.chosen).splits for c in (0, past + 70)]
    if same_splits[0] == same_splits[1]:
        np.testing.assert_array_equal(in_place.o, copies.o)
    check(emulator, op, How(kind, capacity=past + 3))


@pytest.mark.parametrize(("said", "taken"), [(99, 5), (-7, 0), (4, 4)])
def test_a_past_length_that_cannot_be_is_the_nearest(emulator, said, taken):
    """New rows stay inside the cache, whatever the device finds: a cache of eight rows, three of them new."""
    op = made((2, 1), 3, 3, (8, 8), past=taken, causal=True)
    wanted = attention(emulator, op)
    with emulator.memory() as memory:
        problem = problem_of(op, How(capacity=8))
        problem.q, problem.k, problem.v = (memory.put(array, np.float32) for array in (op.q, op.k, op.v))
        problem.past_length = memory.put(np.array([said]), np.int32)
        rest = np.zeros((1, 1, 8 - taken, 8), np.float32)
        caches = [memory.put(np.concatenate([past, rest], 2), np.float32) for past in (op.past_k, op.past_v)]
        problem.present_k, problem.present_v = caches
        problem.o = memory.empty(1, 2, 3, 8)
        emulator.launch(problem, emulator.chosen, None)
        np.testing.assert_array_equal(memory.get(problem.o, (1, 2, 3, 8)), wanted.o)
        kept = memory.get(problem.present_k, (1, 1, 8, 8))
    np.testing.assert_array_equal(kept[:, :, : taken + 3], wanted.present_k)
    assert not kept[:, :, taken + 3 :].any()


@pytest.mark.parametrize("kind", TYPES)
def test_prefill_and_decode_are_the_whole(emulator, kind):
    """A sequence in pieces, each over the cache that the last one left."""
    whole = narrowed(made((4, 2), 90, 90, (32, 32), causal=True), kind)
    expected = check(emulator, whole, How(kind)).o
    k, v = whole.k[:, :, :0], whole.v[:, :, :0]
    for first, last in [(0, 70), (70, 71), (71, 79), (79, 90)]:
        piece = slice(first, last)
        op = Attention(*(array[:, :, piece] for array in (whole.q, whole.k, whole.v)), past_k=k, past_v=v, causal=True)
        o, k, v = check(emulator, op, How(kind))
        np.testing.assert_allclose(o, expected[:, :, piece], atol=2 * FLOOR[kind])
    np.testing.assert_array_equal(k, whole.k)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(35, 100), (1, 300)], ids=str)
def test_all_schedules_give_the_same_bits(emulator, shape, kind):
    """The order in which threads run decides nothing."""
    op = made((2, 1), shape[0], 5, (32, 24), batch=2, past=shape[1], causal=True)
    results = []
    for schedule in SCHEDULES:
        emulator.schedule(schedule, seed=7)
        results.append(check(emulator, op, How(kind, capacity=shape[1] + 9)).o)
    np.testing.assert_array_equal(results[1], results[0])
    np.testing.assert_array_equal(results[2], results[0])


@pytest.mark.parametrize("kind", ["FP32", "FP16"])
@pytest.mark.parametrize("sizes", [(16, 16), (128, 128), (256, 256)], ids=str)
@pytest.mark.parametrize("device", [(75, 40), (86, 28), (90, 132)], ids=str)
def test_every_generation_computes_the_same(emulator, device, sizes, kind):
    """SM 7.5 has smaller tensor core instructions, no asynchronous copies, and less shared memory."""
    op = narrowed(made((2, 1), 35, 70, sizes, past=40, causal=True), kind)
    expected = attention(emulator, op, How(kind))
    emulator.choose(*device)
    np.testing.assert_allclose(check(emulator, op, How(kind)).o, expected.o, atol=2 * FLOOR[kind])


def test_bf16_needs_sm_80(emulator):
    emulator.choose(75, 40)
    with pytest.raises(Unsupported, match=r"expected SM 8\.0 or newer for BF16, found 7\.5"):
        attention(emulator, made((1, 1), 1, 1, (8, 8)), How("BF16"))


@pytest.mark.slow  # draws shapes of up to a thousand keys
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(list(TYPES)))
def test_any_shape(emulator, data, kind):
    draw = data.draw
    batch, kv_heads, group = draw(st.sampled_from([1, 2, 9])), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    queries, keys = draw(st.one_of(st.integers(1, 8), st.integers(1, 70))), draw(st.integers(1, 150))
    size = st.integers(1, 20) if kind == "FP32" else st.integers(1, 9).map(lambda eights: 8 * eights)
    past = draw(st.none() | st.integers(0, 400))
    total = keys + (past or 0)
    lengths = draw(st.none() | st.lists(st.integers(0, total), min_size=batch, max_size=batch))
    window = st.integers(-1, total)
    op = made(
        (kv_heads * group, kv_heads), queries, keys, (draw(size), draw(size)), batch=batch, past=past,
        key_lengths=None if lengths is None else np.array(lengths, np.int32),
        at_end=lengths is not None and draw(st.booleans()), causal=draw(st.booleans()),
        window_left=draw(window), window_right=draw(window), softcap=draw(st.sampled_from([0.0, 2.0])),
    )  # fmt: skip
    capacity = 0 if past is None else draw(st.sampled_from([0, total, total + 100]))
    emulator.schedule(draw(st.sampled_from(SCHEDULES)), draw(st.integers(0, 1000)))
    check(emulator, op, How(kind, capacity=capacity))
