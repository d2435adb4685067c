"""What does a sweep find? Everything that the MLS says and we have not heard; and from a broken answer nothing."""

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
from tests.builders import a_copy, a_feed, a_held_photo, a_listing, a_photo

DAY = timedelta(days=1)
PHOTOS = 3


class Heard:
    """A broker whose one consumer records at once; while it is `away` it takes nothing."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None
        self.taken: list[Outgoing] = []
        self.is_away = False

    async def publish(self, records: Iterable[Outgoing]) -> None:
        if self.is_away:
            raise BrokerUnavailable("away")
        for one in records:
            self.taken.append(one)
            if self.recorder:
                at = utc_now()
                await self.recorder.record([Record(one.topic, 0, len(self.taken), at, one.key, one.value)])

    async def ping(self) -> None:
        return


class Desk:
    """One scheduler's sweeps of the sandbox MLS, with stores in memory; `now` is moved by hand."""

    def __init__(self, feed: Feed, *, pause_seconds: float = 0.0) -> None:
        self.feed, self.now = feed, utc_now()
        self.listings, self.sweeps, self.leases = MemoryListings(Renderer("http://x")), MemorySweeps(), MemoryLeases()
        self.broker, self.registry = Heard(), CollectorRegistry()
        broker = cast("Broker", self.broker)
        dead = DeadLetters(broker, "", "scheduler", self.clock, CollectorRegistry())
        self.broker.recorder = Recorder(self.listings, {feed.name: feed}, dead, utc_now, CollectorRegistry())
        self.publisher = Publisher(broker, "", "scheduler", self.clock)
        self.metrics, self.removal_holds = SweepMetrics(self.registry), MemoryRemovalHolds()
        self.readers: list[FeedReader] = []
        self.pause_seconds = pause_seconds
        self.sweeper = self.another("one")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for reader in self.readers:
            await reader.aclose()

    def clock(self) -> datetime:
        return self.now

    def another(self, name: str) -> Sweeper:
        """Return the sweeps of another process, as just started."""
        reader = None
        if self.feed.reso_url:
            reader = FeedReader(self.feed, MlsClient(self.feed, "secret", pause_seconds=self.pause_seconds))
            self.readers.append(reader)
        lease = Lease(self.leases, "scheduler", name, self.clock)
        stores = SweepStores(self.listings, self.sweeps, self.removal_holds)
        return Sweeper(self.feed, reader, stores, lease, self.publisher, self.clock, self.metrics)

    async def later(self, wait: timedelta) -> None:
        """Let time pass, then do a round."""
        self.now += wait
        await self.sweeper.round()

    async def swept(self) -> SweepState:
        """Have an operator ask for a sweep, and see it through."""
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
        """How many listings were published since last asked."""
        count = len(self.broker.taken)
        self.broker.taken.clear()
        return count


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=30, photos=PHOTOS, widest=320, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def desk(mls: Sandbox) -> AsyncIterator[Desk]:
    """A desk that has heard of every listing."""
    async with Desk(feed_of(mls)) as found:
        await found.later(START_DELAY)
        assert found.published() == 30
        yield found


def feed_of(mls: Sandbox, **rules: Any) -> Feed:
    return parse_feeds(mls.feeds_toml(reso_url=mls.web_api, **rules))["sandbox"]


def keys(mls: Sandbox) -> list[str]:
    return list(mls.market.listings)


# What is found


async def test_a_feed_that_was_never_swept_is_read_whole_and_again_only_the_next_day(desk: Desk) -> None:
    assert (await desk.sweep()).counts.compared == 30
    displayed = await desk.listings.displayed_keys("sandbox", "", 99)
    assert [len((await desk.listing(key)).photos) for key in displayed] == [PHOTOS] * 30
    await desk.later(timedelta(seconds=1))
    assert desk.count("sweeps_total", result="done") == 1
    await desk.later(DAY)
    assert (desk.count("sweeps_total", result="done"), desk.published()) == (2, 0)


