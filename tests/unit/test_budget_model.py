"""The rules of the origin budget against a brute-force model.

Random workers take, send, end, crash and are paused, and their clocks differ. The model counts by itself what each
window of time holds, and fails if any limit is exceeded or a suspended feed gets a request.
"""

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

START = 1_750_000_000 * SECOND_MICROS
SLOT_SECONDS = 30.0
NEVER = 1 << 62
IMAGES = 12
"""Few, for downloads to fail again and again."""
SKEW_MICROS = 20_000
"""By how much a worker's time may differ from the store's, either way."""

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
    st.integers(200_000, 5 * SECOND_MICROS),
    st.integers(5 * SECOND_MICROS, 60 * SECOND_MICROS),
    st.integers(60 * SECOND_MICROS, 25 * 3_600 * SECOND_MICROS),
)


@dataclass
class Running:
    """A running download. Datetimes are times of the worker's clock, and `sends_at` is true time in microseconds."""

    slot: str
    image: str
    viewed: bool
    skew_micros: int
    at: datetime
    """The planned time of its next request."""
    late_micros: int
    sends_at: int | None
    """When its next request is sent; None if none is planned."""
    sent_at: datetime | None = None
    is_redirect: bool = False
    unused: list[datetime] = field(default_factory=list)


@dataclass(frozen=True)
class Sent:
    """A request that was sent, at a true time in microseconds."""

    at: int
    viewed: bool
    planned_in_batch: bool


