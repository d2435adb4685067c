"""Sweeps an MLS's market: compares it with the recorded listings, then asks for differing listings in groups."""

from dataclasses import replace
from datetime import datetime

from services.scheduler import sweep_plan
from services.scheduler.change_filter import ChangeFilter
from services.scheduler.keyless_sweep import KeylessSweep
from services.scheduler.sweep_answers import SweepAnswers
from services.scheduler.sweep_plan import Comparison, KeyGroup, SweepPlan, SweepRun
from services.scheduler.sweep_record import SweepRecord
from shared import log
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsFailure, MlsUnavailable
from shared.stores.listings import ListingRecords
from shared.stores.removal_holds import RemovalHolds
from shared.stores.sweeps import SweepCounts, SweepState

_logger = log.get(__name__)
_BATCH_SIZE = 5_000


class MarketSweep:
    """Sweeps the market of one feed's MLS, a step at a time, and publishes listings that differ from the records.

    The plan of the sweep under way is kept in memory only; another scheduler begins the sweep anew.
    """

    def __init__(
        self,
        feed: Feed,
        reader: FeedReader,
        listings: ListingRecords,
        removal_holds: RemovalHolds,
        changes: ChangeFilter,
        record: SweepRecord,
        clock: Clock,
    ) -> None:
        self._feed = feed
        self._reader = reader
        self._listings = listings
        self._changes = changes
        self._record = record
        self._answers = SweepAnswers(feed, removal_holds, changes, record, clock)
        self._keyless = KeylessSweep(feed, reader, listings, self._answers, clock)
        self._plan: SweepPlan | None = None

    def forget(self) -> None:
        """Drop the plan of the sweep under way from memory, so that the next step compares the market anew.

        Called when another scheduler has taken over, and when a requested sweep has failed.
        """
        self._plan = None

    async def step(self, sweep: SweepState, run: SweepRun, now: datetime) -> tuple[SweepState, SweepCounts | None]:
        """Do what is due at `now` in the sweep `run`: compare the market with the records first, then ask for groups.

        The first step of a sweep reads the market from the MLS, and plans the groups of listings to ask for. Every step
        asks the MLS for each group that is due, and publishes the records. `sweep` is the sweep state as stored.
        Returns the last written sweep state, and the sweep's counts after its last step; None in place of counts while
        groups remain.

        Raises MlsUnavailable if the MLS gives no usable answer; if only some listings got none, it is raised at the end
        of the sweep. Raises Superseded if another scheduler has taken over, StoreUnavailable if the database does not
        answer, and BrokerUnavailable if Kafka does not answer.
        """
        if self._plan is None or self._plan.run.request != run.request:
            self._plan = None
            sweep, comparison = await self._compare(sweep, run, now)
            self._plan = sweep_plan.plan(self._feed, run, comparison)
        plan = self._plan
        while plan.groups and now >= plan.next_at:
            await self._ask_next_group(plan)
            plan.next_at = now + plan.gap
            sweep = await self._record.write(replace(sweep, counts=plan.counts))
        if plan.groups:
            return sweep, None
        self._plan = None
        if plan.unproved:
            raise MlsUnavailable(
                MlsFailure.INCOMPLETE,
                f"the MLS gave no usable answer for {plan.unproved:,} listings; they stay as they are",
            )
        return sweep, plan.counts

    async def _compare(self, sweep: SweepState, run: SweepRun, now: datetime) -> tuple[SweepState, Comparison]:
        """Read the market from the MLS, and compare it with the recorded listings; called at the beginning of a sweep.

        Returns the last written sweep state, and the comparison. In the first sweep of a feed, unless `run` is dry, the
        state also gets the times from which changes at the MLS are followed. Raises MlsUnavailable if the MLS does not
        answer, or if the market is empty although listings are displayed.
        """
        _logger.info(
            "sweep-started", feed=self._feed.name, start=run.start.isoformat(), wanted=run.request is not None
        )  # fmt: skip
        sweep = await self._record.write(replace(sweep, counts=SweepCounts()))
        if not sweep.published_until and not run.is_dry:
            sweep = replace(sweep, published_until=dict.fromkeys(await self._reader.timestamp_fields(), now))
        changed, on_market, changed_since = list[str](), set[str](), now
        async for rows in self._reader.market():
            displayed = [listing for listing in self._changes.read(rows) if listing.hidden_by is None]
            on_market |= {listing.listing_key for listing in displayed}
            changed += (keys := await self._changes.changed_keys(displayed))
            moments = {listing.listing_key: listing.version.modified_at for listing in displayed}
            changed_since = min([changed_since, *filter(None, map(moments.get, keys))])
            sweep = await self._record.write(replace(sweep, counts=SweepCounts(compared=len(on_market))))
        missing, recorded = await self._missing_from(on_market)
        if recorded and not on_market:
            raise MlsUnavailable(
                MlsFailure.INCOMPLETE,
                f"the MLS lists no listing as displayed, and {recorded:,} are; an empty list says nothing",
            )
        return sweep, Comparison(
            on_market=on_market, changed=changed, changed_since=changed_since, missing=missing, displayed=recorded
        )  # fmt: skip

    async def _missing_from(self, on_market: set[str]) -> tuple[list[str], int]:
        """Return the ListingKeys of the feed's displayed listings that are not in `on_market`, a set of ListingKeys.

        The second value of the result is how many listings of the feed are displayed, in `on_market` or not.
        """
        missing, displayed, last = list[str](), 0, ""
        while keys := await self._listings.displayed_keys(self._feed.name, last, _BATCH_SIZE):
            missing += [key for key in keys if key not in on_market]
            displayed, last = displayed + len(keys), keys[-1]
        return missing, displayed

    async def _ask_next_group(self, plan: SweepPlan) -> None:
        """Ask the MLS for the first group of `plan`, publish the answer, and remove the group from `plan`.

        The plan must have a group; its counts are updated. In a dry run, the group is removed, but nothing is asked or
        published. If the MLS filters by no ListingKey, all groups are asked for and removed at once.
        """
        group = plan.groups[0]
        if not plan.run.is_dry:
            try:
                await self._publish_answer(plan, group)
            except MlsUnavailable:
                if self._reader.filters_keys:
                    raise
                await self._keyless.publish_all(plan)
                return
        plan.counts = replace(plan.counts, remaining=plan.counts.remaining - len(group.keys))
        plan.groups.popleft()

    async def _publish_answer(self, plan: SweepPlan, group: KeyGroup) -> None:
        """Ask the MLS for the records of a group and publish them; publish missing listings without a record as gone.

        A missing listing is gone if the MLS has no record of it when asked for it alone, but has a record of a witness
        when asked for the witness alone. Listings that got no usable answer are counted in `plan.unproved`; nothing is
        published for them.
        """
        answer = await self._reader.records(group.keys)
        await self._answers.publish(plan, list(answer.records.values()), are_missing=group.are_missing)
        absent = [key for key in group.keys if key in answer.absent]
        is_proved = bool(absent) and group.are_missing and await self._has_witness(plan)
        if is_proved:
            await self._answers.publish_gone(plan, absent)
        proved = len(absent) if is_proved or not group.are_missing else 0
        plan.unproved += len(group.keys) - len(answer.records) - proved

    async def _has_witness(self, plan: SweepPlan) -> bool:
        """Return True if the MLS has a record of one of the plan's witnesses, asked for alone.

        If it has none, no listing is taken for gone. Witnesses that the MLS has no record of are removed from the plan.
        """
        while plan.witnesses:
            if (witness := plan.witnesses[0]) in (await self._reader.records([witness])).records:
                return True
            plan.witnesses.popleft()
        return False
