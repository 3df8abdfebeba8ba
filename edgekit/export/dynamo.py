"""torch -> ONNX bytes with torch's dynamo exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from edgekit.errors import ExportError
from edgekit.export.axes import Axes
from edgekit.export.recurrent import TRANSLATIONS
from edgekit.export.swap import exportable

# "tracing inferred a static shape of 4 for dimension inputs['x'].shape[1]"
_FIXED = re.compile(r"static shape of \d+ for dimension inputs\['([^']+)'\]\.shape\[(\d+)\]")


def output_names(network_outputs: tuple[str, ...], made: Any, inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Name the outputs after what forward returned: a tensor, a tuple of tensors, or a dict of tensors.

    ONNX has one space of names: a dict key that is also an input's name gets `_out` behind it.
    """
    names: tuple[str, ...] = ()
    tensors: list[Any] = []
    if isinstance(made, torch.Tensor):
        names, tensors = ("output",), [made]
    elif isinstance(made, dict):
        names, tensors = tuple(map(str, made)), list(made.values())
    elif isinstance(made, (tuple, list)):
        names, tensors = tuple(f"output_{index}" for index in range(len(made))), list(made)
    if not tensors or not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
        raise ExportError(f"expected forward to return a tensor, a tuple or a dict of tensors, found {_shape_of(made)}")
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
    """Return an onnx.ModelProto; `names` are the ONNX names of inputs and outputs.

    Raises ExportError with the exporter's reason in one line.
    """
    try:
        with _silence(), exportable(module) as ready:
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
        raise ExportError(f"torch could not export {type(module).__name__}: {reason(error)}") from error
    if program is None:
        raise ExportError(f"expected a program from torch for {type(module).__name__}, found none")
    return program.model_proto


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


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """torch prints progress and warns of its own internals; errors still arrive as exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _shape_of(made: Any) -> str:
    if isinstance(made, (tuple, list)):
        return f"{type(made).__name__} of {', '.join(type(item).__name__ for item in made)}"
    return type(made).__name__
