"""The checks themselves: each returns what it found, raises NotRun with the reason, or EdgekitError where it failed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.configs import BuildConfig
from edgekit.device import find_gpus, preflight
from edgekit.errors import BuildError, EdgekitError
from edgekit.runtime.cuda import Device, open_device, wait
from edgekit.runtime.trt import TensorRTBackend
from edgekit.selftest.network import CARRIED, INPUTS, OUTPUTS, network, shapes
from edgekit.targets import target

if TYPE_CHECKING:
    from edgekit.runtime.ort import OrtBackend

# Of the largest value: TensorRT may multiply FP32 as TF32, with 10 bits of mantissa.
_MOST_ERROR = 5e-3
_STEPS = 50


class NotRun(Exception):
    """Something else is missing than a GPU."""


def driver() -> str:
    """1 MiB there and back."""
    with _device() as (device, api):
        host, other = (device.pinned(1 << 20) for _ in range(2))
        address = host[1] or device.alloc(1 << 20)
        host[0][...] = np.arange(1 << 20, dtype=np.uint32).astype(np.uint8)
        try:
            device.h2d(address, host[0])()
            device.d2h(other[0], address)()
            device.mark()
            wait(device, None)
            if not np.array_equal(host[0], other[0]):
                raise EdgekitError("expected the bytes that were sent to come back, found others")
        finally:
            if not host[1]:
                device.free(address)
            for array, _ in (host, other):
                device.unpin(array)
        free, total = device.mem_info()
        kind = "memory shared with the CPU" if device.integrated else "its own memory"
        return f"{device.name}, through {api}; {kind}, {free >> 20} of {total >> 20} MiB free"


def graph() -> str:
    """A memset and a copy as a graph, launched twice."""
    with _device() as (device, api):
        if not device.graphs:
            raise NotRun(f"{api} has no graphs: pip install cuda-bindings, and EDGEKIT_CUDA=cuda-bindings")
        host, _ = device.pinned(4096)
        address = device.alloc(4096)
        try:
            copy = device.d2h(host, address)

            def work() -> None:
                device.memset(address, 4096)
                copy()

            captured = device.capture(work)
            for _ in range(2):
                host[...] = 1
                device.launch(captured)
                device.mark()
                wait(device, None)
                if host.any():
                    raise EdgekitError("expected a launched graph to copy zeros, found what was there before")
            device.drop(captured)
        finally:
            device.free(address)
            device.unpin(host)
        return f"through {api}"


def engine() -> str:
    """Batches of the profile's ends and middle."""
    with _built() as (backend, oracle, told):
        worst = 0.0
        for batch in (1, 3, 8):
            worst = max(worst, _difference(backend, oracle, batch, 1))
        return f"{told}, largest difference {worst:.1e}; CUDA graph: {backend.notes.get('cuda_graph', 'none')}"


def state() -> str:
    """The engine's own state, step by step, beside onnxruntime's."""
    with _built() as (backend, oracle, told):
        return f"{told}, largest difference {_difference(backend, oracle, 2, _STEPS):.1e}"


def kernels() -> str:
    """Every case of `edgekit plugins bench`, whose numbers are checked before they are timed."""
    from edgekit.plugins.bench import bench

    try:
        measured = [row for row in bench(None) if row.p50_ms is not None]
    except BuildError as error:
        raise NotRun(str(error)) from error
    return f"{len(measured)} problems; edgekit plugins bench shows their times"


@contextmanager
def _device() -> Iterator[tuple[Device, str]]:
    device, api = open_device()
    try:
        yield device, api
    finally:
        device.close()


@contextmanager
def _built() -> Iterator[tuple[TensorRTBackend, OrtBackend, str]]:
    """The self-test's network as an engine for this GPU, and in onnxruntime."""
    from edgekit.runtime.ort import OrtBackend

    name, flavour = _target()
    capability = find_gpus().gpus[0].compute_capability or ""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        onnx, path = Path(folder, "network.onnx"), Path(folder, "network.engine")
        try:
            onnx.write_bytes(network())
            from edgekit.build import build
        except ImportError as error:
            raise NotRun(f"{error}: pip install 'edgekit[build]'") from error
        ranges = tuple(f"{item}:{low}:{low}:{high}" for item, (low, high) in shapes().items())
        build(onnx, path, BuildConfig(name, (capability,) if flavour == "tensorrt_rtx" else (), ranges, plugins="off"))
        oracle = OrtBackend(onnx.read_bytes(), "disable_all", (*INPUTS, *OUTPUTS), CARRIED)
        backend = TensorRTBackend(path.read_bytes(), flavour, (*INPUTS, *OUTPUTS), carried=CARRIED)
        try:
            yield backend, oracle, f"{flavour}, {path.stat().st_size / 1e3:.0f} kB"
        finally:
            backend.close()
            oracle.close()


def _target() -> tuple[str, str]:
    """The target that this machine can build for and run, and its TensorRT."""
    for ability in preflight().targets:
        if ability.target != "cpu" and ability.build and ability.run:
            return ability.target, target(ability.target).flavour
    why = "; ".join(f"{item.target}: {item.build_reason}" for item in preflight().targets if item.target != "cpu")
    raise NotRun(f"no TensorRT here builds and runs engines: {why}")


def _difference(backend: TensorRTBackend, oracle: OrtBackend, batch: int, steps: int) -> float:
    """The largest difference of the outputs over some steps, relative to the largest value. Raises EdgekitError."""
    dims = {"batch": batch}
    for each in (backend, oracle):
        each.bind({spec.name: spec.at(dims) or () for spec in INPUTS}, {spec.name: spec.at(dims) for spec in OUTPUTS})
        each.reset()
    random, worst = np.random.default_rng(batch), 0.0
    for _ in range(steps):
        x = random.normal(size=oracle.input("x").shape).astype(np.float32)
        for each in (backend, oracle):
            each.input("x")[...] = x
            each.enqueue(step=True)
            each.synchronise(None)
            each.advance()
        found, wanted = backend.output("y"), oracle.output("y")
        worst = max(worst, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    if not worst <= _MOST_ERROR:
        raise EdgekitError(
            f"expected the engine within {_MOST_ERROR:g} of onnxruntime at batch {batch}, found {worst:.2g}",
            "a report with this line and edgekit doctor",
        )
    return worst
