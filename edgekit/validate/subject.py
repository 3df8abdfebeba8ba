"""What is validated: an ONNX file, or a bundle, a folder or an archive, with all that it knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.budget import OF_A_PROCESS, Limit, parse_budget
from edgekit.bundle import Manifest, Trust, VerifiedBundle, is_archive, read_signed, trust_in, verify
from edgekit.bundle.link import following
from edgekit.configs import ValidateConfig
from edgekit.data import Array, Batch, Samples, fixed_batch
from edgekit.errors import IntegrityError, ModelError, UsageError
from edgekit.files import sha256_of
from edgekit.judge import OPTIMIZATION
from edgekit.latency.pinned import Pinned, digest_of
from edgekit.recipe import Recipe, load_recipe, recipe_of
from edgekit.rewrite.emulated import narrow_dtypes
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx, read_onnx_file
from edgekit.runtime import Session
from edgekit.runtime.choice import backend_of, choose
from edgekit.runtime.ort import OrtBackend
from edgekit.specs import Classify, ImagePreprocess, Postprocess, Preprocess, TensorSpec, of_pictures
from edgekit.targets import sm_names
from edgekit.validate.kept import Kept

ORT = "ort, cpu"
_LEAST_FPS, _MOST_FPS = 1e-3, 1e9  # of --fps, too


@dataclass(frozen=True)
class Subject:
    """`onnx` is what onnxruntime runs; `classes` are the names of what the model tells apart, where it has any.

    `narrow` are the floating-point dtypes of 16 bits that `onnx` holds: `fp16`, `bf16`. `promises` are what a
    bundle was judged by when it was made, and `fps` at which rate, None for none. Of a bundle `onnx` is a copy of the
    bytes that were verified, which lives as long as `kept`, and `pinned` opens that bundle and no other; messages name
    its model by `called`.
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
    fps: float | None = None
    pinned: Pinned | None = None
    kept: Kept | None = field(default=None, compare=False)

    @property
    def called(self) -> str:
        """The model's name for a message."""
        return str(self.path / self.manifest.model.file if self.manifest else self.path)

    def session(self, backend: str) -> Session:
        """Open the bundle that was verified, with the same demands on who signed it; IntegrityError for another."""
        assert self.pinned is not None  # an ONNX has no Session
        return self.pinned.session(backend)

    def rate_of(self, limits: tuple[Limit, ...]) -> float | None:
        """At which rate promises of the bundle are judged where nobody asks for another: None where time is not."""
        timed = any(limit.gate == "latency" and limit.key not in OF_A_PROCESS for limit in limits)
        return self.fps if timed else None

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
        if self.manifest is None:
            return {"model": sha256_of(self.onnx)}
        digests = {"model": self.manifest.files[self.manifest.model.file].sha256}
        if ran != "ort":
            engines = [choice.engine for choice in choose(self.manifest, asked) if choice.backend == ran]
            if engines and engines[0] is not None:
                digests["engine"] = self.manifest.files[engines[0].file].sha256
        return digests

    def on_onnxruntime(self, backend: str) -> bool:
        """Whether `backend`, as it was asked for, means onnxruntime here; TargetError for one that is not there."""
        return self.manifest is None or choose(self.manifest, backend)[0].backend == "ort"


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


def _verified(path: Path, trust: Trust) -> VerifiedBundle:
    """What `path` is, no link to it, with the bytes of its model and of its specs."""
    names, _ = read_signed(path, trust)
    found = verify(path, keep={names.model.file, names.preprocess, names.postprocess}, trust=trust)
    if found.manifest != names:
        raise IntegrityError(f"expected the bundle {path} as it was a moment ago, found another", "the same command")
    return found


def _of_bundle(path: Path, given: Recipe, config: ValidateConfig) -> Subject:
    trust = trust_in(config.trusted_keys or None, config.require_signature)
    found = following(path, lambda real: _verified(real, trust))
    manifest = found.manifest
    kept = Kept(found.contents.pop(manifest.model.file))  # from memory: it is parsed below
    answer: Postprocess | None = given.postprocess or found.table(Postprocess, manifest.postprocess)
    labels = answer.labels if isinstance(answer, Classify) else ()
    return Subject(
        path=path,
        onnx=kept.onnx,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocess=of_pictures(given.preprocess or found.table(Preprocess, manifest.preprocess)),
        classes=labels,
        classifies=isinstance(answer, Classify),
        narrow=_narrow_of(kept.onnx, path / manifest.model.file),
        manifest=manifest,
        promises=parse_budget(manifest.budget) if manifest.budget else (),
        fps=_rate_of(manifest),
        pinned=Pinned(found.path, digest_of(manifest), config.trusted_keys, config.require_signature),
        kept=kept,
    )


def _narrow_of(onnx: Path, called: Path) -> tuple[str, ...]:
    try:
        return narrow_dtypes(read_onnx(onnx))
    except ModelError as error:
        raise ModelError(error.problem.replace(str(onnx), str(called)), error.next_step) from error


def _rate_of(manifest: Manifest) -> float | None:
    if manifest.fps and not _LEAST_FPS <= manifest.fps <= _MOST_FPS:
        raise IntegrityError(
            f"expected a bundle that is for {_LEAST_FPS:g} .. {_MOST_FPS:g} requests a second, found {manifest.fps:g}"
        )
    return manifest.fps or None


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
        with bound_onnx(subject, {name: array.shape for name, array in samples.inputs.items()}) as ort:
            yield Served(_request(ort.input, ort.enqueue, samples.inputs), "ort")


@contextmanager
def bound_onnx(subject: Subject, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[OrtBackend]:
    """The ONNX in onnxruntime, for inputs of these shapes."""
    ort = OrtBackend(read_onnx_file(subject.onnx).serialized, OPTIMIZATION, (*subject.inputs, *subject.outputs))
    sizes = {
        axis: size
        for spec in subject.inputs
        for axis, size in zip(spec.shape, shapes[spec.name], strict=True)
        if isinstance(axis, str)
    }
    ort.bind(shapes, {spec.name: spec.at(sizes) for spec in subject.outputs})
    try:
        yield ort
    finally:
        ort.close()


def _request(buffer: Callable[[str], Array], run: Callable[[], object], inputs: Batch) -> Callable[[], object]:
    """What an app does for a frame: one copy into the bound buffer, one run."""

    def request() -> None:
        for name, array in inputs.items():
            buffer(name)[...] = array
        run()

    return request
