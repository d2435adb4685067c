"""How does each feed stand? Figures for Prometheus, from the one scheduler that holds the lease: all say the same."""

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
    """Set every so often; a scheduler without the lease shows none, so that no old figure stands beside a new one."""

    def __init__(
        self,
        listings: ListingReports,
        ledgers: Ledgers,
        lease: Lease,
        feeds: Mapping[str, Feed],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._ledgers = ledgers
        self._lease = lease
        self._feeds = feeds
        self._clock = clock

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"listing_images_{name}", words, ["feed", *labels], registry=registry)

        self._photos = gauge("photos", "Photos by status", "status")
        self._queued = gauge("queued", "Photos that want an attempt", "priority")
        self._oldest = gauge("oldest_due_seconds", "How long the longest due photo has waited")
        self._used = gauge("budget_used_ratio", "Of each limit of feeds.toml, used in its window", "window")
        self._stopped = gauge("requests_stopped", "1 while the origin or an operator keeps requests back")
        self._open = gauge("breaker_open", "1 while the origin is unwell and only probed")

    async def look(self) -> None:
        """Set all of them. Raises StoreUnavailable."""
        if not await self._lease.is_held():
            for gauge in (self._photos, self._queued, self._oldest, self._used, self._stopped, self._open):
                gauge.clear()
            return
        for feed in self._feeds.values():
            now = self._clock()
            self._count(feed.name, await self._listings.counts(feed.name, now), now)
            self._spend(feed.name, await read_use(self._ledgers, feed))

    def _count(self, feed: str, counts: FeedCounts, now: datetime) -> None:
        for status, photos in counts.images.items():
            self._photos.labels(feed, status).set(photos)
        self._queued.remove_by_labels({"feed": feed})
        for priority, photos in counts.queued.items():
            self._queued.labels(feed, priority).set(photos)
        waited = (now - counts.oldest_due_at).total_seconds() if counts.oldest_due_at else 0.0
        self._oldest.labels(feed).set(max(0.0, waited))

    def _spend(self, feed: str, use: BudgetUse) -> None:
        for window in use.windows:
            self._used.labels(feed, window.name).set(window.used / window.limit)
        suspended_by = {suspension.by for suspension in use.suspensions}
        self._stopped.labels(feed).set(bool(suspended_by & {SuspendedBy.OPERATOR, SuspendedBy.ORIGIN}))
        self._open.labels(feed).set(SuspendedBy.BREAKER in suspended_by)
