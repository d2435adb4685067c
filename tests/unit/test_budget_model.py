"""The budget's rules against a brute-force model: random workers, clocks, crashes; every window is counted by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import floor

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import codec, grants, pause, suspension
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.advance import CLOCK_STEP_MICROS
from shared.origin_budget.breaker import OPENS_AFTER
from shared.origin_budget.grants import Demand
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import LATE_MICROS, MAX_PAUSE_VIEWED_SECONDS
from shared.origin_budget.moments import SECOND_MICROS
from shared.origin_budget.pacing import is_on_time

pytestmark = pytest.mark.slow

SECOND = SECOND_MICROS
START = 1_750_000_000 * SECOND
SLOT_SECONDS = 30.0
NEVER = 1 << 62
IMAGES = 12
"""So few that some fail again and again."""
SKEW = 20_000
"""So far may a worker's idea of the store's time be off, in microseconds, either way."""

FEEDS = st.builds(
    Feed,
    name=st.just("feed"),
    image_hosts=st.just(("images.example.com",)),
    concurrency=st.sampled_from([1, 2, 3, 8, 32]),
    batch_size=st.sampled_from([1, 5, 8, 10]),
    batch_pause_seconds=st.sampled_from([0.0, 0.1, 0.5, 3.0]),
    requests_per_second=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0, 16.0]),
    requests_per_hour=st.sampled_from([0, 1, 7, 40]),
    requests_per_day=st.sampled_from([0, 3, 60]),
    bytes_per_hour=st.sampled_from([0, 5_000]),
    max_file_bytes=st.just(1_000),
    viewed_reserve=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
)
FAILURES = st.sampled_from(
    [None] * 6 + [Failure(reason) for reason in Reason] + [Failure(Reason.THROTTLED, wait_seconds=20.0)]
)
WAITS = st.one_of(
    st.integers(1, 200_000),
    st.integers(200_000, 5 * SECOND),
    st.integers(5 * SECOND, 60 * SECOND),
    st.integers(60 * SECOND, 25 * 3_600 * SECOND),
)


@dataclass
class Running:
    """A download in a worker's hands. Times are true ones; `sends_at` is when its next request leaves, if it does."""

    slot: str
    image: str
    viewed: bool
    skew: int
    at: datetime
    late: int
    sends_at: int | None
    sent_at: datetime | None = None
    is_redirect: bool = False
    unused: list[datetime] = field(default_factory=list)


@dataclass(frozen=True)
class Sent:
    at: int
    viewed: bool
    planned_in_batch: bool


