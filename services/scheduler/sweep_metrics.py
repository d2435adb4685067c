"""The Prometheus metrics of the freshness sweeps of all feeds."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge


class SweepMetrics:
    """Holds the Prometheus metrics of all feeds' freshness sweeps.

    The metrics are registered with `registry`; docs/metrics.md explains each metric.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, by_feed = partial(Counter, registry=registry), ["feed"]
        self.sweeps = counter("listing_images_sweeps", "Sweeps that ended, by how", ["feed", "result"])
        self.read = counter("listing_images_sweep_read", "Listings read from the MLS", by_feed)
        self.published = counter("listing_images_sweep_published", "Listings published, by why", ["feed", "why"])
        self.rechecked = counter("listing_images_sweep_rechecked", "Copies made due to be asked for again", by_feed)
        self.unusable = counter("listing_images_sweep_unusable", "Records that cannot be understood or sent", by_feed)
        self.errors = counter("listing_images_sweep_errors", "Failures to read the MLS, by kind", ["feed", "kind"])
        self.succeeded_at = Gauge(
            "listing_images_sweep_success_timestamp_seconds",
            "End of the last whole sweep, or the start",
            by_feed,
            registry=registry,
        )