class Workers(RuleBasedStateMachine):
    """Workers that share a ledger, and the requests that they sent."""

    @initialize(feed=FEEDS)
    def start(self, feed: Feed) -> None:
        self.feed = feed
        self.ledger = Ledger()
        self.now = START
        self.store_ahead_micros = 0
        self.grants = 0
        self.running: list[Running] = []
        self.sent: list[Sent] = []
        self.suspensions: list[tuple[int, int]] = []
        self.paused: tuple[int, int] | None = None
        self.received: list[tuple[int, int]] = []
        self.failed: set[str] = set()

    @rule(
        wanted=st.integers(1, 12),
        priority=st.sampled_from([Priority.VIEWED, Priority.ROUTINE, Priority.ROUTINE]),
        skew_micros=st.integers(-SKEW_MICROS, SKEW_MICROS),
        late_micros=st.integers(0, LATE_MICROS),
    )
    def take(self, wanted: int, priority: Priority, skew_micros: int, late_micros: int) -> None:
        self.grants += 1
        demand = Demand(count=wanted, priority=priority, holder=f"grant{self.grants}", slot_seconds=SLOT_SECONDS)
        stored, grant = grants.take(self.ledger, self.feed, demand, self.worker_time(skew_micros))
        assert len(grant.requests) <= min(wanted, self.feed.batch_size)
        assert (grant.ask_again_at is None) == (len(grant.requests) == wanted)
        if stored:
            self.ledger = stored
        if grant.requests:
            self.check_bytes()
        for number, send in enumerate(grant.requests):
            sends_at = self.true_time(send.at, skew_micros) + late_micros
            image = f"image {(self.grants + number) % IMAGES}"
            self.running.append(
                Running(send.slot, image, priority is Priority.VIEWED, skew_micros, send.at, late_micros, sends_at)
            )

    @rule(
        wanted=st.integers(1, 12),
        priority=st.sampled_from([Priority.VIEWED, Priority.ROUTINE]),
        failure=FAILURES,
        received=st.integers(0, 1_000),
    )
    def download(self, wanted: int, priority: Priority, failure: Failure | None, received: int) -> None:
        """Take downloads, wait for their planned times and end them, as workers do most of the time."""
        self.take(wanted, priority, 0, 0)
        self.wait(2 * SECOND_MICROS)
        if ended := [download for download in self.running if download.sends_at is None]:
            self.end(ended, failure, received)

    @rule(by=WAITS)
    def wait(self, by: int) -> None:
        """Let time pass. Requests are sent at their planned times, unless the feed was suspended since the grant."""
        for download in sorted(self.running, key=lambda download: download.sends_at or 0):
            if download.sends_at is not None and download.sends_at <= self.now + by:
                self.send(download, download.sends_at)
        self.now += by
        deadline = at(self.now + self.store_ahead_micros - round((SLOT_SECONDS - 10) * SECOND_MICROS))
        for download in list(self.running):  # unsent ones end at once, others by their deadline
            is_unsent = download.sent_at is None and download.sends_at is None
            if is_unsent or (download.sent_at and download.sent_at < deadline):
                self.end([download], Failure(Reason.TIMEOUT), 0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failure=FAILURES, received=st.integers(0, 1_000))
    def finish(self, data: st.DataObject, failure: Failure | None, received: int) -> None:
        ended = [download for download in self.running if download.sends_at is None]
        if ended:
            downloads = data.draw(st.lists(st.sampled_from(ended), min_size=1, max_size=8, unique_by=id))
            self.end(downloads, failure, received)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """Let workers crash: the ends of some downloads are never recorded."""
        dead = data.draw(st.lists(st.sampled_from(self.running), min_size=1, max_size=8, unique_by=id))
        self.running = [download for download in self.running if download not in dead]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), late_micros=st.integers(0, LATE_MICROS))
    def take_another_request(self, data: st.DataObject, late_micros: int) -> None:
        """Let a redirect follow, or plan a missed request again."""
        download = data.draw(st.sampled_from(self.running))
        missed = download.at if download.sends_at is not None else None
        priority = Priority.VIEWED if download.viewed else Priority.ROUTINE
        stored, grant = grants.take_request(
            self.ledger,
            self.feed,
            download.slot,
            priority,
            self.worker_time(download.skew_micros),
            slot_seconds=SLOT_SECONDS,
            unused=missed,
        )
        if stored:
            self.ledger = stored
        if grant.requests:
            download.at, download.is_redirect, download.late_micros = grant.requests[0].at, True, late_micros
            download.sends_at = self.true_time(download.at, download.skew_micros) + late_micros
        elif missed:
            download.unused.append(missed)
            download.sends_at = None

    @rule(by=st.sampled_from([6 * SECOND_MICROS, 3_600 * SECOND_MICROS, 400 * 86_400 * SECOND_MICROS]))
    def set_the_clock_back(self, by: int) -> None:
        """Set the store's clock back. Requests that were planned by the old time are not sent."""
        self.store_ahead_micros -= by
        self.suspensions.clear()
        self.paused = None
        for download in list(self.running):
            if download.sends_at is not None:
                download.unused.append(download.at)
                download.sends_at = None
            if download.sent_at is not None:
                download.sent_at -= timedelta(microseconds=by)
        self.wait(1)

    @rule(seconds=st.sampled_from([None, 1, 30, 7_200]))
    def pause(self, seconds: int | None) -> None:
        """Let an operator pause the feed."""
        self.end_pause()
        lasting = timedelta(seconds=seconds) if seconds else None
        self.ledger = codec.from_document(
            pause.paused(codec.to_document(self.ledger), "by hand", self.worker_time(0), lasting)
        )
        end = self.now + seconds * SECOND_MICROS - SKEW_MICROS if seconds else NEVER
        self.paused = self.now + SKEW_MICROS, end

    @precondition(lambda self: self.paused)
    @rule()
    def resume(self) -> None:
        """Let the operator resume it."""
        self.end_pause()
        self.suspensions = [(begin, min(end, self.now)) for begin, end in self.suspensions]
        self.ledger = codec.from_document(pause.resumed(codec.to_document(self.ledger)))

    def end_pause(self) -> None:
        """Keep on record how long the pause was."""
        if self.paused:
            begin, end = self.paused
            self.suspensions.append((begin, min(end, self.now)))
        self.paused = None

    @invariant()
    def no_second_holds_too_many(self) -> None:
        if rate := getattr(self, "feed", None) and self.feed.requests_per_second:
            window = round(SECOND_MICROS / min(rate, 1.0))
            assert most([request.at for request in self.sent], window) <= max(1, floor(rate))
            routine = [request.at for request in self.sent if not request.viewed]
            assert most(routine, window) <= self.share(max(1, floor(rate)))

    @invariant()
    def no_hour_and_no_day_holds_too_many(self) -> None:
        if hasattr(self, "feed"):
            for limit, window in ((self.feed.requests_per_hour, 3_600), (self.feed.requests_per_day, 86_400)):
                if limit:
                    assert most([request.at for request in self.sent], window * SECOND_MICROS) <= limit
                    routine = [request.at for request in self.sent if not request.viewed]
                    assert most(routine, window * SECOND_MICROS) <= self.share(limit)

    @invariant()
    def no_more_downloads_run_than_may(self) -> None:
        if hasattr(self, "feed"):
            assert len(self.running) <= self.feed.concurrency
            assert sum(not download.viewed for download in self.running) <= self.share(self.feed.concurrency)

    @invariant()
    def a_pause_follows_every_batch(self) -> None:
        if hasattr(self, "feed") and self.feed.batch_pause_seconds:
            planned = sorted(request.at for request in self.sent if request.planned_in_batch)
            pause = self.feed.batch_pause_seconds * SECOND_MICROS - 2 * SKEW_MICROS
            for batch in zip(*(planned[start:] for start in range(self.feed.batch_size + 1)), strict=False):
                assert any(after - before >= pause for before, after in pairwise(batch))

    @invariant()
    def a_suspended_feed_gets_no_request(self) -> None:
        if hasattr(self, "feed"):
            for begin, end in [*self.suspensions, *([self.paused] if self.paused else [])]:
                assert not [request for request in self.sent if begin < request.at < end]

    @invariant()
    def the_stored_ledger_is_the_ledger(self) -> None:
        if hasattr(self, "feed"):
            assert codec.from_document(codec.to_document(self.ledger)) == self.ledger

    def teardown(self) -> None:
        """After any history, a worker that asks again at the times that it is given gets a grant in the end."""
        if not hasattr(self, "feed"):
            return
        self.running.clear()
        self.ledger = replace(self.ledger, pause=None)  # only an operator ends a pause
        for attempt in range(400):
            now = self.worker_time(0)
            demand = Demand(count=1, priority=Priority.ROUTINE, holder=f"last{attempt}", slot_seconds=SLOT_SECONDS)
            stored, grant = grants.take(self.ledger, self.feed, demand, now)
            if grant.requests:
                return
            self.ledger = stored or self.ledger
            assert grant.ask_again_at is not None
            assert grant.ask_again_at > now - timedelta(seconds=CLOCK_STEP_MICROS / SECOND_MICROS)
            self.now += max(SECOND_MICROS // 5, (grant.ask_again_at - now) // timedelta(microseconds=1))
        pytest.fail(f"nothing is granted any more: {self.feed} {self.ledger} {grant} {now}")

    def worker_time(self, skew_micros: int) -> datetime:
        """Return the time now by a worker's clock that is `skew_micros` microseconds ahead of the store's."""
        return at(self.now + self.store_ahead_micros + skew_micros)

    def true_time(self, at_worker: datetime, skew_micros: int) -> int:
        """Return the true time, in microseconds, at which a worker's clock shows a time."""
        return (at_worker - at(0)) // timedelta(microseconds=1) - self.store_ahead_micros - skew_micros

    def share(self, limit: int) -> int:
        return max(1, floor(limit * (1 - self.feed.viewed_reserve) + 1e-9))

    def send(self, download: Running, sent_at: int) -> None:
        download.sends_at = None
        now = at(sent_at + self.store_ahead_micros + download.skew_micros)
        if suspension.refused_until(self.ledger, download.slot, now):
            download.unused.append(download.at)
            return
        assert is_on_time(self.feed, download.at, now)
        download.sent_at = now
        keeps_pause = not download.viewed or self.feed.batch_pause_seconds <= MAX_PAUSE_VIEWED_SECONDS
        self.sent.append(Sent(sent_at, download.viewed, keeps_pause and not download.is_redirect))

    def end(self, downloads: Sequence[Running], failure: Failure | None, received: int) -> None:
        skew_micros = downloads[0].skew_micros
        ended = [
            EndedDownload(download.slot, download.image, download.sent_at, failure, received, tuple(download.unused))
            for download in downloads
        ]
        throttled_until, was_open = self.ledger.throttled_until, self.ledger.breaker
        self.failed |= {download.image for download in downloads if failure}
        self.ledger = with_ended(self.ledger, self.feed, ended, self.worker_time(skew_micros), jitter=0.5)
        if self.ledger.throttled_until > throttled_until:
            # A request that is sent within the clocks' difference is allowed.
            end = self.true_time(at(self.ledger.throttled_until), 0) - SKEW_MICROS
            self.suspensions.append((self.now + 2 * SKEW_MICROS, end))
        if (breaker := self.ledger.breaker) and not was_open:
            assert len(self.failed) >= OPENS_AFTER[breaker.reason]
        self.received += [(self.now, received) for _ in downloads]
        self.running = [download for download in self.running if download not in downloads]

    def check_bytes(self) -> None:
        if limit := self.feed.bytes_per_hour:
            in_the_hour = sum(size for moment, size in self.received if moment > self.now - 3_600 * SECOND_MICROS)
            assert in_the_hour < limit


def at(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def most(times: Sequence[int], window: int) -> int:
    """Return how many of the times any half-open window holds at most; times and window are in microseconds."""
    return max((sum(begin <= other < begin + window for other in times) for begin in times), default=0)


def test_no_limit_is_exceeded_whatever_workers_do() -> None:
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