async def test_a_photo_that_changed_without_an_event_is_found(mls: Sandbox, desk: Desk) -> None:
    key = keys(mls)[4]
    before = await desk.listing(key)
    mls.change_photo(key, 1)
    sweep = await desk.swept()
    after = await desk.listing(key)
    assert [one.announced_at == other.announced_at for one, other in zip(before.photos, after.photos, strict=True)] == [
        True, False, True,
    ]  # fmt: skip
    assert (desk.published(), sweep.counts.published, sweep.counts.missing) == (1, 1, 0)


async def test_a_listing_that_left_the_market_without_an_event_is_hidden(mls: Sandbox, desk: Desk) -> None:
    key = keys(mls)[4]
    mls.withdraw(key)
    sweep = await desk.swept()
    assert (await desk.listing(key)).standard_status == "Expired"
    assert not (await desk.listing(key)).is_displayed
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 0)


async def test_a_listing_that_the_mls_has_no_more_is_deleted_and_may_come_back(mls: Sandbox, desk: Desk) -> None:
    key = keys(mls)[4]
    held = mls.market.listing(key)
    mls.forget(key)
    sweep = await desk.swept()
    hidden = (await desk.listing(key)).hidden
    assert hidden is not None
    assert hidden.reason is RemovalReason.LISTING_INACTIVE
    assert (sweep.counts.missing, sweep.counts.gone) == (1, 1)
    mls.market.listings[key] = held
    await desk.swept()
    assert (await desk.listing(key)).is_displayed


async def test_an_opted_out_listing_is_hidden_and_no_news_each_day(mls: Sandbox, desk: Desk) -> None:
    key = keys(mls)[4]
    mls.opt_out(key)
    await desk.swept()
    assert not (await desk.listing(key)).is_displayed
    desk.published()
    await desk.swept()
    assert desk.published() == 0


async def test_what_was_never_recorded_and_may_not_be_shown_is_not_published(mls: Sandbox) -> None:
    mls.withdraw(keys(mls)[4])
    async with Desk(feed_of(mls)) as desk:
        await desk.later(START_DELAY)
        assert desk.published() == 29
        await desk.later(FOLLOW_EVERY)
        assert desk.published() == 0


# Between two sweeps


@pytest.mark.parametrize("media_only", [False, True])
async def test_changes_are_followed_between_the_sweeps_also_of_photos_alone(
    mls: Sandbox, desk: Desk, media_only: bool
) -> None:
    key = keys(mls)[4]
    before = (await desk.listing(key)).photos[0].announced_at
    mls.change_photo(key, media_only=media_only)
    await desk.later(timedelta(seconds=1))
    assert desk.published() == 0
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == 1
    assert (await desk.listing(key)).photos[0].announced_at != before
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == 0


@pytest.mark.parametrize(("minutes", "found"), [(15, 1), (25, 0)])
async def test_what_the_mls_shows_late_is_found_within_twenty_minutes_of_its_stamp(
    mls: Sandbox, desk: Desk, minutes: int, found: int
) -> None:
    mls.touch(keys(mls)[4])
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == 1
    reached = (await desk.sweep()).published_until["ModificationTimestamp"]
    late = mls.market.listing(keys(mls)[5])
    late.modified_at = (reached - timedelta(minutes=minutes)).isoformat()
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == found


async def test_more_changes_than_fit_on_a_page_are_all_followed(tmp_path: Path) -> None:
    async with Sandbox(listings=130, photos=1, widest=320, cache=tmp_path) as mls, Desk(feed_of(mls)) as desk:
        await desk.swept()
        assert desk.published() == 130
        for key in keys(mls):
            mls.touch(key)
        await desk.later(FOLLOW_EVERY)
        assert desk.published() == 130


