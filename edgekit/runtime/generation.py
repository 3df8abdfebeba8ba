"""A decoder writes: the prompt in chunks, then a token a step, over a cache whose memory was made once.

A cache is two blocks at capacity that change places: a step reads one and writes the other. What a step costs beyond
the network is a new view of each block and its address; nothing is copied but the token, its logits and their mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgekit.errors import SessionError, ShapeError
from edgekit.runtime.backend import Array
from edgekit.runtime.runner import Runner
from edgekit.runtime.sampling import Sampler
from edgekit.runtime.sizes import Sizes
from edgekit.runtime.streaming import Streaming

# Of a prompt only the last logits are of use: it goes in by chunks whose logits take no more than this.
_LARGEST_LOGITS_BYTES = 16 << 20


class Decoder:
    """Drives one session's runner; one text at a time."""

    def __init__(self, runner: Runner, sizes: Sizes, streaming: Streaming) -> None:
        self._runner, self._sizes = runner, sizes
        self._streaming, self._stream = streaming, streaming.stream
        if not self._stream.tokens:
            raise SessionError("expected a bundle of a decoder, found none", "[stream] tokens and logits in the recipe")
        logits = sizes.outputs[self._stream.logits]
        size = logits.shape[-1]
        self._vocabulary = size if isinstance(size, int) else 1 << 31
        bytes_a_token = np.dtype(logits.dtype).itemsize * min(self._vocabulary, 1 << 20)
        self._chunk = self._largest_chunk(max(1, _LARGEST_LOGITS_BYTES // bytes_a_token))

    def generate(self, prompt: Sequence[int], most: int, sampler: Sampler, stop: Sequence[int]) -> Iterator[int]:
        """Check and reserve now; tokens come as they are asked for. Raises ShapeError for a text too long."""
        tokens = _ids(prompt)
        if tokens.min() < 0 or tokens.max() >= self._vocabulary:
            raise ShapeError(f"expected token ids of 0..{self._vocabulary - 1}, found {tokens.min()}..{tokens.max()}")
        if not isinstance(most, int) or most < 1:
            raise ShapeError(f"expected max_new_tokens of 1 or more, found {most!r}")
        self._reserve(len(tokens) + most - 1)
        return self._tokens(tokens, most, sampler, frozenset((*stop, *self._stream.stop)))

    def _tokens(self, prompt: Array, most: int, sampler: Sampler, stop: frozenset[int]) -> Iterator[int]:
        self._runner.bind_to(self._sizes, self._dims(1, 0))
        self._streaming.reset()
        begun, past = self._streaming.begun, 0
        for start in range(0, len(prompt), self._chunk):
            chunk = prompt[start : start + self._chunk]
            self._step(chunk, past)
            past += len(chunk)
        step = np.empty(1, prompt.dtype)
        for written in range(1, most + 1):
            token = sampler.pick(self._runner.mine().output(self._stream.logits)[0, -1])
            self._runner.counters.tokens += 1
            yield token
            if token in stop or written == most:
                return
            if self._streaming.begun != begun or not self._streaming.under_way:
                raise SessionError("expected one text at a time, found the session used for something else in between")
            step[0] = token
            self._step(step, past)
            past += 1

    def _step(self, tokens: Array, past: int) -> None:
        failures = self._runner.counters.degradations
        self._runner.bind_to(self._sizes, self._dims(len(tokens), past))
        backend = self._runner.mine()
        backend.input(self._stream.tokens)[0] = tokens
        if self._stream.mask:
            backend.input(self._stream.mask)[...] = 1
        if self._stream.positions:
            backend.input(self._stream.positions)[0] = np.arange(past, past + len(tokens))
        self._runner.execute(step=True)
        if self._runner.counters.degradations != failures and past:
            raise SessionError(f"the cache went with the backend: {self._runner.degraded}", "generate again")
        self._streaming.advance()

    def _dims(self, tokens: int, past: int) -> dict[str, int]:
        """The sizes of the open axes of a step: one text, so many tokens, behind so many."""
        dims: dict[str, int] = {}
        for name, sizes in self._axes(tokens, past).items():
            spec = self._sizes.inputs[name]
            dims |= {axis: size for axis, size in zip(spec.shape, sizes, strict=True) if isinstance(axis, str)}
        if self._sizes.growth:
            dims[self._sizes.growth] = past
        return dims

    def _axes(self, tokens: int, past: int) -> Mapping[str, tuple[int, int]]:
        found = {self._stream.tokens: (1, tokens)}
        if self._stream.positions:
            found[self._stream.positions] = (1, tokens)
        if self._stream.mask:
            found[self._stream.mask] = (1, past + tokens)
        return found

    def _reserve(self, capacity: int) -> None:
        """Memory for a cache of so many tokens, made now. Raises ShapeError where the bundle's range ends before."""
        if not self._sizes.growth:
            return
        self._sizes.check({self._sizes.growth: 0})
        high = self._sizes.range(self._sizes.growth)[1]
        if capacity > high + 1:
            raise ShapeError(
                f"expected a prompt and new tokens of {high + 2} in all at the most, found {capacity + 1}",
                "a smaller max_new_tokens",
            )
        ahead = self._dims(1, max(capacity - 1, 0))
        self._sizes.check(ahead)
        outputs = self._sizes.outputs_at(self._sizes.dims | ahead)
        # Both blocks of a pair at the size of what comes out of the last step, since they change places.
        shapes = {name: outputs[output] for pair in self._stream.pairs() for name, output in (pair, (pair[1], pair[1]))}
        self._runner.mine().reserve({name: shape for name, shape in shapes.items() if shape is not None})

    def _largest_chunk(self, most: int) -> int:
        """As many tokens as a call of the network takes."""
        axis = self._sizes.inputs[self._stream.tokens].shape[1]
        if isinstance(axis, int) and axis != 1:
            raise SessionError(f"expected tokens one by one or any number of them, found {axis} at a time", "--dynamic")
        return 1 if isinstance(axis, int) else min(most, self._sizes.range(axis)[1])


def _ids(prompt: Sequence[int]) -> Array:
    """The prompt as an array [T]; ShapeError for what is none."""
    try:
        tokens = np.asarray(prompt)
    except ValueError:  # rows of different lengths
        tokens = np.empty((0, 0))
    if tokens.ndim == 1 and len(tokens) == 0:
        raise ShapeError("expected a prompt of at least one token, found an empty one")
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        found = f"{tokens.dtype}{list(tokens.shape)}"
        raise ShapeError(f"expected a prompt of token ids [T], found {found}", "session.encode(text)")
    return tokens
