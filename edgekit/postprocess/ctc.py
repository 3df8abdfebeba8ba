"""What a network says of each moment becomes a text, by greedy decoding of CTC.

Shapes: N batch, T time steps, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.postprocess.checks import check_finite, refused
from edgekit.specs import Ctc


@dataclass(frozen=True)
class Transcript:
    """A text with its symbols, the time step at which each begins, and how probable the best path is.

    `log_probability` is the natural logarithm of the product of each step's largest probability: below the text's own,
    which is the sum over all paths that read the same.
    """

    text: str
    symbols: tuple[str, ...]
    steps: tuple[int, ...]
    log_probability: float


def transcripts(spec: Ctc, output: NDArray[Any]) -> list[Transcript]:
    """Best path decoding (Graves et al. 2006, section 3.2): each step's likeliest class, repeats as one, no blanks.

    Equal scores give the first class. Logits and log-probabilities need no telling apart: the softmax of the latter is
    what they are the logarithm of. Raises DataError for another shape than the spec's, a NaN or an infinite value.
    """
    if output.ndim != 3:
        raise refused(spec.output, f"[{', '.join(spec.layout)}]", output)
    turned = output.transpose([spec.layout.index(axis) for axis in "NTC"])
    if turned.shape[2] != len(spec.alphabet):
        raise DataError(
            f"{spec.output}: expected {len(spec.alphabet)} classes as in the alphabet, found {turned.shape[2]}"
        )
    check_finite(spec.output, output)
    return [_transcript(spec, values) for values in turned.astype(np.float64)]


def _transcript(spec: Ctc, values: NDArray[np.float64]) -> Transcript:
    """`values` are the logits of one text, [T,C]."""
    best = values.argmax(axis=1)
    top = values.max(axis=1, keepdims=True)
    logarithm = -np.log(np.exp(values - top).sum(axis=1)).sum()  # of the softmax where it is largest
    begins = np.ones(len(best), bool)
    begins[1:] = best[1:] != best[:-1]
    steps = np.flatnonzero(begins & (best != spec.blank))
    symbols = tuple(spec.alphabet[index] for index in best[steps])
    return Transcript("".join(symbols), symbols, tuple(steps.tolist()), float(logarithm))
