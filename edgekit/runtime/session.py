"""The one class that an app embeds."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.bundle import VerifiedBundle, read_manifest, verify
from edgekit.errors import IntegrityError, SessionError, ShapeError, nearest
from edgekit.runtime.backend import Array, Backend
from edgekit.runtime.choice import Choice, choose
from edgekit.specs import Postprocess, Preprocess, TensorSpec

if TYPE_CHECKING:
    from edgekit.postprocess import Label


@dataclass(frozen=True)
class Timing:
    """When one inference started and ended, from `time.perf_counter_ns`."""

    start_ns: int
    end_ns: int

    @property
    def compute_ms(self) -> float:
        """Milliseconds from enqueue to completion."""
        return (self.end_ns - self.start_ns) / 1e6


@dataclass(frozen=True)
class Ticket:
    """An inference under way, to be waited for."""

    start_ns: int


class Session:
    """An open bundle. One session belongs to one thread; use it as a context manager."""

    def __init__(self, bundle: VerifiedBundle, choice: Choice, backend: Backend) -> None:
        manifest = bundle.manifest
        self.inputs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.inputs}
        self.outputs: dict[str, TensorSpec] = {spec.name: spec for spec in manifest.outputs}
        self.backend = backend.name
        self.device = backend.device
        self.reason = choice.reason
        self.preprocessing: Preprocess | None = bundle.table(Preprocess, manifest.preprocess)
        self.postprocessing: Postprocess | None = bundle.table(Postprocess, manifest.postprocess)
        self._ranges = manifest.ranges
        self._backend: Backend | None = backend
        self._owner = threading.get_ident()
        self._runs = 0
        self._dims = {name: sizes[1] for name, sizes in manifest.ranges.items()}
        self._bind()

    @classmethod
    def open(cls, bundle: str | Path, backend: str = "auto") -> Session:
        """Verify every byte of the bundle, then load it and open it at its opt shape.

        `backend` is auto, ort, trt or rtx; `session.reason` says why auto chose as it did. Raises IntegrityError for
        a damaged bundle, TargetError when this device cannot run what was asked for.
        """
        manifest = read_manifest(Path(bundle))
        choice = choose(manifest, backend)
        engine_or_model = choice.engine.file if choice.engine else manifest.model.file
        plugins = choice.engine.plugins if choice.engine else ""
        verified = verify(Path(bundle), keep={engine_or_model, plugins, manifest.preprocess, manifest.postprocess})
        return cls(verified, choice, _load(verified, choice, engine_or_model))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def input(self, name: str) -> Array:
        """The bound buffer of an input: write into it, then `execute`."""
        self._known(name, self.inputs)
        return self._mine().input(name)

    def output(self, name: str) -> Array:
        """A view of an output as the last run left it; the next run overwrites it."""
        self._known(name, self.outputs)
        return self._mine().output(name)

    def submit(self) -> Ticket:
        """Start one inference on the bound buffers."""
        backend = self._mine()
        start_ns = time.perf_counter_ns()
        backend.enqueue()
        return Ticket(start_ns)

    def wait(self, ticket: Ticket, timeout: float | None = None) -> Timing:
        """Wait until the inference is done; SessionError after `timeout` seconds."""
        if not self._mine().synchronise(timeout):
            raise SessionError(f"expected the inference to end within {timeout} s, found it running still")
        self._runs += 1
        return Timing(ticket.start_ns, time.perf_counter_ns())

    def execute(self) -> Timing:
        """Run once on the bound buffers: no copies of ours, no allocation."""
        return self.wait(self.submit())

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Check the arrays, run once, and return copies of the outputs by name.

        An open axis follows the arrays' shape. Raises ShapeError for a missing or unknown name, a dtype or a shape.
        """
        import numpy as np  # as the backend does: `import edgekit.runtime` itself needs none

        arrays = {name: np.asarray(value) for name, value in feeds.items()}
        for name in arrays:
            self._known(name, self.inputs)
        for name, spec in self.inputs.items():
            if name not in arrays:
                raise ShapeError(f"expected inputs {', '.join(self.inputs)}, found no {name!r}")
            spec.check(str(arrays[name].dtype), arrays[name].shape)
        self._resize({name: array.shape for name, array in arrays.items()})
        for name, array in arrays.items():
            self.input(name)[...] = array
        self.execute()
        return {name: self.output(name).copy() for name in self.outputs}

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Change the shape of an input within the bundle's range; buffers are made anew."""
        self._known(name, self.inputs)
        self.inputs[name].check(self.inputs[name].dtype, tuple(shape))
        self._resize({name: tuple(shape)})

    def warmup(self, runs: int = 3) -> None:
        """Run on whatever the buffers hold, so that the first frame is like every other."""
        for _ in range(runs):
            self.execute()

    def preprocess(self, frame: Array, slot: int = 0) -> None:
        """Write one picture, uint8 [H,W,3] RGB, into batch position `slot` of the bundle's image input."""
        from edgekit.preprocess import apply

        if self.preprocessing is None:
            raise SessionError("expected a bundle with image preprocessing, found none", "session.input(name)[:] = …")
        apply(self.preprocessing, frame, self.input(self.preprocessing.input)[slot])

    def postprocess(self, top: int = 1) -> list[list[Label]]:
        """The `top` labels of each batch position, most probable first."""
        from edgekit.postprocess import classify

        if self.postprocessing is None:
            raise SessionError("expected a bundle with labels, found none", "session.output(name)")
        return classify(self.output(self.postprocessing.output), self.postprocessing.labels, top)

    def health(self) -> dict[str, Any]:
        """A plain account: who computes, on what, why, and how often it did."""
        return {"backend": self.backend, "device": self.device, "reason": self.reason, "runs": self._runs}

    def close(self) -> None:
        """Give back buffers and engine; closing twice does no harm."""
        if self._backend is not None:
            self._mine().close()
            self._backend = None

    def _mine(self) -> Backend:
        if self._backend is None:
            raise SessionError("expected an open session, found it closed", "Session.open(bundle)")
        if threading.get_ident() != self._owner:
            raise SessionError("expected calls from the thread that opened the session, found another thread")
        return self._backend

    def _known(self, name: str, specs: Mapping[str, TensorSpec]) -> None:
        if name not in specs:
            raise ShapeError(f"expected one of {', '.join(specs)}, found {name!r}; {nearest(name, specs)}")

    def _resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        dims: dict[str, int] = {}
        for name, shape in shapes.items():
            for axis, size in zip(self.inputs[name].shape, shape, strict=True):
                if isinstance(axis, str) and dims.setdefault(axis, size) != size:
                    raise ShapeError(f"{name}: expected {axis} of {dims[axis]} as in the other inputs, found {size}")
        for dim, size in dims.items():
            low, _, high = self._ranges[dim]
            if not low <= size <= high:
                raise ShapeError(f"expected {dim} in {low}..{high}, the range of the bundle, found {size}")
        if {**self._dims, **dims} != self._dims:
            self._dims |= dims
            self._bind()

    def _bind(self) -> None:
        inputs = {name: spec.at(self._dims) for name, spec in self.inputs.items()}
        bound = {name: shape for name, shape in inputs.items() if shape is not None}
        if len(bound) < len(inputs):
            raise IntegrityError("expected a range for every open axis in the manifest, found one missing")
        self._mine().bind(bound, {name: spec.at(self._dims) for name, spec in self.outputs.items()})


def _load(verified: VerifiedBundle, choice: Choice, engine_or_model: str) -> Backend:
    """Import the one backend that is needed, and no other."""
    manifest, data = verified.manifest, verified.contents[engine_or_model]
    specs = (*manifest.inputs, *manifest.outputs)
    if choice.engine is None:
        from edgekit.runtime.ort import OrtBackend

        return OrtBackend(data, manifest.model.optimization, specs)
    from edgekit.runtime.trt import TensorRTBackend

    plugins = verified.contents.get(choice.engine.plugins, b"")
    return TensorRTBackend(data, choice.engine.flavour, specs, plugins)
