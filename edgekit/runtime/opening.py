"""From a bundle on disk to a backend that computes: verified, the best engine, and who takes over when that fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit.bundle import Manifest, Trust, VerifiedBundle, read_manifest, read_signed, trust_in, verify
from edgekit.bundle.held import Held
from edgekit.bundle.link import following
from edgekit.errors import IntegrityError, SessionError, TargetError
from edgekit.runtime.backend import Backend
from edgekit.runtime.choice import Choice, choose
from edgekit.specs import Stream, TensorSpec

ON_FAILURE = ("raise", "ort")
_ORT = Choice("ort", None, "another backend failed")


@dataclass(frozen=True)
class Opened:
    """`fallback` makes the backend that takes over when this one fails; None where the failure is the caller's.

    `let_go` closes the model that it holds open for that: to be called when it is needed no more.
    """

    bundle: VerifiedBundle
    choice: Choice
    backend: Backend
    fallback: Callable[[], Backend] | None
    let_go: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Give the backend back where what is made of it fails."""
        try:
            yield
        except BaseException:
            self.let_go()
            self.backend.close()
            raise


def open_bundle(
    path: Path,
    backend: str,
    on_failure: str,
    trusted_keys: str | Path | Sequence[str | Path] | None = None,
    require_signature: bool = False,
) -> Opened:
    """Verify the signatures and every byte, then load the first of the choices that loads here.

    The bundle is a folder or an archive. A link to it is followed once, so that an install beside it cannot mix two
    bundles. Raises IntegrityError for a damaged bundle and for one without the signature that is asked for, TargetError
    when this device cannot run what was asked for, EdgekitError for a file that is no public key.
    """
    if on_failure not in ON_FAILURE:
        raise SessionError(f"expected on_failure raise or ort, found {on_failure!r}")
    trust = trust_in(trusted_keys, require_signature)
    return following(path, lambda folder: _opened(folder, backend, on_failure, trust))


def _opened(path: Path, backend: str, on_failure: str, trust: Trust) -> Opened:
    manifest, _ = read_signed(path, trust)  # before anything is chosen by what it says
    try:
        choices = choose(manifest, backend)
    except TargetError:
        verify(path, trust=trust)  # that a bundle was changed is worse than that it does not fit
        raise
    refused: list[str] = []
    for choice in choices:
        verified = _verified(path, manifest, choice, trust)
        with contextlib.ExitStack() as held:
            fallback = _fallback(verified, held) if on_failure == "ort" and choice.engine else None
            try:
                loaded = load(verified, choice)
            except TargetError as error:
                if choice is choices[-1]:
                    raise
                refused.append(error.problem)
                continue
            reason = "; ".join([choice.reason, *refused])
            let_go = held.pop_all().close
            return Opened(verified, Choice(choice.backend, choice.engine, reason), loaded, fallback, let_go)
    raise AssertionError("there is at least one choice, and the last one returns or raises")


def load(verified: VerifiedBundle, choice: Choice) -> Backend:
    """Import the one backend that is needed, and no other, and give it the bytes that were verified."""
    manifest = verified.manifest
    specs = (*manifest.inputs, *manifest.outputs)
    _check_dtypes(specs)
    stream: Stream | None = verified.table(Stream, manifest.stream)
    carried = dict(stream.pairs()) if stream else {}
    if choice.engine is None:
        from edgekit.runtime.ort import OrtBackend

        model = verified.contents[manifest.model.file]
        return OrtBackend(model, manifest.model.optimization, specs, carried)
    from edgekit.runtime.trt import TensorRTBackend

    plugins = verified.contents.get(choice.engine.plugins, b"")
    return TensorRTBackend(verified.contents[choice.engine.file], choice.engine.flavour, specs, plugins, carried)


def _verified(path: Path, manifest: Manifest, choice: Choice, trust: Trust) -> VerifiedBundle:
    engine = choice.engine
    needed = {engine.file, engine.plugins} if engine else {manifest.model.file}
    described = {manifest.preprocess, manifest.postprocess, manifest.stream, *manifest.assets}
    verified = verify(path, needed | described, trust)
    _check_same(verified, manifest)
    return verified


def _check_same(verified: VerifiedBundle, manifest: Manifest) -> None:
    if verified.manifest != manifest:
        raise IntegrityError(
            f"expected the bundle {verified.path} as it was a moment ago, found another", "open it again"
        )


def _check_dtypes(specs: tuple[TensorSpec, ...]) -> None:
    """NumPy has arrays of bfloat16 and the like only with another package, which the runtime does without."""
    import numpy as np  # as the backend does

    for spec in specs:
        try:
            np.dtype(spec.dtype)
        except TypeError:
            raise SessionError(
                f"{spec.name}: expected a tensor of a type that NumPy has, found {spec.dtype}",
                "a model with a Cast from or to float32 there",
            ) from None


def _fallback(verified: VerifiedBundle, held: contextlib.ExitStack) -> Callable[[], Backend]:
    """onnxruntime on the same bundle, also where installs have removed it since: its model is held open by `held`.

    It is read when it is needed, and its digest checked again, so that no second model lies in memory until then.
    """
    name, stream = verified.manifest.model.file, verified.manifest.stream
    model = Held(verified, name)
    held.callback(model.close)
    _check_same(verified, read_manifest(verified.path))  # what is held is of the bundle that was verified
    described = {file: verified.contents[file] for file in (stream,) if file}
    slim = replace(verified, contents={})  # the engine's bytes may go

    def reopened() -> Backend:
        return load(replace(slim, contents={**described, name: model.read()}), _ORT)

    return reopened
