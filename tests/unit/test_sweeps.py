"""What does a sweep find? Every difference between the MLS and the records; and nothing in a broken answer."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, cast
from zoneinfo import ZoneInfo

import pytest
from prometheus_client import CollectorRegistry

from local.sandbox import Sandbox
from services.scheduler import schedule
from services.scheduler.change_follower import FOLLOW_EVERY
from services.scheduler.feed_reader import FeedReader
from services.scheduler.odata import MlsClient
from services.scheduler.sweep_metrics import SweepMetrics
from services.scheduler.sweeps import START_DELAY, Sweeper, SweepStores
from shared.clock import utc_now
from shared.dead_letters import DeadLetters
from shared.domain.feed import Feed, parse_feeds
from shared.domain.image import Photo
from shared.domain.listing import Listing, RemovalReason
from shared.events.records import Record
from shared.kafka import Broker, BrokerUnavailable, Outgoing
from shared.lease import Lease
from shared.publisher import Publisher
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryRemovalHolds, MemorySweeps
from shared.stores.removal_holds import Decision
from shared.stores.sweeps import SweepRequest, SweepState
from tests.builders import a_copy, a_downloaded_photo, a_feed, a_listing, a_photo

DAY = timedelta(days=1)
PHOTOS = 3


class RecordingBroker:
    """A broker whose records are recorded at once by `recorder`; while `is_unavailable`, it refuses them."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.published: list[Outgoing] = []
        self.is_unavailable = False

    async def publish(self, records: Iterable[Outgoing]) -> None:
        if self.is_unavailable:
            raise BrokerUnavailable("unavailable")
        for record in records:
            self.published.append(record)
            if self.recorder:
                at = utc_now()
                await self.recorder.record([Record(record.topic, 0, len(self.published), at, record.key, record.value)])

    async def ping(self) -> None:
        return


class SweepingScheduler:
    """A scheduler that sweeps the sandbox MLS, with stores in memory; `now` is its clock, which tests move."""

    def __init__(self, feed: Feed, *, pause_seconds: float = 0.0) -> None:
        self.feed, self.now = feed, utc_now()
        self.listings, self.sweeps, self.leases = MemoryListings(Renderer("http://x")), MemorySweeps(), MemoryLeases()
        self.broker, self.registry = RecordingBroker(), CollectorRegistry()
        broker = cast("Broker", self.broker)
        dead_letters = DeadLetters(broker, "", "scheduler", self.clock, CollectorRegistry())
        self.broker.recorder = Recorder(self.listings, {feed.name: feed}, dead_letters, utc_now, CollectorRegistry())
        self.publisher = Publisher(broker, "", "scheduler", self.clock)
        self.metrics, self.removal_holds = SweepMetrics(self.registry), MemoryRemovalHolds()
        self.readers: list[FeedReader] = []
        self.pause_seconds = pause_seconds
        self.sweeper = self.another("first")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self.readers:
            await reader.aclose()

    def clock(self) -> datetime:
        return self.now

    def another(self, name: str) -> Sweeper:
        """Return the sweeper of another process that has just started."""
        reader = None
        if self.feed.reso_url:
            reader = FeedReader(self.feed, MlsClient(self.feed, "secret", pause_seconds=self.pause_seconds))
            self.readers.append(reader)
        lease = Lease(self.leases, "scheduler", name, self.clock)
        stores = SweepStores(self.listings, self.sweeps, self.removal_holds)
        return Sweeper(self.feed, reader, stores, lease, self.publisher, self.clock, self.metrics)

    async def later(self, wait: timedelta) -> None:
        """Let time pass, then run a round."""
        self.now += wait
        await self.sweeper.round()

    async def swept(self) -> SweepState:
        """Request a sweep as an operator does, run it, and return its state."""
        self.now += timedelta(seconds=1)
        await self.sweeps.request(self.feed.name, SweepRequest(at=self.now))
        await self.sweeper.round()
        return await self.sweep()

    async def sweep(self) -> SweepState:
        return await self.sweeps.get(self.feed.name)

    async def listing(self, key: str) -> Listing:
        found = await self.listings.get(self.feed.name, key)
        assert found is not None
        return found

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"listing_images_{name}", {"feed": self.feed.name, **labels}) or 0.0

    def published(self) -> int:
        """Return how many listings were published since the last call."""
        count = len(self.broker.published)
        self.broker.published.clear()
        return count


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=30, photos=PHOTOS, widest=320, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def scheduler(mls: Sandbox) -> AsyncIterator[SweepingScheduler]:
    """A scheduler that has recorded all 30 listings of the MLS."""
    async with SweepingScheduler(feed_of(mls)) as started:
        await started.later(START_DELAY)
        assert started.published() == 30
        yield started


