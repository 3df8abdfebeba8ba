"""What only a GPU can show of EdgekitLSTM: that it computes there what the emulator computes, and how fast.

The bars on speed are ratios within one run: against cuDNN through torch, and against what no kernel can go below.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgekit import reference
from edgekit.device import find_gpus
from edgekit.plugins import abi
from edgekit.plugins.building import build_plugins
from edgekit.plugins.emulator import Emulator
from edgekit.reference import DIRECTIONS, LSTM
from tests.plugins.test_lstm import EDGES, FLOOR, WEIGHTS, in_torch, made

torch = pytest.importorskip("torch")

_SEARCH = find_gpus()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,  # builds the CUDA library
    pytest.mark.skipif(not _SEARCH.gpus, reason=f"needs an NVIDIA GPU: {_SEARCH.reason}"),
]
TYPES = {np.dtype(np.float32): abi.FLOAT32, np.dtype(np.float16): abi.FLOAT16, np.dtype(np.int8): abi.INT8}
ARRAYS = ("xproj", "r", "r_scale", "lengths", "h0", "c0")


class OnDevice:
    """One problem in the GPU's memory, which torch owns."""

    def __init__(self, library: abi.Library, op: LSTM) -> None:
        self._library, self._device = library, library.current_device()
        steps, batch, directions, hidden = op.shape
        self.arrays = {name: self._put(getattr(op, name)) for name in ARRAYS if getattr(op, name) is not None}
        shape = (directions, batch, hidden)
        self.outputs = [torch.full(size, torch.nan, device="cuda") for size in ((steps, *shape), shape, shape)]
        self._problem = abi.LSTM(
            steps, batch, hidden, DIRECTIONS.index(op.direction), TYPES[op.r.dtype], op.clip,
            *(self.arrays[name].data_ptr() if name in self.arrays else None for name in ARRAYS),
            *(output.data_ptr() for output in self.outputs),
        )  # fmt: skip
        size = library.lstm_plan(self._problem, self._device).workspace
        self._workspace = torch.full((max(size, 1),), 0x7F, dtype=torch.uint8, device="cuda")

    def launch(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        self._library.lstm_launch(self._problem, self._device, self._workspace.data_ptr(), stream)

    def run(self) -> reference.LSTMOutputs:
        self.launch()
        torch.cuda.synchronize()
        return reference.LSTMOutputs(*(output.cpu().numpy() for output in self.outputs))

    @staticmethod
    def _put(array: np.ndarray) -> object:
        return torch.from_numpy(np.ascontiguousarray(array)).cuda()


@pytest.fixture(scope="session")
def library(workshop) -> abi.Library:
    capability = "".join(map(str, torch.cuda.get_device_capability()))
    return abi.Library(build_plugins([int(capability)], workshop=workshop))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [*EDGES, (40, 9, 128), (40, 9, 150), (40, 3, 256)], ids=str)
def test_it_computes_what_is_defined(library, shape, weights):
    op = made(*shape, weights)
    found, wanted, peer = OnDevice(library, op).run(), reference.lstm(op), in_torch(op)
    for kernel, exact, other in zip(found, wanted, peer, strict=True):
        # The fast exponential of the device is right to two more units in the last place than that of a CPU.
        assert np.abs(kernel - exact).max() <= 2 * np.abs(other - exact).max() + 4 * FLOOR


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("hidden", [40, 140])
def test_it_agrees_with_the_emulator(library, emulator, hidden, weights):
    op = made(12, 9, hidden, weights, lengths=np.array([12, 0, 1, 4, 2, 3, 4, 1, 9], np.int32))
    for here, there in zip(OnDevice(library, op).run(), Emulator(emulator.path).lstm(op), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-3 if weights != "FP32" else 1e-5)


@pytest.mark.parametrize("hidden", [64, 150])
def test_a_thousand_launches_give_the_same_bits(library, hidden):
    """A missing fence, or a counter that is not cleared, shows now and then."""
    placed = OnDevice(library, made(7, 9, hidden, "INT8"))
    first = placed.run()
    for _ in range(1000):
        for one, other in zip(first, placed.run(), strict=True):
            np.testing.assert_array_equal(one, other)


def median_ms(call: Callable[[], None], runs: int = 200) -> float:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]
    for _ in range(20):
        call()
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(events))


@pytest.mark.parametrize(("hidden", "batch"), [(64, 1), (128, 1), (128, 8), (256, 1), (256, 8)])
def test_it_is_as_fast_as_cudnn(library, hidden, batch, record_property):
    """FP16 weights; cuDNN computes the input projection too, of an input of one number."""
    op = replace(made(100, batch, hidden, "FP16", "forward"), h0=None, c0=None)
    net = torch.nn.LSTM(1, hidden).cuda().half()
    x = torch.zeros(100, batch, 1, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        cudnn = median_ms(lambda: net(x))
    ours = median_ms(OnDevice(library, op).launch)
    record_property("ratio", ours / cudnn)
    print(f"LSTM of {hidden} units, {batch} rows, 100 steps: {ours:.4f} ms, cuDNN {cudnn:.4f} ms")
    assert ours <= cudnn
