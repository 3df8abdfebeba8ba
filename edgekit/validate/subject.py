"""What is validated: an ONNX file, or a bundle, a folder or an archive, with all that it knows of itself."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.budget import Limit, parse_budget
from edgekit.bundle import Manifest, VerifiedBundle, is_archive, read_signed, trust_in, verify
from edgekit.configs import ValidateConfig
from edgekit.data import Array, Batch, Samples, fixed_batch
from edgekit.errors import UsageError
from edgekit.files import sha256_of
from edgekit.judge import OPTIMIZATION
from edgekit.recipe import Recipe, load_recipe, recipe_of
from edgekit.rewrite.emulated import narrow_dtypes
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx, read_onnx_file
from edgekit.runtime import Session
from edgekit.runtime.choice import backend_of, choose
from edgekit.runtime.ort import OrtBackend
from edgekit.specs import Classify, ImagePreprocess, Postprocess, Preprocess, TensorSpec, of_pictures
from edgekit.targets import sm_names

ORT = "ort, cpu"


@dataclass(frozen=True)
class Subject:
    """`onnx` is what onnxruntime runs; `classes` are the names of what the model tells apart, where it has any.

    `narrow` are the floating-point dtypes of 16 bits that `onnx` holds: `fp16`, `bf16`. `promises` are what a
    bundle was judged by when it was made. Of an archive `onnx` is a copy, which lives as long as `copied`.
    """

    path: Path
    onnx: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: ImagePreprocess | None
    classes: tuple[str, ...]
    classifies: bool
    narrow: tuple[str, ...]
    manifest: Manifest | None = None
    promises: tuple[Limit, ...] = ()
    trusted_keys: tuple[Path, ...] = ()
    require_signature: bool = False
    copied: _Copied | None = field(default=None, compare=False)

    def session(self, backend: str) -> Session:
        """Open the bundle, with the same demands on who signed it as when it was verified."""
        return Session.open(
            self.path, backend, trusted_keys=self.trusted_keys or None, require_signature=self.require_signature
        )

    def batch(self) -> int:
        """How many samples one request has: what the model fixes, else the bundle's opt size, else 1."""
        axis = self.inputs[0].shape[0] if self.inputs and self.inputs[0].shape else 1
        ranges = self.manifest.ranges if self.manifest else {}
        return fixed_batch(self.inputs) or (ranges[axis][1] if axis in ranges else 1)

    def engines_left(self, backend: str) -> str:
        """What the verdict must say of engines that did not run."""
        entries = self.manifest.engines if self.manifest and backend.startswith(ORT) else ()
        return "".join(
            f"; engine {backend_of(entry.flavour)} {sm_names(entry.compute_capabilities)}: not run" for entry in entries
        )

    def digests(self, ran: str, asked: str) -> dict[str, str]:
        """The SHA-256 of the ONNX, and of the engine where `ran`, the backend that `asked` became, was one's."""
        digests = {"model": sha256_of(self.onnx)}
        if self.manifest is not None and ran != "ort":
            engines = [choice.engine for choice in choose(self.manifest, asked) if choice.backend == ran]
            if engines and engines[0] is not None:
                digests["engine"] = self.manifest.files[engines[0].file].sha256
        return digests

    def on_onnxruntime(self, backend: str) -> bool:
        """Whether `backend`, as it was asked for, means onnxruntime here; TargetError for one that is not there."""
        return self.manifest is None or choose(self.manifest, backend)[0].backend == "ort"


