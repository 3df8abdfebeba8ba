"""What a Session costs over onnxruntime itself: the same model, calls in turn, with raw against raw as the control.

Prints one line of JSON: milliseconds a call as medians, and the medians of paired differences and ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from edgekit.runtime import Session

Feeds = dict[str, np.ndarray]


class Raw:
    """onnxruntime with buffers bound once, as its documentation has it: at the same settings as the Session's."""

    def __init__(self, model: Path, feeds: Feeds, outputs: Feeds) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.feeds = {name: array.copy() for name, array in feeds.items()}
        self.outputs = {name: np.zeros_like(array) for name, array in outputs.items()}
        self.binding = self.session.io_binding()
        for name, array in self.feeds.items():
            self.binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in self.outputs.items():
            self.binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def execute(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def run(self) -> None:
        self.session.run(None, self.feeds)


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int, calls: int) -> tuple[float, ...]:
    """(ms of the first, ms of the second, median difference in ms, median ratio); the order changes each round."""
    found: dict[Callable[[], object], list[float]] = {first: [], second: []}
    for turn in range(rounds):
        for call in (first, second) if turn % 2 else (second, first):
            start = time.perf_counter_ns()
            for _ in range(calls):
                call()
            found[call].append((time.perf_counter_ns() - start) / 1e6 / calls)
    pairs = list(zip(found[first], found[second], strict=True))
    medians = (statistics.median(values) for values in found.values())
    return (*medians, statistics.median(a - b for a, b in pairs), statistics.median(a / b for a, b in pairs))


def main(bundle: Path, rounds: int, calls: int) -> None:
    with Session.open(bundle, "ort") as session:
        random = np.random.default_rng(0)
        feeds = {name: random.normal(size=session.input(name).shape).astype(np.float32) for name in session.inputs}
        for name, array in feeds.items():
            session.input(name)[...] = array
        outputs = {name: session.output(name) for name in session.outputs}
        raw, control = (Raw(bundle / "model.onnx", feeds, outputs) for _ in range(2))
        for call in (session.execute, raw.execute, control.execute):
            for _ in range(10):
                call()
        for name, array in outputs.items():
            np.testing.assert_array_equal(array, raw.outputs[name])
        pairs = {
            "execute": (session.execute, raw.execute),
            "execute control": (control.execute, raw.execute),
            "run": (lambda: session.run(feeds), raw.run),
            "run control": (control.run, raw.run),
        }
        print(json.dumps({name: paired(*calls_, rounds, calls) for name, calls_ in pairs.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
