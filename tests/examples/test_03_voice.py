"""The commands of examples/03_voice: who speaks when, against a person's marks."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.export.real.recording import folder, turns

pytestmark = pytest.mark.slow  # exports a network
pytest.importorskip("torch", reason="the example starts from a torch module")


def test_its_commands(ran):
    """A person marked who speaks when: nobody until 6.69 s, then one of the two nearly all the time."""
    folder("silero_vad")
    said = ran("03_voice").printed[-1]
    spoken = [tuple(map(float, turn)) for turn in re.findall(r"speech from +([\d.]+) s to +([\d.]+) s", said)]
    ticks = np.arange(0, 30, 0.01)
    ours, theirs = (
        np.any([(first <= ticks) & (ticks < last) for first, last in marks], axis=0)
        for marks in (spoken, [turn[1:] for turn in turns()])
    )
    assert np.mean(ours == theirs) > 0.9
    assert not ours[ticks < 6.5].any()
    assert re.search(r"938 chunks of 32 ms, .* 0 gaps; ended: sources ended", said)
