"""What only a GPU can show of the recurrent kernels: that they compute there what the emulator computes, and how fast.

The bars on speed are ratios within one run: against cuDNN through torch, and against what no kernel can go below.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgekit import reference
from edgekit.device import find_gpus
from edgekit.plugins import abi
from edgekit.plugins.building import build_plugins
from edgekit.plugins.emulator import Emulator
from edgekit.reference import ACTIVATIONS, DIRECTIONS, GRU, LSTM, Recurrent
from tests.gpu.on_gpu import median_ms
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
TYPES = {np.dtype(np.float32): abi.FLOAT32, np.dtype(np.float16): abi.FLOAT16, np.dtype(np.int8): abi.INT8}
ARRAYS = ("xproj", "r", "r_scale", "lengths", "h0", "c0", "rb_h")


class OnDevice:
    """One problem in the GPU's memory, which torch owns."""

    def __init__(self, library: abi.Library, op: Recurrent) -> None:
        self._library, self._device = library, library.current_device()
        steps, batch, directions, hidden = op.shape
        given = {name: getattr(op, name, None) for name in ARRAYS}
        self.arrays = {name: self._put(array) for name, array in given.items() if array is not None}
        state = (directions, batch, hidden)
        names = ("y", "h_n", "c_n") if isinstance(op, LSTM) else ("y", "h_n")
        self.outputs = {name: torch.full(state, torch.nan, device="cuda") for name in names[1:]}
        self.outputs = {"y": torch.full((steps, *state), torch.nan, device="cuda"), **self.outputs}
        fields: dict[str, Any] = {
            name: array.data_ptr() for name, array in (*self.arrays.items(), *self.outputs.items())
        }
        if isinstance(op, GRU):
            fields["linear_before_reset"] = op.linear_before_reset
        if not isinstance(op, LSTM | GRU):
            fields["activation"] = ACTIVATIONS.index(op.activation)
        problem = abi.LSTM if isinstance(op, LSTM) else abi.GRU if isinstance(op, GRU) else abi.RNN
        self._problem = problem(steps=steps, batch=batch, hidden=hidden, clip=op.clip, weights=TYPES[op.r.dtype],
                                direction=DIRECTIONS.index(op.direction), **fields)  # fmt: skip
        size = library.plan(self._problem, self._device).workspace
        self._workspace = torch.full((max(size, 1),), 0x7F, dtype=torch.uint8, device="cuda")

    def launch(self) -> None:
        stream = torch.cuda.current_stream().cuda_stream
        self._library.launch(self._problem, self._device, self._workspace.data_ptr(), stream)

    def run(self) -> tuple[np.ndarray, ...]:
        self.launch()
        torch.cuda.synchronize()
        return tuple(output.cpu().numpy() for output in self.outputs.values())

    @staticmethod
    def _put(array: np.ndarray) -> object:
        return torch.from_numpy(np.ascontiguousarray(array)).cuda()


@pytest.fixture(scope="session")
def library(workshop) -> abi.Library:
    capability = "".join(map(str, torch.cuda.get_device_capability()))
    return abi.Library(build_plugins([int(capability)], workshop=workshop))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("shape", [*EDGES, (40, 9, 128), (40, 9, 150), (40, 3, 256)], ids=str)
def test_it_computes_what_is_defined(library, kind, shape, weights):
    op = made(kind, *shape, weights)
    found, wanted, peer = OnDevice(library, op).run(), computed(reference, op), in_torch(op)
    floor = 4 * FLOOR if weights == "FP32" else NARROW_FLOOR
    for kernel, exact, other in zip(found, wanted, peer, strict=True):
        # The fast exponential of the device is right to two more units in the last place than that of a CPU.
        assert np.abs(kernel - exact).max() <= 2 * np.abs(other - exact).max() + floor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("hidden", [40, 140])
def test_it_agrees_with_the_emulator(library, emulator, kind, hidden, weights):
    op = made(kind, 12, 9, hidden, weights, lengths=np.array([12, 0, 1, 4, 2, 3, 4, 1, 9], np.int32))
    for here, there in zip(OnDevice(library, op).run(), computed(Emulator(emulator.path), op), strict=True):
        np.testing.assert_allclose(here, there, atol=1e-3 if weights != "FP32" else 1e-5)


@pytest.mark.parametrize("hidden", [64, 150])
def test_a_thousand_launches_give_the_same_bits(library, hidden):
    """A missing fence, or a counter that is not cleared, shows now and then."""
    placed = OnDevice(library, made("GRU, reset first", 7, 9, hidden, "INT8"))
    first = placed.run()
    for _ in range(1000):
        for one, other in zip(first, placed.run(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN, tanh"])
@pytest.mark.parametrize(("hidden", "batch"), [(64, 1), (128, 1), (128, 8), (256, 1), (256, 8)])
def test_it_is_as_fast_as_cudnn(library, kind, hidden, batch, record_property):
    """FP16 weights; cuDNN computes the input projection too, of an input of one number."""
    op = replace(made(kind, 100, batch, hidden, "FP16", direction="forward"), h0=None)
    net = getattr(torch.nn, kind.partition(",")[0])(1, hidden).cuda().half()
    x = torch.zeros(100, batch, 1, device="cuda", dtype=torch.float16)
    with torch.inference_mode():
        cudnn = median_ms(lambda: net(x))
    ours = median_ms(OnDevice(library, op).launch)
    record_property("ratio", ours / cudnn)
    print(f"{kind} of {hidden} units, {batch} rows, 100 steps: {ours:.4f} ms, cuDNN {cudnn:.4f} ms")
    assert ours <= cudnn
