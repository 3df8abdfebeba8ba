"""Histograms against numpy's own counts; the Prometheus text against its own parser."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import SessionError
from edgekit.runtime import Session
from edgekit.runtime import prometheus as our_prometheus
from edgekit.runtime.counters import EDGES_MS, Histogram


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


def test_without_prometheus_client_it_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(SessionError, match=r"pip install 'edgekit\[metrics\]'"):
        our_prometheus.prometheus_text({})
