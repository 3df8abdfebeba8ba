"""How a text becomes the input tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.errors import RecipeError
from edgekit.specs.checks import whole
from edgekit.specs.tables import choose_among


@dataclass(frozen=True)
class TextPreprocess:
    """How a text, or several, become tokens; `edgekit.preprocess` applies it.

    `tokenizer` is a tokenizer.json of the bundle, as Hugging Face's libraries write it; with `special` the tokens that
    it puts around a text ([CLS], [SEP]) are put. The ids go into `input` [N,T]; where they are named, `mask` [N,T] gets
    1 for tokens and 0 for padding, and `types` [N,T] the tokenizer's type ids.

    With `padding` "longest", T is the longest text; with "length" it is `length`. The id `pad` fills up. A text of more
    than `length` tokens (0: no limit) is an error, unless `truncate` says that its end is cut off.
    """

    KIND: ClassVar[str] = "text"
    ASSETS: ClassVar[tuple[str, ...]] = ("tokenizer",)

    kind: str
    input: str
    tokenizer: str
    mask: str = ""
    types: str = ""
    length: int = 0
    padding: str = "longest"
    pad: int = 0
    truncate: bool = False
    special: bool = True

    def __post_init__(self) -> None:
        choose_among("kind", self.kind, (self.KIND,), "preprocess")
        choose_among("padding", self.padding, ("longest", "length"), "preprocess")
        whole("preprocess", "length", self.length, 0, 2**20)
        whole("preprocess", "pad", self.pad, 0, 2**31 - 1)
        if not self.input or not self.tokenizer:
            raise RecipeError("preprocess: expected an input and the file of a tokenizer, found one of them empty")
        names = [name for name in (self.input, self.mask, self.types) if name]
        if len(set(names)) < len(names):
            raise RecipeError(f"preprocess: expected input, mask and types to be different inputs, found {names}")
        if not self.length and (self.truncate or self.padding == "length"):
            raise RecipeError("preprocess: expected a length to cut to or fill up to, found none", "length = 128")
