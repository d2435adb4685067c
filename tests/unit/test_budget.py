"""What the rules of the budget grant, when they fall silent, and how they come back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import BSON

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import breaker, codec, grants, suspension
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.advance import advanced, with_earlier_runs_expired
from shared.origin_budget.grants import Demand, Grant
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.limits import limits_of
from shared.origin_budget.moments import SECOND_MICROS, Moment
from shared.origin_budget.pacing import is_on_time

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
VIEWED, ROUTINE = Priority.VIEWED, Priority.ROUTINE
UNPACED = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}


def a_feed(**rules: Any) -> Feed:
    return Feed(name="feed", image_hosts=("images.example.com",), **rules)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


class Desk:
    """One ledger, asked by name and second."""

    def __init__(self, **rules: Any) -> None:
        self.feed = a_feed(**rules)
        self.ledger = Ledger()
        self.asked = 0

    def take(
        self, wanted: int, seconds: float = 0.0, priority: Priority = ROUTINE, *, failed_before: bool = False
    ) -> Grant:
        self.asked += 1
        demand = Demand(
            count=wanted, priority=priority, holder=f"g{self.asked}", slot_seconds=30, failed_before=failed_before
        )
        stored, grant = grants.take(self.ledger, self.feed, demand, after(seconds))
        self.ledger = stored or self.ledger
        return grant

    def end(
        self, grant: Grant, seconds: float, failure: Failure | None = None, received: int = 0, image: str = ""
    ) -> None:
        """Each download was of an image of its own, unless one is given."""
        done = [EndedDownload(one.slot, image or one.slot, one.at, failure, received) for one in grant.requests]
        self.ledger = with_ended(self.ledger, self.feed, done, after(seconds), jitter=0.0)

    def fail(self, times: int, reason: Reason, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.end(self.take(1, seconds, VIEWED), seconds, Failure(reason))

    @property
    def opened_by(self) -> Reason | None:
        return self.ledger.breaker.reason if self.ledger.breaker else None


# Limits and shares


@pytest.mark.parametrize(
    ("rules", "priority", "limit", "expected"),
    [
        ({"concurrency": 8}, ROUTINE, "downloads", 6),
        ({"concurrency": 8}, VIEWED, "downloads", 8),
        ({"concurrency": 1}, ROUTINE, "downloads", 1),
        ({"requests_per_second": 16}, ROUTINE, "requests_per_window", 12),
        ({"requests_per_second": 16}, VIEWED, "requests_per_window", 16),
        ({"requests_per_second": 2.5}, VIEWED, "requests_per_window", 2),
        ({"requests_per_second": 1}, ROUTINE, "requests_per_window", 1),
        ({"requests_per_second": 1}, VIEWED, "window_micros", 1_080_000),
        ({"requests_per_second": 0.5}, ROUTINE, "requests_per_window", 1),
        ({"requests_per_second": 0.5}, VIEWED, "window_micros", 2_080_000),
        ({"requests_per_hour": 10}, ROUTINE, "requests_per_hour", 8),
        ({"requests_per_day": 1}, ROUTINE, "requests_per_day", 1),
        ({"requests_per_day": 0}, ROUTINE, "requests_per_day", 0),
        ({"viewed_reserve": 0.9, "bytes_per_hour": 1_000}, ROUTINE, "bytes_per_hour", 100),
    ],
)
def test_each_priority_has_its_share_of_each_limit_and_at_least_one(
    rules: dict[str, Any], priority: Priority, limit: str, expected: int
) -> None:
    assert getattr(limits_of(a_feed(**rules), priority), limit) == expected


@pytest.mark.parametrize("rate", [1.0, 2.0, 3.0, 5.0, 7.0, 12.0, 16.0, 30.0, 100.0])
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("size", [1, 5, 8, 10])
def test_the_chosen_batches_keep_nine_tenths_of_what_rate_and_pause_leave(rate: float, pause: float, size: int) -> None:
    """The pause is counted with the lateness that a request may have; what batches cannot fit is the feed's doing."""
    feed = a_feed(
        requests_per_second=rate, batch_pause_seconds=pause, batch_size=size, concurrency=64, viewed_reserve=0.0
    )
    ledger, granted = Ledger(), 0
    seconds, now = 20.0, 0.0
    while now < seconds:
        demand = Demand(count=size, priority=ROUTINE, holder=f"{now}", slot_seconds=0.0)
        stored, grant = grants.take(ledger, feed, demand, after(now))
        ledger, granted = stored or ledger, granted + len(grant.requests)
        now = (grant.ask_again_at - NOW).total_seconds() if grant.ask_again_at else now
    assert granted >= 0.9 * seconds * min(rate, _best(size, pause + 0.04 if pause else 0.0, rate))


