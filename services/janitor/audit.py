"""The daily audit: one page of records or objects a step, at a low rate. A janitor can continue another's audit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Gauge

from shared import log
from shared.audit import AuditCursor, AuditScope, Step, Walk
from shared.clock import Clock
from shared.domain.audit import Drift
from shared.lease import Lease
from shared.stores.audits import Audit, Audits
from shared.stores.listings import ListingRecords
from shared.stores.objects import Bucket, Objects

_EVERY = timedelta(days=1)
_READ_SHARE = 0.01
"""The share of originals that are read each day: nearly all within some months, at a low cost of requests."""

_logger = log.get(__name__)


class DailyAudit:
    """Runs an audit of all feeds every day, in the one janitor that holds the lease.

    Drift is logged and counted, never repaired.
    """

    def __init__(
        self,
        listings: ListingRecords,
        objects: Objects,
        audits: Audits,
        lease: Lease,
        feeds: Sequence[str],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._objects = objects
        self._audits = audits
        self._lease = lease
        self._feeds = feeds
        self._clock = clock
        self._drift = Gauge(
            "listing_images_audit_drift", "Objects that disagree with the records, last audit", ["kind"],
            registry=registry,
        )  # fmt: skip
        self._finished = Gauge(
            "listing_images_audit_finished_timestamp_seconds", "When the last audit ended", registry=registry
        )
        self._checked = Gauge(
            "listing_images_audit_checked", "Listings and objects that the newest audit has looked at", ["what"],
            registry=registry,
        )  # fmt: skip

    async def step(self) -> None:
        """Compare the next page of the running audit, log the differences (drift), and store the results.

        If no audit is running, start one if the last was started a day ago or earlier; otherwise only set the gauges.
        Another janitor can continue from the stored results. If this janitor does not hold the lease, only clear the
        gauges: the janitor that holds the lease shows them. Raises StoreUnavailable.
        """
        if not await self._lease.is_held():
            self._drift.clear()  # the janitor that holds the lease shows these metrics
            self._checked.clear()
            return
        now = self._clock()
        newest = await self._audits.newest(2)
        self._report(newest)
        if newest and newest[0].finished_at and now < newest[0].started_at + _EVERY:
            return
        under_way = newest[0] if newest and newest[0].finished_at is None else Audit(started_at=now, drift={})
        salt = f"{under_way.started_at:%Y-%m-%d}"
        scope = AuditScope(feeds=self._feeds, read_share=_READ_SHARE, salt=salt)
        walk = Walk(self._listings, self._objects, self._clock, scope)
        cursor = _cursor(under_way) or walk.start
        assert cursor is not None  # noqa: S101 - there are always two buckets
        step = await walk.step(cursor)
        await self._audits.save(_after(under_way, step, self._clock()))
        for finding in step.findings:
            _logger.warning("audit-drift", kind=finding.drift.value, key=finding.key, image_id=finding.image_id)

    def _report(self, newest: Sequence[Audit]) -> None:
        """Set the audit's gauges: progress from the newest audit, drift from the newest finished audit.

        `newest` are the last two audits, the newest first.
        """
        if newest:
            self._checked.labels("listings").set(newest[0].listings)
            self._checked.labels("objects").set(newest[0].objects)
        if last := next((audit for audit in newest if audit.finished_at), None):
            self._finished.set(last.finished_at.timestamp() if last.finished_at else 0)
            for kind in Drift:
                self._drift.labels(kind.value).set(last.drift.get(kind, 0))


def _cursor(audit: Audit) -> AuditCursor | None:
    """Return the place in the records or objects at which an unfinished audit continues; None before its first step."""
    if audit.feed is None and audit.bucket is None:
        return None
    return AuditCursor(audit.feed, Bucket(audit.bucket) if audit.bucket else None, audit.after)


def _after(audit: Audit, step: Step, now: datetime) -> Audit:
    """Return `audit` with the counts and the drift of `step` added, and with the place at which the audit continues.

    If `step` was the last, the result is finished at `now`. The caller stores the result.
    """
    drift = Counter(audit.drift)
    drift.update(finding.drift.value for finding in step.findings)
    return replace(
        audit,
        listings=audit.listings + step.listings,
        objects=audit.objects + step.objects,
        drift=dict(drift),
        feed=step.next.feed if step.next else None,
        bucket=step.next.bucket.value if step.next and step.next.bucket else None,
        after=step.next.after if step.next else "",
        finished_at=None if step.next else now,
    )
