"""Publishes what an MLS answered for the listings of a sweep, and begins a hold if the missing listings are a burst."""

from collections.abc import Sequence
from dataclasses import replace

from services.scheduler import decide
from services.scheduler.change_filter import ChangeFilter
from services.scheduler.sweep_plan import SweepPlan
from services.scheduler.sweep_record import SweepRecord
from shared import log
from shared.clock import Clock
from shared.domain.burst import is_burst
from shared.domain.feed import Feed
from shared.domain.listing import RemovalReason
from shared.reso.odata import PropertyRecord
from shared.stores.removal_holds import Decision, RemovalHold, RemovalHolds

_logger = log.get(__name__)
_REMOVAL_REASON = RemovalReason.LISTING_INACTIVE
"""Why the copies of a listing that its MLS no longer has are removed."""


class SweepAnswers:
    """Publishes the answers that one feed's sweep gets from the MLS, and counts them in the sweep's plan."""

    def __init__(
        self, feed: Feed, removal_holds: RemovalHolds, changes: ChangeFilter, record: SweepRecord, clock: Clock
    ) -> None:
        self._feed = feed
        self._removal_holds = removal_holds
        self._changes = changes
        self._record = record
        self._clock = clock

    async def publish(self, plan: SweepPlan, records: Sequence[PropertyRecord], *, are_missing: bool) -> None:
        """Publish property records of listings of the plan, and count them in the plan.

        `are_missing` is True if the listings are displayed, but not on the market. If their records hide some of them,
        and the missing listings are a burst, a hold begins first. Raises Superseded if another scheduler has taken
        over, StoreUnavailable if the database does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        hides = are_missing and any(listing.hidden_by for listing in self._changes.read(records))
        await self._record.check_lease()
        if hides:
            await self._may_hide_gone(plan, has_hidden_records=True)
        await self._changes.publish(records, "missing" if are_missing else "news")
        plan.counts = replace(plan.counts, published=plan.counts.published + len(records))

    async def publish_gone(self, plan: SweepPlan, keys: Sequence[str]) -> None:
        """Publish listings of the plan, given by their ListingKeys, as gone, and count them in the plan.

        If the missing listings are a burst, a hold begins first. After an operator has discarded the burst, nothing is
        published. Raises Superseded if another scheduler has taken over, StoreUnavailable if the database does not
        answer, and BrokerUnavailable if Kafka does not answer.
        """
        await self._record.check_lease()
        if keys and await self._may_hide_gone(plan, has_hidden_records=False):
            await self._changes.publish([decide.gone_record(key) for key in keys], "gone")
            counts = plan.counts
            plan.counts = replace(counts, published=counts.published + len(keys), gone=counts.gone + len(keys))

    async def _may_hide_gone(self, plan: SweepPlan, *, has_hidden_records: bool) -> bool:
        """Return True if the caller may publish listings without a record at the MLS as gone, which hides them.

        Called before listings are hidden. The result is False if an operator has discarded the burst of this sweep as
        the feed's fault.

        If the missing listings are a burst and no operator has decided since the sweep's start, a hold begins, so that
        their copies are kept. The janitor alone would not notice the burst: it looks for bursts within an hour, and a
        sweep takes hours. `has_hidden_records` is True if the MLS returned records of missing listings that are off the
        market. The caller publishes these records even after a discard. Another hold begins for them then, since no
        operator has decided about them.
        """
        holds = {hold.reason: hold for hold in await self._removal_holds.all() if hold.feed == self._feed.name}
        last, missing = holds.get(_REMOVAL_REASON), plan.counts.missing
        if last and last.decided_at and last.decided_at >= plan.run.start:
            plan.is_discarded = last.decision is Decision.DISCARD
            if not (plan.is_discarded and has_hidden_records):
                return not plan.is_discarded
        if is_burst(missing, plan.displayed - missing, self._feed):
            hold = RemovalHold(
                feed=self._feed.name, reason=_REMOVAL_REASON, at=self._clock(), since=plan.run.start, hidden=missing,
                displayed=plan.displayed - missing, by_sweep=True,
            )  # fmt: skip
            if await self._removal_holds.begin(hold):
                _logger.error("removals-held", feed=self._feed.name, reason=str(hold))
        return not plan.is_discarded
