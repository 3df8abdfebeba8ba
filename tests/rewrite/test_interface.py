"""What TensorRT cannot have as an input or output is refused; that it cannot was found by asking TensorRT-RTX."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from edgekit.errors import BuildError  # noqa: E402
from edgekit.rewrite.interface import check_interface  # noqa: E402
from tests.build import foreign_graphs as graphs  # noqa: E402
from tests.build import foreign_refused as refused  # noqa: E402

T = onnx.TensorProto


def bindings(made: onnx.ModelProto) -> tuple[dict, dict] | None:
    """Names and types by which TensorRT-RTX itself would bind a graph; None where its parser refuses it."""
    trt = pytest.importorskip("tensorrt_rtx")

    class Silent(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)

        def log(self, severity, message):
            pass

    logger = Silent()
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    if not trt.OnnxParser(network, logger).parse(made.SerializeToString()):
        return None
    inputs = (network.get_input(at) for at in range(network.num_inputs))
    outputs = (network.get_output(at) for at in range(network.num_outputs))
    return tuple({item.name: item.dtype.name for item in items} for items in (inputs, outputs))


def accepted(made: onnx.ModelProto) -> bool:
    try:
        return not check_interface(made).modified
    except BuildError as error:
        assert error.next_step
        assert "\n" not in str(error)
        return False


@pytest.mark.parametrize(
    "dtype",
    [
        T.FLOAT,
        T.FLOAT16,
        T.BFLOAT16,
        T.INT8,
        T.UINT8,
        T.INT16,
        T.UINT16,
        T.INT32,
        T.UINT32,
        T.INT64,
        T.UINT64,
        T.BOOL,
        T.DOUBLE,
    ],
)
def test_a_type_is_accepted_where_tensorrt_binds_it_as_it_is(dtype):
    """The oracle is the parser: it must take the input, and bind it by the type that the file says."""
    made = graphs.typed_input(dtype)
    found = bindings(made)
    wanted = {"FLOAT16": "HALF", "BFLOAT16": "BF16"}.get(T.DataType.Name(dtype), T.DataType.Name(dtype))
    assert accepted(made) == (found is not None and found[0]["x"] == wanted)


@pytest.mark.parametrize("make", [refused.output_is_input, refused.output_twice])
def test_a_name_that_tensorrt_loses_is_refused(make):
    """It renames the input, or makes one output of two."""
    made = make()
    inputs, outputs = bindings(made)
    assert (list(inputs) != ["x"]) or len(outputs) < len(made.graph.output)
    assert not accepted(made)


@pytest.mark.parametrize("make", [graphs.output_is_initializer, graphs.unused_input, graphs.scalar_input])
def test_names_that_tensorrt_keeps_are_accepted(make):
    made = make()
    inputs, outputs = bindings(made)
    assert list(inputs) == [item.name for item in made.graph.input]
    assert list(outputs) == [item.name for item in made.graph.output]
    assert accepted(made)


def test_an_initializer_that_is_listed_as_an_input_is_none():
    made = graphs.model([graphs.node("Mul", ["x", "w"], ["y"])], {"w": np.float64([1, 2, 3, 4])}, ir_version=3)
    made.graph.input.append(graphs.value("w", (4,), T.DOUBLE))
    assert accepted(made)


def test_an_axis_of_size_zero_is_refused_and_an_unknown_one_is_not():
    assert not accepted(refused.a_zero_input())
    assert accepted(graphs.model([graphs.node("Relu", ["x"], ["y"])], {}, [graphs.value("x", (None, 4))]))


@pytest.mark.parametrize("make", [refused.sequence_input, refused.optional_input, refused.strings, refused.double_conv])
def test_the_message_names_the_input(make):
    with pytest.raises(BuildError, match="expected input 'x' "):
        check_interface(make())
