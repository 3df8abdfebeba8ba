"""How measured values become the input tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.errors import RecipeError
from edgekit.specs.checks import scaling, whole
from edgekit.specs.tables import choose_among


@dataclass(frozen=True)
class SeriesPreprocess:
    """How a series [T,C] of measured values becomes the input tensor; `edgekit.preprocess` applies it.

    Each of the C channels becomes (x - mean) / std: as many means as channels. The network sees the last `length` steps
    (0: all of them) as [N,T,C], or [N,C,T] by the `layout`. On a stream, it sees a window every `step` steps.
    """

    KIND: ClassVar[str] = "series"
    ASSETS: ClassVar[tuple[str, ...]] = ()

    kind: str
    input: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    length: int = 0
    step: int = 1
    layout: str = "TC"

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "preprocess")
        choose_among("layout", self.layout, ("TC", "CT"), "preprocess")
        if not self.mean:
            raise RecipeError("preprocess: expected a mean and a std for each channel, found none")
        scaling("preprocess", self.mean, self.std)
        # The window's buffer holds four times `length` steps of all channels.
        whole("preprocess", "length", self.length, 0, 2**22 // len(self.mean))
        whole("preprocess", "step", self.step, 1, self.length or 1)
