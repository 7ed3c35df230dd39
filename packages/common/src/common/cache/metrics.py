"""What Prometheus is told of the caches that are open in this process, asked when it asks."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common.cache.reading import Cache

COUNTERS = {
    "loads": "Values asked of the origin.",
    "failed_loads": "Values that the origin did not give.",
    "load_seconds": "Seconds spent waiting for the origin.",
    "bumps": "Bumps that reached the shared tier and the bus.",
    "failed_bumps": "Bumps that did not.",
    "evictions": "Entries that left memory to make room.",
    "shared_failures": "Calls of the shared tier that failed.",
}
GAUGES = {
    "memory_bytes": "Bytes that entries take in memory.",
    "entries": "Entries in memory, dead ones included.",
    "is_trusted": "1 while what is stored is believed.",
}


class CacheCollector(Collector):
    """Counting happens with plain numbers on the hot path; labels are made here."""

    def __init__(self) -> None:
        self._open: list[Cache[Any]] = []

    @contextmanager
    def observing(self, cache: Cache[Any]) -> Generator[None]:
        self._open.append(cache)
        try:
            yield
        finally:
            self._open.remove(cache)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        told = {cache.name: cache.statistics() for cache in self._open}
        reads = CounterMetricFamily("cache_reads", "Reads by outcome and tier.", labels=("cache", "outcome", "tier"))
        for name, statistics in told.items():
            for (outcome, tier), count in statistics.reads.items():
                reads.add_metric((name, outcome, tier), count)
        yield reads
        for field, text in COUNTERS.items():
            counter = CounterMetricFamily(f"cache_{field}", text, labels=("cache",))
            for name, statistics in told.items():
                counter.add_metric((name,), getattr(statistics, field))
            yield counter
        for field, text in GAUGES.items():
            gauge = GaugeMetricFamily(f"cache_{field}", text, labels=("cache",))
            for name, statistics in told.items():
                gauge.add_metric((name,), getattr(statistics, field))
            yield gauge


# Prometheus' own registry is one a process, so its collector is too.
COLLECTOR = CacheCollector()
REGISTRY.register(COLLECTOR)
observed = COLLECTOR.observing
