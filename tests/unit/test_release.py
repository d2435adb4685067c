"""What is released, in which order, and by whom? The most urgent first, one in ten by age; never one photo twice."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryThroughputs
from tests.builders import FEED, NOW, a_feed, a_held_photo, a_listing, a_photo, after

FREE = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}


class Said:
    """A publisher that keeps what was said."""

    def __init__(self) -> None:
        self.events: list[ImageOutdated] = []
        self.goes_away = False

    async def publish(self, events: Iterable[ImageOutdated]) -> None:
        if self.goes_away:
            raise BrokerUnavailable("away")
        self.events += events

    async def ping(self) -> None:
        return


class Scheduler:
    """A queue in memory, and as many releasing processes as a test wants."""

    def __init__(self, **rules: object) -> None:
        self.feed = a_feed(**{**FREE, **rules})
        self.listings, self.leases, self.said = MemoryListings(Renderer("http://x")), MemoryLeases(), Said()
        self.now = NOW
        self.release = self.another("one")

    def clock(self) -> datetime:
        return self.now

    def another(self, name: str) -> Releaser:
        lease, publisher = Lease(self.leases, "scheduler", name, self.clock), cast("Publisher", self.said)
        self.registry = CollectorRegistry()
        return Releaser(self.listings, lease, publisher, {FEED: self.feed}, self.clock, self.registry)

    async def write(self, listings: Sequence[Listing]) -> None:
        assert not await self.listings.write(listings)

    async def tick(self, seconds: float = 0.25, release: Releaser | None = None) -> list[str]:
        """Let time pass and release; return the listing keys of what was said."""
        self.now = after((self.now - NOW).total_seconds() + seconds)
        said = len(self.said.events)
        await (release or self.release).tick()
        return [event.listing_key for event in self.said.events[said:]]

    async def finish_all(self) -> None:
        """Have the downloaders be done with everything that is in work."""
        page = await self.listings.page(FEED, "", 10_000)
        await self.write([one.with_photos(map(_done, one.released)) for one in page if one.released])


def _done(photo: Photo) -> Photo:
    held = a_held_photo(photo.object_id, key="any").copy
    return replace(photo, released_at=None, copy=held, forced_at=None)


def queue(priority: Priority, listings: int, age: float, photos: int = 1) -> list[Listing]:
    """Return listings of that priority, the first due so long before NOW and each a second later."""
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


async def test_the_most_urgent_go_first_and_the_longest_due_among_equals() -> None:
    scheduler = Scheduler()
    for priority in reversed(Priority):
        await scheduler.write(queue(priority, 5, 100))
    released = await scheduler.tick()
    # All twenty fit; two of them by age alone, and these happen to be the most urgent too.
    assert len(released) == 20
    events = scheduler.said.events
    assert [event.priority for event in sorted(events, key=lambda one: one.priority.rank)] == [
        priority for priority in Priority for _ in range(5)
    ]


@pytest.mark.parametrize("idle_ticks", [0, 12])
async def test_of_more_than_has_room_the_most_urgent_are_taken_and_one_in_ten_by_age(idle_ticks: int) -> None:
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


async def test_the_first_photos_go_before_the_others_and_those_listing_by_listing() -> None:
    scheduler = Scheduler()
    await scheduler.write(
        [a_listing(*(a_photo(f"{n}", key=key, order=n) for n in range(10)), key=key) for key in "GJBEADHCIF"]
    )
    released = Counter(await scheduler.tick())
    assert released == {**dict.fromkeys("DEFGHIJ", 1), "A": 10, "B": 10, "C": 5}


async def test_nothing_starves_behind_an_endless_stream_of_urgent_work() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 10, 10_000))
    left, rounds = {f"routine{number:03}" for number in range(10)}, 0
    while left and rounds < 20:
        urgent = [
            a_listing(a_photo("u", key=f"U{rounds}-{number}", priority=Priority.VIEWED), key=f"U{rounds}-{number}")
            for number in range(40)
        ]
        await scheduler.write(urgent)
        left -= {*await scheduler.tick()}
        await scheduler.finish_all()
        rounds += 1
    assert not left
    assert rounds <= 6


async def test_a_photo_is_promoted_where_it_stands() -> None:
    scheduler = Scheduler(batch_size=1)
    await scheduler.write(queue(Priority.ROUTINE, 50, 100))
    listing = await scheduler.listings.get(FEED, "routine049")
    assert listing is not None
    await scheduler.write([listing.with_photos([replace(listing.photos[0], priority=Priority.VIEWED)])])
    assert "routine049" in await scheduler.tick()
    assert len(await scheduler.listings.page(FEED, "", 99)) == 50


async def test_what_is_released_is_not_released_again_before_its_lease_of_two_minutes_ends() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 3, 100, photos=2))
    assert len(await scheduler.tick()) == 6
    assert await scheduler.tick(119) == []
    expired = "listing_images_leases_expired_total", {"feed": FEED}
    assert not scheduler.registry.get_sample_value(*expired)
    assert len(await scheduler.tick(1)) == 6
    assert scheduler.registry.get_sample_value(*expired) == 6


async def test_only_who_holds_the_lease_releases_and_the_next_takes_over() -> None:
    scheduler = Scheduler()
    of_the_first = scheduler.registry
    other = scheduler.another("two")
    await scheduler.write(queue(Priority.ROUTINE, 40, 100))
    assert len(await scheduler.tick()) == 32
    await scheduler.finish_all()
    await scheduler.tick()
    assert of_the_first.get_sample_value("listing_images_in_flight", {"feed": FEED}) == 0
    assert await scheduler.tick(5, other) == []
    assert len(await scheduler.tick(6, other)) == 0
    await scheduler.tick()
    assert of_the_first.get_sample_value("listing_images_in_flight", {"feed": FEED}) is None, "one says how many"


async def test_one_that_still_believes_in_its_lease_releases_nothing_twice() -> None:
    scheduler = Scheduler()
    other = scheduler.another("two")
    await scheduler.write(queue(Priority.ROUTINE, 100, 1_000))
    await scheduler.tick()
    await scheduler.leases.release("scheduler", "one")
    for _ in range(8):
        await scheduler.tick(0.25, other)
        await scheduler.tick(0.25, scheduler.release)
        await scheduler.finish_all()
    ids = [event.image_id for event in scheduler.said.events]
    assert (len(ids), len(set(ids))) == (100, 100)


async def test_a_listing_that_changed_meanwhile_is_left_for_the_next_tick(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_what_the_broker_did_not_take_is_due_as_before() -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 3, 100, photos=2))
    before = await scheduler.listings.page(FEED, "", 10)
    scheduler.said.goes_away = True
    with pytest.raises(BrokerUnavailable):
        await scheduler.tick()
    after_it = await scheduler.listings.page(FEED, "", 10)
    assert after_it == [replace(one, revision=one.revision + 2) for one in before]
    scheduler.said.goes_away = False
    assert len(await scheduler.tick()) == 6


async def test_what_was_heard_though_the_broker_failed_stays_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler()
    await scheduler.write(queue(Priority.ROUTINE, 2, 100))

    async def publish(_: object) -> None:
        heard = await scheduler.listings.get(FEED, "routine000")
        assert heard is not None
        claim = Claim(worker="w", until=after(80))
        await scheduler.write([heard.with_photos([replace(heard.photos[0], claim=claim)])])
        raise BrokerUnavailable("away")

    with monkeypatch.context() as failing:
        failing.setattr(scheduler.said, "publish", publish)
        with pytest.raises(BrokerUnavailable):
            await scheduler.tick()
    assert await scheduler.tick() == ["routine001"]


async def test_the_measured_rate_is_recorded_by_the_holder_while_there_is_work() -> None:
    scheduler, throughputs = Scheduler(), MemoryThroughputs()
    await scheduler.release.record_throughputs(throughputs)
    assert await throughputs.get(FEED) is None
    await scheduler.write(queue(Priority.ROUTINE, 40, 100))
    await scheduler.tick()
    await scheduler.finish_all()
    await scheduler.tick(4)
    await scheduler.another("two").record_throughputs(throughputs)
    assert await throughputs.get(FEED) is None
    await scheduler.release.record_throughputs(throughputs)
    throughput = await throughputs.get(FEED)
    assert throughput is not None
    assert throughput.at == after(4.25)
    assert throughput.finished_per_second == pytest.approx(32 / 4 * 1.25)
