"""How a network is run step by step: what is carried from one step to the next, and what it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.errors import RecipeError, ShapeError, nearest
from edgekit.specs.tensors import TensorSpec

Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class Stream:
    """`states` are pairs such as `h=h_out`: what comes out there goes in here with the next step.

    A state has one shape, as that of an LSTM, or an axis that grows by the tokens of a step, as a cache of keys has.
    For a decoder, `tokens` [N,T], `logits` [N,T,V], and where it has them `mask` [N,P+T] of ones and `positions` [N,T]
    name its other tensors; `stop` are the ids of tokens that end a text.
    """

    states: tuple[str, ...]
    tokens: str = ""
    logits: str = ""
    mask: str = ""
    positions: str = ""
    stop: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for text in self.states:
            if text.count("=") != 1 or not all(text.split("=")):
                raise RecipeError(f"stream.states: expected INPUT=OUTPUT, found {text!r}", 'states = ["h=h_out"]')
        inputs = [name for name, _ in self.pairs()]
        outputs = [name for _, name in self.pairs()]
        if not self.states or len({*inputs}) < len(inputs) or len({*outputs}) < len(outputs):
            raise RecipeError(f"stream.states: expected each input and output once, found {list(self.states)}")
        if bool(self.tokens) != bool(self.logits):
            raise RecipeError("stream: expected both tokens and logits of a decoder, found one of them")

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(input, output) of each state."""
        return tuple((text.split("=")[0], text.split("=")[1]) for text in self.states)

    def growth(self, inputs: Specs, outputs: Specs) -> str:
        """The name of the axis along which states grow by the tokens of a step; empty where they keep their shape.

        A state comes out with the axes that it went in with, but for the growing one, which has another name there.
        Raises ShapeError for a name that the network does not have, and for a pair that does not fit.
        """
        for name, specs in (
            (self.tokens, inputs),
            (self.mask, inputs),
            (self.positions, inputs),
            (self.logits, outputs),
        ):
            _known(name or next(iter(specs)), specs)
        grown: set[str] = set()
        for name, output in self.pairs():
            _known(name, inputs)
            _known(output, outputs)
            before, after = inputs[name], outputs[output]
            axes = list(zip(before.shape, after.shape, strict=False))
            differ = [(one, other) for one, other in axes if one != other]
            if before.dtype != after.dtype or len(before.shape) != len(after.shape) or len(differ) > 1:
                raise ShapeError(f"stream: expected {output} as {name}: {before}, but for one axis, found {after}")
            grown |= {str(one) for one, _ in differ}
        if len(grown) > 1 or any(axis.isdecimal() for axis in grown) or (grown and not self.tokens):
            raise ShapeError(f"stream: expected one open axis that grows by the tokens, found {sorted(grown)}")
        growth = grown.pop() if grown else ""
        carried = {name for name, _ in self.pairs()}
        for name, spec in inputs.items():
            if growth and growth in spec.shape and name not in carried:
                raise ShapeError(
                    f"stream: expected {name} among the states, since it has their axis {growth}, found none"
                )
        self._check_decoder(inputs, outputs)
        return growth

    def _check_decoder(self, inputs: Specs, outputs: Specs) -> None:
        """Tokens [N,T] of integers, logits [N,T,V] of numbers, stop tokens among the V."""
        if not self.tokens:
            return
        tokens, logits = inputs[self.tokens], outputs[self.logits]
        if "int" not in tokens.dtype or len(tokens.shape) != 2:
            raise ShapeError(f"stream: expected tokens as integers [N, T], found {tokens.name}: {tokens}")
        if "float" not in logits.dtype or len(logits.shape) != 3:
            raise ShapeError(f"stream: expected logits as floats [N, T, V], found {logits.name}: {logits}")
        size = logits.shape[2]
        if isinstance(size, int) and not all(0 <= token < size for token in self.stop):
            raise ShapeError(f"stream: expected stop tokens of 0..{size - 1}, found {list(self.stop)}")


def _known(name: str, specs: Specs) -> None:
    if name not in specs:
        raise ShapeError(f"stream: expected one of {', '.join(specs)}, found {name!r}; {nearest(name, specs)}")
