"""Which photos are released, in which order and by whom? The most urgent first, a tenth by age; no photo twice."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from services.scheduler.release import Releaser
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.events.images import ImageOutdated
from shared.kafka import BrokerUnavailable
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import ListingsUnwritable
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryThroughputs
from tests.builders import FEED, NOW, a_downloaded_photo, a_feed, a_listing, a_photo, after

FREE = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}


class MemoryPublisher:
    """A publisher that keeps the events; while `is_unavailable`, it refuses them."""

    def __init__(self) -> None:
        self.events: list[ImageOutdated] = []
        self.is_unavailable = False

    async def publish(self, events: Iterable[ImageOutdated]) -> None:
        if self.is_unavailable:
            raise BrokerUnavailable("unavailable")
        self.events += events

    async def ping(self) -> None:
        return


class Scheduler:
    """Listings in memory, and the releasers of one or more schedulers; `now` is their clock."""

    def __init__(self, **rules: object) -> None:
        self.feed = a_feed(**{**FREE, **rules})
        self.listings, self.leases = MemoryListings(Renderer("http://x")), MemoryLeases()
        self.publisher = MemoryPublisher()
        self.now = NOW
        self.release = self.another("first")

    def clock(self) -> datetime:
        return self.now

    def another(self, name: str) -> Releaser:
        lease, publisher = Lease(self.leases, "scheduler", name, self.clock), cast("Publisher", self.publisher)
        self.registry = CollectorRegistry()
        return Releaser(self.listings, lease, publisher, {FEED: self.feed}, self.clock, self.registry)

    async def write(self, listings: Sequence[Listing]) -> None:
        assert not await self.listings.write(listings)

    async def tick(self, seconds: float = 0.25, release: Releaser | None = None) -> list[str]:
        """Let time pass and release; return the ListingKeys of the events that were published."""
        self.now = after((self.now - NOW).total_seconds() + seconds)
        before = len(self.publisher.events)
        await (release or self.release).tick()
        return [event.listing_key for event in self.publisher.events[before:]]

    async def finish_all(self) -> None:
        """Record every photo in flight as downloaded."""
        page = await self.listings.page(FEED, "", 10_000)
        await self.write([listing.with_photos(map(_done, listing.released)) for listing in page if listing.released])


def _done(photo: Photo) -> Photo:
    held = a_downloaded_photo(photo.object_id, key="any").copy
    return replace(photo, released_at=None, copy=held, forced_at=None)


def queue(priority: Priority, listings: int, age: float, photos: int = 1) -> list[Listing]:
    """Return listings with due photos of a priority, the first due `age` seconds before NOW, then a second apart."""
    return [
        a_listing(
            *(
                a_photo(f"{photo}", key=f"{priority}{number:03}", priority=priority, not_before=after(number - age))
                for photo in range(photos)
            ),
            key=f"{priority}{number:03}",
        )
        for number in range(listings)
    ]


async def test_the_most_urgent_photos_are_released_first_and_among_equals_the_longest_due() -> None:
    scheduler = Scheduler()
    for priority in reversed(Priority):
        await scheduler.write(queue(priority, 5, 100))
    released = await scheduler.tick()
    # All twenty fit; two of them by age alone, and these happen to be the most urgent too.
    assert len(released) == 20
    events = scheduler.publisher.events
    assert [event.priority for event in sorted(events, key=lambda event: event.priority.rank)] == [
        priority for priority in Priority for _ in range(5)
    ]


@pytest.mark.parametrize("idle_ticks", [0, 12])
async def test_beyond_the_capacity_nine_in_ten_are_released_by_urgency_and_one_by_age(idle_ticks: int) -> None:
    scheduler = Scheduler()
    for _ in range(idle_ticks):
        assert await scheduler.tick() == []
    await scheduler.write(queue(Priority.ROUTINE, 50, 10_000))
    await scheduler.write(queue(Priority.VIEWED, 50, 100))
    released = await scheduler.tick()
    assert len(released) == 32
    assert sorted(released) == sorted(
        [f"routine{number:03}" for number in range(3)] + [f"viewed{number:03}" for number in range(29)]
    )


async def test_first_photos_are_released_before_others_and_those_listing_by_listing() -> None:
    scheduler = Scheduler()
    await scheduler.write(
        [a_listing(*(a_photo(f"{n}", key=key, order=n) for n in range(10)), key=key) for key in "GJBEADHCIF"]
    )
    released = Counter(await scheduler.tick())
    assert released == {**dict.fromkeys("DEFGHIJ", 1), "A": 10, "B": 10, "C": 5}


async def test_routine_photos_are_released_although_urgent_ones_never_end() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 10, 10_000))
    waiting, rounds = {f"routine{number:03}" for number in range(10)}, 0
    while waiting and rounds < 20:
        urgent = [
            a_listing(a_photo("u", key=f"U{rounds}-{number}", priority=Priority.VIEWED), key=f"U{rounds}-{number}")
            for number in range(40)
        ]
        await scheduler.write(urgent)
        waiting -= {*await scheduler.tick()}
        await scheduler.finish_all()
        rounds += 1
    assert not waiting
    assert rounds <= 6


async def test_a_photo_of_raised_priority_is_released_earlier() -> None:
    scheduler = Scheduler(batch_size=1)
    await scheduler.write(queue(Priority.ROUTINE, 50, 100))
    listing = await scheduler.listings.get(FEED, "routine049")
    assert listing is not None
    await scheduler.write([listing.with_photos([replace(listing.photos[0], priority=Priority.VIEWED)])])
    assert "routine049" in await scheduler.tick()
    assert len(await scheduler.listings.page(FEED, "", 99)) == 50


async def test_a_released_photo_is_not_released_again_before_its_lease_of_two_minutes_ends() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 3, 100, photos=2))
    assert len(await scheduler.tick()) == 6
    assert await scheduler.tick(119) == []
    expired = "listing_images_leases_expired_total", {"feed": FEED}
    assert not scheduler.registry.get_sample_value(*expired)
    assert len(await scheduler.tick(1)) == 6
    assert scheduler.registry.get_sample_value(*expired) == 6


async def test_only_the_scheduler_with_the_lease_releases_and_another_takes_over_when_the_lease_ends() -> None:
    scheduler = Scheduler()
    first_registry = scheduler.registry
    other = scheduler.another("second")
    await scheduler.write(queue(Priority.ROUTINE, 40, 100))
    assert len(await scheduler.tick()) == 32
    await scheduler.finish_all()
    await scheduler.tick()
    assert first_registry.get_sample_value("listing_images_in_flight", {"feed": FEED}) == 0
    assert await scheduler.tick(5, other) == []
    assert len(await scheduler.tick(6, other)) == 0
    await scheduler.tick()
    assert first_registry.get_sample_value("listing_images_in_flight", {"feed": FEED}) is None, (
        "only the scheduler with the lease shows it"
    )


async def test_two_schedulers_that_both_take_the_lease_for_theirs_release_no_photo_twice() -> None:
    scheduler = Scheduler()
    other = scheduler.another("second")
    await scheduler.write(queue(Priority.ROUTINE, 100, 1_000))
    await scheduler.tick()
    await scheduler.leases.release("scheduler", "first")
    for _ in range(8):
        await scheduler.tick(0.25, other)
        await scheduler.tick(0.25, scheduler.release)
        await scheduler.finish_all()
    ids = [event.image_id for event in scheduler.publisher.events]
    assert (len(ids), len(set(ids))) == (100, 100)


async def test_a_listing_written_since_it_was_read_is_released_at_the_next_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 2, 100))
    read = await scheduler.listings.due(FEED, NOW, 100)
    await scheduler.write([replace(read[0], city="Elora")])

    async def stale(*_: object) -> Sequence[Listing]:
        return read

    with monkeypatch.context() as paused:
        paused.setattr(scheduler.listings, "due", stale)
        paused.setattr(scheduler.listings, "oldest_due", stale)
        assert await scheduler.tick() == [read[1].key]
    assert await scheduler.tick() == [read[0].key]


async def test_photos_whose_events_kafka_refused_are_due_as_before() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 3, 100, photos=2))
    before = await scheduler.listings.page(FEED, "", 10)
    scheduler.publisher.is_unavailable = True
    with pytest.raises(BrokerUnavailable):
        await scheduler.tick()
    after_failure = await scheduler.listings.page(FEED, "", 10)
    assert after_failure == [replace(listing, revision=listing.revision + 2) for listing in before]
    scheduler.publisher.is_unavailable = False
    assert len(await scheduler.tick()) == 6


async def test_a_photo_claimed_although_kafka_failed_stays_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 2, 100))

    async def publish(_: object) -> None:
        listing = await scheduler.listings.get(FEED, "routine000")
        assert listing is not None
        claim = Claim(worker="w", until=after(80))
        await scheduler.write([listing.with_photos([replace(listing.photos[0], claim=claim)])])
        raise BrokerUnavailable("unavailable")

    with monkeypatch.context() as failing:
        failing.setattr(scheduler.publisher, "publish", publish)
        with pytest.raises(BrokerUnavailable):
            await scheduler.tick()
    assert await scheduler.tick() == ["routine001"]


async def test_the_scheduler_with_the_lease_records_the_throughput_while_photos_are_in_flight() -> None:
    scheduler, throughputs = Scheduler(), MemoryThroughputs()
    await scheduler.release.record_throughputs(throughputs)
    assert await throughputs.get(FEED) is None
    await scheduler.write(queue(Priority.ROUTINE, 40, 100))
    await scheduler.tick()
    await scheduler.finish_all()
    await scheduler.tick(4)
    await scheduler.another("second").record_throughputs(throughputs)
    assert await throughputs.get(FEED) is None
    await scheduler.release.record_throughputs(throughputs)
    throughput = await throughputs.get(FEED)
    assert throughput is not None
    assert throughput.at == after(4.25)
    assert throughput.finished_per_second == pytest.approx(32 / 4 * 1.25)


class PoisonedListings(MemoryListings):
    """Listings in memory, of which those with the ListingKey POISON cannot be written."""

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        listings = list(listings)
        poison = {(listing.feed, listing.key) for listing in listings if listing.key == "POISON"}
        refused = await super().write(listing for listing in listings if listing.key != "POISON")
        if poison:
            raise ListingsUnwritable("too large", {*refused, *poison})
        return refused


@pytest.mark.parametrize("error", [None, ValueError("a bug")])
async def test_a_listing_or_a_feed_that_fails_delays_no_other(error: Exception | None) -> None:
    listings, publisher = PoisonedListings(Renderer("http://x")), MemoryPublisher()
    feeds = {name: a_feed(**FREE, name=name) for name in ("a", "b")}
    lease = Lease(MemoryLeases(), "release", "w", lambda: NOW)
    releaser = Releaser(listings, lease, cast("Publisher", publisher), feeds, lambda: NOW, CollectorRegistry())
    await MemoryListings.write(
        listings, [a_listing(a_photo(key=key, feed=feed), key=key, feed=feed) for feed, key in
                   (("a", "POISON"), ("a", "X1"), ("b", "X2"))]
    )  # fmt: skip
    due = listings.due

    async def failing(feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        if error and feed == "a":
            raise error
        return await due(feed, now, limit)

    listings.due = failing  # type: ignore[method-assign]
    await releaser.tick()
    assert sorted(event.listing_key for event in publisher.events) == (["X2"] if error else ["X1", "X2"])
