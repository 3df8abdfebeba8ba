"""What only a GPU can show of the recurrent kernels: that they compute there what the emulator computes, and how fast.

The bars on speed are ratios within one run: against cuDNN through torch, and against what no kernel can go below.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit import reference
from edgekit.device import find_gpus
from edgekit.plugins.emulator import Emulator
from tests.gpu.on_gpu import OnGpu, library_for_this_gpu, median_ms
from tests.plugins.formulas import KINDS, computed
from tests.plugins.recurrent_cases import FLOOR, NARROW_FLOOR, WEIGHTS, in_torch, made
from tests.plugins.test_recurrent import EDGES

torch = pytest.importorskip("torch")

_SEARCH = find_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # builds the CUDA library
    pytest.mark.skipif(not _SEARCH.gpus, reason=f"needs an NVIDIA GPU: {_SEARCH.reason}"),
]


@pytest.fixture(scope="session")
def gpu(workshop) -> OnGpu:
    return OnGpu(library_for_this_gpu(workshop))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [*EDGES, (40, 9, 128), (40, 9, 150), (40, 3, 256)], ids=str)
def test_it_computes_what_is_defined(gpu, kind, shape, weights):
    op = made(kind, *shape, weights)
    found, wanted, peer = computed(gpu, op), computed(reference, op), in_torch(op)
    floor = 4 * FLOOR if weights == "FP32" else NARROW_FLOOR
    for kernel, exact, other in zip(found, wanted, peer, strict=True):
        # The fast exponential of the device is right to two more units in the last place than that of a CPU.
        assert np.abs(kernel - exact).max() <= 2 * np.abs(other - exact).max() + floor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("hidden", [40, 140])
def test_it_agrees_with_the_emulator(gpu, emulator, kind, hidden, weights):
    op = made(kind, 12, 9, hidden, weights, lengths=np.array([12, 0, 1, 4, 2, 3, 4, 1, 9], np.int32))
    for here, there in zip(computed(gpu, op), computed(Emulator(emulator.path), op), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-3 if weights != "FP32" else 1e-5)


@pytest.mark.parametrize("hidden", [64, 150])
def test_a_thousand_launches_give_the_same_bits(gpu, hidden):
    """A missing fence, or a counter that is not cleared, shows now and then."""
    with gpu.memory() as memory:
        placed = gpu.place(made("GRU, reset first", 7, 9, hidden, "INT8"), memory)
        placed.launch()
        first = placed.outputs()
        for _ in range(1000):
            placed.launch()
            for one, other in zip(first, placed.outputs(), strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN, tanh"])
@pytest.mark.parametrize(("hidden", "batch"), [(64, 1), (128, 1), (128, 8), (256, 1), (256, 8)])
def test_it_is_as_fast_as_cudnn(gpu, kind, hidden, batch, record_property):
    """FP16 weights; cuDNN computes the input projection too, of an input of one number."""
    op = replace(made(kind, 100, batch, hidden, "FP16", direction="forward"), h0=None)
    net = getattr(torch.nn, kind.partition(",")[0])(1, hidden).cuda().half()
    x = torch.zeros(100, batch, 1, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        cudnn = median_ms(lambda: net(x))
    with gpu.memory() as memory:
        placed, stream = gpu.place(op, memory), torch.cuda.current_stream().cuda_stream
        ours = median_ms(lambda: placed.launch(stream))
    record_property("ratio", ours / cudnn)
    print(f"{kind} of {hidden} units, {batch} rows, 100 steps: {ours:.4f} ms, cuDNN {cudnn:.4f} ms")
    assert ours <= cudnn