async def test_what_the_broker_did_not_take_is_said_by_the_next_scheduler(mls: Sandbox, desk: Desk) -> None:
    mls.change_photo(keys(mls)[4])
    desk.broker.is_away = True
    with pytest.raises(BrokerUnavailable):
        await desk.later(FOLLOW_EVERY)
    desk.broker.is_away = False
    desk.sweeper = desk.another("two")
    await desk.later(timedelta(seconds=20))
    assert desk.published() == 1


async def test_a_record_of_the_far_future_does_not_end_the_following(mls: Sandbox, desk: Desk) -> None:
    mls.market.listing(keys(mls)[4]).modified_at = "2099-01-01T00:00:00.000Z"
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == 1
    mls.touch(keys(mls)[5])
    await desk.later(FOLLOW_EVERY)
    assert desk.published() == 1


# One among many, and when


async def test_one_of_many_schedulers_sweeps(mls: Sandbox, desk: Desk) -> None:
    other = desk.another("two")
    await desk.later(timedelta(seconds=1))
    mls.change_photo(keys(mls)[4])
    await desk.sweeps.request(desk.feed.name, SweepRequest(at=desk.now))
    await other.round()
    assert desk.published() == 0
    await desk.sweeper.round()
    assert desk.published() == 1


async def test_a_feed_that_is_never_swept_counts_from_the_start_and_only_where_it_is_swept(
    mls: Sandbox, desk: Desk
) -> None:
    shown = "listing_images_sweep_success_timestamp_seconds", {"feed": "sandbox"}
    mls.misbehave(on="odata", kind="status", status=503)
    async with Desk(feed_of(mls)) as other:
        began = other.now
        for _ in range(3):
            await other.later(DAY)
        assert other.registry.get_sample_value(*shown) == (began + START_DELAY).timestamp()
        other.leases = MemoryLeases()
        assert await Lease(other.leases, "scheduler", "two", other.clock).is_held()
        other.sweeper = other.another("one")
        await other.later(timedelta(seconds=1))
        assert other.registry.get_sample_value(*shown) is None


async def test_a_missed_sweep_waits_until_the_topics_are_read(mls: Sandbox) -> None:
    async with Desk(feed_of(mls)) as desk:
        await desk.later(START_DELAY / 2)
        assert desk.published() == 0
        await desk.later(START_DELAY / 2)
        assert desk.published() == 30


@pytest.mark.parametrize(("day", "hours"), [(30, 9), (31, 10)], ids=["any-day", "clocks-go-back"])
async def test_the_daily_sweep_begins_at_its_local_time_whenever_the_last_one_was(
    mls: Sandbox, day: int, hours: int
) -> None:
    async with Desk(feed_of(mls)) as desk:
        desk.now = datetime(2026, 10, day, 20, 0, tzinfo=UTC)
        desk.sweeper = desk.another("one")
        await desk.later(START_DELAY)
        for _ in range(hours):
            await desk.later(timedelta(hours=1))
        await desk.later(timedelta(minutes=59, seconds=29))
        toronto = desk.now.astimezone(ZoneInfo("America/Toronto"))
        assert (f"{toronto:%H:%M:%S}", desk.count("sweeps_total", result="done")) == ("01:59:59", 1)
        await desk.later(timedelta(seconds=1))
        assert desk.count("sweeps_total", result="done") == 2


async def test_a_large_sweep_is_spread_over_its_hours(tmp_path: Path) -> None:
    async with (
        Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls,
        Desk(feed_of(mls, sweep_hours=0.005)) as desk,
    ):
        await desk.later(START_DELAY)
        assert desk.published() == 50
        await desk.later(timedelta(seconds=5))
        assert desk.published() == 0
        await desk.later(timedelta(seconds=2))
        assert desk.published() == 50
        await desk.later(timedelta(seconds=7))
        assert desk.published() == 20
        assert (await desk.sweep()).last_finished_start is not None


