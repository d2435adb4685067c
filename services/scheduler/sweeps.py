"""Runs the freshness sweeps: compares an MLS with the recorded listings, once a day and when an operator requests it.

Between two sweeps, the listings that change at the MLS are read every few minutes. Each change is published as
`listing-seen` before the progress is recorded. So no change is lost if a scheduler dies; the next scheduler publishes
some changes again. For a feed without an API, copies are rechecked instead.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.scheduler import schedule
from services.scheduler.change_filter import ChangeFilter
from services.scheduler.change_follower import ChangeFollower
from services.scheduler.copy_recheck import CopyRecheck
from services.scheduler.market_sweep import MarketSweep
from services.scheduler.pushed_changes import PushedChanges
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweep_plan import SweepRun
from services.scheduler.sweep_record import Superseded, SweepRecord
from shared import log
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.reso_profiles import DELETIONS_TOLD_FOR
from shared.lease import Lease
from shared.publisher import Publisher
from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsFailure, MlsUnavailable
from shared.stores.pushed_keys import PushedKeys
from shared.stores.release_queue import ReleaseQueue
from shared.stores.removal_holds import RemovalHolds
from shared.stores.sweeps import SweepCounts, Sweeps, SweepState

_logger = log.get(__name__)

START_DELAY = timedelta(seconds=30)
"""How long after its start a scheduler begins no daily sweep. Records that wait on the topics are recorded first, so
that the sweep does not find them changed."""
_FIRST_WAIT, _MAX_WAIT = timedelta(seconds=30), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SweepStores:
    """Holds the stores that the freshness sweeps of all feeds read and write."""

    listings: ReleaseQueue
    sweeps: Sweeps
    removal_holds: RemovalHolds
    pushed_keys: PushedKeys


class Sweeper:
    """Runs the freshness sweeps of one feed, a step in each round, while this scheduler holds the lease.

    `reader` reads the feed's MLS; it is None for a feed without an API, whose copies are rechecked instead.
    """

    def __init__(
        self,
        feed: Feed,
        reader: FeedReader | None,
        stores: SweepStores,
        lease: Lease,
        publisher: Publisher,
        clock: Clock,
        metrics: SweepMetrics,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._metrics = metrics
        self._may_start_at = clock() + START_DELAY
        self._record = SweepRecord(feed.name, stores.sweeps, lease)
        self._recheck = CopyRecheck(feed, stores.listings, self._record, metrics)
        self._market: MarketSweep | None = None
        self._follower: ChangeFollower | None = None
        self._pushed: PushedChanges | None = None
        if reader:
            changes = ChangeFilter(feed, stores.listings, publisher, metrics, clock)
            self._market = MarketSweep(
                feed, reader, stores.listings, stores.removal_holds, changes, self._record, clock
            )  # fmt: skip
            self._follower = ChangeFollower(reader, changes, self._record, feed.reso.overlap)
            self._pushed = PushedChanges(
                feed, reader, stores.listings, stores.pushed_keys, changes, self._record
            )  # fmt: skip

    async def round(self) -> None:
        """Publish what the MLS has pushed, do the next step of a due sweep, and follow changes if that is due.

        If another scheduler holds the lease, drop the sweep's plan and clear the feed's metric of the last success
        instead. A failure of the MLS is recorded and logged, not raised. Raises StoreUnavailable if the database does
        not answer, and BrokerUnavailable if Kafka does not answer.
        """
        try:
            await self._record.check_lease()
            sweep = await self._record.read()
            # A feed that was never swept counts as swept at the start: the alert then waits for more than a day.
            succeeded_at = sweep.finished_at or self._may_start_at
            self._metrics.succeeded_at.labels(self._feed.name).set(succeeded_at.timestamp())
            await self._step(sweep, self._clock())
        except Superseded:
            self._forget_plan()
            self._metrics.succeeded_at.remove_by_labels({"feed": self._feed.name})

    async def _step(self, sweep: SweepState, now: datetime) -> None:
        if sweep.try_again_at and now < sweep.try_again_at and not sweep.open_request:
            return
        run = self._due_run(sweep, now)
        try:
            if self._pushed:
                await self._pushed.publish_group()
            if run:
                sweep = await self._advance(sweep, run, now)
            if self._follower and self._follower.is_due(sweep, now):
                await self._follower.follow(sweep, now)
        except MlsUnavailable as error:
            await self._record_failure(run, error, now)

    def _due_run(self, sweep: SweepState, now: datetime) -> SweepRun | None:
        """Return the sweep of the feed to run at `now`: one that an operator requested, else the daily one, else None.

        The daily sweep is returned if it is due, but not in the first START_DELAY after the scheduler's start. After an
        incomplete market, it waits until `sweep.compare_again_at`. A requested sweep does not wait. `sweep` is the
        sweep state as stored.
        """
        if sweep.open_request:
            return SweepRun(now, sweep.open_request)
        if now < max(self._may_start_at, sweep.compare_again_at or now):
            return None
        start = schedule.due_start(self._feed, sweep.last_finished_start, now)
        return SweepRun(start, catches_up=self._misses_deletions(sweep, now)) if start else None

    def _misses_deletions(self, sweep: SweepState, now: datetime) -> bool:
        """Return True if the MLS no longer tells of all listings that it deleted since changes were last followed.

        Some vendors tell of a deletion for some days only; for other vendors, the result is False.
        """
        told_for = DELETIONS_TOLD_FOR.get(self._feed.reso.profile)
        return bool(told_for and sweep.followed_at and now - sweep.followed_at > told_for)

    async def _advance(self, sweep: SweepState, run: SweepRun, now: datetime) -> SweepState:
        """Do the next step of the sweep `run`, and record the end of the sweep after its last step.

        Returns the last written sweep state.
        """
        counts: SweepCounts | None
        if self._market:
            sweep, counts = await self._market.step(sweep, run, now)
        else:
            sweep, counts = await self._recheck.run(sweep, run, now)
        return await self._record_end(sweep, run, counts) if counts else sweep

    async def _record_end(self, sweep: SweepState, run: SweepRun, counts: SweepCounts) -> SweepState:
        now = self._clock()
        sweep = replace(sweep, counts=counts, error="", failures=0, try_again_at=None, compare_again_at=None)
        if run.request:
            sweep = replace(sweep, answered_request_at=run.request.at)
        if not run.is_dry:
            sweep = replace(sweep, last_finished_start=schedule.last_start(self._feed, run.start), finished_at=now)
        sweep = await self._record.write(sweep)
        self._metrics.sweeps.labels(self._feed.name, "done").inc()
        _logger.info(
            "sweep-done", feed=self._feed.name, dry_run=run.is_dry, compared=counts.compared, missing=counts.missing,
            published=counts.published, gone=counts.gone,
        )  # fmt: skip
        return sweep

    async def _record_failure(self, run: SweepRun | None, error: MlsUnavailable, now: datetime) -> None:
        """Write to the feed's sweep state that the MLS failed with `error`, and when to try again; count and log it.

        After an incomplete market, only the next comparison waits, for an hour or more; changes are still followed.
        After any other failure, the MLS gets no request until the next try. The wait doubles with each failure, from
        half a minute to an hour, and is at least as long as the MLS asks. `run` is the sweep that was under way, None
        if there was none; a sweep that an operator requested ends with the failure.
        """
        sweep = await self._record.read()
        is_incomplete = error.failure is MlsFailure.INCOMPLETE
        wait = _MAX_WAIT if is_incomplete else min(_FIRST_WAIT * 2 ** min(sweep.failures, 10), _MAX_WAIT)
        wait = max(wait, timedelta(seconds=error.wait_seconds or 0))
        again_at = now + wait
        sweep = replace(sweep, error=str(error), failures=sweep.failures + 1)
        sweep = replace(sweep, compare_again_at=again_at) if is_incomplete else replace(sweep, try_again_at=again_at)
        if run and run.request:
            self._forget_plan()
            sweep = replace(sweep, answered_request_at=run.request.at)
        await self._record.write(sweep)
        self._metrics.errors.labels(self._feed.name, error.failure).inc()
        if run:
            self._metrics.sweeps.labels(self._feed.name, "failed").inc()
        _logger.error(
            "sweep-failed", feed=self._feed.name, error=str(error), failures=sweep.failures,
            seconds=round(wait.total_seconds()),
        )  # fmt: skip

    def _forget_plan(self) -> None:
        if self._market:
            self._market.forget()
