"""BF16 on the emulator, against ml_dtypes: conversions bit for bit, and its tensor core instruction."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.plugins.attention import stored, widened
from tests.plugins.test_emulator import fragments, lanes, pointer, probe  # noqa: F401

ml_dtypes = pytest.importorskip("ml_dtypes")


def test_floats_round_to_the_nearest_even_bfloat(probe):  # noqa: F811
    """All of BF16, the ties between two of them and what lies right beside, any bits at all; NaN stays NaN."""
    every = np.arange(65536, dtype=np.uint32) << 16
    ties = (every | 0x8000)[:, None] + np.array([-1, 0, 1])
    others = np.random.default_rng(0).integers(0, 2**32, 500_000)
    floats = np.concatenate([every, ties.ravel(), others]).astype(np.uint32).view(np.float32)
    narrow, wide = np.empty(len(floats), np.uint16), np.empty(len(floats), np.float32)
    probe.probe_bfloat(pointer(floats), pointer(narrow), pointer(wide), len(floats))
    with np.errstate(invalid="ignore"):
        expected = floats.astype(ml_dtypes.bfloat16)
    nan = np.isnan(floats)
    assert np.isnan(wide[nan]).all()
    np.testing.assert_array_equal(narrow[~nan], expected.view(np.uint16)[~nan])
    np.testing.assert_array_equal(wide[~nan], expected.astype(np.float32)[~nan])
    np.testing.assert_array_equal(stored(floats, "BF16"), narrow)
    np.testing.assert_array_equal(widened(narrow, "BF16"), wide)


def test_mma_is_a_matrix_product(probe):  # noqa: F811
    """Its registers are those of FP16; BF16 has fewer digits, and the range of FP32."""
    random = np.random.default_rng(1)
    a, b = (random.normal(size=shape).astype(ml_dtypes.bfloat16) for shape in ((16, 16), (16, 8)))
    a[:, 3] *= ml_dtypes.bfloat16(2.0**60)
    b[3] *= ml_dtypes.bfloat16(2.0**-60)
    d = random.normal(size=(16, 8)).astype(np.float32)
    of_a, of_b, of_d = fragments(a.view(np.float16), b.view(np.float16), d)
    out = lanes(probe, 0, 2, a=of_a, b=of_b, out=of_d.view(np.uint32)).view(np.float32)
    exact = (d + a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    expected = fragments(a.view(np.float16), b.view(np.float16), exact)[2]
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


def test_turing_has_none(probe):  # noqa: F811
    probe.ek_emu_sm(75)
    registers = [np.ascontiguousarray(array) for array in (np.zeros((32, 4), np.uint32), np.zeros((32, 2), np.uint32))]
    rows, out = np.zeros(32, np.int32), np.zeros((32, 4), np.uint32)
    said = probe.probe_lanes(0, 2, *map(pointer, registers), pointer(rows), pointer(out))
    probe.ek_emu_sm(87)
    assert b"mma_16x8x16_bfloat: expected SM 8.0 or newer" in said
