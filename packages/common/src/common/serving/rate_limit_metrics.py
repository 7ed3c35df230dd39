"""A limiter's decisions for Prometheus. Labels are rules, outcomes and sources: never whom a decision was about."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from common.limiter import RateLimiter


class LimiterMetrics(Collector):
    """`rate_limit_decisions_total{rule,outcome,source}`: outcome is allowed, limited, penalised, away_allowed or
    away_refused; source is server, or local while the shared counters are away. `rate_limit_counters_away`: 0 or 1."""

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def collect(self) -> Iterable[Metric]:
        decisions = CounterMetricFamily(
            "rate_limit_decisions", "Decisions of the rate limiter.", labels=("rule", "outcome", "source")
        )
        for rule, tally in self._limiter.tallies().items():
            for (reason, allowed, source), times in tally.counts().items():
                outcome = f"away_{'allowed' if allowed else 'refused'}" if reason == "away" else reason
                decisions.add_metric((rule, outcome, source), times)
        yield decisions
        yield GaugeMetricFamily(
            "rate_limit_counters_away", "Whether the shared counters are away.", float(self._limiter.is_away)
        )


@contextmanager
def exposed(limiter: RateLimiter, registry: CollectorRegistry = REGISTRY) -> Generator[None]:
    """Metrics of the one limiter of a registry, for as long as the block runs."""
    metrics = LimiterMetrics(limiter)
    registry.register(metrics)
    try:
        yield
    finally:
        registry.unregister(metrics)