@pytest.mark.parametrize("priority", [VIEWED, ROUTINE])
@pytest.mark.parametrize("pause", [0.1, 0.5, 1.0, 3.0])
def test_a_pause_follows_every_batch_but_a_long_one_for_a_viewed_image(pause: float, priority: Priority) -> None:
    desk = Desk(requests_per_second=0.0, concurrency=64, batch_size=5, batch_pause_seconds=pause)
    first, second = desk.take(5, 0, priority), desk.take(5, 0.05, VIEWED)
    gap = (second.requests[0].at - first.requests[-1].at).total_seconds()
    assert gap >= pause if pause <= 1 else gap < 0.1


def _best(size: int, pause: float, rate: float) -> float:
    """The most a second that bursts of some size make, a whole number of them in every second."""
    if not pause:
        return rate
    bursts = [(count, max(pause, 1.0 / max(1, rate // count))) for count in range(1, size + 1) if count <= rate]
    return max(count / cycle for count, cycle in bursts)


@pytest.mark.parametrize(
    ("rules", "unit"),
    [({"requests_per_hour": 10}, 3_600), ({"requests_per_day": 10}, 86_400)],
    ids=["hour", "day"],
)
def test_routine_work_leaves_the_reserve_and_viewed_images_use_it(rules: dict[str, Any], unit: int) -> None:
    desk = Desk(**UNPACED, **rules, concurrency=64, batch_size=10)
    assert len(desk.take(10).requests) == 8
    assert len(desk.take(10, 1).requests) == 0
    assert len(desk.take(10, 2, VIEWED).requests) == 2
    assert len(desk.take(10, unit - 1, VIEWED).requests) == 0
    assert len(desk.take(10, 1.1 * unit, VIEWED).requests) == 10


@pytest.mark.parametrize("failure", [None, Failure(Reason.BROKEN_BODY), Failure(Reason.TIMEOUT)])
def test_bytes_are_passed_by_the_files_in_flight_and_by_no_more(failure: Failure | None) -> None:
    desk = Desk(**UNPACED, bytes_per_hour=1_000, viewed_reserve=0.0)
    desk.end(desk.take(7), 1, failure, received=200)
    refused = desk.take(8, 2)
    assert not refused.requests
    assert refused.ask_again_at is not None
    assert after(3_600) < refused.ask_again_at < after(3_670)


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        ((), 0.04),
        ((0.5,), 0.04),
        ((0.5, 0.9), 1.58),
        ((0.5, 1.1), 1.58),
        ((0.5, 1.3), 0.04),
        ((1.5, 1.9), 0.04),
        ((0.9, 1.0, 2.0), 2.08),
    ],
)
def test_a_request_before_others_that_are_planned_already_fills_no_window_either(
    planned: tuple[float, ...], expected: float
) -> None:
    """A person's request may go ahead of what was planned; two may go in a second, counted as 1.08 s."""
    desk = Desk(requests_per_second=2.0)
    start = advanced(Ledger(), desk.feed, NOW)
    desk.ledger = replace(start, planned=tuple(Moment(start.as_of + round(at * SECOND_MICROS)) for at in planned))
    assert [one.at for one in desk.take(1, 0, VIEWED).requests] == [after(expected)]


def test_a_dead_workers_slots_come_back_by_expiry_and_its_bytes_are_counted_in_full() -> None:
    desk = Desk(**UNPACED, bytes_per_hour=10_000, max_file_bytes=3_000, concurrency=4, viewed_reserve=0.0)
    assert len(desk.take(8).requests) == 4
    assert not desk.take(8, 29).requests
    assert not desk.take(8, 31).requests  # 12,000 bytes may have come
    assert len(desk.take(8, 3_700).requests) == 4


def test_a_worker_that_comes_back_has_the_slots_of_its_earlier_life_at_once_and_no_others() -> None:
    desk = Desk(**UNPACED, bytes_per_hour=10_000, max_file_bytes=3_000, concurrency=4, viewed_reserve=0.0)
    names = ("w1-a-0", "w1-b-0", "w11-a-0", "w2-a-0")
    desk.ledger = replace(Ledger(), slots={name: advanced(Ledger(), desk.feed, after(60)).as_of for name in names})
    left = advanced(with_earlier_runs_expired(desk.ledger, "w1", "b", NOW), desk.feed, NOW)
    assert list(left.slots) == ["w1-b-0", "w11-a-0", "w2-a-0"]
    assert [amount for _, amount in left.hour_bytes] == [3_000]  # as much as the dead may have received
    assert with_earlier_runs_expired(left, "w1", "b", NOW) is left


def test_what_is_accounted_for_twice_counts_once() -> None:
    desk = Desk(requests_per_hour=10, bytes_per_hour=10_000, viewed_reserve=0.0)
    first, second = desk.take(2), desk.take(2)
    done = [EndedDownload(one.slot, "image", None, received_bytes=100, unused=(one.at,)) for one in first.requests]
    once = with_ended(desk.ledger, desk.feed, done, after(1), jitter=0.0)
    assert with_ended(once, desk.feed, done, after(1), jitter=0.0) == once
    assert sum(amount for _, amount in once.hour_requests) == len(second.requests)


def test_a_download_whose_slot_expired_gets_no_request_where_no_slot_is_free() -> None:
    desk = Desk(**UNPACED, concurrency=1, viewed_reserve=0.0)
    lost = desk.take(1).requests[0].slot
    desk.take(1, 31)
    _, grant = grants.take_request(desk.ledger, desk.feed, lost, ROUTINE, after(32), slot_seconds=30)
    assert not grant.requests


def test_the_next_slot_is_kept_for_a_viewed_image_that_found_none() -> None:
    desk = Desk(**UNPACED, concurrency=1)
    running = desk.take(1)
    assert not desk.take(1, 0.1, VIEWED).requests
    desk.end(running, 0.2)
    assert not desk.take(1, 0.25).requests
    viewed = desk.take(1, 0.3, VIEWED)
    assert viewed.requests
    desk.end(viewed, 0.4)
    assert desk.take(1, 0.4).requests


def test_a_slot_is_not_kept_for_a_viewed_image_that_never_asks_again() -> None:
    desk = Desk(**UNPACED, concurrency=1)
    running = desk.take(1)
    desk.take(1, 0.1, VIEWED)
    desk.end(running, 0.2)
    assert desk.take(1, 0.7).requests


# Silence


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (Failure(Reason.THROTTLED), 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=0.0), 1.0),
        (Failure(Reason.THROTTLED, wait_seconds=7.0), 7.0),
        (Failure(Reason.THROTTLED, wait_seconds=1e12), 86_400.0),
        (Failure(Reason.ORIGIN_ERROR), 0.0),
        (Failure(Reason.ORIGIN_ERROR, wait_seconds=30.0), 30.0),
        (Failure(Reason.FORBIDDEN), 0.0),
    ],
)
def test_a_feed_is_silent_for_as_long_as_the_origin_asks_within_bounds(failure: Failure, seconds: float) -> None:
    desk = Desk(**UNPACED)
    first, other = desk.take(1), desk.take(1)
    desk.end(first, 1, failure)
    assert bool(desk.take(1, 1, VIEWED).requests) == (seconds == 0)
    barred = suspension.refused_until(desk.ledger, other.requests[0].slot, after(1))
    assert barred == (after(1 + seconds) if seconds else None)
    if seconds:
        assert desk.take(1, 0.5 + seconds).ask_again_at == after(1 + seconds)
        assert desk.take(1, 1 + seconds).requests


