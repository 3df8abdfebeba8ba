"""What is looked into before it reaches whoever deserialises it: the model, the engines, the specs."""

from __future__ import annotations

from typing import Any

from edgekit.bundle.engine_header import check_engine
from edgekit.bundle.manifest import Manifest
from edgekit.bundle.onnx_bounds import check_onnx
from edgekit.bundle.strict_json import LARGEST_JSON, parse_json
from edgekit.bundle.window import Window
from edgekit.errors import EdgekitError, IntegrityError
from edgekit.specs import Postprocess, Preprocess, Stream, from_table


def check_content(name: str, window: Window, manifest: Manifest) -> None:
    """Raise IntegrityError unless the file `name` of a bundle, these bytes, is what its manifest takes it for.

    The ONNX model is bounded and whole, an engine of its flavour and version, a spec one that the model has. Nothing is
    deserialised; reports, assets and plugins are bytes with a digest.
    """
    if name == manifest.model.file:
        check_onnx(window, name)
    for engine in manifest.engines:
        if name == engine.file:
            check_engine(window, engine)
    specs = ((Preprocess, manifest.preprocess), (Postprocess, manifest.postprocess), (Stream, manifest.stream))
    for kind, file in specs:
        if name == file:
            spec = read_spec(kind, window.read(0, LARGEST_JSON + 1), name)
            if isinstance(spec, Stream):
                _check_stream(spec, manifest)


def read_spec(kind: Any, data: bytes, name: str) -> Any:
    """The spec that a JSON file holds; IntegrityError when it is no such spec."""
    table = parse_json(data, name)
    try:
        return from_table(kind, table, name)
    except (ValueError, TypeError, ArithmeticError, EdgekitError) as error:
        raise IntegrityError(f"expected a spec as JSON in {name}, found: {error}") from error


def _check_stream(stream: Stream, manifest: Manifest) -> None:
    try:
        if not manifest.inputs or not manifest.outputs:
            raise IntegrityError("a model without inputs or outputs")
        stream.growth({spec.name: spec for spec in manifest.inputs}, {spec.name: spec for spec in manifest.outputs})
    except EdgekitError as error:
        raise IntegrityError(f"expected a stream that fits the model, found: {error.problem}") from error
