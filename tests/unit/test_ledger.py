"""Workers who share one ledger, in a simulated time: what they send, when, and what they do when told to stop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.clock import SharedClock
from shared.origin_budget.downloads import Batch, GrantedDownload
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.ledgers import StoredLedger
from shared.stores.memory import MemoryLedgers
from tests.simulated import now, simulated

pytestmark = pytest.mark.slow

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
_NUMBERS = count()
THROTTLED = Failure(Reason.THROTTLED)
REFUSED = Failure(Reason.UNREACHABLE)
VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE
NO_PAUSE = {"batch_pause_seconds": 0.0}
UNPACED = {**NO_PAUSE, "requests_per_second": 0.0}


@dataclass
class CountedLedgers(MemoryLedgers):
    """Ledgers in memory that count their writes, and that can be away."""

    writes: int = 0
    is_away: bool = False
    is_contended: bool = False
    """True while another writer is always faster."""

    def __post_init__(self) -> None:
        super().__init__(lambda: START + timedelta(seconds=now()))

    async def get(self, feed: str) -> StoredLedger:
        self._check()
        return await super().get(feed)

    async def replace(self, feed: str, document: Mapping[str, object], expected_revision: int) -> bool:
        self._check()
        if self.is_contended:
            return False
        is_written = await super().replace(feed, document, expected_revision)
        self.writes += is_written
        return is_written

    def forget(self) -> None:
        self._stored.clear()

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


@dataclass
class Origin:
    """What came when, and how it answers: a failure or None at each moment."""

    answer: Callable[[float], Failure | None] = lambda _: None
    seconds: float = 0.1
    requests: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def download(self, worker: OriginBudget, download: GrantedDownload, batch: Batch) -> None:
        download.image_id = download.slot
        if not await worker.wait_for_planned_time(download):
            await worker.record_end(download, THROTTLED, batch=batch)
            return
        self.requests.append(now())
        self.running += 1
        self.most = max(self.most, self.running)
        failure = self.answer(now())
        await asyncio.sleep(self.seconds)
        self.running -= 1
        download.receive(1_000)
        await worker.record_end(download, failure, batch=batch)


def a_feed(**rules: Any) -> Feed:
    return Feed(name="feed", image_hosts=("images.example.com",), **rules)


def a_worker(ledgers: MemoryLedgers, name: str | None = None) -> OriginBudget:
    """A worker, of a name of its own unless given."""
    return OriginBudget(ledgers, name or f"worker-{next(_NUMBERS)}", monotonic=now, chance=lambda: 0.5)


async def work(worker: OriginBudget, origin: Origin, feed: Feed, until: float, priority: Priority = ROUTINE) -> None:
    """Take batch after batch, as long as there is time; what cannot be had now is asked for when it is due."""
    running: set[asyncio.Task[None]] = set()
    while now() < until:
        batch = await worker.take(feed, 8, priority)
        running |= {asyncio.create_task(origin.download(worker, one, batch)) for one in batch.downloads}
        if not batch.downloads and batch.ask_again_at:
            await asyncio.sleep((batch.ask_again_at - START).total_seconds() - now())
    await asyncio.gather(*running)


async def a_batch(worker: OriginBudget, origin: Origin, feed: Feed) -> None:
    batch = await worker.take(feed, 8, ROUTINE)
    await asyncio.gather(*(origin.download(worker, one, batch) for one in batch.downloads))


async def many_work(ledgers: MemoryLedgers, origin: Origin, feed: Feed, seconds: float, workers: int = 8) -> None:
    await asyncio.gather(*(work(a_worker(ledgers), origin, feed, seconds) for _ in range(workers)))


def most_in(window: float, times: Sequence[float]) -> int:
    return max((sum(begin <= other < begin + window for other in times) for begin in times), default=0)


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
    simulated(_eight(origin, a_feed(**rules), seconds))
    assert len(origin.requests) >= 0.9 * least * (seconds - 1)
    assert most_in(1.0, origin.requests) <= most
    assert origin.most <= a_feed(**rules).concurrency


async def _eight(origin: Origin, feed: Feed, seconds: int) -> None:
    await many_work(CountedLedgers(), origin, feed, seconds)


# One write to take, one to settle


def test_a_batch_is_taken_with_one_write_and_settled_with_one() -> None:
    async def story() -> int:
        ledgers, origin = CountedLedgers(), Origin()
        await a_batch(a_worker(ledgers), origin, a_feed(concurrency=10))
        assert len(origin.requests) == 8
        return ledgers.writes

    assert simulated(story()) == 2


def test_many_workers_under_load_write_less_than_once_a_download() -> None:
    async def story() -> None:
        ledgers, origin = CountedLedgers(), Origin()
        await many_work(ledgers, origin, a_feed(requests_per_second=50.0, concurrency=32), 20)
        assert ledgers.writes < 0.5 * len(origin.requests)

    simulated(story())


def test_a_worker_is_woken_when_its_own_process_gives_slots_back() -> None:
    async def story() -> float:
        feed, worker = a_feed(**UNPACED, concurrency=1), a_worker(CountedLedgers())
        batch = await worker.take(feed, 1, ROUTINE)
        waiting = asyncio.create_task(worker.take(feed, 1, ROUTINE))
        await asyncio.sleep(0.05)
        await worker.give_back(batch)
        given_back = now()
        assert (await waiting).downloads
        return now() - given_back

    assert simulated(story()) == 0


def test_who_finds_nothing_for_two_seconds_is_told_when_to_come_back() -> None:
    async def story() -> None:
        feed, worker = a_feed(concurrency=1), a_worker(CountedLedgers())
        await worker.take(feed, 1, ROUTINE)
        batch = await worker.take(feed, 1, ROUTINE)
        assert not batch.downloads
        assert 1.5 < now() < 2.5
        assert batch.ask_again_at is not None

    simulated(story())


def test_a_budget_that_is_closed_grants_nothing_and_lets_nobody_wait() -> None:
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

    simulated(story())


def test_nothing_wanted_takes_nothing() -> None:
    async def story() -> None:
        ledgers = CountedLedgers()
        assert not (await a_worker(ledgers).take(a_feed(), 0, ROUTINE)).downloads
        assert not ledgers.writes

    simulated(story())


def test_downloads_that_never_end_or_were_never_begun_are_given_back_by_settle() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_hour=8, concurrency=8, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 8, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        await worker.give_back(batch)
        await worker.give_back(batch)
        assert len((await worker.take(feed, 8, ROUTINE)).downloads) == 7

    simulated(story())


def test_the_slots_of_a_worker_that_died_come_back() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=4, viewed_reserve=0.0), CountedLedgers()
        await a_worker(ledgers).take(feed, 4, ROUTINE)
        assert not (await a_worker(ledgers).take(feed, 4, ROUTINE)).downloads
        await asyncio.sleep(feed.request_timeout_seconds + 10)
        assert len((await a_worker(ledgers).take(feed, 4, ROUTINE)).downloads) == 4

    simulated(story())


def test_a_worker_that_starts_again_under_its_name_has_its_slots_back_at_once() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=4, viewed_reserve=0.0), CountedLedgers()
        await a_worker(ledgers, "a").take(feed, 2, ROUTINE)
        await a_worker(ledgers, "b").take(feed, 2, ROUTINE)
        again = a_worker(ledgers, "a")
        assert len((await again.take(feed, 4, ROUTINE)).downloads) == 2
        assert not (await again.take(feed, 4, ROUTINE)).downloads

    simulated(story())


# Silence


@pytest.mark.parametrize(
    ("failure", "least"),
    [
        (THROTTLED, 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=5.0), 5.0),
        (Failure(Reason.ORIGIN_ERROR, wait_seconds=5.0), 5.0),
    ],
)
def test_once_an_origin_asks_for_silence_no_worker_sends_anything(failure: Failure, least: float) -> None:
    origin = Origin(answer=lambda second: failure if 10 <= second < 10.05 else None)

    async def story() -> None:
        await many_work(CountedLedgers(), origin, a_feed(requests_per_second=100.0, concurrency=32, **NO_PAUSE), 30)

    simulated(story())
    asked = min(second for second in origin.requests if second >= 10) + origin.seconds
    assert not [second for second in origin.requests if asked + 0.1 < second < asked + least]
    assert [second for second in origin.requests if second < asked + least + 3 and second > asked + least]


def test_an_origin_that_keeps_saying_429_is_asked_ever_less_often() -> None:
    origin = Origin(answer=lambda _: THROTTLED)
    simulated(_eight(origin, a_feed(), 120))
    bursts = sorted({round(second) for second in origin.requests})
    assert len(bursts) < 15
    assert most_in(60.0, [second for second in origin.requests if second > 60]) < 30


def test_an_origin_error_that_names_no_time_silences_nobody() -> None:
    origin = Origin(answer=lambda _: Failure(Reason.ORIGIN_ERROR))
    simulated(_eight(origin, a_feed(), 20))
    assert len(origin.requests) > 200


def test_what_was_planned_when_the_silence_began_is_due_when_it_ends() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(requests_per_second=8.0, **NO_PAUSE), CountedLedgers()
        one, other = a_worker(ledgers), a_worker(ledgers)
        planned = await one.take(feed, 8, ROUTINE)
        silenced = await other.take(feed, 2, VIEWED)  # the other of the two is still running
        assert await other.wait_for_planned_time(silenced.downloads[0])
        await other.record_end(silenced.downloads[0], Failure(Reason.THROTTLED, wait_seconds=60.0), batch=silenced)
        last = planned.downloads[-1]
        assert not await one.wait_for_planned_time(last)
        assert last.due_at is not None
        assert 59 < (last.due_at - START).total_seconds() < 62
        await one.give_back(planned)

    simulated(story())


def test_a_worker_that_was_silenced_holds_back_before_it_can_write_so() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        assert await worker.wait_for_planned_time(first)
        ledgers.is_away = True
        await worker.record_end(first, Failure(Reason.THROTTLED, wait_seconds=5.0), batch=batch)
        assert not await worker.wait_for_planned_time(second)
        assert second.due_at is not None
        assert 5 <= (second.due_at - START).total_seconds() < 5.1

    simulated(story())


def test_a_refused_connection_leaves_one_probe_at_a_time_until_the_origin_is_well() -> None:
    origin = Origin(answer=lambda second: REFUSED if 10 <= second < 70 else None)
    simulated(_eight(origin, a_feed(), 120))
    probes = [second for second in origin.requests if 12 <= second < 70]
    assert 2 <= len(probes) <= 8
    assert most_in(1.5, probes) == 1
    assert len([second for second in origin.requests if second > 105]) > 0.85 * 12 * 14


# People wait


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
def test_a_person_waits_less_than_three_seconds_while_routine_work_runs_at_full_rate(rules: dict[str, Any]) -> None:
    feed, origin, waits = a_feed(**rules), Origin(), list[float]()

    async def people(ledgers: MemoryLedgers) -> None:
        worker = a_worker(ledgers)
        for second in range(5, 55, 10):
            await asyncio.sleep(second + 0.137 * second - now())
            began = now()
            batch = await worker.take(feed, 1, VIEWED)
            assert batch.downloads
            await origin.download(worker, batch.downloads[0], batch)
            waits.append(now() - began)

    async def story() -> None:
        ledgers = CountedLedgers()
        await asyncio.gather(many_work(ledgers, origin, feed, 65), people(ledgers))

    simulated(story())
    assert max(waits) < 3
    assert origin.most <= feed.concurrency


# Trouble of our own


def test_a_moment_that_was_missed_is_planned_anew_within_the_rate() -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=2.0, viewed_reserve=0.0), a_worker(CountedLedgers())
        batch = await worker.take(feed, 2, ROUTINE)
        first, second = batch.downloads
        await asyncio.sleep(1)
        assert await worker.wait_for_planned_time(first)
        assert first.planned_at > START + timedelta(seconds=1)
        assert await worker.wait_for_planned_time(second)
        await worker.give_back(batch)

    simulated(story())


def test_a_request_whose_connection_took_too_long_waits_for_another_moment_in_the_rate() -> None:
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
        assert now() >= (second.planned_at - START).total_seconds() - 0.01
        await worker.give_back(batch)

    simulated(story())


def test_a_request_whose_moment_passed_while_the_feed_fell_silent_was_never_sent() -> None:
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
        assert first.due_at > START + timedelta(seconds=60)

    simulated(story())


def test_every_redirect_waits_for_its_own_place_in_the_rate() -> None:
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

    simulated(story())
    assert most_in(1.0, sent) == 2


def test_a_redirect_that_the_budget_refuses_is_due_later_and_no_fault_of_the_origin() -> None:
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

    simulated(story())


def test_what_ended_while_the_store_was_away_is_accounted_for_by_the_next_write() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(**UNPACED, concurrency=1), CountedLedgers()
        worker = a_worker(ledgers)
        batch = await worker.take(feed, 1, ROUTINE)
        assert await worker.wait_for_planned_time(batch.downloads[0])
        ledgers.is_away = True
        await worker.record_end(batch.downloads[0], Failure(Reason.THROTTLED, wait_seconds=1.5), batch=batch)
        with pytest.raises(StoreUnavailable):
            await worker.take(feed, 1, ROUTINE)
        ledgers.is_away = False
        again = await worker.take(feed, 1, ROUTINE)
        assert again.downloads
        assert again.downloads[0].planned_at >= START + timedelta(seconds=1.5)

    simulated(story())


def test_what_ended_under_contention_is_accounted_for_by_the_next_write() -> None:
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

    simulated(story())


def test_a_ledger_that_was_deleted_by_hand_begins_anew() -> None:
    async def story() -> None:
        feed, ledgers = a_feed(), CountedLedgers()
        worker = a_worker(ledgers)
        for _ in range(3):
            await worker.give_back(await worker.take(feed, 1, ROUTINE))
        ledgers.forget()
        assert (await worker.take(feed, 1, ROUTINE)).downloads

    simulated(story())


# The store's clock


class Slow(CountedLedgers):
    """Ledgers whose next answers take so long each."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.seconds = list(seconds)

    async def get(self, feed: str) -> StoredLedger:
        await asyncio.sleep(self.seconds.pop(0) if self.seconds else 0.0)
        return await super().get(feed)