class Workers(RuleBasedStateMachine):
    """Workers who share a ledger, and what really went to the origin."""

    @initialize(feed=FEEDS)
    def start(self, feed: Feed) -> None:
        self.feed = feed
        self.ledger = Ledger()
        self.now = START
        self.store_ahead = 0
        self.grants = 0
        self.running: list[Running] = []
        self.sent: list[Sent] = []
        self.suspensions: list[tuple[int, int]] = []
        self.halted: tuple[int, int] | None = None
        self.received: list[tuple[int, int]] = []
        self.failed: set[str] = set()

    @rule(
        wanted=st.integers(1, 12),
        priority=st.sampled_from([Priority.VIEWED, Priority.ROUTINE, Priority.ROUTINE]),
        skew=st.integers(-SKEW, SKEW),
        late=st.integers(0, LATE_MICROS),
    )
    def take(self, wanted: int, priority: Priority, skew: int, late: int) -> None:
        self.grants += 1
        demand = Demand(count=wanted, priority=priority, holder=f"grant{self.grants}", slot_seconds=SLOT_SECONDS)
        stored, grant = grants.take(self.ledger, self.feed, demand, self.told(skew))
        assert len(grant.requests) <= min(wanted, self.feed.batch_size)
        assert (grant.ask_again_at is None) == (len(grant.requests) == wanted)
        if stored:
            self.store(stored)
        if grant.requests:
            self.check_bytes()
        for number, send in enumerate(grant.requests):
            sends_at = self.true_time(send.at, skew) + late
            image = f"image {(self.grants + number) % IMAGES}"
            self.running.append(Running(send.slot, image, priority is Priority.VIEWED, skew, send.at, late, sends_at))

    @rule(by=WAITS)
    def wait(self, by: int) -> None:
        """Time goes by; requests leave at their moments, unless the feed was silenced in between."""
        for one in sorted(self.running, key=lambda one: one.sends_at or 0):
            if one.sends_at is not None and one.sends_at <= self.now + by:
                self.leave(one, one.sends_at)
        self.now += by
        deadline = at(self.now + self.store_ahead - round((SLOT_SECONDS - 10) * SECOND))
        for one in list(self.running):  # what was not sent goes back at once, and no download outlasts its deadline
            if (one.sent_at is None and one.sends_at is None) or (one.sent_at and one.sent_at < deadline):
                self.end([one], Failure(Reason.TIMEOUT), 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failure=FAILURES, received=st.integers(0, 1_000))
    def finish(self, data: st.DataObject, failure: Failure | None, received: int) -> None:
        ended = [one for one in self.running if one.sends_at is None]
        if ended:
            some = data.draw(st.lists(st.sampled_from(ended), min_size=1, max_size=8, unique_by=id))
            self.end(some, failure, received)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """A worker is gone with all that it had in hand; nobody says so."""
        dead = data.draw(st.lists(st.sampled_from(self.running), min_size=1, max_size=8, unique_by=id))
        self.running = [one for one in self.running if one not in dead]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), late=st.integers(0, LATE_MICROS))
    def ask_for_one_more(self, data: st.DataObject, late: int) -> None:
        """A redirect follows, or a moment was missed and is planned anew."""
        one = data.draw(st.sampled_from(self.running))
        missed = one.at if one.sends_at is not None else None
        priority = Priority.VIEWED if one.viewed else Priority.ROUTINE
        stored, grant = grants.take_request(
            self.ledger,
            self.feed,
            one.slot,
            priority,
            self.told(one.skew),
            slot_seconds=SLOT_SECONDS,
            unused=missed,
        )
        if stored:
            self.store(stored)
        if grant.requests:
            one.at, one.is_redirect, one.late = grant.requests[0].at, True, late
            one.sends_at = self.true_time(one.at, one.skew) + late
        elif missed:
            one.unused.append(missed)
            one.sends_at = None

    @rule(by=st.sampled_from([6 * SECOND, 3_600 * SECOND, 400 * 86_400 * SECOND]))
    def set_the_clock_back(self, by: int) -> None:
        """Somebody corrects the store's clock; what was planned by the old one is not sent."""
        self.store_ahead -= by
        self.suspensions.clear()
        self.halted = None
        for one in list(self.running):
            if one.sends_at is not None:
                one.unused.append(one.at)
                one.sends_at = None
            if one.sent_at is not None:
                one.sent_at -= timedelta(microseconds=by)
        self.wait(1)

    @rule(seconds=st.sampled_from([None, 1, 30, 7_200]))
    def freeze(self, seconds: int | None) -> None:
        """An operator silences the feed."""
        self.end_of_halt()
        lasting = timedelta(seconds=seconds) if seconds else None
        self.ledger = codec.from_document(
            pause.paused(codec.to_document(self.ledger), "by hand", self.told(0), lasting)
        )
        end = self.now + seconds * SECOND - SKEW if seconds else NEVER
        self.halted = self.now + SKEW, end

    @precondition(lambda self: self.halted)
    @rule()
    def thaw(self) -> None:
        """The operator opens it again."""
        self.end_of_halt()
        self.suspensions = [(begin, min(end, self.now)) for begin, end in self.suspensions]
        self.ledger = codec.from_document(pause.resumed(codec.to_document(self.ledger)))

    def end_of_halt(self) -> None:
        """What was silent until now stays on record."""
        if self.halted:
            begin, end = self.halted
            self.suspensions.append((begin, min(end, self.now)))
        self.halted = None

    @invariant()
    def no_second_holds_too_many(self) -> None:
        if rate := getattr(self, "feed", None) and self.feed.requests_per_second:
            window = round(SECOND / min(rate, 1.0))
            assert most([one.at for one in self.sent], window) <= max(1, floor(rate))
            assert most([one.at for one in self.sent if not one.viewed], window) <= self.share(max(1, floor(rate)))

    @invariant()
    def no_hour_and_no_day_holds_too_many(self) -> None:
        if hasattr(self, "feed"):
            for limit, window in ((self.feed.requests_per_hour, 3_600), (self.feed.requests_per_day, 86_400)):
                if limit:
                    assert most([one.at for one in self.sent], window * SECOND) <= limit
                    routine = [one.at for one in self.sent if not one.viewed]
                    assert most(routine, window * SECOND) <= self.share(limit)

    @invariant()
    def no_more_run_at_a_time_than_may(self) -> None:
        if hasattr(self, "feed"):
            assert len(self.running) <= self.feed.concurrency
            assert sum(not one.viewed for one in self.running) <= self.share(self.feed.concurrency)

    @invariant()
    def a_pause_follows_every_batch(self) -> None:
        if hasattr(self, "feed") and self.feed.batch_pause_seconds:
            planned = sorted(one.at for one in self.sent if one.planned_in_batch)
            pause = self.feed.batch_pause_seconds * SECOND - 2 * SKEW
            for batch in zip(*(planned[start:] for start in range(self.feed.batch_size + 1)), strict=False):
                assert any(after - before >= pause for before, after in pairwise(batch))

    @invariant()
    def a_silenced_feed_is_silent(self) -> None:
        if hasattr(self, "feed"):
            for begin, end in [*self.suspensions, *([self.halted] if self.halted else [])]:
                assert not [one for one in self.sent if begin < one.at < end]

    @invariant()
    def the_stored_ledger_is_the_ledger(self) -> None:
        if hasattr(self, "feed"):
            assert codec.from_document(codec.to_document(self.ledger)) == self.ledger

    def teardown(self) -> None:
        """Whatever happened, the feed comes back by itself: asking when told to leads to a grant."""
        if not hasattr(self, "feed"):
            return
        self.running.clear()
        self.ledger = replace(self.ledger, pause=None)  # that alone waits for a person
        for attempt in range(400):
            now = self.told(0)
            demand = Demand(count=1, priority=Priority.ROUTINE, holder=f"last{attempt}", slot_seconds=SLOT_SECONDS)
            stored, grant = grants.take(self.ledger, self.feed, demand, now)
            if grant.requests:
                return
            self.store(stored or self.ledger)
            assert grant.ask_again_at is not None
            assert grant.ask_again_at > now - timedelta(seconds=CLOCK_STEP_MICROS / SECOND)
            self.now += max(SECOND // 5, (grant.ask_again_at - now) // timedelta(microseconds=1))
        pytest.fail(f"nothing is granted any more: {self.feed} {self.ledger} {grant} {now}")

    # What the rules above are made of.

    def told(self, skew: int) -> datetime:
        return at(self.now + self.store_ahead + skew)

    def true_time(self, told: datetime, skew: int) -> int:
        return (told - at(0)) // timedelta(microseconds=1) - self.store_ahead - skew

    def store(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def share(self, limit: int) -> int:
        return max(1, floor(limit * (1 - self.feed.viewed_reserve) + 1e-9))

    def leave(self, one: Running, moment: int) -> None:
        one.sends_at = None
        told = at(moment + self.store_ahead + one.skew)
        if suspension.refused_until(self.ledger, one.slot, told):
            one.unused.append(one.at)
            return
        assert is_on_time(self.feed, one.at, told)
        one.sent_at = told
        heeds_pause = not one.viewed or self.feed.batch_pause_seconds <= MAX_PAUSE_VIEWED_SECONDS
        self.sent.append(Sent(moment, one.viewed, heeds_pause and not one.is_redirect))

    def end(self, some: Sequence[Running], failure: Failure | None, received: int) -> None:
        skew = some[0].skew
        done = [EndedDownload(one.slot, one.image, one.sent_at, failure, received, tuple(one.unused)) for one in some]
        frozen, was_open = self.ledger.throttled_until, self.ledger.breaker
        self.failed |= {one.image for one in some if failure}
        self.store(with_ended(self.ledger, self.feed, done, self.told(skew), jitter=0.5))
        if self.ledger.throttled_until > frozen:
            # Sent within the clocks' difference is not yet a breach.
            end = self.true_time(at(self.ledger.throttled_until), 0) - SKEW
            self.suspensions.append((self.now + 2 * SKEW, end))
        if (breaker := self.ledger.breaker) and not was_open:
            assert len(self.failed) >= OPENS_AFTER[breaker.reason]
        self.received += [(self.now, received) for _ in some]
        self.running = [one for one in self.running if one not in some]

    def check_bytes(self) -> None:
        if limit := self.feed.bytes_per_hour:
            in_the_hour = sum(size for moment, size in self.received if moment > self.now - 3_600 * SECOND)
            assert in_the_hour < limit


def at(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def most(times: Sequence[int], window: int) -> int:
    """The most moments that any window holds, which is half-open."""
    return max((sum(begin <= other < begin + window for other in times) for begin in times), default=0)


def test_no_limit_is_passed_whatever_workers_do() -> None:
    run_state_machine_as_test(
        Workers,
        settings=settings(
            max_examples=200,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
