"""The other tools: their environments, the settings that were tried, and what each made of a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import EdgekitError
from tests.bench.quantize.judging import HERE, judged
from tests.bench.quantize.models import OUT, RECURRENT, TRANSFORMER, Network
from tests.bench.quantize.table import Figure

ONNXRUNTIME, MODELOPT, NNCF, NNCF_INT4 = "onnxruntime", "modelopt", "nncf", "nncf_int4"
PACKAGES = {MODELOPT: "nvidia-modelopt", NNCF: "nncf", NNCF_INT4: "nncf"}
# modelopt's histograms of these take minutes a sample set.
_TOO_SLOW = {"entropy": ("lite0", "gpt", "minilm")}
_NNCF = ("default-fast-layers", "minmax-fast-layers", "minmax-fast-all", "minmax-none-layers")


@dataclass(frozen=True)
class Setting:
    """`words` follow the file names on the command line of the tool's script; `column` is where it stands."""

    column: str
    tool: str
    words: str


def settings(network: Network, precision: str) -> list[Setting]:
    """All that was tried for this network, by tool; the best legal one of a column counts."""
    if precision == "int4":
        found = [Setting("modelopt", MODELOPT, words) for words in ("awq_clip", "awq_lite", "rtn_dq")]
        found += [Setting("nncf", NNCF_INT4, words) for words in ("awq", "scale", "awq-scale")]
        return [Setting("minmax", ONNXRUNTIME, "int4"), *found]
    if precision != "int8":
        return []
    kind = "transformer" if network.kind == TRANSFORMER else "cnn"
    found = [Setting("minmax", ONNXRUNTIME, words) for words in ("minmax", "minmax-outputs")]
    found += [Setting("percentile", ONNXRUNTIME, "percentile")]
    found += [Setting("modelopt", MODELOPT, words) for words in ("max", "entropy")]
    found += [Setting("nncf", NNCF, f"{kind}-{words}") for words in (_NNCF[:2] if network.name == "minilm" else _NNCF)]
    found += [Setting("dynamic", ONNXRUNTIME, "dynamic")] if network.kind == RECURRENT else []
    return [setting for setting in found if network.name not in _TOO_SLOW.get(setting.words, ())]


def best_of_each(network: Network, precision: str, fresh: bool) -> dict[str, Figure]:
    """The best legal figure of each column, else the best of those that are not."""
    columns: dict[str, Figure] = {}
    for setting in settings(network, precision):
        for source in network.sources:
            figure = _figure(setting, source, network, fresh)
            best = columns.get(setting.column)
            if figure and (best is None or (figure.legal, figure.sqnr_db) > (best.legal, best.sqnr_db)):
                columns[setting.column] = figure
    return columns


def _figure(setting: Setting, source: Path, network: Network, fresh: bool) -> Figure | None:
    """None where the tool fails or quantizes nothing."""
    made = _output(setting, source, network, fresh)
    if made is None:
        return None
    try:
        found = judged(made, network, fresh)
    except EdgekitError as error:
        print(f"{made.name}: {error}", file=sys.stderr)
        return None
    if not found.quantized:
        return None
    return Figure(f"{setting.words} on {source.name}", found)


def _output(setting: Setting, source: Path, network: Network, fresh: bool) -> Path | None:
    """What the tool made of `source`, now or before; what it said last when it failed stands beside."""
    out = OUT / "peer-outputs" / network.name / f"{source.stem}.{setting.tool}.{setting.words}.onnx"
    failed = out.with_name(out.name + ".err")
    if not fresh and out.exists() and out.stat().st_mtime > source.stat().st_mtime:
        return out
    if not fresh and failed.exists() and failed.stat().st_mtime > source.stat().st_mtime:
        return None
    python = _python(setting.tool)
    if python is None:
        return None
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"{network.name}: {setting.tool} {setting.words} on {source.name}", file=sys.stderr, flush=True)
    words = setting.words.split("-") if setting.tool in (NNCF, NNCF_INT4) else [setting.words]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        # A copy: modelopt writes to the file that it reads.
        copy, made = Path(shutil.copy(source, folder)), Path(folder) / "made.onnx"
        script = HERE / f"peer_{setting.tool}.py"
        command = [str(python), *map(str, (script, copy, network.calibration, made)), *words]
        # In a folder of its own: some leave files where they run.
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode or not made.exists():
            failed.write_text(done.stdout + done.stderr)
            print((done.stderr.strip() or "no output").splitlines()[-1], file=sys.stderr)
            return None
        made.replace(out)
    failed.unlink(missing_ok=True)
    return out


def _python(tool: str) -> Path | None:
    """The interpreter of the tool's environment, which is made when it is not there; None where it does not install."""
    if tool == ONNXRUNTIME:
        return Path(sys.executable)
    folder = OUT / f"peers-{tool.removesuffix('_int4')}"
    python, ready = folder / "bin/python", folder / ".installed"
    if not ready.exists() and not _installed(tool, folder):
        return None
    return python


def _installed(tool: str, folder: Path) -> bool:
    """Only what differs from our own environment is installed there: the rest, torch above all, is read from ours."""
    lines = (HERE / "requirements-peers.txt").read_text().splitlines()
    wanted = next(line for line in lines if line.startswith(PACKAGES[tool]))
    if (folder / ".failed").exists():
        return False
    print(f"installing {wanted} into {folder}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(path for path in map(Path, sys.path) if path.name == "site-packages")
    theirs = folder / "lib" / packages.parent.name / "site-packages"
    (theirs / "ours.pth").write_text(f"{packages}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet", wanted]
    done = subprocess.run(pip, capture_output=True, text=True)
    (folder / (".failed" if done.returncode else ".installed")).write_text(done.stderr)
    if done.returncode:
        print(f"{wanted} does not install: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    return done.returncode == 0