def test_silences_that_the_origin_gives_no_time_for_double_until_it_is_calm() -> None:
    desk, now, silences = Desk(**UNPACED), 0.0, []
    for _ in range(11):
        desk.end(desk.take(1, now), now, Failure(Reason.THROTTLED))
        silences.append((desk.ledger.throttled_until - desk.ledger.as_of) / SECOND_MICROS)
        now += silences[-1]
    assert silences == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    desk.end(desk.take(1, now + 1), now + 1)  # right behind a silence any origin lets some pass
    assert desk.ledger.throttlings
    desk.end(desk.take(1, now + 11), now + 11)
    assert not desk.ledger.throttlings


def test_answers_to_what_was_sent_before_a_silence_do_not_prolong_it_unless_they_name_a_time() -> None:
    desk = Desk(**UNPACED)
    first, second, third = desk.take(1), desk.take(1), desk.take(1)
    desk.end(first, 1, Failure(Reason.THROTTLED))
    until = desk.ledger.throttled_until
    desk.end(second, 1.5, Failure(Reason.THROTTLED))
    assert desk.ledger.throttled_until == until
    desk.end(third, 1.6, Failure(Reason.THROTTLED, wait_seconds=60.0))
    assert desk.ledger.throttled_until > until


# The breaker


@pytest.mark.parametrize(
    ("reason", "times", "opens"),
    [
        (Reason.FORBIDDEN, 9, None),
        (Reason.FORBIDDEN, 10, Reason.FORBIDDEN),
        (Reason.GONE, 39, None),
        (Reason.GONE, 40, Reason.GONE),
        (Reason.UNREACHABLE, 7, None),
        (Reason.UNREACHABLE, 8, Reason.UNREACHABLE),
        (Reason.TIMEOUT, 8, Reason.UNREACHABLE),
        (Reason.ORIGIN_ERROR, 50, None),
        (Reason.BROKEN_BODY, 50, None),
        (Reason.BAD_URL, 50, None),
    ],
)
def test_the_breaker_opens_after_enough_of_one_kind_in_a_row(reason: Reason, times: int, opens: Reason | None) -> None:
    desk = Desk(**UNPACED)
    desk.fail(times, reason)
    assert desk.opened_by == opens
    assert ("in a row failed" in desk.ledger.reason) == (opens is not None)


