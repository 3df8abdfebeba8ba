"""Latency that can be trusted: when requests arrive, what the samples allow to say, and under which conditions."""

from edgekit.latency.arrivals import Arrivals, closed, fixed_rate
from edgekit.latency.environment import Environment, environment
from edgekit.latency.measure import Samples, Timer, measure, warm_up
from edgekit.latency.stats import Interval, LatencySummary, miss_rate, quantile, samples_needed, summarise

__all__ = [
    "Arrivals",
    "Environment",
    "Interval",
    "LatencySummary",
    "Samples",
    "Timer",
    "closed",
    "environment",
    "fixed_rate",
    "measure",
    "miss_rate",
    "quantile",
    "samples_needed",
    "summarise",
    "warm_up",
]
