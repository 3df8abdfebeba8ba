"""What is written where this machine has not the target's TensorRT: a folder that builds the engine on the device."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import onnx

from edgekit import __version__
from edgekit.build import account, check_required, check_requirements, for_target, model_profiles, resolved
from edgekit.build.carried import licence, own_sources, requirements, runs_from_a_package
from edgekit.build.flavour import AbsentTensorRT
from edgekit.build.plugins import would_help
from edgekit.build.text import size_text
from edgekit.configs import BuildConfig
from edgekit.errors import OutputError
from edgekit.files import check_apart, folder_written_aside, json_bytes
from edgekit.recipe import recipe_of
from edgekit.reports import StageReport, Stopwatch, peak_rss_mib, plain
from edgekit.resources import resource
from edgekit.rewrite.reading import OnnxFile, metadata, read_onnx_file
from edgekit.targets import device, target
from edgekit.texts import read_json

_TEMPLATES = Path(__file__).with_name("package_files")
_MARKER = "package.json"
_ENDING = ".package"
_KERNELS = """The model has layers of which TensorRT makes loops, or attention for which it has no kernel. build.sh
compiles edgekit's kernels for them with JetPack's nvcc, once, before it builds the engine:

    PYTHONPATH=. python3 -m edgekit plugins build --archs {archs}

Where there is no nvcc (sudo apt install cuda-toolkit) the engine is built without them."""
_NO_KERNELS = "This model has no layer that they would take."


@dataclass(frozen=True)
class PackageReport(StageReport):
    """The folder, for whom it is, and the one command to run there; `reason` says why there is no engine."""

    target: str
    where: str
    files: int
    bytes: int
    command: str
    reason: str

    @property
    def error(self) -> AbsentTensorRT:
        """Why there is no engine, with the command as the next step."""
        return AbsentTensorRT(self.reason, f"{self.command} on {self.where}")


@dataclass(frozen=True)
class _Job:
    """`options` are those that go along: given, and meaning the same on another machine. `archs` are those to compile
    edgekit's kernels for, empty for none."""

    source: Path
    out: Path
    config: BuildConfig
    found: OnnxFile
    options: dict[str, Any]
    archs: str

    @property
    def recipe(self) -> str | None:
        architecture = metadata(self.found.model, "architecture")
        return recipe_of(architecture) if isinstance(architecture, str) else None


def package(source: Path, out: Path, config: BuildConfig, absent: AbsentTensorRT) -> PackageReport:
    """Write `<out>.package/`: the model, edgekit's own sources and `build.sh`, which builds `out` on the device.

    The same model and options give the same bytes. Raises what `build` raises before it needs TensorRT: ModelError,
    BuildError for what no TensorRT takes, ShapeError, UsageError, TargetError (options or a device that the target has
    not) and OutputError; then nothing is written. On a device, from the sources of a package, it raises `absent`
    itself: a package is not packed again.
    """
    if runs_from_a_package():
        raise absent
    watch = Stopwatch()
    check_requirements(resolved(config))
    check_apart(source, out)
    folder = _folder(out)
    found = read_onnx_file(source)
    # Packed is what the person has; judged is the form that TensorRT would be given.
    ready, _ = for_target(found, config)
    asked = model_profiles(ready, config)
    if config.require_precision:  # the types of the model must be able to reach it
        check_required(config.require_precision, account(ready.model, asked[0], ()))
    shapes = tuple(str(item) for profile in asked for item in profile)
    options, warnings = _carried_options(config)
    job = _Job(source, out, config, OnnxFile(ready.model, found.serialized), options, _archs(ready.model, config))
    files = _files(job)
    files["package.json"] = json_bytes(_account(job, files) | {"shapes": shapes, "warnings": warnings})
    files["SHA256SUMS"] = "".join(f"{_sha256(data)}  {name}\n" for name, data in sorted(files.items())).encode()
    with folder_written_aside(folder, _MARKER, _built) as partial:
        for name, data in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(data)
    return PackageReport(
        path=folder,
        seconds=watch.seconds(),
        peak_rss_mib=peak_rss_mib(),
        warnings=warnings,
        target=config.target,
        where=target(config.target).where,
        files=len(files),
        bytes=sum(map(len, files.values())),
        command=_command(out),
        reason=absent.problem,
    )


def _archs(model: onnx.ModelProto, config: BuildConfig) -> str:
    """The architectures to compile edgekit's kernels for, `87`; empty where the model or the target has no use."""
    kind = target(config.target)
    if kind.plugins in ("", "none") or config.plugins == "off" or not would_help(model):
        return ""
    return ",".join(capability.replace(".", "") for capability in kind.compute_capabilities)


def _built(folder: Path) -> str:
    """An engine that was built there, which took long and is nobody's to delete; empty for none."""
    found = sorted(path.relative_to(folder).as_posix() for path in (folder / "engine").glob("*"))
    return found[0] if found else ""


