"""A Sub of zero before a recurrence that reads 16 bits: to the last bit the same, and TensorRT-RTX builds it.

The oracles are onnxruntime on the model as it was, and TensorRT-RTX itself.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import BuildError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite import PassResult  # noqa: E402
from edgekit.rewrite.recurrent_casts import part_casts  # noqa: E402

helper = onnx.helper
node = helper.make_node
FLOAT, HALF, DOUBLE, INT32 = (onnx.TensorProto.DataType.Value(name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "INT32"))
RANDOM = np.random.default_rng(0)
INDICES = {"three": np.array([3]), "columns": np.arange(6), "half": np.float16(2), "wide": np.float32(2)}


def cast(x: str, y: str, to: int) -> onnx.NodeProto:
    return node("Cast", [x], [y], f"to_{y}", to=to)


def weights(op: str, directions: int = 1) -> dict[str, np.ndarray]:
    rows = {"LSTM": 4, "GRU": 3, "RNN": 1}[op] * 8
    return {
        "W": RANDOM.normal(size=(directions, rows, 6)).astype(np.float32),
        "R": RANDOM.normal(size=(directions, rows, 8)).astype(np.float32),
    }


def proto(before: list, op: str = "LSTM", dtype: int = FLOAT, **attributes) -> onnx.ModelProto:
    """x [time,batch,6] -> `before`, which makes X -> y float32 [time,directions,batch,8]."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    cell = node(op, ["X", "W", "R"], ["y"], "cell", hidden_size=8, **attributes)
    read = {name for item in before for name in item.input}
    values = {**weights(op, directions), **{name: value for name, value in INDICES.items() if name in read}}
    graph = helper.make_graph(
        [*before, cell],
        "g",
        [helper.make_tensor_value_info("x", dtype, ["time", "batch", 6])],
        [helper.make_tensor_value_info("y", FLOAT, ["a", "b", "c", "d"])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def parted(model: onnx.ModelProto, *least: tuple[int, int, int]) -> bool:
    return part_casts(model, [{"x": sizes} for sizes in least or [(4, 1, 6)]]).modified


ROUND = [cast("x", "h", HALF), cast("h", "X", FLOAT)]
# Each of them TensorRT-RTX refuses as it is.
REFUSED = {
    "there and back": ROUND,
    "a move between": [cast("x", "h", HALF), node("Transpose", ["h"], ["t"], perm=[0, 1, 2]), cast("t", "X", FLOAT)],
    "moves behind": [cast("x", "h", HALF), cast("h", "w", FLOAT), node("Unsqueeze", ["w", "three"], ["u"]),
                     node("Squeeze", ["u", "three"], ["X"])],
    "computed in FP16": [cast("x", "h", HALF), node("Mul", ["h", "half"], ["m"]), cast("m", "X", FLOAT)],
    "gathered in FP16": [cast("x", "h", HALF), node("Gather", ["h", "columns"], ["m"], axis=2), cast("m", "X", FLOAT)],
    "by way of a double": [cast("x", "h", HALF), cast("h", "d", DOUBLE), cast("d", "X", FLOAT)],
    "CastLike": [cast("x", "h", HALF), node("CastLike", ["h", "wide"], ["X"])],
    "Dropout": [cast("x", "h", HALF), cast("h", "w", FLOAT), node("Dropout", ["w"], ["X"])],
}  # fmt: skip
# And these it takes.
TAKEN = {
    "FP32": [node("Identity", ["x"], ["X"])],
    "an integer": [cast("x", "i", INT32), cast("i", "X", FLOAT)],
    "a product behind": [*ROUND[:1], cast("h", "w", FLOAT), node("Mul", ["w", "wide"], ["X"])],
}


def made(model: onnx.ModelProto, dtype: type = np.float32) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(1).normal(size=(4, 3, 6)).astype(dtype)
    x[0, 0, :2] = -0.0, 1e-7
    return np.asarray(plain_session(model.SerializeToString()).run(None, {"x": x})[0])


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("form", REFUSED)
def test_it_computes_the_same(form, op):
    model = proto(REFUSED[form], op)
    wanted = made(model)
    assert parted(model)
    np.testing.assert_array_equal(made(model).view(np.uint32), wanted.view(np.uint32))
    assert [item.op_type for item in model.graph.node][-2:] == ["Sub", op]


def built(model: onnx.ModelProto, shapes: tuple[str, ...], folder: Path) -> int:
    """The bytes of an engine that TensorRT-RTX makes of the model as it is: `build` would run the pass itself."""
    from edgekit.build import model_profiles
    from edgekit.build.engine import make_engine
    from edgekit.configs import BuildConfig
    from edgekit.reports import no_progress
    from edgekit.rewrite.reading import read_onnx_file

    onnx.save(model, folder / "m.onnx")
    config = BuildConfig("rtx", ("8.6",), shapes)
    found = read_onnx_file(folder / "m.onnx")
    with mock.patch("edgekit.build.engine.part_casts", lambda model, least: PassResult(model, False)):
        return make_engine(found, model_profiles(found, config), config, no_progress).engine.nbytes


LENGTHS = {"four": ("x:4x1x6",), "from two": ("x:2x1x6:4x1x6:9x1x6",), "one or four": ("x:1x1x6", "x:4x1x6")}
CASES = [("LSTM", form, "four") for form in REFUSED]
CASES += [(op, "there and back", length) for op in ("LSTM", "GRU", "RNN") for length in LENGTHS]


@pytest.mark.parametrize(("op", "form", "length"), dict.fromkeys(CASES))
def test_tensorrt_rtx_builds_it_so_alone(op, form, length, tmp_path):
    """As it is it is refused: the pass is not needed once this fails."""
    pytest.importorskip("tensorrt_rtx")
    model, shapes = proto(REFUSED[form], op), LENGTHS[length]
    with pytest.raises(BuildError, match=r"Mismatched number of elements in reshape op"):
        built(model, shapes, tmp_path)
    least = [tuple(map(int, text[2:].split(":")[0].split("x"))) for text in shapes]
    assert parted(model, *least)
    assert built(model, shapes, tmp_path) > 0


def test_build_parts_them_itself(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    from edgekit.build import build
    from edgekit.configs import BuildConfig

    onnx.save(proto(REFUSED["there and back"], "LSTM"), tmp_path / "m.onnx")
    config = BuildConfig("rtx", ("8.6",), shape=LENGTHS["four"])
    assert build(tmp_path / "m.onnx", tmp_path / "m.engine", config).compute.shares == {"fp32": 1.0}


@pytest.mark.parametrize("form", TAKEN)
def test_what_is_taken_stays(form, tmp_path):
    model = proto(TAKEN[form])
    before = model.SerializeToString()
    assert not parted(model)
    assert model.SerializeToString() == before
    pytest.importorskip("tensorrt_rtx")
    assert built(model, LENGTHS["four"], tmp_path) > 0


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_other_directions_are_taken(op, direction, tmp_path):
    model = proto(ROUND, op, direction=direction)
    assert not parted(model)
    pytest.importorskip("tensorrt_rtx")
    assert built(model, LENGTHS["four"], tmp_path) > 0


@pytest.mark.parametrize(("least", "wanted"), [
    ([(1, 3, 6)], False), ([(2, 1, 6)], True), ([(1, 1, 6), (1, 9, 6)], False), ([(1, 1, 6), (4, 1, 6)], True),
])  # fmt: skip
def test_one_step_is_left_alone(least, wanted):
    assert parted(proto(ROUND), *least) == wanted


def test_one_step_from_one_on_is_taken(tmp_path):
    pytest.importorskip("tensorrt_rtx")
    for shape in ("x:1x3x6", "x:1x1x6:4x1x6:9x1x6"):
        assert built(proto(ROUND), (shape,), tmp_path) > 0


def test_steps_are_the_second_axis_with_layout():
    assert not parted(proto(ROUND, layout=1), (9, 1, 6))
    assert parted(proto(ROUND, layout=1), (1, 9, 6))


def test_steps_that_are_not_known_count_as_many():
    kept = [
        *ROUND[:1],
        node("NonZero", ["h"], ["places"]),
        node("Transpose", ["places"], ["rows"]),
        node("GatherND", ["h", "rows"], ["g"]),
        node("Reshape", ["g", "shape"], ["r"]),
        cast("r", "X", FLOAT),
    ]
    model = proto(kept)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1, 6]), "shape"))
    assert parted(model, (1, 1, 6))


def test_an_fp16_input_of_the_model():
    model = proto([cast("x", "X", FLOAT)], dtype=HALF)
    assert parted(model)
    assert made(model, np.float16).shape == (4, 1, 3, 8)


def test_recurrences_share_one():
    model = proto(ROUND)
    other = model.graph.node.add()
    other.CopyFrom(next(item for item in model.graph.node if item.name == "cell"))
    other.name, other.output[0] = "other", "z"
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ["a", "b", "c", "d"]))
    assert parted(model)
    onnx.checker.check_model(model, full_check=True)
    assert [item.op_type for item in model.graph.node].count("Sub") == 1
    assert not parted(model), "a second time there is nothing to do"
