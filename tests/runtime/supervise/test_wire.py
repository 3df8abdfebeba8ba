"""Messages stay small, nobody waits for a supervisor that does not read, and an end is seen."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from edgekit.runtime.supervise import wire


def test_messages_arrive_whole_and_in_order_and_then_the_end():
    above, below = wire.pair()
    with above:
        with below:
            assert list(wire.heard(above)) == []
            assert all(wire.say(below, {"turn": turn, "where": Path("x"), "nan": float("nan")}) for turn in range(3))
            assert list(wire.heard(above)) == [{"turn": turn, "where": "x", "nan": "nan"} for turn in range(3)]
            wire.say(below, {"turn": 3})
        assert list(wire.heard(above)) == [{"turn": 3}, None]
        assert list(wire.heard(above)) == [None]


def test_what_is_too_large_loses_its_largest_parts():
    long = "x" * wire.MOST_BYTES
    message = {"state": "running", "events": [{"message": long}], "numbers": {"a": 1}, "session": {"reason": "y"}}
    found = json.loads(wire.packed(message))
    assert found == {"state": "running", "events": [], "numbers": {"a": 1}, "session": {"reason": "y"}}
    found = json.loads(wire.packed({**message, "numbers": {"a": long}}))
    assert found["state"] == "running"
    assert "a" not in found["numbers"]
    assert len(wire.packed({**message, "numbers": {"a": long}})) < 1000


def test_nobody_waits_for_a_supervisor_that_does_not_read():
    above, below = wire.pair()
    with above, below:
        said = 0
        start_s = time.monotonic()
        while wire.say(below, {"text": "x" * 10000}):
            said += 1
            assert said < 1000
        assert time.monotonic() - start_s < 30
        assert not wire.say(below, {"text": "x" * 10000}, patience_s=0.05)
        reader = threading.Timer(0.1, lambda: list(wire.heard(above)))
        reader.start()
        assert wire.say(below, {"text": "x" * 10000}, patience_s=60), "it is read in the end"
        reader.join()


def test_a_supervisor_that_is_gone_is_no_error():
    above, below = wire.pair()
    with below:
        above.close()
        assert not wire.say(below, {"state": "running"}, patience_s=60)
