"""Hits, misses and memory of the resolver's caches, as metrics of Prometheus."""

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(slots=True)
class CacheCounts:
    """Holds the hits, misses and bytes of one cache, counted by that cache.

    They are plain integers, because Prometheus' counters would slow down answers.
    """

    kind: str
    """The value of the metrics' label `kind`."""
    hits: int = 0
    misses: int = 0
    bytes: int = 0


class CacheMetrics(Collector):
    """Exports the counts of all caches of this process to Prometheus through `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: list[CacheCounts] = []
        registry.register(self)

    def counts(self, kind: str) -> CacheCounts:
        """Return a new object in which one cache counts; Prometheus gets its numbers with the label `kind`.

        `kind` names the cache, such as `page` for answers about listings.
        """
        counts = CacheCounts(kind)
        self._counts.append(counts)
        return counts

    def collect(self) -> Iterable[Metric]:
        """Return the present hits, misses and bytes of all caches; called by Prometheus' registry.

        There is one metric for hits, one for misses and one for bytes, each with a number for each cache.
        """
        hits = CounterMetricFamily("listing_images_cache_hits", "Answered from memory", labels=["kind"])
        misses = CounterMetricFamily("listing_images_cache_misses", "Had to be read or awaited", labels=["kind"])
        size = GaugeMetricFamily("listing_images_cache_bytes", "Memory that kept answers take", labels=["kind"])
        for counts in self._counts:
            hits.add_metric([counts.kind], counts.hits)
            misses.add_metric([counts.kind], counts.misses)
            size.add_metric([counts.kind], counts.bytes)
        return hits, misses, size
