"""Asks for the listings of a sweep by their timestamps, at an MLS that filters by no ListingKey (MLS Grid)."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from services.scheduler.sweep_answers import SweepAnswers
from services.scheduler.sweep_plan import SweepPlan
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.reso.feed_reader import MODIFIED, FeedReader
from shared.reso.queries import key_of
from shared.stores.listings import ListingRecords

_DELETIONS_TOLD = timedelta(days=8)
"""MLS Grid tells of a deletion (MlgCanView false) for seven days. Earlier ones are found by the absence of a record."""


class KeylessSweep:
    """Asks one feed's MLS for all listings of a sweep's plan at once, and publishes the answers page by page."""

    def __init__(
        self, feed: Feed, reader: FeedReader, listings: ListingRecords, answers: SweepAnswers, clock: Clock
    ) -> None:
        self._feed = feed
        self._reader = reader
        self._listings = listings
        self._answers = answers
        self._clock = clock

    async def publish_all(self, plan: SweepPlan) -> None:
        """Ask the MLS for all listings of the plan's groups, publish the answers, and remove the groups from the plan.

        All records that were modified since the earliest change are read. For each missing listing that is not among
        them, the MLS is asked for the records of the second in which the recorded version was modified. If the listing
        is not among these records either, it is published as gone, provided that the MLS still has a witness in the
        witness's own second.

        Raises MlsUnavailable if the MLS gives no usable answer, Superseded if another scheduler has taken over,
        StoreUnavailable if the database does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        missing = {key for group in plan.groups if group.are_missing for key in group.keys}
        changed = {key for group in plan.groups for key in group.keys} - missing
        times = await self._modified_at([*missing, *plan.witnesses])
        found = await self._publish_changes(
            plan, missing, changed, min(self._since(times, missing), plan.changed_since)
        )
        lacking = {key: times[key] for key in missing - found if key in times}
        answer = await self._reader.records_at(lacking)
        await self._answers.publish(plan, list(answer.records.values()), are_missing=True)
        is_proved = bool(answer.absent) and await self._has_witness(plan, times)
        if is_proved:
            await self._answers.publish_gone(plan, sorted(answer.absent))
        plan.unproved += len(missing - found) - len(answer.records) - (len(answer.absent) if is_proved else 0)
        plan.groups.clear()
        plan.counts = replace(plan.counts, remaining=0)

    async def _modified_at(self, keys: Collection[str]) -> Mapping[str, datetime]:
        """Return the recorded ModificationTimestamps of listings by ListingKey; a listing without one is left out."""
        states = await self._listings.recorded_states([(self._feed.name, key) for key in keys])
        return {key: state.version.modified_at for (_, key), state in states.items() if state.version.modified_at}

    def _since(self, times: Mapping[str, datetime], missing: Collection[str]) -> datetime:
        """Return the ModificationTimestamp from which on the MLS's records are read, to find the missing listings.

        `times` has the recorded ModificationTimestamps by ListingKey, `missing` the ListingKeys. The result is the
        earliest recorded time of a missing listing, but no more than eight days ago, because the MLS tells of a
        deletion for seven days only.
        """
        now = self._clock()
        return max(min((times[key] for key in missing if key in times), default=now), now - _DELETIONS_TOLD)

    async def _publish_changes(
        self, plan: SweepPlan, missing: Collection[str], changed: Collection[str], since: datetime
    ) -> set[str]:
        """Publish the records of the plan's listings that were modified at `since` or later; return their ListingKeys.

        `missing` and `changed` are the ListingKeys of the plan's missing and changed listings.
        """
        found = set[str]()
        async for page in self._reader.changes(MODIFIED, since):
            for keys, are_missing in ((missing, True), (changed, False)):
                records = [record for record in page.records if key_of(record) in keys]
                await self._answers.publish(plan, records, are_missing=are_missing)
                found |= {key_of(record) for record in records}
        return found

    async def _has_witness(self, plan: SweepPlan, times: Mapping[str, datetime]) -> bool:
        """Return True if the MLS has a record of a witness of the plan, in the second of the witness's time in `times`.

        `times` has the recorded ModificationTimestamps by ListingKey. If there is no such record, no listing is taken
        for gone.
        """
        witnesses = {key: times[key] for key in plan.witnesses if key in times}
        return bool((await self._reader.records_at(witnesses)).records)