class _Copied:
    """The ONNX of an archive as a file, which a process of its own can read; it goes with the last who holds this."""

    def __init__(self, found: VerifiedBundle) -> None:
        folder = Path(tempfile.mkdtemp(prefix="edgekit-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.onnx = folder / "model.onnx"
        self.onnx.write_bytes(found.contents[found.manifest.model.file])


def is_bundle(source: Path) -> bool:
    """Whether it is a folder or an archive, and not an ONNX file."""
    return source.is_dir() or is_archive(source)


def open_subject(source: Path, config: ValidateConfig) -> Subject:
    """Read an ONNX file, or verify a bundle or its archive; pictures go by the recipe, else by what either knows.

    Raises ModelError, IntegrityError, RecipeError, or UsageError for a backend that an ONNX file does not have.
    """
    given = load_recipe(config.recipe) if config.recipe else Recipe()
    if is_bundle(source):
        return _of_bundle(source, given, config)
    if config.trusted_keys or config.require_signature:
        raise UsageError(f"expected a bundle, which can be signed, found the file {source}", "edgekit deploy")
    if config.backend not in ("auto", "ort"):
        raise UsageError(f"expected a bundle for backend {config.backend}, found the file {source}", "--backend ort")
    model = read_onnx(source)
    own = recipe_of(metadata(model, "architecture"))
    answer = given.postprocess
    classes = answer.labels if isinstance(answer, Classify) else tuple(metadata(model, "labels") or ())
    return Subject(
        path=source,
        onnx=source,
        inputs=graph_inputs(model),
        outputs=graph_outputs(model),
        preprocess=of_pictures(given.preprocess or (load_recipe(own).preprocess if own else None)),
        classes=classes,
        classifies=bool(classes) or "classification" in str(metadata(model, "task")),
        narrow=narrow_dtypes(model),
    )


def _of_bundle(path: Path, given: Recipe, config: ValidateConfig) -> Subject:
    trust = trust_in(config.trusted_keys or None, config.require_signature)
    names, _ = read_signed(path, trust)
    archived = {names.model.file} if is_archive(path) else set()
    found = verify(path, keep={names.preprocess, names.postprocess, *archived}, trust=trust)
    manifest = found.manifest
    copied = _Copied(found) if archived else None
    onnx = copied.onnx if copied else path / manifest.model.file
    answer: Postprocess | None = given.postprocess or found.table(Postprocess, manifest.postprocess)
    labels = answer.labels if isinstance(answer, Classify) else ()
    return Subject(
        path=path,
        onnx=onnx,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocess=of_pictures(given.preprocess or found.table(Preprocess, manifest.preprocess)),
        classes=labels,
        classifies=isinstance(answer, Classify),
        narrow=narrow_dtypes(read_onnx(onnx)),
        manifest=manifest,
        promises=parse_budget(manifest.budget) if manifest.budget else (),
        trusted_keys=config.trusted_keys,
        require_signature=config.require_signature,
        copied=copied,
    )


@dataclass(frozen=True)
class Served:
    """`request` writes samples into the bound inputs and runs once, on `backend`."""

    request: Callable[[], object]
    backend: str


@contextmanager
def serving(subject: Subject, backend: str, samples: Samples) -> Iterator[Served]:
    """Yield who answers: a Session, or onnxruntime."""
    if subject.manifest is not None:
        with subject.session(backend) as session:
            for name, array in samples.inputs.items():
                session.set_shape(name, array.shape)
            yield Served(_request(session.input, session.execute, samples.inputs), session.backend)
    else:
        ort = OrtBackend(read_onnx_file(subject.onnx).serialized, OPTIMIZATION, (*subject.inputs, *subject.outputs))
        shapes = {name: array.shape for name, array in samples.inputs.items()}
        sizes = {
            axis: size
            for spec in subject.inputs
            for axis, size in zip(spec.shape, shapes[spec.name], strict=True)
            if isinstance(axis, str)
        }
        ort.bind(shapes, {spec.name: spec.at(sizes) for spec in subject.outputs})
        try:
            yield Served(_request(ort.input, ort.enqueue, samples.inputs), "ort")
        finally:
            ort.close()


def _request(buffer: Callable[[str], Array], run: Callable[[], object], inputs: Batch) -> Callable[[], object]:
    """What an app does for a frame: one copy into the bound buffer, one run."""

    def request() -> None:
        for name, array in inputs.items():
            buffer(name)[...] = array
        run()

    return request