def _folder(out: Path) -> Path:
    """Where the package goes; OutputError where that is a folder, or holds a package.json, of someone else's."""
    if out.is_dir():
        raise OutputError(f"expected the name of a file to write, found the folder {out}", "another OUT")
    folder = out.with_name(out.name + _ENDING)
    try:
        found = read_json(folder / _MARKER)
    except (OSError, ValueError):
        found = None
    if (folder / _MARKER).exists() and not (isinstance(found, dict) and found.get("stage") == "package"):
        raise OutputError(f"expected {folder / _MARKER} to be edgekit's, found another", "another OUT")
    return folder


def _command(out: Path) -> str:
    """What to run, seen from the folder that the package lies in."""
    dashed = out.name.startswith("-")  # sh would take it for an option
    return shlex.join(["sh", f"{'./' if dashed else ''}{out.name}{_ENDING}/build.sh"])


def _carried_options(config: BuildConfig) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The options that were given and mean the same on another machine, and a warning for each that does not."""
    carried: dict[str, Any] = {}
    warnings = []
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name == "target" or value == item.default:
            continue
        if isinstance(value, Path) or (item.name == "plugins" and value not in ("auto", "off")):
            warnings.append(
                f"--{_dashed(item.name)} names a file of this machine, which is not packed; give build.sh its own"
            )
        else:
            carried[item.name] = value
    return carried, tuple(warnings)


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _flags(options: dict[str, Any]) -> list[str]:
    """The options as words of a command line, not yet quoted; a value is in one word with its flag, whatever it is."""
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{_dashed(name)}" if value else f"--no-{_dashed(name)}")
        else:
            words += [f"--{_dashed(name)}={item}" for item in (value if isinstance(value, tuple) else (value,))]
    return words


def _files(job: _Job) -> dict[str, bytes]:
    """Every file of the package by its name, but package.json and SHA256SUMS, which tell of these."""
    files = {
        "model.onnx": job.found.serialized,
        "requirements.txt": "".join(line + "\n" for line in requirements(*(["plugins"] * bool(job.archs)))).encode(),
        "build.sh": _filled("build.sh", _script_values(job)),
        "README.txt": _filled("README.txt", _page_values(job)),
        **dict(own_sources()),
    }
    text = licence()
    if text is not None:
        files["LICENSE"] = text
    if job.recipe is not None:
        files["recipe.toml"] = (resource("calibration") / "recipes" / f"{job.recipe}.toml").read_bytes()
    return files


def _filled(template: str, values: dict[str, str]) -> bytes:
    """A file of package_files with each @{name} replaced, all at once: a value may hold anything."""
    text = (_TEMPLATES / template).read_text()
    return re.sub(r"@\{(\w+)\}", lambda found: values[found[1]], text).encode()


def _script_values(job: _Job) -> dict[str, str]:
    """What build.sh is told, quoted for the shell. The device counts for the packed target alone."""
    shared = {name: value for name, value in job.options.items() if name != "device"}
    words = ["model.onnx", f"engine/{job.out.name}", "--target", job.config.target, *_flags(shared)]
    device_words = [] if job.config.device is None else [f"--device={job.config.device}"]
    return {
        "target": shlex.quote(job.config.target),
        "arguments": shlex.join(words),
        "device": "".join(shlex.quote(word) + " " for word in device_words),
        "archs": shlex.quote(job.archs),
    }


def _page_values(job: _Job) -> dict[str, str]:
    """What README.txt tells a person; names that stand in a command are quoted for the shell."""
    kind = target(job.config.target)
    board = None if job.config.device is None else device(job.config.device)
    needs = [f"TensorRT {kind.tensorrt}" if kind.tensorrt else "TensorRT 10 or 11"]
    needs += [f"CUDA {kind.cuda}"] if kind.cuda else []
    needs += [f"as in JetPack {', '.join(kind.jetpack)}"] if kind.jetpack else []
    title = f"{job.out.name}: not built yet"
    return {
        "title": f"{title}\n{'=' * len(title)}",
        "engine": job.out.name,
        "built": shlex.quote(f"engine/{job.out.name}"),
        "target": kind.name,
        "where": kind.where,
        "edgekit": __version__,
        "command": _command(job.out),
        "kernels": _KERNELS.format(archs=job.archs) if job.archs else _NO_KERNELS,
        "needs": ", ".join(needs),
        "model_size": size_text(len(job.found.serialized)),
        "memory": f"  {board.title} has {board.memory_gb:g} GB in all.\n" if board and board.memory_gb else "",
        "recipe": f"\nrecipe.toml       edgekit's recipe {job.recipe}, of the model's architecture"
        if job.recipe
        else "",
    }


def _account(job: _Job, files: dict[str, bytes]) -> dict[str, Any]:
    """Where all of this came from; no path, time or name of this machine is in it."""
    config = job.config
    words = [job.source.name, job.out.name, "--target", config.target, *_flags(job.options)]
    return {
        "stage": "package",
        "edgekit": __version__,
        "created_by": shlex.join(["edgekit", "build-engine", *words]),
        "source": job.source.name,
        "engine": job.out.name,
        "target": config.target,
        "about_target": plain(target(config.target)),
        "device": config.device,
        "about_device": None if config.device is None else plain(device(config.device)),
        "options": plain(job.options),
        "recipe": job.recipe,
        "files": {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()},
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
