"""The fused layers, from what TensorRT-RTX 1.7.1 prints and from the engine inspector's JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from edgekit.build.layers import Layer, Memory, inspected_layers, parse_layers, parse_memory

TEXT = """Layers:
Name: __mye2422_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: 
Name: conv, a_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,4,8,8], Datatype: Int8, Format: (Linear) }], Constants: [ { Name: w, Dimensions: [6,4,3,3], Datatype: Int8, Format: (Linear) }, { Name: s, Dimensions: [1], Datatype: Float, Format: (Linear) }], Outputs: [ { Name: y, Dimensions: [-1,6], Datatype: Half, Format: (NHWC) }], TacticName: stub_0x2d, StreamId: 0, Metadata: [ONNX Layer: node_1][ONNX Layer: node_2]
Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: [ { Name: n, Location: Device, Dimensions: [], Datatype: Int32, Format: none }], ParameterType: ShapeH2D, TacticValue: 0x0, StreamId: 0, Metadata: 
"""  # noqa: E501, W291


def test_parse_layers():
    call, conv, copy = parse_layers(TEXT)
    assert call == Layer("__mye2422_0_myl0_0", "shape_call", "", "", ())
    assert conv == Layer(
        name="conv, a_myl0_2",
        kind="correlation",
        dtype="fp16",
        tactic="stub_0x2d",
        nodes=("node_1", "node_2"),
        computes="int8",
        inputs=("int8[-1,4,8,8]",),
        outputs=("fp16[-1,6]",),
        weight_bytes=6 * 4 * 9 + 4,
    )
    assert (copy.dtype, copy.computes, copy.moves_only, conv.moves_only) == ("int32", "", True, False)


def test_an_empty_list_and_a_line_of_another_kind_give_no_layers():
    assert parse_layers("Layers:") == ()
    assert parse_layers("Layers:\n\nsomething else, with commas\n") == ()


@given(st.text())
def test_no_text_makes_it_fail(text):
    parse_layers("Layers:\n" + text)
    parse_layers(f"Layers:\nName: {text}, LayerType: {text}, Inputs: [{text}], Outputs: [{text}], Metadata: {text}")
    parse_memory([text, f"Total Weights Memory: {text}"])


def test_the_sizes_of_all_networks_within():
    lines = ["Total Weights Memory: 512 bytes", "Total Weights Memory: 2048 bytes", "Total Activation Memory: 7 bytes"]
    assert parse_memory([*lines, "Total Weights Memory: many"]) == Memory(weights_bytes=2048, activation_bytes=7)
    assert parse_memory([]) == Memory(None, None, None, None)


def test_the_inspectors_json():
    """In the form of the developer guide's example; a layer without DETAILED is a name alone."""
    table = {
        "Layers": [
            {
                "Name": "conv1 + relu1",
                "LayerType": "CaskConvolution",
                "Inputs": [
                    {"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": "Row major linear FP16 format"}
                ],
                "Outputs": [{"Name": "y", "Dimensions": [1, 6, 6, 6], "Format/Datatype": "Half"}],
                "TacticName": "sm80_xmma_fprop",
                "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
            },
            "reformat",
        ],
        "Bindings": ["x", "y"],
    }
    (layer,) = inspected_layers(json.dumps(table))
    assert (layer.name, layer.kind, layer.computes, layer.dtype) == ("conv1 + relu1", "CaskConvolution", "fp16", "fp16")
    assert layer.nodes == ("conv1", "relu1")
    assert layer.inputs == ("fp16[1,3,8,8]",)
    assert inspected_layers('["other"]') == ()


def test_a_fused_attention_is_known_by_its_name():
    assert Layer("_gemm_mha_v2_myl0_7", "kgen", "fp16", "_gemm_mha_v2_0x1", ()).is_attention
    assert not Layer("node_matmul", "gemm", "fp16", "stub", ()).is_attention