@pytest.mark.parametrize(
    ("between", "opens"),
    [
        (None, None),
        (Reason.GONE, None),
        (Reason.NOT_AN_IMAGE, None),
        (Reason.ORIGIN_ERROR, Reason.FORBIDDEN),
        (Reason.BAD_URL, Reason.FORBIDDEN),
    ],
)
def test_a_row_is_broken_by_what_says_that_the_origin_is_well(between: Reason | None, opens: Reason | None) -> None:
    desk = Desk(**UNPACED)
    desk.fail(9, Reason.FORBIDDEN)
    desk.end(desk.take(1), 0, Failure(between) if between else None)
    desk.fail(1, Reason.FORBIDDEN)
    assert desk.opened_by == opens


def test_images_that_fail_again_and_again_do_not_open_the_breaker_and_as_many_others_do() -> None:
    desk = Desk(**UNPACED)
    for image in "abcdabcd":
        desk.end(desk.take(1), 0, Failure(Reason.TIMEOUT), image=image)
    assert desk.opened_by is None
    for image in "efgh":
        assert desk.opened_by is None
        desk.end(desk.take(1), 0, Failure(Reason.UNREACHABLE), image=image)
    assert desk.opened_by is Reason.UNREACHABLE


def test_what_our_own_budget_stopped_says_nothing_of_the_origin() -> None:
    desk = Desk(**UNPACED)
    desk.fail(9, Reason.FORBIDDEN)
    deferred = desk.take(1).requests[0]
    done = EndedDownload(deferred.slot, "image", None, Failure(Reason.THROTTLED, "the feed's budget is spent"))
    desk.ledger = with_ended(desk.ledger, desk.feed, [done], NOW, jitter=0.0)
    assert not desk.ledger.throttled_until
    assert len(desk.ledger.failed_images) == 9


def test_an_open_breaker_lets_one_probe_at_a_time_through_ever_less_often() -> None:
    desk, now, waits = Desk(**UNPACED), 0.0, []
    planned = desk.take(1).requests[0].slot
    desk.fail(8, Reason.UNREACHABLE)
    assert suspension.refused_until(desk.ledger, planned, NOW) is not None
    for _ in range(6):
        assert desk.ledger.breaker is not None
        waits.append(desk.ledger.breaker.wait_seconds)
        assert not desk.take(8, now + waits[-1] - 0.1, VIEWED).requests
        now += waits[-1]
        probe = desk.take(8, now)
        assert len(probe.requests) == 1
        assert not desk.take(8, now, VIEWED).requests
        assert suspension.refused_until(desk.ledger, probe.requests[0].slot, after(now)) is None
        desk.end(probe, now, Failure(Reason.UNREACHABLE))
    assert waits == [2, 4, 8, 16, 30, 30]


