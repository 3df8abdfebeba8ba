"""Does onnxruntime compute what torch computes, also at a batch and a length that the export never saw?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch

from edgekit.errors import ExportError, first_line
from edgekit.export.attention import no_fast_path
from edgekit.export.nesting import leaves

Case = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Difference:
    """One output at one set of input shapes; differences are relative to the largest |torch| value."""

    output: str
    shapes: dict[str, list[int]]
    largest_relative: float
    constant: bool


class ParityError(ExportError):
    """The exported model is not the module; `case` is the input at which that shows."""

    def __init__(self, problem: str, case: Case) -> None:
        super().__init__(problem)
        self.case = case


def check_parity(
    model: bytes, module: torch.nn.Module, cases: list[Case], names: tuple[str, ...], tolerance: float
) -> list[Difference]:
    """Run torch and onnxruntime on every case and return the differences.

    `cases` map forward's argument names to tensors; `names` are the ONNX input names in the same order. Raises
    ParityError when an output is further away than `tolerance`, has another shape, or onnxruntime fails; ExportError
    when torch itself fails.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the exported model: {first_line(error)}") from error
    differences = []
    for case in cases:
        made = _compare_case(session, module, case, names)
        for difference in made:
            # `not <=` also catches NaN.
            if not difference.largest_relative <= tolerance:
                raise ParityError(
                    f"expected output {difference.output!r} within {tolerance:g} of torch, "
                    f"found {difference.largest_relative:.3g} at input shapes {difference.shapes}",
                    case,
                )
        differences += made
    return differences


def torch_outputs(module: torch.nn.Module, case: Case) -> list[torch.Tensor]:
    """The tensors that forward returns, flat."""
    with torch.no_grad(), no_fast_path():
        return [tensor for _, tensor in leaves(module(**case))]


def _compare_case(session: Any, module: torch.nn.Module, case: Case, names: tuple[str, ...]) -> list[Difference]:
    shapes = {name: list(value.shape) for name, value in zip(names, case.values(), strict=True)}
    try:
        expected = torch_outputs(module, case)
    except Exception as error:
        raise ExportError(
            f"expected torch to compute input shapes {shapes}, which must be open, found {type(error).__name__}: "
            f"{first_line(error)}",
            "--dynamic, or an example of the only size there is",
        ) from error
    feeds = {name: value.numpy() for name, value in zip(names, case.values(), strict=True)}
    try:
        found = session.run(None, feeds)
    except Exception as error:
        raise ParityError(
            f"the exported model fails at input shapes {shapes}, which torch computes: {first_line(error)}", case
        ) from error
    outputs = [output.name for output in session.get_outputs()]
    for name, want, got in zip(outputs, expected, found, strict=True):
        if tuple(want.shape) != got.shape:
            raise ParityError(
                f"expected output {name!r} with shape {list(want.shape)} as torch has it at input shapes {shapes}, "
                f"found {list(got.shape)}: the exporter fixed an axis to the example's length",
                case,
            )
    return [
        Difference(name, shapes, *_compare(want.numpy(), got))
        for name, want, got in zip(outputs, expected, found, strict=True)
    ]


def _compare(want: Any, got: Any) -> tuple[float, bool]:
    """The largest difference, relative to the largest |want|, and whether `want` says one thing only."""
    want64, got64 = want.astype(np.float64), got.astype(np.float64)
    constant = bool(want64.size > 1 and np.ptp(want64) == 0)
    if np.array_equal(want64, got64, equal_nan=True):
        return 0.0, constant
    scale = max(float(np.abs(want64).max()), np.finfo(np.float32).tiny)
    return float(np.abs(want64 - got64).max()) / scale, constant
