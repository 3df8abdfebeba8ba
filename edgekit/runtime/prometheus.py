"""A session's numbers as Prometheus text, through prometheus_client (the extra `metrics`)."""

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


class Measured(Protocol):
    """What is asked of a Session."""

    backend: str
    device: str

    def metrics(self) -> dict[str, Any]:
        """As `Counters.snapshot` gives them."""


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
            compute = numbers["compute_ms"]
            buckets = [
                ("+Inf" if edge == float("inf") else f"{edge / 1e3:g}", count) for edge, count in compute["buckets"]
            ]
            family.add_metric((name, session.backend, session.device), buckets, compute["sum"] / 1e3)
        yield family


def prometheus_text(sessions: Mapping[str, Measured]) -> str:
    """The numbers of these sessions in Prometheus's text format, for a scraper or a file of node_exporter."""
    client = _client()
    registry = client.CollectorRegistry()
    registry.register(SessionCollector(sessions))
    return str(client.generate_latest(registry).decode())


def _client() -> Any:
    try:
        import prometheus_client.core
    except ImportError as error:
        raise SessionError(
            "expected prometheus_client for metrics, found none", "pip install 'edgekit[metrics]'"
        ) from error
    return prometheus_client
