"""Graphs of others through `build`: an engine and the same function, or one line that helps, and never half a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX builds the engines of these tests")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from edgekit.build import build  # noqa: E402
from edgekit.configs import BuildConfig  # noqa: E402
from edgekit.errors import BuildError, EdgekitError, ModelError  # noqa: E402
from edgekit.judge import plain_session  # noqa: E402
from edgekit.rewrite.foreign import standard  # noqa: E402
from edgekit.rewrite.reading import read_onnx_file  # noqa: E402
from tests.build.foreign_graphs import BUILD, MAP, PICTURE, conv, model, normal  # noqa: E402
from tests.build.foreign_refused import REFUSED  # noqa: E402
from tests.onnxruntimes import needs_opset_24  # noqa: E402
from tests.rewrite.microsoft_graphs import DECOMPOSED  # noqa: E402

# Where the judge of Python 3.10 is too old.
JUDGE = {"opset_24": needs_opset_24}


def built(source: Path, *shape: str):
    return build(source, source.with_name("m.engine"), BuildConfig("rtx", ("8.6",), shape=shape))


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


def feeds(made: onnx.ModelProto, batch: int) -> dict[str, np.ndarray]:
    """Seeded numbers of any type; initializers that old files list as inputs are not fed."""
    stored, found = {tensor.name for tensor in made.graph.initializer}, {}
    for item in made.graph.input:
        kind = item.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [dim.dim_value or batch for dim in kind.shape.dim]
        random = np.random.default_rng(batch)
        numbers = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, 6, shape)
        found[item.name] = np.asarray(numbers).astype(dtype)
    return {name: array for name, array in found.items() if name not in stored}


@pytest.mark.parametrize("name", [pytest.param(name, marks=JUDGE.get(name, ())) for name in BUILD])
def test_it_builds_and_is_the_same_function(name, tmp_path):
    """The oracle runs the file as it is, without optimizations, at two batches."""
    case = BUILD[name]
    source = saved(case.make(), tmp_path)
    report = built(source, *case.shape)
    assert report.bytes > 100_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.engine", "m.engine.json", "m.onnx"]
    if not case.oracle:
        return
    ours = plain_session(standard(read_onnx_file(source).model).model.SerializeToString())
    theirs = plain_session(source.read_bytes()) if case.oracle == "ort" else ReferenceEvaluator(case.make())
    for batch in (1, 3):
        inputs = feeds(case.make(), batch)
        for want, got in zip(theirs.run(None, inputs), ours.run(None, inputs), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["FastGelu-12", "FusedConv-sum", "FusedMatMul-both-turned", "SkipLayerNormalization-12"]
)
def test_what_onnxruntime_optimized_builds(name, tmp_path):
    assert built(saved(DECOMPOSED[name], tmp_path)).layers


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(name, tmp_path):
    make, says = REFUSED[name]
    source = saved(make(), tmp_path)
    with pytest.raises(EdgekitError, match=says) as error:
        built(source)
    assert isinstance(error.value, (BuildError, ModelError))
    assert "\n" not in str(error.value)
    assert error.value.next_step
    assert list(tmp_path.iterdir()) == [source]


def external(folder: Path) -> Path:
    """A convolution whose kernel is in w.bin beside it."""
    path = folder / "model/m.onnx"
    path.parent.mkdir()
    made = model([conv()], {"k": normal(4, 3, 3, 3)}, [PICTURE], [MAP])
    onnx.save(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def pointed(path: Path, key: str, value: str) -> None:
    made = onnx.load(path, load_external_data=False)
    entry = next(item for item in made.graph.initializer[0].external_data if item.key == key)
    entry.value = value
    path.write_bytes(made.SerializeToString())


def test_weights_beside_the_file_build_as_those_inside(tmp_path):
    path = external(tmp_path)
    beside = built(path).sha256
    (tmp_path / "inside").mkdir()
    assert built(saved(onnx.load(path), tmp_path / "inside")).sha256 == beside


def test_the_weights_of_a_constant_node_may_be_beside_the_file_too(tmp_path):
    made = BUILD["weights_in_constant_nodes"].make()
    tensor = made.graph.node[0].attribute[0].t
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    assert built(saved(made, tmp_path)).bytes > 100_000


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path, outside: path.with_name("w.bin").unlink(), "not regular file"),
        (lambda path, outside: path.with_name("w.bin").write_bytes(b"abc"), r"exceeds available data \(3 bytes"),
        (lambda path, outside: pointed(path, "location", "../outside.bin"), "points outside the directory"),
        (lambda path, outside: pointed(path, "location", str(outside)), "an absolute path"),
        (lambda path, outside: pointed(path, "offset", "-4"), "must be non-negative"),
        (lambda path, outside: pointed(path, "length", str(1 << 40)), "exceeds available data"),
        (lambda path, outside: pointed(path, "length", "4"), "too small for the declared shape"),
        (lambda path, outside: linked(path, outside), "is a symbolic link"),
        (lambda path, outside: linked(path, Path("/dev/zero")), "is a symbolic link"),
        (lambda path, outside: fifo(path), "not regular file"),
    ],
    ids=["missing", "cut", "outside", "absolute", "negative", "long", "short", "link", "endless", "fifo"],
)
def test_a_file_of_weights_that_is_none_is_refused(tmp_path, damage, says):
    """Each names the tensor k; what lies outside of the model's folder is never read, and nothing waits."""
    path, outside = external(tmp_path), tmp_path / "outside.bin"
    outside.write_bytes(bytes(432))
    damage(path, outside)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match=says) as error:
        built(path)
    assert "\n" not in str(error.value)
    assert error.value.next_step.startswith("put the file of its weights beside it")
    assert sorted(tmp_path.rglob("*")) == before


def linked(path: Path, to: Path) -> None:
    path.with_name("w.bin").unlink()
    path.with_name("w.bin").symlink_to(to)


def fifo(path: Path) -> None:
    path.with_name("w.bin").unlink()
    os.mkfifo(path.with_name("w.bin"))
