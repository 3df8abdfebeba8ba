"""What TensorRT says while it builds: errors, the fused layer list, progress, and a way to stop it."""

from __future__ import annotations

from typing import Any

from edgekit.build.layers import Layer, Memory, parse_layers, parse_memory
from edgekit.reports import Progress

# Said of every input of that type; the runtime binds what the bundle says.
_BINDING = "has Int64 binding"


class Watcher:
    """Collects TensorRT's messages and passes its progress on.

    TensorRT wants subclasses of its own ILogger and IProgressMonitor, from whichever flavour was imported, so both
    are made here at run time.
    """

    def __init__(self, trt: Any, progress: Progress) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers: tuple[Layer, ...] = ()
        self._sizes: list[str] = []
        self.interrupted = False
        self.logger = _make_logger(trt, self)
        self.monitor = _make_monitor(trt, self, progress)

    @property
    def memory(self) -> Memory:
        """What it said that the engine needs."""
        return parse_memory(self._sizes)

    def told(self, message: str) -> None:
        """Keep what a message below a warning says of sizes and layers: there are thousands."""
        if message.startswith("Total "):
            self._sizes.append(message)
        elif message.startswith("Layers:"):
            self.layers = parse_layers(message)

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
            # Ctrl-C may arrive here too; an exception must not cross into C++.
            try:
                self.keep(level, message)
            except KeyboardInterrupt:
                watcher.interrupted = True

        def keep(self, level: Any, message: str) -> None:
            if level in (severity.VERBOSE, severity.INFO):
                watcher.told(message)
            elif level in (severity.ERROR, severity.INTERNAL_ERROR):
                watcher.errors.append(message)
            elif level == severity.WARNING and _BINDING not in message:
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
