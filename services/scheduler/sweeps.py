"""The freshness sweep: once a day, and when an operator asks, the MLS is compared with what is recorded.

Between two sweeps what changed at the MLS is followed. Whatever is news is published as `listing-seen`, and only then
the checkpoint is written: a scheduler may die anywhere, and the next one says some things twice. A feed without an MLS
to ask has its copies asked for again where they come from.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from services.scheduler import decide, schedule
from services.scheduler.feed_reader import FeedReader, in_groups
from services.scheduler.news import Metrics, News
from services.scheduler.odata import Kind, MlsUnavailable, Record
from shared import log
from shared.clock import Clock
from shared.domain.burst import is_burst
from shared.domain.feed import Feed
from shared.domain.listing import RemovalReason
from shared.lease import Lease
from shared.publisher import Publisher
from shared.stores.release_queue import ReleaseQueue
from shared.stores.removal_holds import Decision, RemovalHold, RemovalHolds
from shared.stores.sweeps import Found, Sweep, SweepRequest, Sweeps

_logger = log.get(__name__)

SETTLE = timedelta(seconds=30)
"""After a start, before a sweep that was missed: what waits on the topics is recorded first, and is no news then."""
FOLLOW_EVERY = timedelta(minutes=5)
OVERLAP = timedelta(minutes=20)
"""Read again each time: MLSs stamp records before they show them, and their clock is not ours."""
_LONGEST_GAP = timedelta(seconds=10)
"""Between two groups, however many hours there are: what is found late is shown, or hidden, late."""
_KEYS_AT_ONCE, _LISTINGS_AT_ONCE = 5_000, 50
_GONE = RemovalReason.LISTING_INACTIVE
"""As what listings are recorded that their MLS no longer has."""
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)


class Superseded(Exception):
    """Another process runs the sweeps now."""


@dataclass(frozen=True, slots=True)
class Run:
    """A sweep that is owed: by the clock since `start`, or by an operator's wish, and then without delay."""

    start: datetime
    wish: SweepRequest | None = None

    @property
    def is_dry(self) -> bool:
        """Whether it says what it would do, and does nothing."""
        return self.wish is not None and self.wish.dry_run


@dataclass(slots=True)
class Plan:
    """What is left of a sweep: groups of keys to ask for, and whether those are missing on the market."""

    run: Run
    next_at: datetime
    witness: str = ""
    """A listing that the MLS has: an answer without it says nothing of the others that it lacks."""
    displayed: int = 0
    """How many listings were displayed when it began."""
    groups: deque[tuple[Sequence[str], bool]] = field(default_factory=deque)
    gap: timedelta = timedelta(0)
    found: Found = field(default_factory=Found)
    is_discarded: bool = False
    """Whether an operator called what it found missing the feed's fault."""


