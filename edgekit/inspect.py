"""What a file holds: an ONNX model, an engine, a bundle or a report."""

from __future__ import annotations

import collections
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle import verify
from edgekit.errors import ModelError
from edgekit.files import sha256_of
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx

# The first bytes of what TensorRT-RTX 1.7 and TensorRT 10 write (read off their files).
_ENGINES = {b"vtrt": "TensorRT-RTX engine", b"ptrt": "TensorRT engine", b"ftrt": "TensorRT engine"}


@dataclass(frozen=True)
class Inspection:
    """`kind` in words, and the facts in the order in which a person wants them."""

    path: Path
    kind: str
    facts: dict[str, Any]


def inspect(path: Path) -> Inspection:
    """Look at a file or a bundle folder by its content, not its name; nothing of it is executed.

    Raises ModelError for anything else, IntegrityError for a damaged bundle.
    """
    if path.is_dir():
        return _bundle(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ModelError(f"expected a file or a bundle at {path}, found: {error.strerror}") from error
    if head in _ENGINES:
        return _engine(path, _ENGINES[head])
    if head[:1] == b"{":
        return _report(path)
    return _onnx(path)


def _onnx(path: Path) -> Inspection:
    model = read_onnx(path)
    ops = collections.Counter(node.op_type for node in model.graph.node)
    facts = {
        "bytes": path.stat().st_size,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opsets": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "inputs": {spec.name: str(spec) for spec in graph_inputs(model)},
        "outputs": {spec.name: str(spec) for spec in graph_outputs(model)},
        "ranges": metadata(model, "ranges"),
        "architecture": metadata(model, "architecture"),
        "nodes": len(model.graph.node),
        "ops": dict(ops.most_common()),
    }
    return Inspection(path, "ONNX model", {name: value for name, value in facts.items() if value is not None})


def _engine(path: Path, kind: str) -> Inspection:
    """Without a GPU an engine tells nothing; its build report does, if it is about these very bytes."""
    digest = sha256_of(path)
    facts: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": digest}
    beside = path.with_name(path.name + ".json")
    report = _json(beside) if beside.is_file() else {}
    if report.get("sha256") != digest:
        return Inspection(path, kind, {**facts, "report": "none beside it that matches these bytes"})
    for key in ("version", "target", "compute_capabilities", "shapes", "source"):
        facts[key] = report.get(key)
    layers = collections.Counter(f"{layer['kind']} {layer['dtype']}".strip() for layer in report.get("layers", ()))
    return Inspection(path, kind, {**facts, "layers": sum(layers.values()), "layer_kinds": dict(layers.most_common())})


def _bundle(path: Path) -> Inspection:
    manifest = verify(path).manifest
    facts = {
        "verdict": manifest.verdict,
        "architecture": manifest.model.architecture,
        "precision": manifest.model.precision,
        "inputs": {spec.name: str(spec) for spec in manifest.inputs},
        "outputs": {spec.name: str(spec) for spec in manifest.outputs},
        "ranges": {name: list(sizes) for name, sizes in manifest.ranges.items()},
        "engines": {
            entry.file: f"{entry.flavour} {entry.version} for {', '.join(entry.compute_capabilities)}"
            for entry in manifest.engines
        },
        "files": {name: entry.size for name, entry in sorted(manifest.files.items())},
        "digests": "all match",
    }
    return Inspection(path, "bundle", facts)


def _report(path: Path) -> Inspection:
    table = _json(path)
    if "stage" not in table:
        raise ModelError(f"expected an edgekit report in {path}, found other JSON")
    return Inspection(path, f"report of {table['stage']}", _short(table))


def _short(value: Any) -> Any:
    """Long lists, such as the layers of an engine or all latencies, are for programs."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items() if not isinstance(item, list) or len(item) < 10}
    return [_short(item) for item in value] if isinstance(value, list) else value


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"expected JSON in {path}, found: {error}") from error
    return table if isinstance(table, dict) else {}
