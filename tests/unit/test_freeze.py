"""An operator's freeze and thaw, as the workers of a feed meet them."""

import asyncio
from datetime import timedelta

from ops import pause
from shared.domain.failures import Failure, Reason
from shared.domain.priority import Priority
from tests.simulated import now, simulated
from tests.unit.test_ledger import START, UNPACED, CountedLedgers, a_feed, a_worker

ROUTINE, VIEWED = Priority.ROUTINE, Priority.VIEWED
KNOWN_WITHIN = 0.2


def test_what_is_granted_and_not_yet_sent_is_not_sent_once_an_operator_froze_the_feed() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(requests_per_second=2.0, viewed_reserve=0.0, batch_pause_seconds=0.5), CountedLedgers()
        worker = a_worker(ledgers)
        for priority in (ROUTINE, VIEWED):
            await asyncio.sleep(10)
            batch = await worker.take(feed, 3, priority)
            last = batch.downloads[-1]
            assert await worker.wait_for_planned_time(batch.downloads[0])
            await asyncio.sleep((last.planned_at - START).total_seconds() - now() - KNOWN_WITHIN)
            await pause.pause(ledgers, feed.name, "the MLS asked us to", None)
            assert not await worker.wait_for_planned_time(last)
            assert last.due_at
            assert last.due_at > START + timedelta(seconds=now())
            await worker.give_back(batch)
            await pause.resume(ledgers, feed.name)

    simulated(story())


def test_a_frozen_feed_grants_nothing_to_anyone_until_it_is_thawed() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        await pause.pause(ledgers, feed.name, "", None)
        for priority in (ROUTINE, VIEWED):
            refused = await a_worker(ledgers).take(feed, 3, priority)
            assert (refused.downloads, refused.ask_again_at is not None) == ([], True)
        await asyncio.sleep(86_400)
        assert not (await a_worker(ledgers).take(feed, 3, ROUTINE)).downloads
        await pause.resume(ledgers, feed.name)
        assert len((await a_worker(ledgers).take(feed, 3, ROUTINE)).downloads) == 3

    simulated(story())


def test_a_freeze_for_a_time_ends_by_itself() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        await pause.pause(ledgers, feed.name, "", timedelta(seconds=20))
        await asyncio.sleep(15)
        refused = await a_worker(ledgers).take(feed, 1, ROUTINE)
        assert refused.ask_again_at == START + timedelta(seconds=20)
        await asyncio.sleep(5)
        assert (await a_worker(ledgers).take(feed, 1, ROUTINE)).downloads

    simulated(story())


def test_a_thaw_ends_the_origins_own_silence_too_even_in_the_worker_that_heard_of_it() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        throttled = Failure(Reason.THROTTLED, wait_seconds=3_600)
        await worker.record_end(batch.downloads[0], throttled, batch=batch)
        assert not (await worker.take(feed, 1, ROUTINE)).downloads
        await pause.resume(ledgers, feed.name)
        again = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(again.downloads[0])

    simulated(story())


def test_a_thaw_closes_an_open_breaker() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=64, batch_size=10), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 10, VIEWED)
        for download in list(batch.downloads):
            download.image_id = download.slot
            assert await worker.wait_for_planned_time(download)
            await worker.record_end(download, Failure(Reason.FORBIDDEN), batch=batch)
        assert (await ledgers.get(feed.name)).ledger.breaker
        await pause.resume(ledgers, feed.name)
        assert len((await worker.take(feed, 5, VIEWED)).downloads) == 5

    simulated(story())
