"""ONNX files as people have them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from edgekit.errors import ModelError  # noqa: E402
from edgekit.rewrite.reading import graph_inputs, graph_outputs, metadata, read_onnx, read_onnx_file  # noqa: E402

helper = onnx.helper


def save(path, nodes, inputs, outputs, initializers=(), ir_version=10):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir_version)
    onnx.save(model, path)
    return path


def value(name, shape, dtype=1):
    return helper.make_tensor_value_info(name, dtype, shape)


def test_initializers_among_the_inputs_are_not_fed(tmp_path):
    weight = onnx.numpy_helper.from_array(np.ones(3, np.float32), "w")
    add = helper.make_node("Add", ["x", "w"], ["y"])
    path = save(
        tmp_path / "m.onnx", [add], [value("w", [3]), value("x", ["n", 3])], [value("y", ["n", 3])], [weight], 3
    )
    assert [spec.name for spec in graph_inputs(read_onnx(path))] == ["x"]


def test_unnamed_axes_get_names(tmp_path):
    relu = helper.make_node("Relu", ["x"], ["y"])
    path = save(tmp_path / "m.onnx", [relu], [value("x", [None, 0, 3])], [value("y", [None, None, 3])])
    model = read_onnx(path)
    assert graph_inputs(model)[0].shape == ("x.0", "x.1", 3)
    assert graph_outputs(model)[0].shape == ("y.0", "y.1", 3)
    assert metadata(model, "ranges") is None


def test_a_sequence_is_refused(tmp_path):
    at = helper.make_node("SequenceAt", ["s", "i"], ["y"])
    sequence = helper.make_tensor_sequence_value_info("s", 1, [2])
    path = save(tmp_path / "m.onnx", [at], [sequence, value("i", [], 7)], [value("y", [2])])
    with pytest.raises(ModelError, match="expected 's' to be a tensor"):
        graph_inputs(read_onnx(path))


def test_external_data_is_read_and_a_missing_file_is_one_line(tmp_path):
    weight = onnx.numpy_helper.from_array(np.arange(3000, dtype=np.float32), "w")
    add = helper.make_node("Add", ["x", "w"], ["y"])
    path = save(tmp_path / "m.onnx", [add], [value("x", [3000])], [value("y", [3000])], [weight])
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    found = read_onnx_file(path)
    assert len(found.serialized) > 12000
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(found.model.graph.initializer[0]), np.arange(3000))
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError) as error:
        read_onnx(path)
    assert "\n" not in str(error.value)


def test_the_files_own_bytes_are_kept(small_onnx):
    assert read_onnx_file(small_onnx).serialized == small_onnx.read_bytes()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 1500))
def test_a_truncated_file_is_refused(small_onnx, tmp_path, cut):
    """At any cut; a few cuts only lose trailing text, and then the model is whole."""
    (tmp_path / "cut.onnx").write_bytes(small_onnx.read_bytes()[:-cut])
    try:
        model = read_onnx(tmp_path / "cut.onnx")
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        assert [spec.name for spec in graph_inputs(model)] == ["image"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200))
def test_noise_is_refused(tmp_path, noise):
    (tmp_path / "noise.onnx").write_bytes(noise)
    with pytest.raises(ModelError):
        read_onnx(tmp_path / "noise.onnx")


@pytest.mark.parametrize("content", [b"", b"this is not a model\n" * 20, b"\x08\x0a", b"\0" * 64])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"expected an ONNX model in .*m\.onnx") as error:
        read_onnx(tmp_path / "m.onnx")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ModelError, match="found none"):
        read_onnx(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="expected to read"):
        read_onnx(tmp_path)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.75, 0.95])
def test_a_file_cut_before_its_opset_is_refused(small_onnx, tmp_path, share):
    """The opset is what comes last in the file, so that every cut loses it."""
    whole = small_onnx.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match="expected an ONNX model in"):
        read_onnx(tmp_path / "cut.onnx")


def test_an_unsorted_file_is_handed_on_sorted(tmp_path):
    """The bytes that a parser gets are those of the sorted model; onnx's checker refuses the others."""
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Exp", ["x"], ["a"])]
    path = save(tmp_path / "m.onnx", nodes, [value("x", [2])], [value("y", [2])])
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(path.read_bytes())
    found = read_onnx_file(path)
    onnx.checker.check_model(found.serialized)
    assert [node.op_type for node in onnx.load_from_string(found.serialized).graph.node] == ["Exp", "Neg"]


@pytest.mark.parametrize(("text", "expected"), [('{"n": [1, 2, 3]}', {"n": [1, 2, 3]}), ("plain text", "plain text")])
def test_metadata_is_json_or_text(tmp_path, text, expected):
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [value("x", [2])], [value("y", [2])])
    model = onnx.load(path)
    model.metadata_props.add(key="edgekit.what", value=text)
    assert metadata(model, "what") == expected
    assert metadata(model, "other") is None


def test_an_output_without_a_shape_and_an_old_file_are_mended(small_onnx, tmp_path):
    """onnxruntime reads both; onnx's checker alone would refuse them."""
    model = onnx.load(small_onnx)
    wanted = onnx.ValueInfoProto.FromString(model.graph.output[0].SerializeToString())
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = read_onnx_file(tmp_path / "m.onnx")
    assert found.model.graph.output[0].type.tensor_type.shape.dim[1] == wanted.type.tensor_type.shape.dim[1]
    old = onnx.load(small_onnx)
    old.ir_version = 3
    (tmp_path / "old.onnx").write_bytes(old.SerializeToString())
    assert read_onnx_file(tmp_path / "old.onnx").model.ir_version == 4
