"""Named tensors on a device: memory made once at capacity, seen at any shape that fits, and how it is copied."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import SessionError
from edgekit.runtime.backend import Array, Shapes
from edgekit.runtime.cuda.device import Device, Work, free_memory


@dataclass
class _Block:
    """Memory of one tensor: page-locked host bytes uint8 [size], and the device's address, the same where mapped."""

    size: int
    host: list[Array]  # of one element, so that its references can be counted
    address: int


class Tensors:
    """One block a tensor; `arrays` are the host's views at the shapes of the last `shape`, `addresses` the device's.

    The two tensors of each of `pairs` have blocks of one size, so that they can change places.
    """

    def __init__(self, device: Device, dtypes: Mapping[str, str], pairs: Mapping[str, str]) -> None:
        self._device = device
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._partners = {**pairs, **{output: name for name, output in pairs.items()}}
        self._blocks: dict[str, _Block] = {}
        self._held: list[list[Array]] = []  # the app had views of them when they were to go
        self.arrays: dict[str, Array] = {}

    @property
    def addresses(self) -> dict[str, int]:
        """Where the device has each tensor."""
        return {name: block.address for name, block in self._blocks.items()}

    def reserve(self, shapes: Shapes) -> bool:
        """Make blocks of at least these shapes, zeroed, with what the old ones hold; whether any had to be made.

        Raises SessionError where memory is short: then all is as before.
        """
        sizes: dict[str, int] = {}
        for name, shape in shapes.items():
            for each in (name, self._partners.get(name, name)):
                sizes[each] = max(sizes.get(each, 1), math.prod(shape) * self._dtypes[name].itemsize)
        grown = {
            name: size for name, size in sizes.items() if name not in self._blocks or self._blocks[name].size < size
        }
        made: dict[str, _Block] = {}
        try:
            for name, size in grown.items():
                made[name] = self._make(name, size)
            for name, block in made.items():
                self._fill(block, self._blocks.get(name), name in self._partners)
            if made:
                self._device.synchronise()  # before the old memory goes
        except BaseException:
            self._free(made)
            raise
        old = {name: self._blocks[name] for name in made if name in self._blocks}
        shown = {name: self.arrays.pop(name).shape for name in old if name in self.arrays}
        self._blocks.update(made)
        self._free(old)
        self._see(shown)
        return bool(made)

    def shape(self, shapes: Shapes) -> bool:
        """See each of these tensors at this shape; whether memory had to be made for it."""
        grown = self.reserve(shapes)
        self._see(shapes)
        return grown

    def swap(self, one: str, other: str) -> None:
        """Let the two tensors of a pair change places on the device, and shapes; on the host too, where it is the same
        memory."""
        first, second = self._blocks[one], self._blocks[other]
        first.address, second.address = second.address, first.address
        if self._device.integrated:
            first.host, second.host = second.host, first.host
            self.arrays[one], self.arrays[other] = self.arrays[other], self.arrays[one]
        elif self.arrays[one].shape != self.arrays[other].shape:  # a cache that grew
            self._see({one: self.arrays[other].shape, other: self.arrays[one].shape})

    def zero(self, name: str) -> None:
        """Zero a tensor, on the host at once and on the device in its turn."""
        block = self._blocks[name]
        block.host[0].fill(0)
        if not self._device.integrated:
            self._device.memset(block.address, block.size)

    def copies_in(self, names: Iterable[str]) -> list[Work]:
        """What copies these tensors to the device: nothing where it is the same memory, or has no bytes."""
        return [self._device.h2d(self._blocks[name].address, self.arrays[name]) for name in self._copied(names)]

    def copies_out(self, names: Iterable[str]) -> list[Work]:
        """What copies these tensors from the device."""
        return [self._device.d2h(self.arrays[name], self._blocks[name].address) for name in self._copied(names)]

    def close(self) -> list[Array]:
        """Give all memory back but that in which the app still has an array, which is returned."""
        self.arrays.clear()
        self._free(self._blocks)
        waiting, self._held = self._held, []
        for host in waiting:
            self._unpin(host)
        return [host.pop() for host in self._held]

    def _copied(self, names: Iterable[str]) -> list[str]:
        return [] if self._device.integrated else [name for name in names if self.arrays[name].nbytes]

    def _see(self, shapes: Shapes) -> None:
        for name, shape in shapes.items():
            if name in self.arrays and self.arrays[name].shape == shape:
                continue
            dtype = self._dtypes[name]
            size = math.prod(shape) * dtype.itemsize
            self.arrays[name] = self._blocks[name].host[0][:size].view(dtype).reshape(shape)

    def _fill(self, block: _Block, old: _Block | None, carried: bool) -> None:
        """Zeros, and what the old block holds; of what is not carried, the device's bytes are copied anew anyway."""
        host = block.host[0]
        host.fill(0)
        if old is not None:
            host[: old.size] = old.host[0]
        if carried and not self._device.integrated:
            self._device.memset(block.address, block.size)
            if old is not None:
                self._device.d2d(block.address, old.address, old.size)

    def _free(self, blocks: dict[str, _Block]) -> None:
        while blocks:
            _, block = blocks.popitem()
            if not self._device.integrated:
                self._device.free(block.address)
            self._unpin(block.host)

    def _unpin(self, host: list[Array]) -> None:
        """Give host memory back, unless the app has an array in it: reading that would end the process."""
        if _references(host) > _references([np.empty(0)]):
            self._held.append(host)
        else:
            self._device.unpin(host.pop())

    def _make(self, name: str, size: int) -> _Block:
        try:
            host, address = self._device.pinned(size)
            try:
                return _Block(size, [host], address if self._device.integrated else self._device.alloc(size))
            except self._device.Error:
                self._device.unpin(host)
                raise
        except self._device.Error as error:
            raise SessionError(
                f"expected {size / 2**20:.1f} MiB for {name}, found {free_memory(self._device)}: {error}",
                "smaller shapes, or --backend ort",
            ) from error


def _references(one: list[Array]) -> int:
    """How many references an array has, counted the same way for each; views are some."""
    return sys.getrefcount(one[0])
