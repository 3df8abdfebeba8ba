"""CUDA graphs of what a backend enqueues again and again: captured once it has settled, never insisted on."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from edgekit.errors import EdgekitError, first_line
from edgekit.runtime.cuda import Device
from edgekit.runtime.cuda.device import Work

_SETTLED = 3  # TensorRT must have run before a capture; what is enqueued less often gains nothing


class Graphs:
    """One graph a key. `notes["cuda_graph"]` says what became of them; `refused`, if not empty, why there are none."""

    def __init__(self, device: Device, notes: dict[str, str], refused: str) -> None:
        self._device = device
        self._notes = notes
        self._refused = bool(refused)
        self._runs: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, Any] = {}
        notes["cuda_graph"] = refused or f"after {_SETTLED} runs at one shape"

    def run(self, key: Hashable, work: Work) -> None:
        """Enqueue `work`: as a graph from the fourth time on, unless the driver or TensorRT refuses it."""
        if key in self._graphs:
            self._device.launch(self._graphs[key])
            return
        runs = self._runs[key] = self._runs.get(key, 0) + 1
        if self._refused or runs <= _SETTLED or not self._captured(key, work):
            work()

    def forget(self) -> None:
        """What is bound changes: a graph has the old addresses and shapes in it."""
        self._runs.clear()
        while self._graphs:
            self._device.drop(self._graphs.popitem()[1])

    def _captured(self, key: Hashable, work: Work) -> bool:
        """Capture `work` and launch it, since it is the first launch that needs memory; False where either fails."""
        graph = None
        try:
            graph = self._device.capture(work)
            self._device.launch(graph)
        except (EdgekitError, self._device.Error) as error:
            if graph is not None:
                self._device.drop(graph)
            self._refused = True
            self._notes["cuda_graph"] = f"none: {first_line(error)}"
            return False
        self._graphs[key] = graph
        self._notes["cuda_graph"] = "captured"
        return True


def no_graphs(flavour: str, device: Device) -> str:
    """Why a backend captures no graph itself; empty where it does."""
    if flavour != "tensorrt":
        return "by TensorRT-RTX"
    return "" if device.graphs else f"none: {device.api} has none, cuda-bindings has (EDGEKIT_CUDA=cuda-bindings)"
