"""The raw times of a run as an .npz: so that anyone can compute anything from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit.data import write_npz
from edgekit.latency.measure import Samples
from edgekit.latency.stages import Times


def write_samples(out: Path, samples: Samples, stages: Times) -> None:
    """`intended_ns` and `done_ns` int64 [n], `answered` int64 [], and `stage_NAME_ms` float64 [answered] for each.

    The clock is `time.perf_counter_ns`, whose zero means nothing. From `answered` on, `done_ns` is when the measurement
    ended.
    """
    times = {f"stage_{name}_ms": values for name, values in stages.items()}
    whole = {"intended_ns": samples.intended_ns, "done_ns": samples.done_ns, "answered": np.array(samples.answered)}
    write_npz(out, whole | times)