@pytest.mark.parametrize("seconds", [(0.0, 250.0), (0.0, 250.0, 20.0), (0.0, 0.9, 0.9)])
def test_nothing_is_planned_by_an_answer_that_took_too_long_to_tell_the_time(seconds: Sequence[float]) -> None:
    async def story() -> None:
        feed, worker = a_feed(requests_per_second=0.5, concurrency=1), a_worker(Slow(0.0, *seconds))
        await worker.give_back(await worker.take(feed, 1, ROUTINE))
        await asyncio.sleep(90_000)  # two clocks part by seconds
        batch = await worker.take(feed, 1, ROUTINE)
        assert (batch.downloads[0].planned_at - START).total_seconds() == pytest.approx(now(), abs=0.6)

    simulated(story())


def test_no_time_to_plan_by_is_as_good_as_no_store() -> None:
    async def story() -> None:
        feed, worker = a_feed(), a_worker(Slow(5.0, 5.0, 5.0))
        with pytest.raises(StoreUnavailable, match="too slowly"):
            await worker.take(feed, 1, ROUTINE)
        assert (await worker.take(feed, 1, ROUTINE)).downloads

    simulated(story())


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
def test_the_stores_time_is_told_from_the_best_readings(
    readings: Sequence[tuple[float, float, float]], expected: float
) -> None:
    clock = SharedClock(lambda: 0.0)
    for before, after, told in readings:
        clock.learn(before, after, datetime.fromtimestamp(told, UTC))
    assert clock.now().timestamp() == pytest.approx(expected, abs=0.11 if len(readings) == 1 else 0.011)
