"""The output tensors become an answer: labels, text, boxes or a forecast, in NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from edgekit.specs import Boxes, Classify, Ctc, Postprocess

if TYPE_CHECKING:
    import numpy.typing as npt

Outputs: TypeAlias = "Callable[[str], npt.NDArray[Any]]"  # an output as the last run left it


def answers(spec: Postprocess, outputs: Outputs, top: int = 1) -> list[Any]:
    """One answer for each batch position; `top` is how many labels a classifier gives.

    It is a list of Label for Classify, a Transcript for Ctc, a list of Box for Boxes, and float64 [H,C] for Forecast.
    Raises DataError for outputs of another shape, and for a NaN or an infinite value among them.
    """
    if isinstance(spec, Classify):
        from edgekit.postprocess.classify import classify

        return list(classify(outputs(spec.output), spec.labels, top))
    if isinstance(spec, Ctc):
        from edgekit.postprocess.ctc import transcripts

        return list(transcripts(spec, outputs(spec.output)))
    if isinstance(spec, Boxes):
        from edgekit.postprocess.boxes import detected

        return list(detected(spec, outputs(spec.boxes), outputs(spec.scores) if spec.scores else None))
    from edgekit.postprocess.forecast import forecasts

    return list(forecasts(spec, outputs(spec.output)))


def lines(spec: Postprocess, answer: Any) -> tuple[str, ...]:
    """One answer of `answers` in short lines, for the command line; detections of nothing give none."""
    if isinstance(spec, Classify):
        return tuple(f"{label.name} {label.probability:.2f}" for label in answer)
    if isinstance(spec, Ctc):
        return (answer.text,)
    if isinstance(spec, Boxes):
        return tuple(str(box) for box in answer)
    names = spec.names or tuple(map(str, range(len(spec.mean))))
    return tuple(f"{name} {' '.join(f'{value:.4g}' for value in answer[:, c])}" for c, name in enumerate(names))