class Sweeper:
    """The sweeps of one feed, a step a round, by the one scheduler that holds the lease. `reader` asks its MLS."""

    def __init__(
        self,
        feed: Feed,
        reader: FeedReader | None,
        listings: ReleaseQueue,
        sweeps: Sweeps,
        removal_holds: RemovalHolds,
        lease: Lease,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._feed = feed
        self._reader = reader
        self._listings = listings
        self._sweeps = sweeps
        self._freezes = removal_holds
        self._lease = lease
        self._news = News(feed, listings, publisher, metrics)
        self._clock = clock
        self._metrics = metrics
        self._settled_at = clock() + SETTLE
        self._plan: Plan | None = None

    async def round(self) -> None:
        """Do what is next, if anything. Raises StoreUnavailable, BrokerUnavailable."""
        try:
            await self._check_lease()
            sweep = await self._sweeps.get(self._feed.name)
            # A feed that was never swept has had a day and more since the start before it is missed.
            succeeded_at = sweep.finished_at or self._settled_at
            self._metrics.succeeded_at.labels(self._feed.name).set(succeeded_at.timestamp())
            await self._step(sweep, self._clock())
        except Superseded:
            self._plan = None
            self._metrics.succeeded_at.remove_by_labels({"feed": self._feed.name})

    async def _step(self, sweep: Sweep, now: datetime) -> None:
        if sweep.try_again_at and now < sweep.try_again_at and not sweep.open_wish:
            return
        run = self._owed(sweep, now)
        try:
            if self._reader is None:
                if run:
                    await self._recheck(sweep, run, now)
            elif run:
                sweep = await self._sweep(self._reader, sweep, run, now)
            if self._reader and sweep.reached and (not sweep.followed_at or now - sweep.followed_at >= FOLLOW_EVERY):
                await self._follow(self._reader, sweep, now)
        except MlsUnavailable as fault:
            await self._failed(run, fault, now)

    def _owed(self, sweep: Sweep, now: datetime) -> Run | None:
        if sweep.open_wish:
            return Run(now, sweep.open_wish)
        if now < max(self._settled_at, sweep.compare_again_at or now):
            return None
        start = schedule.owed(self._feed, sweep.swept, now)
        return Run(start) if start else None

    # The MLS's whole market

    async def _sweep(self, reader: FeedReader, sweep: Sweep, run: Run, now: datetime) -> Sweep:
        """Compare if that is still to be done, then ask for the next group if its time has come."""
        plan = self._plan
        if plan is None or plan.run.wish != run.wish:
            self._plan = None
            sweep, plan = await self._compared(reader, sweep, run, now)
            self._plan = plan
        while plan.groups and now >= plan.next_at:
            await self._ask(reader, plan)
            plan.next_at = now + plan.gap
            sweep = await self._save(replace(sweep, found=plan.found))
        if not plan.groups:
            self._plan = None
            sweep = await self._finished(sweep, run, plan.found)
        return sweep

    async def _compared(self, reader: FeedReader, sweep: Sweep, run: Run, now: datetime) -> tuple[Sweep, Plan]:
        """Read which listings are on the market, and plan to ask for those that are news and those that are missing."""
        _logger.info("sweep-started", feed=self._feed.name, start=run.start.isoformat(), wanted=run.wish is not None)
        sweep = await self._save(replace(sweep, found=Found()))
        if not sweep.reached and not run.is_dry:
            sweep = replace(sweep, reached=dict.fromkeys(await reader.clocks(), now))
        news, present = list[str](), set[str]()
        async for rows in reader.on_the_market():
            said = [one for one in self._news.understood(rows) if one.hidden_by is None]
            present |= {one.listing_key for one in said}
            news += await self._news.among(said)
            sweep = await self._save(replace(sweep, found=Found(compared=len(present))))
        missing, displayed = await self._missing(present)
        if displayed and not present:
            raise MlsUnavailable(
                Kind.INCOMPLETE,
                f"the MLS lists no listing as displayed, and {displayed:,} are; an empty list says nothing",
            )
        plan = self._planned(run, news, missing, next(iter(present), ""), displayed)
        to_ask = len(news) + len(missing)
        plan.found = Found(compared=len(present), asked_for=to_ask, missing=len(missing), left=to_ask)
        return sweep, plan

    def _planned(self, run: Run, news: Sequence[str], missing: Sequence[str], witness: str, displayed: int) -> Plan:
        """The missing first, as they may have to be hidden; each in the order of their moments in the sweep's hours."""
        moment = partial(schedule.slot, self._feed, start=run.start)
        groups = [(keys, True) for keys in in_groups(sorted(missing, key=moment))]
        groups += [(keys, False) for keys in in_groups(sorted(news, key=moment))]
        spread = timedelta(hours=self._feed.sweep_hours) / len(groups) if groups and not run.wish else timedelta(0)
        return Plan(run, run.start, witness, displayed, deque(groups), min(spread, _LONGEST_GAP))

    async def _missing(self, present: Collection[str]) -> tuple[list[str], int]:
        """Return which displayed listings the market lacks, and how many are displayed."""
        missing, displayed, last = list[str](), 0, ""
        while keys := await self._listings.displayed_keys(self._feed.name, last, _KEYS_AT_ONCE):
            missing += [key for key in keys if key not in present]
            displayed, last = displayed + len(keys), keys[-1]
        return missing, displayed

    async def _ask(self, reader: FeedReader, plan: Plan) -> None:
        """Ask the MLS for the next group and publish what it says, and that those are gone which it does not know."""
        keys, are_missing = plan.groups[0]
        found, gone = plan.found, list[Record]()
        if not plan.run.is_dry:
            told = await reader.records([*keys, plan.witness] if are_missing and plan.witness else keys)
            if are_missing and plan.witness in told:
                gone = [decide.gone(key) for key in keys if key not in told]
            records = [record for key, record in told.items() if key in keys]
            are_told = are_missing and any(one.hidden_by for one in self._news.understood(records))
            await self._check_lease()
            if (gone or are_told) and not await self._are_let_go(plan, are_told):
                gone = []
            await self._news.publish(records, "missing" if are_missing else "news")
            await self._news.publish(gone, "gone")
            found = replace(found, published=found.published + len(records) + len(gone), gone=found.gone + len(gone))
        plan.found = replace(found, left=found.left - len(keys))
        plan.groups.popleft()

    async def _are_let_go(self, plan: Plan, are_told: bool) -> bool:
        """Whether what is gone may be published; where the missing are a burst, their copies are held first.

        The janitor counts what turns hidden within an hour; a sweep's hours would hide any loss from it. What an
        operator called the feed's fault since the sweep began goes on no further, but for what the MLS itself tells
        to be off the market: that is hidden, and as no operator has seen it, held for another decision.
        """
        removal_holds = {one.reason: one for one in await self._freezes.all() if one.feed == self._feed.name}
        last, missing = removal_holds.get(_GONE), plan.found.missing
        if last and last.decided_at and last.decided_at >= plan.run.start:
            plan.is_discarded = last.decision is Decision.DISCARD
            if not (plan.is_discarded and are_told):
                return not plan.is_discarded
        if is_burst(missing, plan.displayed - missing, self._feed):
            freeze = RemovalHold(
                feed=self._feed.name, reason=_GONE, at=self._clock(), since=plan.run.start, hidden=missing,
                displayed=plan.displayed - missing, by_sweep=True,
            )  # fmt: skip
            if await self._freezes.begin(freeze):
                _logger.error("removals-held", feed=self._feed.name, reason=str(freeze))
        return not plan.is_discarded

    # What changed

    async def _follow(self, reader: FeedReader, sweep: Sweep, now: datetime) -> None:
        """Publish what changed since last time, by each of the MLS's timestamps."""
        for clock in await reader.clocks():
            since = sweep.reached.get(clock, now)
            async for changes in reader.changes(clock, since - OVERLAP):
                said = {one.listing_key: one for one in self._news.understood(changes.records)}
                news = {*await self._news.among(list(said.values()))}
                await self._check_lease()
                await self._news.publish([one for one in changes.records if one.get("ListingKey") in news], "changed")
                # Never past our own time: a record of the year 2099 would end all following.
                reached = {**sweep.reached, clock: max(since, min(changes.reached, now))}
                sweep = await self._save(replace(sweep, reached=reached))
        error = sweep.error if sweep.compare_again_at else ""
        await self._save(replace(sweep, followed_at=now, failures=0, error=error, try_again_at=None))

    # Copies of a feed without an MLS to ask

    async def _recheck(self, sweep: Sweep, run: Run, now: datetime) -> None:
        """Make the copies due that were not asked for in `recheck_days`, spread over the sweep's hours."""
        before, found = now - timedelta(days=self._feed.recheck_days), Found()
        if run.is_dry:
            found = Found(compared=await self._listings.recheck_count(self._feed.name, before))
        feed = replace(self._feed, sweep_hours=0.0) if run.wish else self._feed
        while feed.recheck_days and not run.is_dry:
            await self._check_lease()
            page = await self._listings.recheck_due(feed.name, before, _LISTINGS_AT_ONCE)
            if not page:
                break
            due = [decide.recheck(listing, feed, before, run.start, now) for listing in page]
            refused = await self._listings.write(one.listing for one in due)
            written = [one for one in due if (one.listing.feed, one.listing.key) not in refused]
            photos = sum(one.photos for one in written)
            found = replace(found, compared=found.compared + len(written), published=found.published + photos)
            self._metrics.rechecked.labels(feed.name).inc(photos)
            sweep = await self._save(replace(sweep, found=found))
        await self._finished(sweep, run, found)

    # How it ends

    async def _finished(self, sweep: Sweep, run: Run, found: Found) -> Sweep:
        now = self._clock()
        sweep = replace(sweep, found=found, error="", failures=0, try_again_at=None, compare_again_at=None)
        if run.wish:
            sweep = replace(sweep, answered=run.wish.at)
        if not run.is_dry:
            sweep = replace(sweep, swept=schedule.last_start(self._feed, run.start), finished_at=now)
        sweep = await self._save(sweep)
        self._metrics.sweeps.labels(self._feed.name, "done").inc()
        _logger.info(
            "sweep-done", feed=self._feed.name, dry_run=run.is_dry, compared=found.compared, missing=found.missing,
            published=found.published, gone=found.gone,
        )  # fmt: skip
        return sweep

    async def _failed(self, run: Run | None, fault: MlsUnavailable, now: datetime) -> None:
        """Say what went wrong and when it is tried again; an operator who waits is told, and may ask again."""
        sweep = await self._sweeps.get(self._feed.name)
        is_incomplete = fault.kind is Kind.INCOMPLETE
        wait = _LONGEST_WAIT if is_incomplete else min(_FIRST_WAIT * 2 ** min(sweep.failures, 10), _LONGEST_WAIT)
        wait = max(wait, timedelta(seconds=fault.wait_seconds or 0))
        sweep = replace(sweep, error=str(fault), failures=sweep.failures + 1)
        again_at = now + wait
        sweep = replace(sweep, compare_again_at=again_at) if is_incomplete else replace(sweep, try_again_at=again_at)
        if run and run.wish:
            self._plan = None
            sweep = replace(sweep, answered=run.wish.at)
        await self._save(sweep)
        self._metrics.errors.labels(self._feed.name, fault.kind).inc()
        if run:
            self._metrics.sweeps.labels(self._feed.name, "failed").inc()
        _logger.error(
            "sweep-failed", feed=self._feed.name, error=str(fault), failures=sweep.failures,
            seconds=round(wait.total_seconds()),
        )  # fmt: skip

    async def _save(self, sweep: Sweep) -> Sweep:
        await self._check_lease()
        if not await self._sweeps.write(sweep):
            raise Superseded
        return replace(sweep, revision=sweep.revision + 1)

    async def _check_lease(self) -> None:
        if not await self._lease.is_held():
            raise Superseded
