"""What TensorRT says while it builds: errors, the fused layer list, progress, and a way to stop it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from edgekit.reports import Progress

_FIELD = re.compile(r"(Name|LayerType|TacticName): ([^,]*)")
_DATATYPE = re.compile(r"Datatype: (\w+)")
_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")


@dataclass(frozen=True)
class Layer:
    """One layer of the engine after fusion; `dtype` is that of its first output."""

    name: str
    kind: str
    dtype: str
    tactic: str
    nodes: tuple[str, ...]


def parse_layers(text: str) -> tuple[Layer, ...]:
    """Read the message "Layers:" that a DETAILED build prints at VERBOSE level, one layer a line."""
    layers = []
    for line in text.splitlines()[1:]:
        found = dict(_FIELD.findall(line.split("Metadata:")[0]))
        # The inputs and outputs have names too: the layer's own comes first in the line.
        name = line.partition("Name: ")[2].partition(", LayerType: ")[0]
        outputs = line.partition("Outputs: ")[2].partition("TacticName: ")[0]
        dtype = _DATATYPE.search(outputs)
        if "LayerType" in found:
            layers.append(
                Layer(
                    name=name,
                    kind=found["LayerType"],
                    dtype=dtype.group(1).lower() if dtype else "",
                    tactic=found.get("TacticName", ""),
                    nodes=tuple(_ONNX_LAYER.findall(line)),
                )
            )
    return tuple(layers)


class Watcher:
    """Collects TensorRT's messages and passes its progress on.

    TensorRT wants subclasses of its own ILogger and IProgressMonitor, from whichever flavour was imported, so both
    are made here at run time.
    """

    def __init__(self, trt: Any, progress: Progress) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers: tuple[Layer, ...] = ()
        self.interrupted = False
        self.logger = _make_logger(trt, self)
        self.monitor = _make_monitor(trt, self, progress)

    def reason(self) -> str:
        """The first error that TensorRT logged, which is the cause; the later ones are its echoes."""
        text = self.errors[0] if self.errors else "TensorRT gave no reason"
        return " ".join(text.split())[:400]


def _make_logger(trt: Any, watcher: Watcher) -> Any:
    severity = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level == severity.VERBOSE:
                if message.startswith("Layers:"):
                    watcher.layers = parse_layers(message)
            elif level in (severity.ERROR, severity.INTERNAL_ERROR):
                watcher.errors.append(message)
            elif level == severity.WARNING:
                watcher.warnings.append(message)

    return Logger()


def _make_monitor(trt: Any, watcher: Watcher, progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps
            self.tell(phase, 0)

        def step_complete(self, phase: str, step: int) -> bool:
            self.tell(phase, step + 1)
            return not watcher.interrupted

        def phase_finish(self, phase: str) -> None:
            self.tell(phase, self.steps.get(phase, 0))

        def tell(self, phase: str, done: int) -> None:
            # Python handles a Ctrl-C only between its own bytecodes: here. An exception must not cross into C++.
            try:
                progress(phase, done, self.steps.get(phase, 0))
            except KeyboardInterrupt:
                watcher.interrupted = True

    return Monitor()
