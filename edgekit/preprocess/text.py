"""A text, or several, becomes tokens: ids, and where the network takes them a mask and type ids.

Shapes: N texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from edgekit.errors import DataError, IntegrityError, TargetError, first_line
from edgekit.preprocess import Inputs, Sizes
from edgekit.preprocess.checks import asset, batch_position, check_buffer
from edgekit.specs import TextPreprocess


class Texts:
    """The Preprocessor of texts: a str goes into one batch position, a list of str fills the batch."""

    def __init__(self, spec: TextPreprocess, assets: Mapping[str, bytes]) -> None:
        """Raises TargetError where the package tokenizers is missing, IntegrityError for a file that it cannot read."""
        self._spec = spec
        self._tokenizer = _tokenizer(asset(assets, spec.tokenizer), spec.tokenizer)
        # Padding is ours, straight into the buffer; the file's own settings are those of some training.
        self._tokenizer.no_padding()
        if spec.truncate:
            self._tokenizer.enable_truncation(spec.length)
        else:
            self._tokenizer.no_truncation()
        self._encoded: list[Any] = []
        self._width = 0

    def encode(self, text: str) -> list[int]:
        """The ids of one text, without padding. Raises DataError for one that is too long, and for what is no text."""
        if not isinstance(text, str):
            raise DataError(
                f"expected one text to encode, found {type(text).__name__} {str(text)[:40]!r}", "one by one"
            )
        return list(self._encode([text])[0].ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids, without special tokens and unknown ids. Raises DataError for a negative one."""
        try:
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
        except (OverflowError, TypeError) as error:
            raise DataError(f"expected ids of tokens, 0 or more, found others: {first_line(error)}") from None

    def decode_each(self, ids: Iterable[int]) -> Iterator[str]:
        """The text piece by piece: a token that only begins a letter waits for those that end it."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        for token in ids:
            if piece := stream.step(self._tokenizer, token):
                yield str(piece)

    def prepare(self, item: str | Sequence[str]) -> Sizes:
        """Raises DataError for what is no text, no tokens at all, or more than `length` where nothing is cut off."""
        texts: list[Any] = list(item) if isinstance(item, (list, tuple)) else [item]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"expected a str or a list of them, found {type(item).__name__} {str(item)[:40]!r}")
        self._encoded = self._encode(texts)
        longest = max(len(one.ids) for one in self._encoded)
        if longest == 0:
            raise DataError("expected a text of at least one token, found none")
        self._width = self._spec.length if self._spec.padding == "length" else longest
        return {name: {0: len(texts), 1: self._width} for name in self._fills()}

    def write(self, item: str | Sequence[str], inputs: Inputs, slot: int) -> None:
        """The tokens that `prepare` made of the item; buffers are int32 or int64."""
        for name, (field, fill) in self._fills().items():
            buffer = inputs(name)
            rows = batch_position(name, buffer, slot)[None] if isinstance(item, str) else buffer
            check_buffer(name, rows, (len(self._encoded), self._width), ("int64", "int32"))
            for row, one in zip(rows, self._encoded, strict=True):
                _fill(row, getattr(one, field), fill)

    def _fills(self) -> dict[str, tuple[str, int]]:
        """Input -> (what it gets of the tokenizer's encoding, what stands behind it)."""
        spec = self._spec
        fills = {spec.input: ("ids", spec.pad), spec.mask: ("attention_mask", 0), spec.types: ("type_ids", 0)}
        return {name: fill for name, fill in fills.items() if name}

    def _encode(self, texts: list[str]) -> list[Any]:
        try:
            encoded: list[Any] = self._tokenizer.encode_batch(texts, add_special_tokens=self._spec.special)
        except TypeError as error:  # a lone surrogate, half of a character, is none
            raise DataError(f"expected texts of whole characters, found others: {first_line(error)}") from None
        length = self._spec.length
        longest = max(len(one.ids) for one in encoded)
        if length and longest > length:
            remedy = "a length that holds the special tokens" if self._spec.truncate else "truncate = true"
            raise DataError(f"expected a text of at most {length} tokens, found {longest}", remedy)
        return encoded


def _fill(row: NDArray[Any], values: list[int], fill: int) -> None:
    row[: len(values)] = values
    row[len(values) :] = fill


def _tokenizer(data: bytes, name: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise TargetError(
            f"expected the package tokenizers, found none: {error}", "pip install 'edgekit[text]'"
        ) from None
    try:
        return Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises plain Exceptions
        raise IntegrityError(f"{name}: expected a tokenizer.json, found: {first_line(error)}") from None
