"""What does a sweep conclude from a broken answer? Nothing. And from a burst? Its removals are held."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local.sandbox import Sandbox
from services.scheduler.change_follower import FOLLOW_EVERY
from shared.domain.listing import RemovalReason
from shared.reso.feed_reader import FeedReader
from shared.reso.record_reader import KeyedRecords
from shared.stores.removal_holds import Decision
from tests.sweeping import PHOTOS, SweepingScheduler, a_recorded_market, feed_of, keys

DAY = timedelta(days=1)


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=30, photos=PHOTOS, widest=320, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def scheduler(mls: Sandbox) -> AsyncIterator[SweepingScheduler]:
    """A scheduler that has recorded all 30 listings of the MLS."""
    async with a_recorded_market(mls) as started:
        yield started


BROKEN: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "html"},
    {"kind": "truncated"},
    {"kind": "empty"},
]


@pytest.mark.parametrize("trouble", BROKEN, ids=lambda trouble: str(trouble["kind"]))
async def test_a_broken_answer_changes_nothing_and_the_mls_is_asked_again_later(
    mls: Sandbox, scheduler: SweepingScheduler, trouble: dict[str, Any]
) -> None:
    key = keys(mls)[4]
    mls.withdraw(key)
    mls.misbehave(on="odata", **trouble)
    sweep = await scheduler.swept()
    assert (scheduler.published(), sweep.open_request, bool(sweep.error)) == (0, None, True)
    assert scheduler.count("sweeps_total", result="failed") == 1
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 99)) == 30
    mls.behave()
    await scheduler.later(timedelta(seconds=5))
    assert scheduler.published() == 0, "not at once"
    await scheduler.swept()
    assert not (await scheduler.listing(key)).is_displayed
    assert (await scheduler.sweep()).error == ""


async def test_an_mls_that_asks_for_a_delay_gets_no_request_until_it_ends(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.misbehave(on="odata", status=429, retry_after=3_600, count=1)
    await scheduler.later(DAY)
    assert scheduler.count("sweep_errors_total", kind="throttled") == 1
    mls.requests.clear()
    for wait in (timedelta(minutes=1), timedelta(minutes=58, seconds=59)):
        await scheduler.later(wait)
    assert (mls.requests.total(), scheduler.count("sweeps_total", result="done")) == (0, 1)
    await scheduler.later(timedelta(seconds=1))
    assert scheduler.count("sweeps_total", result="done") == 2


async def test_an_empty_market_is_an_error_if_listings_are_displayed(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.market.listings.clear()
    sweep = await scheduler.swept()
    assert "the MLS lists no listing as displayed, and 30 are" in sweep.error
    assert scheduler.count("sweep_errors_total", kind="incomplete") == 1
    assert scheduler.published() == 0


async def test_changes_are_followed_while_the_market_is_incomplete(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    listings, changed = dict(mls.market.listings), keys(mls)[4]
    mls.market.listings.clear()
    await scheduler.later(DAY)
    error = (await scheduler.sweep()).error
    assert "and 30 are" in error
    mls.market.listings = {changed: listings[changed]}
    mls.change_photo(changed)
    await scheduler.later(FOLLOW_EVERY)
    sweep = await scheduler.sweep()
    assert (scheduler.published(), sweep.error) == (1, error)
    mls.market.listings.clear()
    await scheduler.later(timedelta(hours=1))
    assert scheduler.count("sweep_errors_total", kind="incomplete") == 2


@pytest.fixture
async def larger(tmp_path: Path) -> AsyncIterator[tuple[Sandbox, SweepingScheduler]]:
    """An MLS and a scheduler that has recorded all its 130 listings; a burst takes half of them."""
    async with (
        Sandbox(listings=130, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls, removal_freeze_share=0.5)) as scheduler,
    ):
        await scheduler.swept()
        assert scheduler.published() == 130
        yield mls, scheduler


Leave = Callable[[Sandbox, str], None]


def expire(mls: Sandbox, key: str) -> None:
    """Take a listing off the market without moving its timestamps."""
    mls.market.listing(key).status = "Expired"


def forget(mls: Sandbox, key: str) -> None:
    """Delete the MLS's record of a listing."""
    mls.forget(key)


