"""`inspect` tells what a file is by its content."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from edgekit.build import build
from edgekit.bundle import archive
from edgekit.cli import main
from edgekit.configs import BuildConfig
from edgekit.errors import IntegrityError, ModelError, OutputError
from edgekit.inspect import inspect, write_html
from tests.html_checks import Page


def test_an_onnx_model(small_onnx, tmp_path):
    found = inspect(small_onnx)
    assert found.kind == "ONNX model"
    assert found.facts["inputs"] == {"image": "float32[batch, 3, 8, 8]"}
    assert found.facts["opsets"] == {"ai.onnx": 20}
    assert found.facts["ops"] == {"Conv": 1, "Relu": 1, "GlobalAveragePool": 1, "Flatten": 1, "MatMul": 1}
    write_html(found, tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text())
    assert page.faults == []
    assert "float32[batch, 3, 8, 8]" in page.text()


def test_an_engine_is_known_by_its_bytes_and_told_by_its_report(small_onnx, tmp_path):
    pytest.importorskip("tensorrt_rtx")
    engine = tmp_path / "a.engine"
    report = build(small_onnx, engine, BuildConfig(compute_capability=("8.6",)))
    found = inspect(engine)
    assert found.kind == "TensorRT-RTX engine"
    assert found.facts["layer_count"] == len(report.layers) == len(found.to_json()["layers"])
    assert found.facts["compute_capabilities"] == ("8.6",)
    assert found.facts["target"] == "rtx"
    write_html(found, tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text())
    assert page.faults == []
    assert all(layer.name in page.text() for layer in report.layers)
    assert "conv, relu" in page.text()  # the nodes of the fused layer
    # A report beside other bytes says nothing about them, nor does one that cannot be read; the header still does.
    other = bytearray(engine.read_bytes())
    other[len(other) // 2] ^= 1
    for name, text in (("b", engine.with_name("a.engine.json").read_text()), ("c", "{")):
        (tmp_path / f"{name}.engine").write_bytes(other)
        (tmp_path / f"{name}.engine.json").write_text(text)
        facts = inspect(tmp_path / f"{name}.engine").facts
        assert "layer_count" not in facts
        assert facts["report"] == "none beside it that matches these bytes"
        assert facts["version"] == report.version


def test_a_bundle_and_its_reports(small_bundle, tmp_path):
    found = inspect(small_bundle)
    assert found.facts["verdict"] == "PASS (ort, cpu)"
    assert found.facts["digests"] == "all match"
    report = inspect(small_bundle / "reports" / "accuracy.json")
    assert report.kind == "report of validate"
    for index, item in enumerate((found, report)):
        write_html(item, tmp_path / f"{index}.html")
        assert Page((tmp_path / f"{index}.html").read_text()).faults == []
    copy = tmp_path / "bundle"
    shutil.copytree(small_bundle, copy)
    # A page among its files would be a file too many for `bundle verify`.
    (tmp_path / "link").symlink_to(copy)
    for bundle, folder in ((copy, copy), (copy, tmp_path / "link"), (tmp_path / "link", copy)):
        with pytest.raises(OutputError, match="a page outside"):
            write_html(inspect(bundle), folder / "page.html")
    assert inspect(copy).facts["digests"] == "all match"
    (copy / "preprocess.json").write_text("{}")
    with pytest.raises(IntegrityError):
        inspect(copy)


def test_an_archive_is_told_as_its_bundle_is(small_bundle, tmp_path):
    ekb = tmp_path / "a.ekb"
    archive(small_bundle, ekb)
    found = inspect(ekb)
    assert (found.kind, found.facts) == ("archive of a bundle", inspect(small_bundle).facts)
    write_html(found, tmp_path / "a.html")
    assert Page((tmp_path / "a.html").read_text()).faults == []
    with pytest.raises(OutputError, match="expected OUT to be another file"):
        write_html(found, ekb)
    # By what it begins with, whatever it is called; and by its name, whatever it begins with.
    ekb.rename(tmp_path / "a.zip")
    assert inspect(tmp_path / "a.zip").kind == "archive of a bundle"
    np.savez(tmp_path / "a.npz", x=np.ones(3))  # a zip as well
    with pytest.raises(ModelError):
        inspect(tmp_path / "a.npz")
    ekb.write_bytes(b"\0" + (tmp_path / "a.zip").read_bytes())
    with pytest.raises(IntegrityError, match=r"expected an archive of a bundle in .*a\.ekb, found none"):
        inspect(ekb)


def test_a_bundle_says_what_goes_in_comes_out_and_is_carried(small_bundle, tmp_path):
    from edgekit.specs import Stream
    from tests.runtime.small_streams import bundle_of, running_sum

    facts = inspect(small_bundle).facts
    assert (facts["preprocess"], facts["postprocess"], facts["states"]) == ("none", "none", {})
    ranges = {"batch": (1, 1, 4), "time": (1, 1, 8)}
    carried = inspect(bundle_of(running_sum(), tmp_path, Stream(("total=total_out",)), ranges)).facts
    assert carried["states"] == {"total": "total_out"}


def test_the_command_writes_the_page_beside_what_it_prints(small_onnx, tmp_path, capsys):
    def ran(*options):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", str(small_onnx), *options])
        return ended.value.code, capsys.readouterr()

    code, said = ran("--html", str(tmp_path / "a.html"), "--json")
    assert code == 0
    assert json.loads(said.out)["kind"] == "ONNX model"
    assert "small.onnx" in Page((tmp_path / "a.html").read_text()).text()
    before = small_onnx.read_bytes()
    code, said = ran("--html", str(small_onnx))
    assert code == 1
    assert "expected OUT to be another file" in said.err
    assert small_onnx.read_bytes() == before