async def test_groups_follow_their_listings_moments_at_most_ten_seconds_apart(tmp_path: Path) -> None:
    async with Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls, Desk(feed_of(mls)) as desk:
        await desk.later(START_DELAY)
        order = sorted(keys(mls), key=lambda key: schedule.slot(desk.feed, key, desk.now))
        for group in (order[:50], order[50:100], order[100:]):
            assert {one.key for one in desk.broker.taken} == {key.encode() for key in group}
            desk.published()
            await desk.later(timedelta(seconds=9))
            assert desk.published() == 0
            await desk.later(timedelta(seconds=1))


async def test_a_sweep_that_broke_off_goes_on_with_what_is_left(tmp_path: Path) -> None:
    async with Sandbox(listings=120, photos=1, widest=320, cache=tmp_path) as mls, Desk(feed_of(mls)) as desk:
        await desk.later(START_DELAY)
        assert desk.published() == 50
        desk.sweeper = desk.another("two")
        await desk.later(START_DELAY)
        await desk.later(timedelta(seconds=10))
        assert desk.published() == 70


async def test_a_dry_run_says_what_it_would_do_and_does_nothing(mls: Sandbox, desk: Desk) -> None:
    mls.change_photo(keys(mls)[4])
    mls.withdraw(keys(mls)[5])
    before = await desk.sweep()
    await desk.sweeps.request(desk.feed.name, SweepRequest(at=desk.now, dry_run=True))
    await desk.later(timedelta(seconds=1))
    after = await desk.sweep()
    assert (after.open_request, after.counts.asked_for, after.counts.missing, after.counts.published) == (None, 2, 1, 0)
    assert (after.last_finished_start, after.published_until, desk.published()) == (
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


@pytest.mark.parametrize("trouble", BROKEN, ids=lambda one: str(one["kind"]))
async def test_an_mls_in_trouble_changes_nothing_and_is_asked_again_later(
    mls: Sandbox, desk: Desk, trouble: dict[str, Any]
) -> None:
    key = keys(mls)[4]
    mls.withdraw(key)
    mls.misbehave(on="odata", **trouble)
    sweep = await desk.swept()
    assert (desk.published(), sweep.open_request, bool(sweep.error)) == (0, None, True)
    assert desk.count("sweeps_total", result="failed") == 1
    assert len(await desk.listings.displayed_keys("sandbox", "", 99)) == 30
    mls.behave()
    await desk.later(timedelta(seconds=5))
    assert desk.published() == 0, "not at once"
    await desk.swept()
    assert not (await desk.listing(key)).is_displayed
    assert (await desk.sweep()).error == ""


async def test_an_mls_that_asks_to_wait_is_left_alone_so_long(mls: Sandbox, desk: Desk) -> None:
    mls.misbehave(on="odata", status=429, retry_after=3_600, count=1)
    await desk.later(DAY)
    assert desk.count("sweep_errors_total", kind="throttled") == 1
    mls.requests.clear()
    for wait in (timedelta(minutes=1), timedelta(minutes=58, seconds=59)):
        await desk.later(wait)
    assert (mls.requests.total(), desk.count("sweeps_total", result="done")) == (0, 1)
    await desk.later(timedelta(seconds=1))
    assert desk.count("sweeps_total", result="done") == 2


async def test_an_empty_market_where_many_were_displayed_is_not_believed(mls: Sandbox, desk: Desk) -> None:
    mls.market.listings.clear()
    sweep = await desk.swept()
    assert "the MLS lists no listing as displayed, and 30 are" in sweep.error
    assert desk.count("sweep_errors_total", kind="incomplete") == 1
    assert desk.published() == 0


async def test_changes_are_followed_while_the_market_is_not_believed(mls: Sandbox, desk: Desk) -> None:
    listings, changed = dict(mls.market.listings), keys(mls)[4]
    mls.market.listings.clear()
    await desk.later(DAY)
    error = (await desk.sweep()).error
    assert "and 30 are" in error
    mls.market.listings = {changed: listings[changed]}
    mls.change_photo(changed)
    await desk.later(FOLLOW_EVERY)
    sweep = await desk.sweep()
    assert (desk.published(), sweep.error) == (1, error)
    mls.market.listings.clear()
    await desk.later(timedelta(hours=1))
    assert desk.count("sweep_errors_total", kind="incomplete") == 2


@pytest.fixture
async def larger(tmp_path: Path) -> AsyncIterator[tuple[Sandbox, Desk]]:
    """An MLS and a desk that has heard of all its 130 listings; half of them are needed for a burst."""
    async with (
        Sandbox(listings=130, photos=1, widest=320, cache=tmp_path) as mls,
        Desk(feed_of(mls, removal_freeze_share=0.5)) as desk,
    ):
        await desk.swept()
        assert desk.published() == 130
        yield mls, desk


Leave = Callable[[Sandbox, str], None]


def expire(mls: Sandbox, key: str) -> None:
    """Take a listing off the market without a timestamp that tells."""
    mls.market.listing(key).status = "Expired"


def forget(mls: Sandbox, key: str) -> None:
    """Let the MLS have no record of a listing."""
    mls.forget(key)


@pytest.mark.parametrize("leave", [forget, expire])
async def test_a_sweep_that_finds_most_listings_missing_freezes_their_removal_before_the_first_is_hidden(
    larger: tuple[Sandbox, Desk], leave: Leave
) -> None:
    mls, desk = larger
    for key in keys(mls)[:120]:
        leave(mls, key)
    await desk.later(DAY)
    (freeze,) = await desk.removal_holds.all()
    assert desk.published() == 50, "the first group, which is no burst by itself"
    assert (freeze.feed, freeze.reason, freeze.decision) == ("sandbox", RemovalReason.LISTING_INACTIVE, None)
    assert (freeze.hidden, freeze.displayed) == (120, 10)
    assert "its MLS no longer lists 120 of 130 listings as displayed" in str(freeze)
    for _ in range(2):
        await desk.later(timedelta(seconds=10))
    assert len(await desk.listings.displayed_keys("sandbox", "", 999)) == 10, "display stops all the same"


async def test_listings_that_only_the_list_lacks_stay_and_nobody_is_asked(
    larger: tuple[Sandbox, Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    mls, desk = larger
    lost = keys(mls)[:120]
    whole = FeedReader.market

    async def half(self: FeedReader) -> AsyncIterator[Any]:
        async for rows in whole(self):
            yield [row for row in rows if row["ListingKey"] not in lost]

    monkeypatch.setattr(FeedReader, "market", half)
    sweep = await desk.swept()
    assert (sweep.counts.missing, sweep.counts.gone) == (120, 0)
    assert len(await desk.listings.displayed_keys("sandbox", "", 999)) == 130
    assert await desk.removal_holds.all() == []


async def test_fewer_that_are_gone_are_an_ordinary_day(mls: Sandbox, desk: Desk) -> None:
    for key in keys(mls)[:25]:
        mls.forget(key)
    assert (await desk.swept()).counts.gone == 25
    assert await desk.removal_holds.all() == []


@pytest.mark.parametrize(
    ("leave", "decision", "displayed", "last"),
    [
        (forget, Decision.DISCARD, 80, Decision.DISCARD),
        (forget, Decision.RESUME, 10, Decision.RESUME),
        (expire, Decision.DISCARD, 10, None),
        (expire, Decision.RESUME, 10, Decision.RESUME),
    ],
)
async def test_an_operators_decision_holds_for_the_rest_of_the_sweep(
    larger: tuple[Sandbox, Desk], leave: Leave, decision: Decision, displayed: int, last: Decision | None
) -> None:
    mls, desk = larger
    for key in keys(mls)[:120]:
        leave(mls, key)
    await desk.later(DAY)
    assert len(await desk.listings.displayed_keys("sandbox", "", 999)) == 80
    desk.now += timedelta(seconds=1)
    await desk.removal_holds.decide("sandbox", decision, desk.now)
    for _ in range(20):
        await desk.later(timedelta(seconds=10))
    assert len(await desk.listings.displayed_keys("sandbox", "", 999)) == displayed
    (freeze,) = await desk.removal_holds.all()
    assert freeze.decision is last, "only what the MLS itself tells after a discard is asked about anew"


async def test_what_is_gone_after_a_discard_stays_also_where_others_are_told(larger: tuple[Sandbox, Desk]) -> None:
    mls, desk = larger
    for number, key in enumerate(keys(mls)[:120]):
        (forget if number % 2 else expire)(mls, key)
    await desk.later(DAY)
    gone = (await desk.sweep()).counts.gone
    desk.now += timedelta(seconds=1)
    await desk.removal_holds.decide("sandbox", Decision.DISCARD, desk.now)
    for _ in range(20):
        await desk.later(timedelta(seconds=10))
    assert len(await desk.listings.displayed_keys("sandbox", "", 999)) == 10 + 60 - gone


async def test_an_answer_that_lacks_what_is_surely_there_deletes_nothing(
    mls: Sandbox, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mls.forget(keys(mls)[4])

    async def nothing(self: FeedReader, keys: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(FeedReader, "records", nothing)
    sweep = await desk.swept()
    assert (sweep.counts.missing, sweep.counts.gone, desk.published()) == (1, 0, 0)


# Copies of a feed without an MLS to ask


def old(name: str, days: float, now: datetime, **facts: Any) -> Photo:
    key = facts.pop("key")
    return a_held_photo(name, key=key, copy=a_copy(name, key=key, checked_at=now - days * DAY, **facts))


async def test_copies_that_were_not_asked_for_in_days_are_due_over_the_hours() -> None:
    desk = Desk(a_feed(recheck_days=7.0, sweep_hours=4.0))
    for number in range(250):
        key = f"X{number}"
        await desk.listings.write(
            [
                a_listing(
                    old("stale", 8, desk.now, key=key), old("fresh", 6, desk.now, key=key),
                    old("unconditional", 8, desk.now, key=key, etag=None), a_photo("missing", key=key), key=key,
                )
            ]
        )  # fmt: skip
    await desk.later(START_DELAY)
    due = [(await desk.listings.get(desk.feed.name, f"X{number}")) for number in range(250)]
    photos = [photo for listing in due if listing for photo in listing.photos if photo.forced_at]
    assert [photo.object_id for photo in photos] == ["stale"] * 250
    assert desk.count("sweep_rechecked_total") == 250
    start = (await desk.sweep()).last_finished_start
    assert start is not None
    ends = start + timedelta(hours=4)
    assert all(desk.now <= photo.not_before <= max(ends, desk.now) for photo in photos)
    await desk.later(timedelta(minutes=1))
    assert desk.count("sweep_rechecked_total") == 250


async def test_a_wanted_recheck_is_due_at_once_and_a_dry_one_only_counted() -> None:
    desk = Desk(a_feed(recheck_days=7.0, sweep_hours=4.0))
    await desk.listings.write([a_listing(old("a", 8, desk.now, key="X1"))])
    await desk.sweeps.request(desk.feed.name, SweepRequest(at=desk.now, dry_run=True))
    await desk.sweeper.round()
    assert ((await desk.sweep()).counts.compared, (await desk.listing("X1")).due_at) == (1, None)
    sweep = await desk.swept()
    assert (sweep.counts.published, (await desk.listing("X1")).due_at) == (1, desk.now)


async def test_without_days_no_copy_is_asked_for_again() -> None:
    desk = Desk(a_feed())
    await desk.listings.write([a_listing(old("a", 999, desk.now, key="X1"))])
    await desk.later(START_DELAY)
    assert (await desk.listing("X1")).due_at is None