@pytest.mark.parametrize("leave", [forget, expire])
async def test_a_sweep_that_finds_a_burst_missing_holds_its_removals_before_the_first_is_hidden(
    larger: tuple[Sandbox, SweepingScheduler], leave: Leave
) -> None:
    mls, scheduler = larger
    for key in keys(mls)[:120]:
        leave(mls, key)
    await scheduler.later(DAY)
    (hold,) = await scheduler.removal_holds.all()
    assert scheduler.published() == 50, "the first group, which is no burst by itself"
    assert (hold.feed, hold.reason, hold.decision) == ("sandbox", RemovalReason.LISTING_INACTIVE, None)
    assert (hold.hidden, hold.displayed) == (120, 10)
    assert "its MLS no longer lists 120 of 130 listings as displayed" in str(hold)
    for _ in range(2):
        await scheduler.later(timedelta(seconds=10))
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 999)) == 10, "they are hidden all the same"


async def test_listings_missing_from_the_market_that_the_mls_still_has_stay_without_a_hold(
    larger: tuple[Sandbox, SweepingScheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    mls, scheduler = larger
    left_out = keys(mls)[:120]
    whole = FeedReader.market

    async def incomplete(self: FeedReader) -> AsyncIterator[Any]:
        async for rows in whole(self):
            yield [row for row in rows if row["ListingKey"] not in left_out]

    monkeypatch.setattr(FeedReader, "market", incomplete)
    sweep = await scheduler.swept()
    assert (sweep.counts.missing, sweep.counts.gone) == (120, 0)
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 999)) == 130
    assert await scheduler.removal_holds.all() == []


async def test_fewer_missing_listings_than_a_burst_are_hidden_without_a_hold(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    for key in keys(mls)[:25]:
        mls.forget(key)
    assert (await scheduler.swept()).counts.gone == 25
    assert await scheduler.removal_holds.all() == []


@pytest.mark.parametrize(
    ("leave", "decision", "displayed", "last"),
    [
        (forget, Decision.DISCARD, 80, Decision.DISCARD),
        (forget, Decision.RESUME, 10, Decision.RESUME),
        (expire, Decision.DISCARD, 10, None),
        (expire, Decision.RESUME, 10, Decision.RESUME),
    ],
)
async def test_an_operators_decision_applies_to_the_rest_of_the_sweep(
    larger: tuple[Sandbox, SweepingScheduler], leave: Leave, decision: Decision, displayed: int, last: Decision | None
) -> None:
    mls, scheduler = larger
    for key in keys(mls)[:120]:
        leave(mls, key)
    await scheduler.later(DAY)
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 999)) == 80
    scheduler.now += timedelta(seconds=1)
    await scheduler.removal_holds.decide("sandbox", decision, scheduler.now)
    for _ in range(20):
        await scheduler.later(timedelta(seconds=10))
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 999)) == displayed
    (hold,) = await scheduler.removal_holds.all()
    assert hold.decision is last, (
        "after a discard, only listings that the MLS itself says to be hidden are held for another decision"
    )


async def test_after_a_discard_listings_without_a_record_stay_although_others_have_one(
    larger: tuple[Sandbox, SweepingScheduler],
) -> None:
    mls, scheduler = larger
    for number, key in enumerate(keys(mls)[:120]):
        (forget if number % 2 else expire)(mls, key)
    await scheduler.later(DAY)
    gone = (await scheduler.sweep()).counts.gone
    scheduler.now += timedelta(seconds=1)
    await scheduler.removal_holds.decide("sandbox", Decision.DISCARD, scheduler.now)
    for _ in range(20):
        await scheduler.later(timedelta(seconds=10))
    assert len(await scheduler.listings.displayed_keys("sandbox", "", 999)) == 10 + 60 - gone


async def test_an_answer_without_the_witness_hides_nothing(
    mls: Sandbox, scheduler: SweepingScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    mls.forget(keys(mls)[4])

    async def nothing(self: FeedReader, keys: Any) -> KeyedRecords:
        return KeyedRecords({}, frozenset(keys))

    monkeypatch.setattr(FeedReader, "records", nothing)
    sweep = await scheduler.swept()
    assert (sweep.counts.missing, sweep.counts.gone, scheduler.published()) == (1, 0, 0)
    assert "no usable answer for 1 listings" in sweep.error
