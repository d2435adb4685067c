"""Metrics of each feed's photos, queue and origin budget, read from the stores."""

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from shared.clock import Clock
from shared.domain.feed import Feed
from shared.lease import Lease
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse, SuspendedBy
from shared.stores.ledgers import Ledgers
from shared.stores.listing_reports import FeedCounts, ListingReports


class Gauges:
    """Sets the Prometheus gauges of all feeds' photos, queues and origin budgets.

    Only the scheduler that holds the lease `lease` sets the gauges; other schedulers show no values.
    """

    def __init__(
        self,
        listings: ListingReports,
        ledgers: Ledgers,
        lease: Lease,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        """Register the gauges with `registry`; they have no values before the first `update`."""
        self._listings = listings
        self._ledgers = ledgers
        self._lease = lease
        self._feeds = feeds
        self._clock = clock

        self._gauges: list[Gauge] = []

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            registered = Gauge(f"listing_images_{name}", meaning, ["feed", *labels], registry=registry)
            self._gauges.append(registered)
            return registered

        self._photos = gauge("photos", "Photos by status", "status")
        self._queued = gauge("queued", "Photos that want an attempt", "priority")
        self._oldest_due = gauge("oldest_due_seconds", "How long the longest due photo has waited")
        self._quarantined = gauge("quarantined", "Listings that cannot be read or written, and wait an hour")
        self._budget_used = gauge("budget_used_ratio", "Share of each limit used in its window", "window")
        self._requests_stopped = gauge("requests_stopped", "1 while the origin or an operator keeps requests back")
        self._breaker_open = gauge("breaker_open", "1 while the origin is unwell and only probed")

    async def update(self) -> None:
        """Read the stores and set all gauges of every feed; clear them if this scheduler does not hold the lease.

        Raises StoreUnavailable; the gauges that are not set before the error keep their last values.
        """
        if not await self._lease.is_held():
            for gauge in self._gauges:
                gauge.clear()
            return
        for feed in self._feeds.values():
            now = self._clock()
            self._set_counts(feed.name, await self._listings.counts(feed.name, now), now)
            self._quarantined.labels(feed.name).set(await self._listings.quarantined_count(feed.name))
            self._set_budget(feed.name, await read_use(self._ledgers, feed))

    def _set_counts(self, feed: str, counts: FeedCounts, now: datetime) -> None:
        for status, photos in counts.images.items():
            self._photos.labels(feed, status).set(photos)
        self._queued.remove_by_labels({"feed": feed})
        for priority, photos in counts.queued.items():
            self._queued.labels(feed, priority).set(photos)
        waited = (now - counts.oldest_due_at).total_seconds() if counts.oldest_due_at else 0.0
        self._oldest_due.labels(feed).set(max(0.0, waited))

    def _set_budget(self, feed: str, use: BudgetUse) -> None:
        for window in use.windows:
            self._budget_used.labels(feed, window.name).set(window.used / window.limit)
        suspended_by = {suspension.by for suspension in use.suspensions}
        self._requests_stopped.labels(feed).set(bool(suspended_by & {SuspendedBy.OPERATOR, SuspendedBy.ORIGIN}))
        self._breaker_open.labels(feed).set(SuspendedBy.BREAKER in suspended_by)