def test_images_that_failed_before_let_others_probe_first_and_probe_where_there_are_none() -> None:
    desk = Desk(**UNPACED)
    assert desk.take(1, 0, failed_before=True).requests
    desk.fail(8, Reason.UNREACHABLE)
    refused = desk.take(1, 2, VIEWED, failed_before=True)
    assert (refused.requests, refused.ask_again_at) == ((), after(5))
    probe = desk.take(1, 2)
    assert probe.requests
    desk.end(probe, 3, Failure(Reason.UNREACHABLE))
    assert not desk.take(1, 9.9, failed_before=True).requests
    assert desk.take(1, 10, failed_before=True).requests


def test_a_probe_whose_worker_died_is_followed_by_another() -> None:
    desk = Desk(**UNPACED)
    desk.fail(8, Reason.UNREACHABLE)
    assert desk.take(1, 2).requests
    assert not desk.take(1, 31).requests
    assert len(desk.take(8, 33).requests) == 1


@pytest.mark.parametrize(
    ("opened_by", "found", "closes"),
    [
        (Reason.UNREACHABLE, None, True),
        (Reason.UNREACHABLE, Reason.GONE, True),
        (Reason.UNREACHABLE, Reason.TIMEOUT, False),
        (Reason.UNREACHABLE, Reason.ORIGIN_ERROR, False),
        (Reason.FORBIDDEN, None, True),
        (Reason.FORBIDDEN, Reason.GONE, True),
        (Reason.FORBIDDEN, Reason.FORBIDDEN, False),
        (Reason.FORBIDDEN, Reason.UNREACHABLE, False),
        (Reason.GONE, Reason.NOT_AN_IMAGE, True),
        (Reason.GONE, Reason.GONE, False),
        (Reason.GONE, Reason.BAD_URL, False),
    ],
)
def test_the_breaker_closes_by_itself_when_a_probe_finds_the_origin_well(
    opened_by: Reason, found: Reason | None, closes: bool
) -> None:
    desk = Desk(**UNPACED)
    desk.fail(breaker.OPENS_AFTER[opened_by], opened_by)
    desk.end(desk.take(1, 2), 3, Failure(found) if found else None)
    assert (desk.ledger.breaker is None) == closes
    assert bool(desk.take(8, 3, VIEWED).requests) == (closes or found is Reason.BAD_URL)


# The clock, and what is stored


def test_a_clock_that_was_set_back_costs_no_more_than_the_time_that_passed_between() -> None:
    desk = Desk(**UNPACED, requests_per_hour=4, viewed_reserve=0.0)
    desk.take(4)
    year = 365 * 86_400
    assert not desk.take(1, -year).requests
    assert desk.ledger.as_of < advanced(Ledger(), desk.feed, after(0)).as_of
    assert not desk.take(1, 3_000 - year).requests
    assert desk.take(1, 3_800 - year).requests


@pytest.mark.parametrize(
    ("late", "rules", "in_time"),
    [
        (0.0, {}, True),
        (0.04, {}, True),
        (0.05, {}, False),
        (-1.0, {}, False),
        (0.05, UNPACED, True),
        (3.0, UNPACED, False),
    ],
)
def test_a_request_goes_at_its_moment_or_not_at_all(late: float, rules: dict[str, Any], in_time: bool) -> None:
    assert is_on_time(a_feed(**rules), NOW, after(late)) == in_time


@pytest.mark.slow
def test_a_ledger_stays_small_at_forty_thousand_requests_a_day() -> None:
    desk = Desk(requests_per_hour=7_200, requests_per_day=40_000, bytes_per_hour=4_000_000_000)
    day = [(86_400 * number / 5_000, 8) for number in range(6_000)]
    for seconds, count in day:
        desk.end(desk.take(count, seconds), seconds + 1, received=250_000)
    assert sum(amount for _, amount in desk.ledger.day_requests) > 30_000
    assert len(BSON.encode(codec.to_document(desk.ledger))) < 8_000


def test_an_empty_document_is_an_empty_ledger_and_an_unknown_field_is_left_out() -> None:
    assert codec.from_document({}) == Ledger()
    assert codec.from_document({"seen": 7, "of_a_later_program": 1}) == replace(Ledger(), as_of=Moment(7))
