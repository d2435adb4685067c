"""Publishes the listings of an MLS that changed between two sweeps, by the MLS's own timestamps."""

from dataclasses import replace
from datetime import datetime, timedelta

from services.scheduler.change_filter import ChangeFilter
from services.scheduler.sweep_record import SweepRecord
from shared.reso.feed_reader import Changes, FeedReader
from shared.reso.queries import key_of
from shared.stores.sweeps import SweepState

FOLLOW_EVERY = timedelta(minutes=5)


class ChangeFollower:
    """Publishes the property records of one feed's MLS that changed between two sweeps.

    Progress is recorded in MongoDB through `record`, so that the next scheduler continues where this one ended.
    """

    def __init__(self, reader: FeedReader, changes: ChangeFilter, record: SweepRecord, overlap: timedelta) -> None:
        """`overlap` is how far the next reading of changes goes back before the end of the last one.

        A record may appear at the MLS later than its timestamp says, and the MLS's clock may differ from ours.
        """
        self._overlap = overlap
        self._reader = reader
        self._changes = changes
        self._record = record

    def is_due(self, sweep: SweepState, now: datetime) -> bool:
        """Return True if `follow` is to be called at `now`: every FOLLOW_EVERY, once a first sweep has begun.

        FOLLOW_EVERY counts from the last call of `follow` that ended without an error. Without such a call, `follow` is
        to be called as soon as a first sweep has begun. `sweep` is the feed's sweep state as stored.
        """
        return bool(sweep.published_until) and (not sweep.followed_at or now - sweep.followed_at >= FOLLOW_EVERY)

    async def follow(self, sweep: SweepState, now: datetime) -> None:
        """Publish as `listing-seen` the property records of the feed that changed at the MLS since the last call.

        Only records that differ from the recorded listings are published. `sweep` is the feed's sweep state as stored.
        After each page from the MLS, the time up to which all changes are published is written to the stored state; at
        the end, `now` is written as the time of this call. After an error, a later call continues after the last page
        that was published.

        Raises MlsUnavailable if the MLS gives no usable answer, Superseded if another scheduler has taken over,
        StoreUnavailable if the database does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        for field in await self._reader.timestamp_fields():
            since = sweep.published_until.get(field, now)
            async for page in self._reader.changes(field, since - self._overlap):
                await self._publish(page)
                # Never later than now: after a record of the year 2099, no change would be read any more.
                reached = {**sweep.published_until, field: max(since, min(page.reached, now))}
                sweep = await self._record.write(replace(sweep, published_until=reached))
        error = sweep.error if sweep.compare_again_at else ""
        await self._record.write(replace(sweep, followed_at=now, failures=0, error=error, try_again_at=None))

    async def _publish(self, page: Changes) -> None:
        announcements = {listing.listing_key: listing for listing in self._changes.read(page.records)}
        changed = {*await self._changes.changed_keys(list(announcements.values()))}
        await self._record.check_lease()
        await self._changes.publish([each for each in page.records if key_of(each) in changed], "changed")
