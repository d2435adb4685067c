"""Workers that share one ledger, in simulated time: how many requests they send and when, and how often they write."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.memory import MemoryLedgers
from tests.budget_workers import THROTTLED, CountedLedgers, Origin, a_worker, many_work, most_in, one_batch, seconds_at
from tests.budgets import UNPACED
from tests.builders import a_feed, after
from tests.simulated import now, run_simulated

pytestmark = pytest.mark.slow

VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE


@pytest.mark.parametrize(
    ("rules", "least", "most", "seconds"),
    [
        ({}, 12, 12, 60),
        ({"viewed_reserve": 0.0}, 16, 16, 60),
        ({"viewed_reserve": 0.0, "batch_pause_seconds": 0.0}, 16, 16, 60),
        ({"batch_pause_seconds": 0.0, "requests_per_second": 40.0, "concurrency": 16}, 32, 32, 60),
        ({"requests_per_second": 0.0, "viewed_reserve": 0.0}, 16, 16, 60),
        ({"requests_per_second": 1.0, "concurrency": 1}, 1, 1, 60),
        ({"requests_per_second": 0.5, "concurrency": 1}, 0.5, 1, 60),
        ({"requests_per_second": 2.0, "viewed_reserve": 0.0}, 2, 2, 60),
        (
            {"requests_per_second": 0.0, "batch_pause_seconds": 0.0, "concurrency": 32, "viewed_reserve": 0.0},
            130,
            700,
            8,
        ),
    ],
)
def test_eight_workers_use_nine_tenths_of_what_a_feed_allows_and_never_more(
    rules: dict[str, Any], least: float, most: int, seconds: int
) -> None:
    origin = Origin()
    run_simulated(many_work(CountedLedgers(), origin, a_feed(**rules), seconds))
    assert len(origin.requests) >= 0.9 * least * (seconds - 1)
    assert most_in(1.0, origin.requests) <= most
    assert origin.max_running <= a_feed(**rules).concurrency


# Taking and giving back


def test_a_batch_is_taken_with_one_write_and_given_back_with_another() -> None:
    async def story() -> int:
        ledgers, origin = CountedLedgers(), Origin()
        await one_batch(a_worker(ledgers), origin, a_feed(concurrency=10))
        assert len(origin.requests) == 8
        return ledgers.writes

    assert run_simulated(story()) == 2


def test_many_workers_under_load_write_less_than_once_a_request() -> None:
    async def story() -> None:
        ledgers, origin = CountedLedgers(), Origin()
        await many_work(ledgers, origin, a_feed(requests_per_second=50.0, concurrency=32), 20)
        assert ledgers.writes < 0.5 * len(origin.requests)

    run_simulated(story())


def test_a_task_that_waits_is_woken_when_its_process_frees_slots() -> None:
    async def story() -> float:
        feed, worker = a_feed(**UNPACED, concurrency=1), a_worker(CountedLedgers())
        batch = await worker.take(feed, 1, ROUTINE)
        waiting = asyncio.create_task(worker.take(feed, 1, ROUTINE))
        await asyncio.sleep(0.05)
        await worker.give_back(batch)
        freed_at = now()
        assert (await waiting).downloads
        return now() - freed_at

    assert run_simulated(story()) == 0


def test_a_worker_without_a_grant_after_two_seconds_learns_when_to_ask_again() -> None:
    async def story() -> None:
        feed, worker = a_feed(concurrency=1), a_worker(CountedLedgers())
        await worker.take(feed, 1, ROUTINE)
        batch = await worker.take(feed, 1, ROUTINE)
        assert not batch.downloads
        assert 1.5 < now() < 2.5
        assert batch.ask_again_at is not None

    run_simulated(story())


def test_a_closed_budget_grants_nothing_and_ends_all_waits() -> None:
    async def story() -> None:
        feed, worker = a_feed(concurrency=1), a_worker(CountedLedgers())
        await worker.take(feed, 1, ROUTINE)
        waiting = asyncio.create_task(worker.take(feed, 1, ROUTINE))
        await asyncio.sleep(0.05)
        closed_at = now()
        worker.close()
        assert not (await waiting).downloads
        assert now() == closed_at
        assert not (await worker.take(replace(feed, name="other"), 1, ROUTINE)).downloads

    run_simulated(story())


def test_to_take_no_download_writes_nothing() -> None:
    async def story() -> None:
        ledgers = CountedLedgers()
        assert not (await a_worker(ledgers).take(a_feed(), 0, ROUTINE)).downloads
        assert not ledgers.writes

    run_simulated(story())


def test_give_back_frees_downloads_that_did_not_end_or_did_not_start() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_hour=8, concurrency=8, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 8, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        await worker.give_back(batch)
        await worker.give_back(batch)
        assert len((await worker.take(feed, 8, ROUTINE)).downloads) == 7

    run_simulated(story())


def test_the_slots_of_a_dead_worker_are_free_after_the_timeout() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=4, viewed_reserve=0.0), CountedLedgers()
        await a_worker(ledgers).take(feed, 4, ROUTINE)
        assert not (await a_worker(ledgers).take(feed, 4, ROUTINE)).downloads
        await asyncio.sleep(feed.request_timeout_seconds + 10)
        assert len((await a_worker(ledgers).take(feed, 4, ROUTINE)).downloads) == 4

    run_simulated(story())


def test_a_worker_that_restarts_under_its_name_has_its_slots_free_at_once() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=4, viewed_reserve=0.0), CountedLedgers()
        await a_worker(ledgers, "a").take(feed, 2, ROUTINE)
        await a_worker(ledgers, "b").take(feed, 2, ROUTINE)
        again = a_worker(ledgers, "a")
        assert len((await again.take(feed, 4, ROUTINE)).downloads) == 2
        assert not (await again.take(feed, 4, ROUTINE)).downloads

    run_simulated(story())


# Viewed photos


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"viewed_reserve": 0.0},
        {"concurrency": 1},
        {"concurrency": 1, "viewed_reserve": 0.0, "requests_per_second": 0.0, "batch_pause_seconds": 0.0},
        {"requests_per_second": 1.0},
        {"requests_per_second": 1.0, "concurrency": 1},
        {"requests_per_second": 0.5},
        {"batch_pause_seconds": 60.0},
        {"requests_per_second": 0.0, "batch_pause_seconds": 0.0, "concurrency": 4, "viewed_reserve": 0.0},
    ],
)
def test_a_viewed_photo_is_fetched_within_three_seconds_at_full_routine_load(
    rules: dict[str, Any],
) -> None:
    feed, origin, waits = a_feed(**rules), Origin(), list[float]()

    async def viewers(ledgers: MemoryLedgers) -> None:
        worker = a_worker(ledgers)
        for second in range(5, 55, 10):
            await asyncio.sleep(second + 0.137 * second - now())
            started_at = now()
            batch = await worker.take(feed, 1, VIEWED)
            assert batch.downloads
            await origin.download(worker, batch.downloads[0], batch)
            waits.append(now() - started_at)

    async def story() -> None:
        ledgers = CountedLedgers()
        await asyncio.gather(many_work(ledgers, origin, feed, 65), viewers(ledgers))

    run_simulated(story())
    assert max(waits) < 3
    assert origin.max_running <= feed.concurrency


# Requests that are late, redirected or not accounted for


def test_a_request_that_missed_its_planned_time_gets_another_within_the_rate() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=2.0, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        await asyncio.sleep(1)
        assert await worker.wait_for_planned_time(first)
        assert first.planned_at > after(1)
        assert await worker.wait_for_planned_time(second)
        await worker.give_back(batch)

    run_simulated(story())


def test_a_request_whose_connection_took_too_long_waits_for_another_planned_time() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=2.0, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        assert await worker.wait_for_planned_time(first)
        await asyncio.sleep(0.03)
        assert await worker.confirm_on_time(first)
        assert await worker.wait_for_planned_time(second)
        missed = second.planned_at
        await asyncio.sleep(0.06)
        assert await worker.confirm_on_time(second)
        assert second.planned_at > missed
        assert now() >= seconds_at(second.planned_at) - 0.01
        await worker.give_back(batch)

    run_simulated(story())


def test_a_request_that_missed_its_planned_time_is_not_sent_if_the_feed_was_throttled_since() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=2.0, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        assert await worker.wait_for_planned_time(first)
        assert await worker.wait_for_planned_time(second)
        assert await worker.confirm_on_time(second)
        await worker.record_end(second, Failure(Reason.THROTTLED, "429", 60.0), batch=batch)
        await asyncio.sleep(1)
        assert not await worker.confirm_on_time(first)
        assert first.sent_at is None
        assert first.due_at
        assert first.due_at > after(60)

    run_simulated(story())


def test_each_redirect_waits_for_a_planned_time_of_its_own() -> None:
    sent = list[float]()

    async def story() -> None:
        feed, worker = a_feed(requests_per_second=2.0, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        sent.append(now())
        for _ in range(5):
            assert await worker.wait_for_another_request(batch.downloads[0])
            sent.append(now())
        await worker.record_end(batch.downloads[0], None, batch=batch)

    run_simulated(story())
    assert most_in(1.0, sent) == 2


def test_a_redirect_that_the_budget_refuses_is_due_later_and_does_not_throttle_the_feed() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(requests_per_hour=1), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        download = batch.downloads[0]
        assert await worker.wait_for_planned_time(download)
        assert not await worker.wait_for_another_request(download)
        assert download.due_at is not None
        await worker.record_end(download, THROTTLED, batch=batch)
        assert not (await ledgers.get(feed.name)).ledger.throttled_until

    run_simulated(story())


def test_an_end_is_accounted_for_by_the_next_write_if_the_store_was_unavailable() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=1), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        ledgers.is_unavailable = True
        await worker.record_end(batch.downloads[0], Failure(Reason.THROTTLED, wait_seconds=1.5), batch=batch)
        with pytest.raises(StoreUnavailable):
            await worker.take(feed, 1, ROUTINE)
        ledgers.is_unavailable = False
        again = await worker.take(feed, 1, ROUTINE)
        assert again.downloads
        assert again.downloads[0].planned_at >= after(1.5)

    run_simulated(story())


def test_an_end_is_accounted_for_by_the_next_write_after_contention() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=1), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        ledgers.is_contended = True
        await worker.record_end(batch.downloads[0], None, batch=batch)
        with pytest.raises(Contention):
            await worker.take(feed, 1, ROUTINE)
        ledgers.is_contended = False
        assert (await worker.take(feed, 1, ROUTINE)).downloads

    run_simulated(story())


def test_a_ledger_that_was_deleted_by_hand_starts_again_unused() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        worker = a_worker(ledgers)
        for _ in range(3):
            await worker.give_back(await worker.take(feed, 1, ROUTINE))
        ledgers.delete_all()
        assert (await worker.take(feed, 1, ROUTINE)).downloads

    run_simulated(story())
