"""A bundle opened as an app would open it, in a process of its own, and asked for an answer that is known.

A deserialiser that crashes or hangs takes that process with it, and not the installer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgekit.bundle import GOLDEN, VerifiedBundle
from edgekit.bundle.held import Held
from edgekit.configs import InstallConfig
from edgekit.errors import DataError, EdgekitError, IntegrityError, SessionError, TargetError
from edgekit.fresh import answers_only, fresh_python
from edgekit.install.fit import needs_engine, no_engine
from edgekit.reports import plain
from edgekit.runtime.fit import engine_fits

if TYPE_CHECKING:
    from edgekit.runtime import Session
    from edgekit.runtime.loop import Golden

LONGEST_S = 600.0  # TensorRT-RTX compiles kernels when it first loads an engine
_ERRORS = {kind.exit_code: kind for kind in (TargetError, IntegrityError)}


@dataclass(frozen=True)
class Health:
    """Who computes, on what and why; `engine` is its file, empty for the ONNX. `compared` says what the answer was
    compared with."""

    backend: str
    device: str
    engine: str
    reason: str
    compared: str


def check_health(folder: Path, config: InstallConfig) -> Health:
    """Open the bundle in a new process and run its golden input: `config.golden`, else the bundle's own.

    Without one a made-up input is run, and its outputs only have to be finite. Raises IntegrityError, TargetError and
    SessionError as `Session.open` does, SessionError also for another answer and for a process that crashes or hangs.
    """
    given = plain(config) | {"golden": str(config.golden or "")}
    asked = json.dumps({"folder": str(folder), "config": given})
    told, ended, said = _told(asked, folder)
    if "error" in told:
        raise _ERRORS.get(told["code"], SessionError)(told["error"], told["next"])
    if ended or not told:
        how = ended or "without an answer"
        raise SessionError(f"expected the bundle to open and answer, found that its process ended, {how}: {said}")
    return Health(**told)


def check_golden(config: InstallConfig) -> None:
    """Raise DataError for a golden input that cannot be read, before a bundle is copied for it."""
    if config.golden is not None:
        from edgekit.runtime.loop import Golden

        Golden.load(config.golden)


def _told(asked: str, folder: Path) -> tuple[dict[str, Any], str, str]:
    """What the process answers, how it ended if not well, and the last line of its standard error."""
    from edgekit.runtime.supervise.process import in_words

    # Not a pipe for its errors: what a library prints could fill it and stop the process.
    with _temporary(folder) as errors, _lifeline() as line:
        process = subprocess.Popen(fresh_python(__name__, asked), stdin=line, stdout=subprocess.PIPE, stderr=errors)
        try:
            answer, _ = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired as error:
            raise SessionError(f"expected the bundle to answer in {LONGEST_S:g} s, found its process busy") from error
        finally:
            process.kill()
            process.communicate()
        errors.seek(0)
        last = (errors.read().decode(errors="replace").strip().splitlines() or ["nothing said"])[-1]
    code = process.returncode
    ended = in_words(max(code, 0), max(-code, 0)) if code else ""
    return json.loads(answer or b"{}"), ended, last[:300]


def _temporary(folder: Path) -> IO[bytes]:
    """A file without a name; beside the bundle where the system has no place for such, as one that is read-only."""
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError:
        return tempfile.TemporaryFile(dir=folder.parent)


@contextlib.contextmanager
def _lifeline() -> Iterator[int]:
    """Yield what the process reads from: it ends when this process does, and so closes the other end."""
    line, ours = os.pipe()
    try:
        yield line
    finally:
        os.close(line)
        os.close(ours)


def child(asked: str) -> None:
    """The process itself: one line of JSON."""
    answer = answers_only("w")
    threading.Thread(target=_end_with_installer, daemon=True).start()
    table = json.loads(asked)
    given = table["config"]
    golden = Path(given["golden"]) if given["golden"] else None
    config = InstallConfig(**{**given, "golden": golden, "trusted_keys": tuple(map(Path, given["trusted_keys"]))})
    try:
        told = asdict(_checked(Path(table["folder"]), config))
    except EdgekitError as error:
        told = {"error": error.problem, "next": error.next_step, "code": error.exit_code}
    print(json.dumps(told), file=answer, flush=True)


def _end_with_installer() -> None:
    os.read(0, 1)
    os._exit(1)


def _checked(folder: Path, config: InstallConfig) -> Health:
    from edgekit.runtime import Session
    from edgekit.runtime.opening import open_bundle

    opened = open_bundle(folder, config.backend, "raise", config.trusted_keys or None, config.require_signature)
    with opened.closed_on_error():
        choice, manifest = opened.choice, opened.bundle.manifest
        if needs_engine(config) and choice.engine is None:
            raise no_engine(engine_fits(manifest.engines), choice.reason)
        session = Session(opened)
    with session:
        compared = _compared(session, _golden(opened.bundle, config))
        engine = choice.engine.file if choice.engine else ""
        return Health(session.backend, session.device, engine, choice.reason, compared)


def _golden(bundle: VerifiedBundle, config: InstallConfig) -> tuple[Golden, str] | None:
    """The input with its answer that is given, else the bundle's own, and its name; None where there is neither."""
    from edgekit.runtime.loop import Golden

    if config.golden is not None:
        return Golden.load(config.golden), config.golden.name
    if GOLDEN not in bundle.manifest.files:
        return None
    with contextlib.closing(Held(bundle, GOLDEN)) as held:
        # The bytes that were verified, and no file that another program could change.
        return Golden.read(io.BytesIO(held.read()), GOLDEN), GOLDEN


def _compared(session: Session, golden: tuple[Golden, str] | None) -> str:
    """Have it answer; what its answer was compared with. Raises SessionError for a wrong one."""
    from edgekit.latency.inputs import made_up
    from edgekit.runtime.loop.guard import Guard

    if golden is not None:
        right, name = golden
        right(session)
        inputs, known = right.inputs, set(right.outputs)
        compared = f"{', '.join(sorted(known))} within {right.sqnr_db:g} dB of {name}"
    else:
        shapes = {name: session.input(name).shape for name in session.inputs}
        try:
            inputs, known = made_up(tuple(session.inputs.values()), shapes), set()
        except DataError as error:
            raise DataError(error.problem, "--golden F.npz") from error
        compared = "nothing: a made-up input gave finite outputs"
    for name, array in session.run(inputs).items():
        if name not in known and not Guard().good(array):
            raise SessionError(f"{name}: expected finite outputs, found NaN or infinity", "--golden F.npz")
    return compared
