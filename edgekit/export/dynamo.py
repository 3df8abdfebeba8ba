"""torch -> ONNX bytes with torch's dynamo exporter."""

from __future__ import annotations

import re
from typing import Any

import torch

from edgekit.errors import ExportError
from edgekit.export.attention import FUSED, plain_attention
from edgekit.export.axes import Axes
from edgekit.export.nesting import leaves
from edgekit.export.recurrent import TRANSLATIONS
from edgekit.export.swap import exportable
from edgekit.quiet import quiet

_LEGACY = "--allow-legacy, which tries torch's older exporter"
# "tracing inferred a static shape of 4 for dimension inputs['x'].shape[1]"
_FIXED = re.compile(r"static shape of \d+ for dimension inputs\['([^']+)'\]\.shape\[(\d+)\]")


def output_names(network_outputs: tuple[str, ...], made: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Name the outputs after what forward returned: tensors, alone or in tuples, lists and dicts.

    ONNX has one space of names: one that is also an input's gets `_out` behind it.
    """
    found = list(leaves(made))
    if not found or not all(isinstance(tensor, torch.Tensor) for _, tensor in found):
        kinds = ", ".join(type(tensor).__name__ for _, tensor in found) or "none"
        raise ExportError(f"expected forward to return a tensor, or tuples and dicts of tensors, found {kinds}")
    names = [f"output_{name}" if name[:1].isdecimal() else name or "output" for name, _ in found]
    if network_outputs and len(network_outputs) != len(names):
        raise ExportError(f"expected {len(network_outputs)} outputs, found {len(names)}")
    return network_outputs or tuple(f"{name}_out" if name in inputs else name for name in names)


def export_dynamo(
    module: torch.nn.Module,
    examples: dict[str, torch.Tensor],
    axes: Axes,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    opset: int,
) -> Any:
    """Return a torch.onnx.ONNXProgram; `names` are the ONNX names of inputs and outputs.

    Raises ExportError with the exporter's reason in one line.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ExportError(
            f"expected a module of Python code, found a {type(module).__name__}, which torch's exporter does not read",
            _LEGACY,
        )
    try:
        with quiet(), plain_attention(module, opset >= FUSED), exportable(module) as ready:
            program = torch.onnx.export(
                ready,
                (),
                None,
                kwargs=examples,
                dynamic_shapes=axes,
                input_names=list(names[0]),
                output_names=list(names[1]),
                opset_version=opset,
                external_data=False,
                dynamo=True,
                verbose=False,
                custom_translation_table=TRANSLATIONS,
            )
    except Exception as error:
        ours = _innermost(error)
        if isinstance(ours, ExportError):
            raise ExportError(ours.problem, ours.next_step) from error  # anew: an error is not its own cause
        raise ExportError(
            f"torch could not export {type(module).__name__}: {reason(error)}",
            _LEGACY,
        ) from error
    if program is None:
        raise ExportError(f"expected a program from torch for {type(module).__name__}, found none")
    return program


def reason(error: BaseException) -> str:
    """The innermost cause's first telling lines: torch wraps a short reason in pages of advice."""
    cause = _innermost(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {' '.join(lines[:2])[:300] or 'no reason given'}"


def axes_found_fixed(error: BaseException) -> set[tuple[str, int]]:
    """(input, axis) pairs that torch.export found to be fixed by the module although they were to stay open."""
    return {(name, int(axis)) for name, axis in _FIXED.findall(str(_innermost(error)))}


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
