"""A backend in a few lines, and ones that fail."""

from __future__ import annotations

import numpy as np

from edgekit.errors import SessionError


class Doubler:
    """Computes logits = the first five values of each picture, twice."""

    name, device = "fake", "nowhere"

    def __init__(self):
        self.notes, self.arrays, self.closed = {}, {}, 0

    def reserve(self, shapes): ...

    def bind(self, inputs, outputs):
        self.arrays = {name: np.zeros(shape, np.float32) for name, shape in {**inputs, **outputs}.items()}

    def input(self, name):
        return self.arrays[name]

    output = input

    def enqueue(self, *, step=False):
        flat = self.arrays["image"].reshape(len(self.arrays["image"]), -1)
        self.arrays["logits"][...] = 2 * flat[:, :5]

    def synchronise(self, timeout_s):
        return True

    def advance(self): ...

    def reset(self): ...

    def state(self, name):
        return self.arrays[name].copy()

    def let_go(self): ...

    def take(self): ...

    def close(self):
        self.closed += 1


class Failing(Doubler):
    """Works for `good` inferences; the next one fails while it starts, or while it is waited for."""

    name = "failing"

    def __init__(self, good: int, *, waiting: bool = False):
        super().__init__()
        self.left, self.waiting = good, waiting

    def enqueue(self, *, step=False):
        self.left -= 1
        if self.left < 0 and not self.waiting:
            raise SessionError("the GPU reported: an illegal address")
        super().enqueue()

    def synchronise(self, timeout_s):
        if self.left < 0:
            raise SessionError("the GPU reported: an illegal address")
        return True


class Hanging(Doubler):
    """Is done when `done` says so."""

    def __init__(self):
        super().__init__()
        self.done = False

    def synchronise(self, timeout_s):
        return self.done
