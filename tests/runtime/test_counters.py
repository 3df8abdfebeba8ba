"""Histograms against numpy's own counts; the Prometheus text against its own parser."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.runtime import Session
from edgekit.runtime import prometheus as our_prometheus
from edgekit.runtime.counters import EDGES_MS, Histogram
from edgekit.runtime.loop import Policy, StreamLoop
from tests.runtime.loop.cameras import Scripted


def test_a_histogram_counts_what_lies_at_or_below_each_edge():
    values = np.random.default_rng(0).lognormal(1, 2, 500).tolist() + list(EDGES_MS)
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    found = histogram.snapshot()
    assert found["buckets"] == [(edge, int((np.array(values) <= edge).sum())) for edge in (*EDGES_MS, float("inf"))]
    assert found["count"] == len(values)
    assert found["sum"] == pytest.approx(sum(values))


def test_what_a_session_did_as_prometheus_text(small_bundle):
    parser = pytest.importorskip("prometheus_client.parser")
    with Session.open(small_bundle) as front, Session.open(small_bundle) as rear:
        front.warmup(5)
        text = our_prometheus.prometheus_text({"front": front, "rear": rear})
        found = {
            (sample.name, sample.labels["session"], sample.labels.get("le")): sample.value
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["edgekit_runs_total", "front", None] == 5
        assert found["edgekit_runs_total", "rear", None] == 0
        assert found["edgekit_compute_seconds_count", "front", None] == 5
        assert found["edgekit_compute_seconds_bucket", "front", "+Inf"] == 5
        total_ms = front.metrics()["compute_ms"]["sum"]
        assert found["edgekit_compute_seconds_sum", "front", None] == pytest.approx(total_ms / 1e3)
        edges = [key[2] for key in found if key[0] == "edgekit_compute_seconds_bucket" and key[1] == "front"]
        assert [float(edge) for edge in edges] == [*(edge / 1e3 for edge in EDGES_MS), float("inf")]


def test_what_a_loop_did_as_prometheus_text():
    parser = pytest.importorskip("prometheus_client.parser")
    left, right = (Scripted(*range(count), name=name) for name, count in (("left", 3), ("right", 2)))
    answers = iter(([1.0, 1.0], [1.0, float("nan")], [1.0, None]))
    loop = StreamLoop([left, right], lambda frames: next(answers), (), Policy("fifo", wait_ms=5000, deadline_ms=1e-6))
    loop.run()
    found = {
        (sample.name, *(sample.labels.get(key) for key in ("loop", "source", "state", "kind", "le"))): sample.value
        for family in parser.text_string_to_metric_families(our_prometheus.prometheus_text({}, {"see": loop}))
        for sample in family.samples
    }

    def value(name, source=None, state=None, kind=None, le=None):
        return found[name, "see", source, state, kind, le]

    assert value("edgekit_frames_captured_total", "left") == value("edgekit_frames_processed_total", "left") == 3
    assert value("edgekit_frames_processed_total", "right") == 2
    assert value("edgekit_frames_dropped_total", "right") == 0
    assert (value("edgekit_loop_bad_total"), value("edgekit_loop_held_total")) == (1, 1)
    assert value("edgekit_loop_left_out_total") == 1
    assert value("edgekit_loop_deadline_misses_total") == 5
    assert value("edgekit_loop_state", state="ended") == 1
    assert value("edgekit_loop_events_total", kind="bad") == 1
    assert value("edgekit_loop_age_seconds_bucket", le="+Inf") == value("edgekit_loop_age_seconds_count") == 5
    assert value("edgekit_loop_turn_seconds_count") == 3
    ages = loop.snapshot()["age_ms"]
    assert value("edgekit_loop_age_seconds_sum") == pytest.approx(ages["sum"] / 1e3)


def test_without_prometheus_client_it_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(SessionError, match=r"pip install 'edgekit\[metrics\]'"):
        our_prometheus.prometheus_text({})
