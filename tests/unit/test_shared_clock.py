"""How workers know the store's time: from readings of it, and their own monotonic clock."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from shared.domain.priority import Priority
from shared.origin_budget.clock import SharedClock
from shared.stores.errors import StoreUnavailable
from shared.stores.ledgers import StoredLedger
from tests.budget_workers import CountedLedgers, a_worker, seconds_at
from tests.builders import a_feed
from tests.simulated import now, run_simulated

pytestmark = pytest.mark.slow

ROUTINE = Priority.ROUTINE


class SlowLedgers(CountedLedgers):
    """Ledgers whose next readings take these seconds each, and later ones no time."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds = list(seconds)

    async def get(self, feed: str) -> StoredLedger:
        await asyncio.sleep(self.seconds.pop(0) if self.seconds else 0.0)
        return await super().get(feed)


@pytest.mark.parametrize("seconds", [(0.0, 250.0), (0.0, 250.0, 20.0), (0.0, 0.9, 0.9)])
def test_nothing_is_planned_by_a_reading_that_took_too_long(seconds: Sequence[float]) -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=0.5, concurrency=1), a_worker(SlowLedgers(0.0, *seconds))
        await worker.give_back(await worker.take(feed, 1, ROUTINE))
        await asyncio.sleep(90_000)  # two clocks part by seconds
        batch = await worker.take(feed, 1, ROUTINE)
        assert seconds_at(batch.downloads[0].planned_at) == pytest.approx(now(), abs=0.6)

    run_simulated(story())


def test_a_store_that_answers_too_slowly_to_tell_the_time_is_unavailable() -> None:
    async def story() -> None:
        feed, worker = a_feed(), a_worker(SlowLedgers(5.0, 5.0, 5.0))
        with pytest.raises(StoreUnavailable, match="too slowly"):
            await worker.take(feed, 1, ROUTINE)
        assert (await worker.take(feed, 1, ROUTINE)).downloads

    run_simulated(story())


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ([(0.0, 0.2, 100.1)], 100.1),
        ([(0.0, 0.2, 100.1), (1.0, 1.01, 101.0)], 100.0),
        ([(0.0, 0.01, 100.0), (1.0, 2.0, 101.9)], 100.0),
        ([(0.0, 0.01, 100.0), (1.0, 1.01, 51.0)], 50.0),
    ],
    ids=["one slow reading", "a quick one is better", "a slow one does no harm", "the store's clock was set"],
)
def test_the_stores_time_is_derived_from_the_best_readings(
    readings: Sequence[tuple[float, float, float]], expected: float
) -> None:
    clock = SharedClock(lambda: 0.0)
    for before, until, store_time in readings:
        clock.learn(before, until, datetime.fromtimestamp(store_time, UTC))
    assert clock.now().timestamp() == pytest.approx(expected, abs=0.11 if len(readings) == 1 else 0.011)
