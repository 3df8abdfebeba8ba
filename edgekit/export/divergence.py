"""Where an exported model first leaves the torch program that it was translated from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import torch

from edgekit.judge import plain_session

# Values fetched from onnxruntime at once: all of them could be gigabytes.
_AT_ONCE = 64


def first_divergence(program: Any, feeds: dict[str, torch.Tensor], tolerance: float) -> str:
    """Compare every value that torch's program (an ONNXProgram) and its ONNX both name, in the program's order.

    `feeds` are tensors by ONNX input names. Returns what was found, in words; nothing where one of both does not run.
    """
    model = onnx.ModelProto.FromString(program.model_proto.SerializeToString())
    makers = {value: node for node in model.graph.node for value in node.output}
    try:
        outputs = [value.name for value in model.graph.output]
        wanted = _program_values(program.exported_program, feeds, outputs)
        for names in _chunks([name for name in wanted if name in makers]):
            for name, found in zip(names, _onnx_values(model, names, feeds), strict=True):
                difference = _difference(wanted[name].numpy(), found, tolerance)
                if difference:
                    return f"the first node that differs: {_described(makers[name])}, {difference}"
    except Exception:  # the error that is being explained is the one to show
        return ""
    return "every node computes what torch captured, so that the capture itself fits the example's sizes only"


def _described(node: onnx.NodeProto) -> str:
    """The node, and the module that it comes from, as torch's exporter notes it."""
    scopes = next((prop.value for prop in node.metadata_props if prop.key.endswith("name_scopes")), "")
    modules = [scope.strip("'\" ") for scope in scopes.strip("[]").split(",")]
    of = f" of {modules[-2]}" if len(modules) > 1 and modules[-2] else ""
    return f"{node.op_type} node {node.name!r}{of}"


class _Recorder(torch.fx.Interpreter):
    """Runs the program and keeps every tensor by the name of its node."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and n.op == "call_function":
            self.values[n.name] = value.detach()
        return value


def _program_values(program: Any, feeds: dict[str, torch.Tensor], outputs: list[str]) -> dict[str, torch.Tensor]:
    """Values by their ONNX names: those that leave the graph are renamed by the export."""
    recorder = _Recorder(program.module(check_guards=False))
    with torch.no_grad():
        recorder.run(*feeds.values(), enable_io_processing=False)
    renamed = dict(zip(program.graph_signature.user_outputs, outputs, strict=True))
    return {renamed.get(name, name): value for name, value in recorder.values.items()}


def _chunks(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _onnx_values(model: onnx.ModelProto, names: list[str], feeds: dict[str, torch.Tensor]) -> list[Any]:
    """Run a copy of the model whose outputs are `names`, unoptimised: an optimiser would fuse them away."""
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = plain_session(model.SerializeToString())
    return list(session.run(names, {name: value.numpy() for name, value in feeds.items()}))


def _difference(want: Any, got: Any, tolerance: float) -> str:
    """What differs, in words; empty within `tolerance` of the largest |torch| value."""
    if want.shape != got.shape:
        return f"whose shape is {list(got.shape)} where torch has {list(want.shape)}"
    if want.dtype.kind != "f" or not want.size:
        return "" if np.array_equal(want, got) else "whose values differ"
    scale = max(float(np.nanmax(np.abs(want))), float(np.finfo(np.float32).tiny))
    largest = float(np.abs(want.astype(np.float64) - got).max()) / scale
    return "" if largest <= tolerance else f"which is {largest:.3g} away"
