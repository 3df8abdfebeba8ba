"""The work of the requests that were measured, and what the device cannot go below."""

from __future__ import annotations

from pathlib import Path

from edgekit.bench.measuring import Measured
from edgekit.bench.requests import Requests
from edgekit.bench.serving import Server
from edgekit.errors import ModelError
from edgekit.latency.floors import Floor, floor_of, known_device
from edgekit.rewrite.reading import read_onnx
from edgekit.rewrite.traffic import model_work
from edgekit.validate.subject import Subject


def measured_floor(
    subject: Subject, requests: Requests, server: Server, run: Measured, root: Path = Path("/")
) -> Floor | None:
    """The floor beside the times of stage `compute`; None where nothing was answered, or onnx cannot infer shapes.

    `root` is where the files of a Jetson are read.
    """
    times = run.times["compute"]
    if not times.size:
        return None
    try:
        work = model_work(read_onnx(subject.onnx), requests.shapes)
    except ModelError:  # that it runs has been shown: its shapes are not what was asked for here
        return None
    on = known_device(server.device, root) if server.backend != "ort" else None
    return floor_of(work, times, server.backend, server.device, on, (*run.before.gpus, *run.after.gpus))
