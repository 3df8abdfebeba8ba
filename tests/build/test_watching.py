"""The fused layer list, from the text that TensorRT-RTX 1.7.1 prints."""

from edgekit.build.watching import Layer, parse_layers

TEXT = """Layers:
Name: __mye2422_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: conv, a_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,4], Datatype: Float, Format: (Linear) }], Outputs: [ { Name: y, Dimensions: [-1,4], Datatype: Half, Format: (NHWC) }], TacticName: stub_0x2d, StreamId: 0, Metadata: [ONNX Layer: node_1][ONNX Layer: node_2]
"""  # noqa: E501, W291


def test_parse_layers():
    assert parse_layers(TEXT) == (
        Layer("__mye2422_0_myl0_0", "shape_call", "", "", ()),
        Layer("conv, a_myl0_2", "correlation", "half", "stub_0x2d", ("node_1", "node_2")),
    )
