"""The published schema says what edgekit writes, all of it, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from edgekit.bundle import EngineEntry, FileEntry, Manifest, ModelEntry, QuantizationEntry
from edgekit.bundle.manifest import SCHEMA
from edgekit.specs import TensorSpec
from tests.bundle import hostile
from tests.device.test_jetson_page import parsed

jsonschema = pytest.importorskip("jsonschema", reason="an outside judge of JSON Schema")

DOCS = Path(__file__).parents[2] / "docs"
PUBLISHED = json.loads((DOCS / "manifest.schema.json").read_text())
# What the text has beside the fields of a Manifest.
OF_THE_TEXT = {"schema", "manifest_sha256"}


@pytest.fixture
def judge():
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)
    return jsonschema.Draft202012Validator(PUBLISHED)


@pytest.fixture
def written(small_onnx, keys, tmp_path) -> dict[str, Any]:
    good = hostile.make_good(tmp_path, small_onnx, keys / "maker")
    return json.loads((good / "manifest.json").read_text())


def fields(kind: Any) -> set[str]:
    return {item.name for item in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Manifest, PUBLISHED),
        (ModelEntry, PUBLISHED["properties"]["model"]),
        (QuantizationEntry, PUBLISHED["properties"]["quantization"]),
        (FileEntry, PUBLISHED["properties"]["files"]["additionalProperties"]),
        (EngineEntry, PUBLISHED["$defs"]["engine"]),
        (TensorSpec, PUBLISHED["$defs"]["tensor"]),
    ],
)
def test_it_has_the_fields_that_are_written_and_no_others(kind, said):
    expected = fields(kind) | (OF_THE_TEXT if kind is Manifest else set())
    assert set(said["properties"]) == set(said["required"]) == expected
    assert said["additionalProperties"] is False


def test_it_is_of_the_version_that_is_written():
    assert PUBLISHED["properties"]["schema"] == {"const": SCHEMA, **PUBLISHED["properties"]["schema"]}
    assert f":{SCHEMA}" in PUBLISHED["$id"]
    assert f"schema {SCHEMA}" in PUBLISHED["title"]
    assert f"`schema` is {SCHEMA}" in (DOCS / "bundle.md").read_text()


@pytest.mark.parametrize("command", re.findall(r"^edgekit .*", (DOCS / "bundle.md").read_text(), re.MULTILINE))
def test_the_commands_of_the_page_parse(command):
    parsed(command)


def test_it_takes_what_is_written(judge, written, small_bundle):
    judge.validate(written)
    judge.validate(json.loads((small_bundle / "manifest.json").read_text()))


@pytest.mark.slow  # exports EfficientNet-Lite0
def test_it_takes_the_demos(judge, lite0):
    judge.validate(json.loads((lite0 / "bundle" / "manifest.json").read_text()))


def test_it_refuses_what_is_never_written(judge, written):
    def refused(**changes: object) -> bool:
        return not judge.is_valid({**written, **changes})

    assert not refused()
    assert refused(schema=SCHEMA - 1)
    assert refused(more="")
    assert refused(fps=-1)
    assert refused(ranges={"batch": [1, 8]})
    assert refused(files={"model.onnx": {"size": 1, "sha256": "0" * 63}})
    assert refused(model={**written["model"], "optimization": "most"})
    assert refused(engines=[{**written["engines"][0], "minimum_cuda": "new"}])
    assert refused(quantization={**written["quantization"], "calibration_samples": -1})
    assert refused(inputs=[{**written["inputs"][0], "shape": [1.5]}])
    assert refused(inputs=[{**written["inputs"][0], "dtype": "object"}])
    assert refused(engines=[{**written["engines"][0], "file": ""}])
    for name in ("../x", "/x", "a//b", ".hidden", "x.", "a b", "a\\b", "c:x", "-x", "1/2/3/4/5/6/7/8/9"):
        assert refused(files={name: written["files"]["model.onnx"]}), name
    for key in written:
        assert not judge.is_valid({name: value for name, value in written.items() if name != key}), key
