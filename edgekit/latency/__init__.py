"""Latency that can be trusted: when requests arrive, what the samples allow to say, and under which conditions."""

from edgekit.latency.arrivals import Arrivals, closed, fixed_rate, offline, poisson
from edgekit.latency.doubts import Doubt
from edgekit.latency.environment import Environment, environment
from edgekit.latency.measure import Samples, Timer, measure, warm_up
from edgekit.latency.sampling import Plan, sample
from edgekit.latency.stats import Interval, LatencySummary, miss_rate, quantile, summarise
from edgekit.latency.verdict import judge_latency, judge_overloaded, judge_starts, samples_needed

__all__ = [
    "Arrivals",
    "Doubt",
    "Environment",
    "Interval",
    "LatencySummary",
    "Plan",
    "Samples",
    "Timer",
    "closed",
    "environment",
    "fixed_rate",
    "judge_latency",
    "judge_overloaded",
    "judge_starts",
    "measure",
    "miss_rate",
    "offline",
    "poisson",
    "quantile",
    "sample",
    "samples_needed",
    "summarise",
    "warm_up",
]
