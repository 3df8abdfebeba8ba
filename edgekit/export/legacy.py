"""torch -> ONNX bytes with torch's older exporter, which traces one run; only where the user allows it."""

from __future__ import annotations

import io
from typing import Any

import onnx
import torch

from edgekit.errors import ExportError
from edgekit.export.axes import Axes
from edgekit.export.dynamo import reason
from edgekit.quiet import quiet


def export_legacy(
    module: torch.nn.Module,
    examples: dict[str, torch.Tensor],
    axes: Axes,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    opset: int,
) -> onnx.ModelProto:
    """Trace one run; `names` are the ONNX names of inputs and outputs. Raises ExportError with the reason in one line.

    A trace follows one way through the code, and may fix what it saw: parity at other sizes is what tells.
    """
    written: Any = io.BytesIO()
    # A ScriptModule takes its arguments by position only.
    scripted = isinstance(module, torch.jit.ScriptModule)
    try:
        with quiet():
            torch.onnx.export(
                module,
                tuple(examples.values()) if scripted else (),
                written,
                kwargs=None if scripted else examples,
                dynamic_axes=dict(zip(names[0], axes.values(), strict=True)),
                input_names=list(names[0]),
                output_names=list(names[1]),
                opset_version=opset,
                dynamo=False,
            )
    except Exception as error:
        raise ExportError(
            f"torch's older exporter could not export {type(module).__name__} either: {reason(error)}"
        ) from error
    return onnx.load_model_from_string(written.getvalue())
