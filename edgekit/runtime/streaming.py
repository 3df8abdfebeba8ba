"""A network that is run step by step: its states stay where they are computed, and two blocks a state change places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import SessionError, ShapeError
from edgekit.runtime.backend import Array
from edgekit.runtime.feeds import check, check_named, fitted, known
from edgekit.runtime.runner import Runner
from edgekit.runtime.sizes import Sizes
from edgekit.specs import Stream

if TYPE_CHECKING:
    from edgekit.runtime.generation import Decoder


class Streaming:
    """The steps of one session. Between two steps nothing else may run: what does begins the stream anew."""

    def __init__(self, runner: Runner, sizes: Sizes, stream: Stream) -> None:
        self.stream = stream
        self._runner, self._sizes = runner, sizes
        self._carried = dict(stream.pairs())
        self._given = [name for name in sizes.inputs if name not in self._carried]
        self._answers = [name for name in sizes.outputs if name not in self._carried.values()]
        self._views: dict[str, Array] = {}
        self._bindings = -1
        self._grown: dict[str, int] = {}  # the size of the cache that the last step left, for the next one to bind
        self._decoder: Decoder | None = None
        self.under_way = False
        self.begun = 0  # how often a stream was

    def step(self, feeds: Array | Mapping[str, Any] | None) -> dict[str, Array]:
        """As `Session.step` says."""
        if not self.under_way:
            self.reset()
        arrays = self._arrays(feeds) if feeds is not None else {}
        inputs = self._runner.mine().input
        shapes = {name: fitted(self._sizes.inputs[name], array, inputs(name).shape) for name, array in arrays.items()}
        self.resize(self._sizes.asked(shapes))
        for name, array in arrays.items():
            self._runner.mine().input(name)[...] = array
        self._runner.execute(step=True)
        sizes = self._sizes
        if sizes.growth:
            self._grown = {sizes.growth: sizes.dims[sizes.growth] + sizes.tokens_in(sizes.dims)}
        self.advance()
        return self._seen()

    def advance(self) -> None:
        """What came out goes in with the next step."""
        self._runner.mine().advance()
        self._sizes.stale = bool(self._sizes.growth)
        self._runner.counters.steps += 1

    def reset(self, states: Mapping[str, Any] = {}) -> None:
        """States of zero, an empty cache; those that are given start so."""
        check_named(states)
        for name in states:
            known(name, self._carried)
        given = {name: np.asarray(value) for name, value in states.items()}
        for name, array in given.items():
            check(self._sizes.inputs[name], array)
        growth = self._sizes.growth
        if growth and given and len(given) < len(self._carried):
            raise ShapeError(f"expected all of {', '.join(self._carried)} for a cache, found {', '.join(given)}")
        dims = ({growth: 0} if growth else {}) | self._sizes.asked({name: array.shape for name, array in given.items()})
        self._sizes.check(dims)
        self._grown = {}
        self._runner.bind_to(self._sizes, dims)
        backend = self._runner.mine()
        backend.reset()
        for name, array in given.items():
            backend.input(name)[...] = array
        self.under_way = True
        self.begun += 1

    def end(self) -> None:
        """What runs alone starts from states of zero, or from those that it is given; the next step begins anew."""
        if self.under_way:
            self._runner.bind_to(self._sizes)
            self._runner.mine().reset()
            self._grown, self.under_way = {}, False

    def leave_for(self, name: str) -> None:
        """The buffer of a state is there to be written for a run alone."""
        if name in self._carried:
            self.end()

    def states(self) -> dict[str, Array]:
        """Copies of the states."""
        self.resize({})
        return {name: self._runner.mine().state(name) for name in self._carried}

    def decoder(self) -> Decoder:
        """What writes texts with these states."""
        if self._decoder is None:
            from edgekit.runtime.generation import Decoder

            self._decoder = Decoder(self._runner, self._sizes, self)
        return self._decoder

    def forget(self) -> None:
        """Let go of all views."""
        self._views, self._bindings = {}, -1

    def check_output(self, name: str) -> None:
        """Raise SessionError for a state's output while a stream is under way: its block has become the input's."""
        if self.under_way and name not in self._answers:
            raise SessionError(f"expected an output that is not carried, found {name}", "session.state()")

    def _arrays(self, feeds: Array | Mapping[str, Any]) -> dict[str, Array]:
        if not isinstance(feeds, Mapping):
            if len(self._given) != 1:
                raise ShapeError(f"expected arrays for {', '.join(self._given)} by name, found one without", "a dict")
            feeds = {self._given[0]: feeds}
        for name in feeds:
            known(name, self._given)
        for name in self._given:
            if name not in feeds:
                raise ShapeError(f"expected arrays for {', '.join(self._given)}, found none for {name}")
        return {name: np.asarray(value) for name, value in feeds.items()}

    def resize(self, asked: Mapping[str, int]) -> None:
        """Another batch needs another state, which begins at zero; more time steps, or a cache that grew, do not."""
        sizes, dims = self._sizes, {**self._grown, **asked}
        if not sizes.changes(dims):
            return
        sizes.check(dims)
        kept = {**dims, sizes.growth: sizes.dims[sizes.growth]} if sizes.growth else dims
        before, after = (sizes.inputs_at(now) for now in (sizes.dims, {**sizes.dims, **kept}))
        self._runner.bind_to(sizes, dims)
        if any(before[name] != after[name] for name in self._carried):
            self.reset()

    def _seen(self) -> dict[str, Array]:
        """Views of the answers, made once a binding."""
        if self._bindings != self._runner.bindings or self._sizes.unknown:
            self._views = {name: self._runner.mine().output(name) for name in self._answers}
            self._bindings = self._runner.bindings
        return self._views
