"""Does onnxruntime compute what torch computes, also at a batch and a length that the export never saw?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch

from edgekit.errors import ExportError, first_line


@dataclass(frozen=True)
class Difference:
    """One output at one set of input shapes; differences are relative to the largest |torch| value."""

    output: str
    shapes: dict[str, list[int]]
    largest_relative: float
    constant: bool


def check_parity(
    model: bytes,
    module: torch.nn.Module,
    cases: list[dict[str, torch.Tensor]],
    names: tuple[str, ...],
    tolerance: float,
) -> list[Difference]:
    """Run torch and onnxruntime on every case and return the differences.

    `cases` map forward's argument names to tensors; `names` are the ONNX input names in the same order. Raises
    ExportError when an output is further away than `tolerance`, has another shape, or onnxruntime fails.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"onnxruntime refuses the exported model: {first_line(error)}") from error
    differences = []
    for case in cases:
        shapes = {name: list(value.shape) for name, value in zip(names, case.values(), strict=True)}
        try:
            with torch.no_grad():
                expected = _tensors(module(**case))
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
            raise ExportError(
                f"the exported model fails at input shapes {shapes}, which torch computes: {first_line(error)}"
            ) from error
        for output, want, got in zip(session.get_outputs(), expected, found, strict=True):
            differences.append(_compare(output.name, shapes, want.numpy(), got))
    for difference in differences:
        # `not <=` also catches NaN.
        if not difference.largest_relative <= tolerance:
            raise ExportError(
                f"expected output {difference.output!r} within {tolerance:g} of torch, "
                f"found {difference.largest_relative:.3g} at input shapes {difference.shapes}"
            )
    return differences


def _compare(name: str, shapes: dict[str, list[int]], want: Any, got: Any) -> Difference:
    if want.shape != got.shape:
        raise ExportError(
            f"expected output {name!r} with shape {list(want.shape)} as torch has it at input shapes {shapes}, "
            f"found {list(got.shape)}: the exporter fixed an axis to the example's length"
        )
    want64, got64 = want.astype(np.float64), got.astype(np.float64)
    if np.array_equal(want64, got64, equal_nan=True):
        largest = 0.0
    else:
        scale = max(float(np.abs(want64).max()), np.finfo(np.float32).tiny)
        largest = float(np.abs(want64 - got64).max()) / scale
    return Difference(name, shapes, largest, bool(want64.size > 1 and np.ptp(want64) == 0))


def _tensors(made: Any) -> list[torch.Tensor]:
    if isinstance(made, torch.Tensor):
        return [made]
    return list(made.values()) if isinstance(made, dict) else list(made)
