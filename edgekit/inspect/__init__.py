"""What a file holds: an ONNX model, an engine, a bundle or a report; as facts, as text and as a page."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.bundle import EngineEntry, QuantizationEntry, is_archive, read_manifest, verify
from edgekit.errors import ModelError, OutputError
from edgekit.files import check_apart, sha256_of
from edgekit.inspect.built import Built, read_built
from edgekit.inspect.header import is_engine, read_header
from edgekit.inspect.paper import engine_page, facts_page
from edgekit.inspect.text import attention_text, fact_lines, layer_lines
from edgekit.pages import write_page
from edgekit.reports import plain, report_file
from edgekit.specs import Postprocess, Preprocess, Stream
from edgekit.texts import read_json

__all__ = ["Inspection", "inspect", "write_html"]


@dataclass(frozen=True)
class Inspection:
    """`kind` in words, the facts in the order in which a person wants them, and an engine's build where it is known."""

    path: Path
    kind: str
    facts: dict[str, Any]
    built: Built | None = None

    def to_json(self) -> dict[str, Any]:
        """All as JSON values; `layers` is the fused layer list of an engine."""
        table = {"path": str(self.path), "kind": self.kind, **plain(self.facts)}
        return table if self.built is None else {**table, "layers": plain(self.built.layers)}

    def lines(self) -> list[str]:
        """What a terminal shows: of many layers only the costliest."""
        head = [f"{self.path}: {self.kind}", *fact_lines(self.facts)]
        return head if self.built is None else head + layer_lines(self.built)


def inspect(path: Path) -> Inspection:
    """Look at a file or a bundle folder by its content, not its name; nothing of it is executed.

    What is called .ekb is taken for an archive, whatever it begins with. Raises ModelError for anything else and for a
    damaged engine, IntegrityError for a damaged bundle or archive.
    """
    if path.is_dir():
        return _bundle(path, "bundle")
    try:
        if is_archive(path):
            return _bundle(path, "archive of a bundle")
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise ModelError(f"expected a file or a bundle at {path}, found: {error.strerror}", "another file") from error
    if is_engine(head):
        return _engine(path)
    if head[:1] == b"{":
        return _report(path)
    return _onnx(path)


def write_html(found: Inspection, out: Path) -> None:
    """Write what was found as one page that needs no network. Raises OutputError where `out` cannot be written."""
    check_apart(found.path, out)
    if found.path.is_dir() and found.path.resolve() in out.resolve().parents:
        raise OutputError(f"expected a page outside {found.path}, found {out}: a bundle has only its own files")
    title, subtitle = found.path.name or str(found.path), f"{found.kind}, {found.path}"
    if found.built is None:
        write_page(out, facts_page(title, subtitle, found.facts))
    else:
        write_page(out, engine_page(title, subtitle, found.facts, found.built))


def _onnx(path: Path) -> Inspection:
    # A robot looks at bundles and engines without the package onnx.
    from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx

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


def _engine(path: Path) -> Inspection:
    """What the header tells, and what the build report beside it tells, if it is about these very bytes."""
    header = read_header(path)
    digest = sha256_of(path)
    facts: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": digest, "flavour": header.flavour}
    for key in ("version", "compute_capabilities", "weights_bytes"):
        if getattr(header, key) is not None:
            facts[key] = getattr(header, key)
    if header.other_gpus:
        facts["other_gpus"] = "yes; which ones, the header does not name"
    table = _beside(path)
    if table.get("sha256") != digest:
        return Inspection(path, header.kind, {**facts, "report": "none beside it that matches these bytes"})
    built = read_built(table)
    return Inspection(path, header.kind, {**facts, **_built_facts(built), **facts}, built)


def _beside(engine: Path) -> dict[str, Any]:
    """The report beside an engine; one that cannot be read says nothing, as one that is not there."""
    try:
        return _json(report_file(engine))
    except ModelError:
        return {}


def _built_facts(built: Built) -> dict[str, Any]:
    """What a report says of an engine as a whole; what it does not say is left out."""
    kinds = collections.Counter(f"{layer.kind} {layer.dtype}".strip() for layer in built.layers)
    facts = {
        **built.facts,
        "layer_count": len(built.layers),
        "layer_kinds": dict(kinds.most_common()),
        "multiply_adds": built.total_macs,
        "computed_in": {name: round(share, 6) for name, share in built.shares.items()} or None,
        "nodes_of_unknown_size": list(built.unsized) or None,
        "attention": attention_text(built),
        "memory": built.memory or None,
        "warnings": list(built.warnings) or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _bundle(path: Path, kind: str) -> Inspection:
    names = read_manifest(path)
    found = verify(path, keep={names.preprocess, names.postprocess, names.stream})
    manifest = found.manifest
    preprocess, postprocess, stream = (
        found.table(kind, name)
        for kind, name in ((Preprocess, names.preprocess), (Postprocess, names.postprocess), (Stream, names.stream))
    )
    facts = {
        "verdict": manifest.verdict,
        "budget": (manifest.budget or "none") + (f" at {manifest.fps:g} frames a second" if manifest.fps else ""),
        "architecture": manifest.model.architecture,
        "precision": manifest.model.precision,
        "source_sha256": manifest.model.source_sha256 or "unknown",
        "quantization": _said(manifest.quantization) or "none",
        "inputs": {spec.name: str(spec) for spec in manifest.inputs},
        "outputs": {spec.name: str(spec) for spec in manifest.outputs},
        "ranges": {name: list(sizes) for name, sizes in manifest.ranges.items()},
        "preprocess": preprocess.kind if preprocess else "none",
        "postprocess": postprocess.kind if postprocess else "none",
        "states": dict(stream.pairs()) if stream else {},
        "engines": {
            entry.file: f"{entry.flavour} {entry.version} for {', '.join(entry.compute_capabilities)}{_bound(entry)}"
            for entry in manifest.engines
        },
        "reports": list(manifest.reports),
        "files": {name: entry.size for name, entry in sorted(manifest.files.items())},
        "made_by": {"edgekit": manifest.edgekit, **manifest.tools},
        "digests": "all match",
        "signature": found.signed,
    }
    return Inspection(path, kind, facts)


def _said(quantization: QuantizationEntry) -> dict[str, Any]:
    """What is known of how the model got its precision."""
    return {name: value for name, value in plain(quantization).items() if value}


def _bound(engine: EngineEntry) -> str:
    """The platform and the driver that an engine needs, as far as the bundle says."""
    platform = f"{engine.os} {engine.architecture}".strip()
    cuda = engine.minimum_cuda and f"a driver of CUDA {engine.minimum_cuda} or later"
    return "".join(f", {part}" for part in (platform, cuda) if part)


def _report(path: Path) -> Inspection:
    table = _json(path)
    stage = table.get("stage")
    if not isinstance(stage, str):
        raise ModelError(f"expected an edgekit report in {path}, found other JSON")
    if stage == "build":
        built = read_built(table)
        return Inspection(path, "report of build", _built_facts(built), built)
    return Inspection(path, f"report of {stage}", _short(table))


def _short(value: Any) -> Any:
    """Long lists, such as all latencies, are for programs."""
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items() if not isinstance(item, list) or len(item) < 10}
    return [_short(item) for item in value] if isinstance(value, list) else value


def _json(path: Path) -> dict[str, Any]:
    try:
        table = read_json(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"expected JSON in {path}, found: {error}", "another file") from error
    return table if isinstance(table, dict) else {}
