"""What an output means: labels, text, boxes or a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.errors import RecipeError
from edgekit.specs.checks import finite, scaling, whole
from edgekit.specs.tables import choose_among


@dataclass(frozen=True)
class Classify:
    """Logits [N,C] of `output` become labels with their probabilities."""

    KIND: ClassVar[str] = "classify"
    ASSETS: ClassVar[tuple[str, ...]] = ()

    kind: str
    output: str
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "postprocess")


@dataclass(frozen=True)
class Ctc:
    """Logits or log-probabilities [N,T,C] of `output`, also as `layout` NCT or TNC, become a text.

    `alphabet` says what each of the C classes is written as (a space, a letter, a syllable); class `blank` is nothing.
    """

    KIND: ClassVar[str] = "ctc"
    ASSETS: ClassVar[tuple[str, ...]] = ()

    kind: str
    output: str
    alphabet: tuple[str, ...]
    blank: int = 0
    layout: str = "NTC"

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "postprocess")
        choose_among("layout", self.layout, ("NTC", "NCT", "TNC"), "postprocess")
        if len(self.alphabet) < 2:
            raise RecipeError(f"postprocess.alphabet: expected the blank and more, found {len(self.alphabet)} classes")
        whole("postprocess", "blank", self.blank, 0, len(self.alphabet) - 1)


@dataclass(frozen=True)
class Boxes:
    """Boxes and their scores, as a detector gives them, become the few that stand for one thing each.

    `boxes` names an output [N,K,4] and `scores` one of [N,K,C], or [N,K] for one class. Without `scores`, the output
    `boxes` is [N,K,4+C]: a box and then its scores. `layout` NCK has the last two axes the other way (YOLOv8 has
    [N,4+C,K]). Scores are probabilities, of no background class. `format` says what the four are: two corners, a corner
    with width and height, or the centre with width and height.

    Of the boxes that score more than `threshold`, one class at a time, best first, each that overlaps a better one by
    an intersection over union of more than `iou` is left out; at most `most` are kept, over all classes.
    """

    KIND: ClassVar[str] = "boxes"
    ASSETS: ClassVar[tuple[str, ...]] = ()

    kind: str
    boxes: str
    scores: str = ""
    labels: tuple[str, ...] = ()
    format: str = "xyxy"
    layout: str = "NKC"
    threshold: float = 0.5
    iou: float = 0.5
    most: int = 100

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "postprocess")
        choose_among("format", self.format, ("xyxy", "xywh", "cxcywh"), "postprocess")
        choose_among("layout", self.layout, ("NKC", "NCK"), "postprocess")
        if not self.boxes or self.boxes == self.scores:
            raise RecipeError("postprocess: expected two outputs of boxes and of scores, or one of both as boxes")
        finite("postprocess", "threshold", self.threshold, 0, 1)
        finite("postprocess", "iou", self.iou, 0, 1)
        whole("postprocess", "most", self.most, 1, 10**5)


@dataclass(frozen=True)
class Forecast:
    """Values [N,H,C] of `output`, or [N,H] of one channel, become value * std + mean: H steps ahead in their own units.

    As many means as channels; `names` are those of the channels, where they have any.
    """

    KIND: ClassVar[str] = "forecast"
    ASSETS: ClassVar[tuple[str, ...]] = ()

    kind: str
    output: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "postprocess")
        if not self.mean:
            raise RecipeError("postprocess: expected a mean and a std for each channel, found none")
        scaling("postprocess", self.mean, self.std)
        if self.names and len(self.names) != len(self.mean):
            raise RecipeError(f"postprocess.names: expected {len(self.mean)} of them, found {len(self.names)}")
