"""The sweep of a feed without an API: makes photos due for a recheck if their copies were not checked for some days."""

from dataclasses import replace
from datetime import datetime, timedelta

from services.scheduler import decide
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweep_plan import SweepRun
from services.scheduler.sweep_record import SweepRecord
from shared.domain.feed import Feed
from shared.stores.release_queue import ReleaseQueue
from shared.stores.sweeps import SweepCounts, SweepState

_BATCH_SIZE = 50


class CopyRecheck:
    """Runs the sweep of one feed without an API.

    The sweep schedules a recheck of each copy that was not checked for the feed's `recheck_days`.
    """

    def __init__(self, feed: Feed, listings: ReleaseQueue, record: SweepRecord, metrics: SweepMetrics) -> None:
        self._feed = feed
        self._listings = listings
        self._record = record
        self._metrics = metrics

    async def run(self, sweep: SweepState, run: SweepRun, now: datetime) -> tuple[SweepState, SweepCounts]:
        """Schedule, in MongoDB, a recheck of each photo of the feed whose copy was not checked for `recheck_days`.

        One call does the whole sweep. The due times are spread over the feed's `sweep_hours` after the start of `run`;
        if an operator requested `run`, all photos are due at `now`. A dry run only counts. `sweep` is the feed's sweep
        state as stored. Returns the last written sweep state, and the sweep's counts. Raises Superseded if another
        scheduler has taken over, and StoreUnavailable if the database does not answer.
        """
        before, counts = now - timedelta(days=self._feed.recheck_days), SweepCounts()
        if run.is_dry:
            return sweep, SweepCounts(compared=await self._listings.recheck_count(self._feed.name, before))
        feed = replace(self._feed, sweep_hours=0.0) if run.request else self._feed
        while feed.recheck_days:
            await self._record.check_lease()
            page = await self._listings.recheck_due(feed.name, before, _BATCH_SIZE)
            if not page:
                break
            due = [decide.schedule_rechecks(listing, feed, before, run.start, now) for listing in page]
            refused = await self._listings.write(rechecked.listing for rechecked in due)
            written = [each for each in due if (each.listing.feed, each.listing.key) not in refused]
            photos = sum(rechecked.photos for rechecked in written)
            counts = replace(counts, compared=counts.compared + len(written), published=counts.published + photos)
            self._metrics.rechecked.labels(feed.name).inc(photos)
            sweep = await self._record.write(replace(sweep, counts=counts))
        return sweep, counts
