"""Numbers of sessions and loops as Prometheus text, through prometheus_client (the extra `metrics`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from edgekit.errors import SessionError

_HELP = {
    "runs": "Inferences that ended",
    "steps": "Steps of a stream among them",
    "tokens": "Tokens that were generated",
    "errors": "Inferences that failed",
    "timeouts": "Waits that gave up",
    "degradations": "Changes to a slower backend after a failure",
}
_FRAMES_HELP = {
    "captured": "Frames that a source gave",
    "processed": "Frames that were answered",
    "dropped": "Frames that were not",
}
_LOOP_HELP = {
    "held": "Answers that are older ones, because theirs were bad",
    "left_out": "Turns in which a camera had no new frame",
    "bad": "Inferences that failed, or gave NaN or infinity",
    "resets": "How often a network with states began anew",
    "deadline_misses": "Answers older than the deadline",
    "sink_errors": "Errors of sinks",
}


class Measured(Protocol):
    """What is asked of a Session."""

    backend: str
    device: str

    def metrics(self) -> dict[str, Any]:
        """As `Counters.snapshot` gives them."""


class Looping(Protocol):
    """What is asked of a StreamLoop."""

    @property
    def state(self) -> str:
        """As `StreamLoop.state` says."""

    def snapshot(self) -> dict[str, Any]:
        """As `Statistics.snapshot` gives it."""

    def health(self) -> dict[str, Any]:
        """With `events` by kind."""


class SessionCollector:
    """For `prometheus_client`'s registry: `REGISTRY.register(SessionCollector({"front": session}))`.

    The sessions are told apart by the label `session`. Numbers are read when they are asked for, from any thread.
    """

    def __init__(self, sessions: Mapping[str, Measured]) -> None:
        self._core = _client().core
        self._sessions = dict(sessions)

    def collect(self) -> Iterator[Any]:
        """One family a number, one sample a session."""
        labels = ("session", "backend", "device")
        found = {name: (session, session.metrics()) for name, session in self._sessions.items()}
        for key, text in _HELP.items():
            family = self._core.CounterMetricFamily(f"edgekit_{key}", text, labels=labels)
            for name, (session, numbers) in found.items():
                family.add_metric((name, session.backend, session.device), numbers[key])
            yield family
        family = self._core.HistogramMetricFamily("edgekit_compute_seconds", "From submit to its end", labels=labels)
        for name, (session, numbers) in found.items():
            family.add_metric((name, session.backend, session.device), *_in_seconds(numbers["compute_ms"]))
        yield family


class LoopCollector:
    """The same for loops, told apart by the label `loop`: `LoopCollector({"see": loop})`.

    `edgekit_loop_state` is 1 for the state that a loop is in; `edgekit_loop_events_total` counts them by `kind`.
    """

    def __init__(self, loops: Mapping[str, Looping]) -> None:
        self._core = _client().core
        self._loops = dict(loops)

    def collect(self) -> Iterator[Any]:
        """One family a number; frames have one sample a source."""
        found = {name: loop.snapshot() for name, loop in self._loops.items()}
        for key, text in _FRAMES_HELP.items():
            family = self._core.CounterMetricFamily(f"edgekit_frames_{key}", text, labels=("loop", "source"))
            for name, numbers in found.items():
                for source, counts in numbers["sources"].items():
                    family.add_metric((name, source), counts[key])
            yield family
        for key, text in _LOOP_HELP.items():
            family = self._core.CounterMetricFamily(f"edgekit_loop_{key}", text, labels=("loop",))
            for name, numbers in found.items():
                family.add_metric((name,), numbers[key])
            yield family
        for key, text in (("age", "From the capture of what is answered"), ("turn", "From submit to its end")):
            family = self._core.HistogramMetricFamily(f"edgekit_loop_{key}_seconds", text, labels=("loop",))
            for name, numbers in found.items():
                family.add_metric((name,), *_in_seconds(numbers["age_ms" if key == "age" else "compute_ms"]))
            yield family
        yield from self._conditions()

    def _conditions(self) -> Iterator[Any]:
        state = self._core.GaugeMetricFamily("edgekit_loop_state", "What state it is in", labels=("loop", "state"))
        events = self._core.CounterMetricFamily("edgekit_loop_events", "What happened", labels=("loop", "kind"))
        for name, loop in self._loops.items():
            state.add_metric((name, loop.state), 1)
            for kind, count in loop.health()["events"].items():
                events.add_metric((name, kind), count)
        yield from (state, events)


def prometheus_text(sessions: Mapping[str, Measured], loops: Mapping[str, Looping] = {}) -> str:
    """The numbers of these in Prometheus's text format, for a scraper or a file of node_exporter."""
    client = _client()
    registry = client.CollectorRegistry()
    for collector in (SessionCollector(sessions), LoopCollector(loops)):
        registry.register(collector)
    return str(client.generate_latest(registry).decode())


def _in_seconds(histogram: dict[str, Any]) -> tuple[list[tuple[str, int]], float]:
    """Buckets as Prometheus names them, and the sum."""
    buckets = [("+Inf" if edge == float("inf") else f"{edge / 1e3:g}", count) for edge, count in histogram["buckets"]]
    return buckets, histogram["sum"] / 1e3


def _client() -> Any:
    try:
        import prometheus_client.core
    except ImportError as error:
        raise SessionError(
            "expected prometheus_client for metrics, found none", "pip install 'edgekit[metrics]'"
        ) from error
    return prometheus_client