def feed_of(mls: Sandbox, **rules: Any) -> Feed:
    return parse_feeds(mls.feeds_toml(reso_url=mls.web_api, **rules))["sandbox"]


def keys(mls: Sandbox) -> list[str]:
    return list(mls.market.listings)


# What a sweep finds


async def test_a_feed_that_was_never_swept_is_swept_at_once_and_then_the_next_day(scheduler: SweepingScheduler) -> None:
    assert (await scheduler.sweep()).counts.compared == 30
    displayed = await scheduler.listings.displayed_keys("sandbox", "", 99)
    assert [len((await scheduler.listing(key)).photos) for key in displayed] == [PHOTOS] * 30
    await scheduler.later(timedelta(seconds=1))
    assert scheduler.count("sweeps_total", result="done") == 1
    await scheduler.later(DAY)
    assert (scheduler.count("sweeps_total", result="done"), scheduler.published()) == (2, 0)


async def test_a_photo_that_changed_without_an_event_is_published(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    key = keys(mls)[4]
    before = await scheduler.listing(key)
    mls.change_photo(key, 1)
    sweep = await scheduler.swept()
    after = await scheduler.listing(key)
    unchanged = [
        photo.announced_at == other.announced_at for photo, other in zip(before.photos, after.photos, strict=True)
    ]
    assert unchanged == [True, False, True]
    assert (scheduler.published(), sweep.counts.published, sweep.counts.missing) == (1, 1, 0)


async def test_a_listing_that_left_the_market_without_an_event_is_hidden(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    mls.withdraw(key)
    sweep = await scheduler.swept()
    assert (await scheduler.listing(key)).standard_status == "Expired"
    assert not (await scheduler.listing(key)).is_displayed
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 0)


async def test_a_listing_that_the_mls_deleted_is_hidden_and_displayed_again_when_it_comes_back(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    removed = mls.market.listing(key)
    mls.forget(key)
    sweep = await scheduler.swept()
    hidden = (await scheduler.listing(key)).hidden
    assert hidden is not None
    assert hidden.reason is RemovalReason.LISTING_INACTIVE
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 1)
    mls.market.listings[key] = removed
    await scheduler.swept()
    assert (await scheduler.listing(key)).is_displayed


async def test_an_opted_out_listing_is_hidden_and_not_published_again(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    key = keys(mls)[4]
    mls.opt_out(key)
    await scheduler.swept()
    assert not (await scheduler.listing(key)).is_displayed
    scheduler.published()
    await scheduler.swept()
    assert scheduler.published() == 0


async def test_a_listing_never_recorded_that_may_not_be_shown_is_not_published(mls: Sandbox) -> None:
    mls.withdraw(keys(mls)[4])
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 29
        await scheduler.later(FOLLOW_EVERY)
        assert scheduler.published() == 0


# Between two sweeps


@pytest.mark.parametrize("media_only", [False, True])
async def test_changes_of_records_and_of_photos_alone_are_followed_between_sweeps(
    mls: Sandbox, scheduler: SweepingScheduler, media_only: bool
) -> None:
    key = keys(mls)[4]
    before = (await scheduler.listing(key)).photos[0].announced_at
    mls.change_photo(key, media_only=media_only)
    await scheduler.later(timedelta(seconds=1))
    assert scheduler.published() == 0
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
    assert (await scheduler.listing(key)).photos[0].announced_at != before
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 0


@pytest.mark.parametrize(("minutes", "found"), [(15, 1), (25, 0)])
async def test_a_record_that_the_mls_shows_up_to_twenty_minutes_late_is_followed(
    mls: Sandbox, scheduler: SweepingScheduler, minutes: int, found: int
) -> None:
    mls.touch(keys(mls)[4])
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
    reached = (await scheduler.sweep()).published_until["ModificationTimestamp"]
    late = mls.market.listing(keys(mls)[5])
    late.modified_at = (reached - timedelta(minutes=minutes)).isoformat()
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == found


async def test_more_changes_than_fit_on_a_page_are_all_followed(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=130, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.swept()
        assert scheduler.published() == 130
        for key in keys(mls):
            mls.touch(key)
        await scheduler.later(FOLLOW_EVERY)
        assert scheduler.published() == 130


async def test_a_change_that_kafka_refused_is_published_by_the_next_scheduler(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.change_photo(keys(mls)[4])
    scheduler.broker.is_unavailable = True
    with pytest.raises(BrokerUnavailable):
        await scheduler.later(FOLLOW_EVERY)
    scheduler.broker.is_unavailable = False
    scheduler.sweeper = scheduler.another("second")
    await scheduler.later(timedelta(seconds=20))
    assert scheduler.published() == 1


async def test_changes_are_followed_after_a_record_with_a_timestamp_in_the_far_future(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    mls.market.listing(keys(mls)[4]).modified_at = "2099-01-01T00:00:00.000Z"
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1
    mls.touch(keys(mls)[5])
    await scheduler.later(FOLLOW_EVERY)
    assert scheduler.published() == 1


# Which scheduler sweeps, and when


async def test_only_the_scheduler_with_the_lease_sweeps(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    other = scheduler.another("second")
    await scheduler.later(timedelta(seconds=1))
    mls.change_photo(keys(mls)[4])
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now))
    await other.round()
    assert scheduler.published() == 0
    await scheduler.sweeper.round()
    assert scheduler.published() == 1


async def test_the_time_of_success_begins_with_the_start_and_is_shown_only_with_the_lease(
    mls: Sandbox, scheduler: SweepingScheduler
) -> None:
    shown = "listing_images_sweep_success_timestamp_seconds", {"feed": "sandbox"}
    mls.misbehave(on="odata", kind="status", status=503)
    async with SweepingScheduler(feed_of(mls)) as other:
        began = other.now
        for _ in range(3):
            await other.later(DAY)
        assert other.registry.get_sample_value(*shown) == (began + START_DELAY).timestamp()
        other.leases = MemoryLeases()
        assert await Lease(other.leases, "scheduler", "second", other.clock).is_held()
        other.sweeper = other.another("first")
        await other.later(timedelta(seconds=1))
        assert other.registry.get_sample_value(*shown) is None


async def test_a_missed_sweep_starts_half_a_minute_after_the_scheduler(mls: Sandbox) -> None:
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        await scheduler.later(START_DELAY / 2)
        assert scheduler.published() == 0
        await scheduler.later(START_DELAY / 2)
        assert scheduler.published() == 30


@pytest.mark.parametrize(("day", "hours"), [(30, 9), (31, 10)], ids=["any-day", "clocks-go-back"])
async def test_the_daily_sweep_starts_at_its_local_time_whenever_the_last_one_ended(
    mls: Sandbox, day: int, hours: int
) -> None:
    async with SweepingScheduler(feed_of(mls)) as scheduler:
        scheduler.now = datetime(2026, 10, day, 20, 0, tzinfo=UTC)
        scheduler.sweeper = scheduler.another("first")
        await scheduler.later(START_DELAY)
        for _ in range(hours):
            await scheduler.later(timedelta(hours=1))
        await scheduler.later(timedelta(minutes=59, seconds=29))
        toronto = scheduler.now.astimezone(ZoneInfo("America/Toronto"))
        assert (f"{toronto:%H:%M:%S}", scheduler.count("sweeps_total", result="done")) == ("01:59:59", 1)
        await scheduler.later(timedelta(seconds=1))
        assert scheduler.count("sweeps_total", result="done") == 2


async def test_the_requests_of_a_sweep_are_spread_over_its_hours(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls, sweep_hours=0.005)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 50
        await scheduler.later(timedelta(seconds=5))
        assert scheduler.published() == 0
        await scheduler.later(timedelta(seconds=2))
        assert scheduler.published() == 50
        await scheduler.later(timedelta(seconds=7))
        assert scheduler.published() == 20
        assert (await scheduler.sweep()).last_finished_start is not None


async def test_groups_are_in_the_order_of_their_listings_slots_at_most_ten_seconds_apart(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        order = sorted(keys(mls), key=lambda key: schedule.slot(scheduler.feed, key, scheduler.now))
        for group in (order[:50], order[50:100], order[100:]):
            assert {record.key for record in scheduler.broker.published} == {key.encode() for key in group}
            scheduler.published()
            await scheduler.later(timedelta(seconds=9))
            assert scheduler.published() == 0
            await scheduler.later(timedelta(seconds=1))


async def test_an_interrupted_sweep_asks_only_for_the_listings_that_still_differ(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        SweepingScheduler(feed_of(mls)) as scheduler,
    ):
        await scheduler.later(START_DELAY)
        assert scheduler.published() == 50
        scheduler.sweeper = scheduler.another("second")
        await scheduler.later(START_DELAY)
        await scheduler.later(timedelta(seconds=10))
        assert scheduler.published() == 70


async def test_a_dry_run_only_counts(mls: Sandbox, scheduler: SweepingScheduler) -> None:
    mls.change_photo(keys(mls)[4])
    mls.withdraw(keys(mls)[5])
    before = await scheduler.sweep()
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now, dry_run=True))
    await scheduler.later(timedelta(seconds=1))
    after = await scheduler.sweep()
    assert (after.open_request, after.counts.asked_for, after.counts.missing, after.counts.published) == (None, 2, 1, 0)
    assert (after.last_finished_start, after.published_until, scheduler.published()) == (
        before.last_finished_start,
        before.published_until,
        0,
    )


# Broken answers conclude nothing

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

    async def nothing(self: FeedReader, keys: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(FeedReader, "records", nothing)
    sweep = await scheduler.swept()
    assert (sweep.counts.missing, sweep.counts.gone, scheduler.published()) == (1, 0, 0)


# Copies of a feed without an MLS to ask


def a_checked_photo(name: str, days: float, now: datetime, **facts: Any) -> Photo:
    key = facts.pop("key")
    return a_downloaded_photo(name, key=key, copy=a_copy(name, key=key, checked_at=now - days * DAY, **facts))


async def test_copies_not_checked_for_days_are_due_spread_over_the_hours() -> None:
    scheduler = SweepingScheduler(a_feed(recheck_days=7.0, sweep_hours=4.0))
    for number in range(250):
        key = f"X{number}"
        photos = [
            a_checked_photo("stale", 8, scheduler.now, key=key),
            a_checked_photo("fresh", 6, scheduler.now, key=key),
            a_checked_photo("unconditional", 8, scheduler.now, key=key, etag=None),
            a_photo("missing", key=key),
        ]
        await scheduler.listings.write([a_listing(*photos, key=key)])
    await scheduler.later(START_DELAY)
    due = [(await scheduler.listings.get(scheduler.feed.name, f"X{number}")) for number in range(250)]
    photos = [photo for listing in due if listing for photo in listing.photos if photo.forced_at]
    assert [photo.object_id for photo in photos] == ["stale"] * 250
    assert scheduler.count("sweep_rechecked_total") == 250
    start = (await scheduler.sweep()).last_finished_start
    assert start is not None
    ends = start + timedelta(hours=4)
    assert all(scheduler.now <= photo.not_before <= max(ends, scheduler.now) for photo in photos)
    await scheduler.later(timedelta(minutes=1))
    assert scheduler.count("sweep_rechecked_total") == 250


async def test_a_requested_recheck_is_due_at_once_and_a_dry_run_only_counts() -> None:
    scheduler = SweepingScheduler(a_feed(recheck_days=7.0, sweep_hours=4.0))
    await scheduler.listings.write([a_listing(a_checked_photo("a", 8, scheduler.now, key="X1"))])
    await scheduler.sweeps.request(scheduler.feed.name, SweepRequest(at=scheduler.now, dry_run=True))
    await scheduler.sweeper.round()
    assert ((await scheduler.sweep()).counts.compared, (await scheduler.listing("X1")).due_at) == (1, None)
    sweep = await scheduler.swept()
    assert (sweep.counts.published, (await scheduler.listing("X1")).due_at) == (1, scheduler.now)


async def test_without_recheck_days_no_copy_is_due() -> None:
    scheduler = SweepingScheduler(a_feed())
    await scheduler.listings.write([a_listing(a_checked_photo("a", 999, scheduler.now, key="X1"))])
    await scheduler.later(START_DELAY)
    assert (await scheduler.listing("X1")).due_at is None
