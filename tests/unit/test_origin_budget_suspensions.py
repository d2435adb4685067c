"""What do workers that share a ledger do while their feed is throttled, paused, or its breaker is open?"""

import asyncio
from datetime import timedelta

import pytest

from ops import pause as pausing
from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from tests.budget_workers import THROTTLED, CountedLedgers, Origin, a_worker, many_work, most_in, seconds_at
from tests.budgets import UNPACED
from tests.builders import a_feed, after
from tests.simulated import now, run_simulated

VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE
NO_PAUSE = {"batch_pause_seconds": 0.0}
REFUSED = Failure(Reason.UNREACHABLE)
KNOWN_WITHIN_SECONDS = 0.2
"""A worker knows within this what another process wrote into the ledger."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "throttled_seconds"),
    [
        (THROTTLED, 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=5.0), 5.0),
        (Failure(Reason.ORIGIN_ERROR, wait_seconds=5.0), 5.0),
    ],
)
def test_no_worker_sends_a_request_while_the_origin_throttles(failure: Failure, throttled_seconds: float) -> None:
    origin = Origin(answer=lambda second: failure if 10 <= second < 10.05 else None)

    async def story() -> None:
        await many_work(CountedLedgers(), origin, a_feed(requests_per_second=100.0, concurrency=32, **NO_PAUSE), 30)

    run_simulated(story())
    throttled_at = min(second for second in origin.requests if second >= 10) + origin.answer_seconds
    ends_at = throttled_at + throttled_seconds
    assert not [second for second in origin.requests if throttled_at + 0.1 < second < ends_at]
    assert [second for second in origin.requests if ends_at < second < ends_at + 3]


@pytest.mark.slow
def test_an_origin_that_goes_on_answering_429_is_asked_ever_less_often() -> None:
    origin = Origin(answer=lambda _: THROTTLED)
    run_simulated(many_work(CountedLedgers(), origin, a_feed(), 120))
    bursts = sorted({round(second) for second in origin.requests})
    assert len(bursts) < 15
    assert most_in(60.0, [second for second in origin.requests if second > 60]) < 30


@pytest.mark.slow
def test_an_origin_error_without_a_named_time_does_not_throttle() -> None:
    origin = Origin(answer=lambda _: Failure(Reason.ORIGIN_ERROR))
    run_simulated(many_work(CountedLedgers(), origin, a_feed(), 20))
    assert len(origin.requests) > 200


@pytest.mark.slow
def test_a_request_that_was_planned_before_a_throttling_is_due_when_it_ends() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(requests_per_second=8.0, **NO_PAUSE), CountedLedgers()
        first, other = a_worker(ledgers), a_worker(ledgers)
        planned = await first.take(feed, 8, ROUTINE)
        throttled = await other.take(feed, 2, VIEWED)  # one of the two still runs when the other ends
        assert await other.wait_for_planned_time(throttled.downloads[0])
        await other.record_end(throttled.downloads[0], Failure(Reason.THROTTLED, wait_seconds=60.0), batch=throttled)
        last = planned.downloads[-1]
        assert not await first.wait_for_planned_time(last)
        assert last.due_at is not None
        assert 59 < seconds_at(last.due_at) < 62
        await first.give_back(planned)

    run_simulated(story())


@pytest.mark.slow
def test_a_throttled_worker_sends_nothing_even_before_it_can_write_the_ledger() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        assert await worker.wait_for_planned_time(first)
        ledgers.is_unavailable = True
        await worker.record_end(first, Failure(Reason.THROTTLED, wait_seconds=5.0), batch=batch)
        assert not await worker.wait_for_planned_time(second)
        assert second.due_at is not None
        assert 5 <= seconds_at(second.due_at) < 5.1

    run_simulated(story())


@pytest.mark.slow
def test_refused_connections_leave_one_probe_at_a_time_until_the_origin_is_healthy() -> None:
    origin = Origin(answer=lambda second: REFUSED if 10 <= second < 70 else None)
    run_simulated(many_work(CountedLedgers(), origin, a_feed(), 120))
    probes = [second for second in origin.requests if 12 <= second < 70]
    assert 2 <= len(probes) <= 8
    assert most_in(1.5, probes) == 1
    assert len([second for second in origin.requests if second > 105]) > 0.85 * 12 * 14


def test_a_granted_request_is_not_sent_once_an_operator_paused_the_feed() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(requests_per_second=2.0, viewed_reserve=0.0, batch_pause_seconds=0.5), CountedLedgers()
        worker = a_worker(ledgers)
        for priority in (ROUTINE, VIEWED):
            await asyncio.sleep(10)
            batch = await worker.take(feed, 3, priority)
            last = batch.downloads[-1]
            assert await worker.wait_for_planned_time(batch.downloads[0])
            await asyncio.sleep(seconds_at(last.planned_at) - now() - KNOWN_WITHIN_SECONDS)
            await pausing.pause(ledgers, feed.name, "the MLS asked us to", None)
            assert not await worker.wait_for_planned_time(last)
            assert last.due_at
            assert last.due_at > after(now())
            await worker.give_back(batch)
            await pausing.resume(ledgers, feed.name)

    run_simulated(story())


def test_a_paused_feed_grants_nothing_until_it_is_resumed() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        await pausing.pause(ledgers, feed.name, "", None)
        for priority in (ROUTINE, VIEWED):
            refused = await a_worker(ledgers).take(feed, 3, priority)
            assert (refused.downloads, refused.ask_again_at is not None) == ([], True)
        await asyncio.sleep(86_400)
        assert not (await a_worker(ledgers).take(feed, 3, ROUTINE)).downloads
        await pausing.resume(ledgers, feed.name)
        assert len((await a_worker(ledgers).take(feed, 3, ROUTINE)).downloads) == 3

    run_simulated(story())


def test_a_pause_for_a_time_ends_by_itself() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        await pausing.pause(ledgers, feed.name, "", timedelta(seconds=20))
        await asyncio.sleep(15)
        refused = await a_worker(ledgers).take(feed, 1, ROUTINE)
        assert refused.ask_again_at == after(20)
        await asyncio.sleep(5)
        assert (await a_worker(ledgers).take(feed, 1, ROUTINE)).downloads

    run_simulated(story())


def test_to_resume_a_feed_ends_its_throttling_even_in_the_worker_that_was_throttled() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        throttled = Failure(Reason.THROTTLED, wait_seconds=3_600)
        await worker.record_end(batch.downloads[0], throttled, batch=batch)
        assert not (await worker.take(feed, 1, ROUTINE)).downloads
        await pausing.resume(ledgers, feed.name)
        again = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(again.downloads[0])

    run_simulated(story())


def test_to_resume_a_feed_closes_its_breaker() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=64, batch_size=10), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 10, VIEWED)
        for download in list(batch.downloads):
            download.image_id = download.slot
            assert await worker.wait_for_planned_time(download)
            await worker.record_end(download, Failure(Reason.FORBIDDEN), batch=batch)
        assert (await ledgers.get(feed.name)).ledger.breaker
        await pausing.resume(ledgers, feed.name)
        assert len((await worker.take(feed, 5, VIEWED)).downloads) == 5

    run_simulated(story())
