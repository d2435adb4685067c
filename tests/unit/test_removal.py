"""What does the janitor leave, wherever it dies, whoever comes back meanwhile, and whatever a feed loses at once?"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, cast

import orjson
import pytest
from prometheus_client import CollectorRegistry

from ops import removals
from services.downloader.decide import settle
from services.downloader.outcomes import Downloaded
from services.janitor.guard import Guard
from services.janitor.removal import Remover
from shared.domain.burst import MIN_HIDDEN
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing, RemovalReason, copy_keys
from shared.kafka import Broker, Outgoing
from shared.lease import Lease
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.memory import MemoryLeases, MemoryListings, MemoryObjects, MemoryRemovalHolds, MemoryRemovals
from shared.stores.objects import Bucket
from shared.stores.removal_holds import Decision
from tests.builders import (
    FEED,
    KEY,
    NOW,
    a_copy,
    a_discard,
    a_downloaded_photo,
    a_feed,
    a_listing,
    a_photo,
    a_record,
    a_row,
    announced,
    hidden,
)

RENDERER = Renderer("https://cdn.example.com")
PHOTOS = 3


class Died(Exception):
    """The process ended here."""


@dataclass
class Mortality:
    """Ends a process at its n-th step, before or after the step is done."""

    left: int | None = None
    after: bool = False

    def of(self, store: object) -> Any:
        """Return the store as a process uses it that may die at any of its calls."""
        return _Mortal(store, self)

    def strikes(self) -> bool:
        """Whether this step is the last."""
        if self.left is None:
            return False
        self.left -= 1
        if self.left < 0:
            raise Died  # a dead process does nothing any more
        return self.left == 0


class _Mortal:
    def __init__(self, store: object, mortality: Mortality) -> None:
        self._store = store
        self._mortality = mortality

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        call = cast("Callable[..., Awaitable[object]]", getattr(self._store, name))

        @wraps(call)
        async def mortal(*given: object, **named: object) -> object:
            dies = self._mortality.strikes()
            if dies and not self._mortality.after:
                raise Died
            result = await call(*given, **named)
            if dies:
                raise Died
            return result

        return mortal


class Heard:
    """A broker that remembers what was published."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def publish(self, records: Iterable[Outgoing]) -> None:
        self.events += [orjson.loads(record.value or b"")["data"] for record in records]


class Locked(MemoryObjects):
    """Buckets that refuse to delete some keys."""

    def __init__(self) -> None:
        super().__init__()
        self.locked: set[str] = set()

    async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
        await super().delete(bucket, [key for key in keys if key not in self.locked])
        return [key for key in keys if key in self.locked]


@dataclass
class World:
    """Everything that outlives a janitor."""

    now: datetime = NOW
    listings: MemoryListings = field(default_factory=lambda: MemoryListings(RENDERER))
    objects: Locked = field(default_factory=Locked)
    removals: MemoryRemovals = field(default_factory=MemoryRemovals)
    removal_holds: MemoryRemovalHolds = field(default_factory=MemoryRemovalHolds)
    leases: MemoryLeases = field(default_factory=MemoryLeases)
    broker: Heard = field(default_factory=Heard)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def a_janitor(self, mortality: Mortality | None = None, name: str = "w", **rules: Any) -> Remover:
        """Return the loop of a new process; one of the same name is the same worker, started again."""
        of, self.registry = (mortality or Mortality()).of, CollectorRegistry()
        feeds = {FEED: a_feed(**rules)}
        guard = Guard(of(self.listings), of(self.removal_holds), feeds, self.clock, self.registry)
        lease = Lease(self.leases, "removal", name, self.clock)
        publisher = Publisher(cast("Broker", of(self.broker)), "", "janitor", self.clock)
        return Remover(
            of(self.listings), of(self.objects), of(self.removals), guard, lease, publisher, RENDERER, self.clock,
            self.registry,
        )  # fmt: skip

    def clock(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    async def has(self, *listings: Listing) -> None:
        """Record listings, with the objects of their copies."""
        assert not await self.listings.write(listings)
        for listing in listings:
            for photo in listing.photos:
                if photo.copy:
                    self.stores(*copy_keys(photo.copy))

    def stores(self, *keys: str) -> None:
        for key in keys:
            bucket = Bucket.ORIGINALS if "/original." in key else Bucket.PUBLIC
            self.objects.held[bucket][key] = b"x"

    @property
    def keys(self) -> set[str]:
        return {key for bucket in Bucket for key in self.objects.held[bucket]}

    async def listing(self, key: str = KEY) -> Listing:
        found = await self.listings.get(FEED, key)
        assert found
        return found

    async def evidence(self, key: str = KEY) -> list[tuple[str, str]]:
        return sorted((one.image_id, one.reason) for one in await self.removals.of_listing(FEED, key))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"listing_images_{name}", labels)


@pytest.fixture
def world() -> World:
    """An empty world at NOW."""
    return World()


def photos(key: str = KEY, count: int = PHOTOS) -> list[Photo]:
    return [a_downloaded_photo(name, key=key) for name in "abcdefgh"[:count]]


def a_hidden_listing(key: str = KEY, **facts: Any) -> Listing:
    """Return a listing whose time has come."""
    return a_listing(*photos(key), key=key, **{"hidden": hidden(since=-9, remove_at=-4), **facts})


async def test_a_hidden_listing_goes_with_everything_it_had(world: World) -> None:
    unknown = a_copy("b", sha256="ee" * 32)  # stored by a worker that died before it could say so
    await world.has(a_hidden_listing(standard_status="Closed"), a_listing(*photos("X2"), key="X2"))
    world.stores(*copy_keys(unknown))
    assert await world.a_janitor().sweep() == 1
    assert world.keys == {key for photo in photos("X2") for key in copy_keys(a_copy(photo.object_id, key="X2"))}
    assert ((await world.listing()).photos, (await world.listing()).discards) == ((), ())
    assert await world.evidence() == sorted((one.id, "listing-inactive") for one in photos())
    of_b = next(event for event in world.broker.events if event["image_id"] == photos()[1].id)
    urls = {RENDERER.url(one.key) for copy in (a_copy("b"), unknown) for one in copy.variants}
    assert set(of_b["urls"]) == urls
    assert world.metric("removed_total", reason="listing-inactive") == PHOTOS


async def test_the_evidence_says_when_what_and_why(world: World) -> None:
    left = replace(hidden(since=-9, remove_at=-4), off_market_at=NOW - timedelta(minutes=3))
    await world.has(a_hidden_listing(standard_status="Closed", hidden=left))
    await world.a_janitor().sweep()
    for one in await world.removals.of_listing(FEED, KEY):
        assert (one.mls_status, one.off_market_at, one.hidden_at) == ("Closed", left.off_market_at, left.since)
        assert (one.unshown_at, one.removed_at, one.objects, one.remained) == (NOW, NOW, 3, ())


async def test_a_photo_alone_goes_and_the_others_stay(world: World) -> None:
    a, b, _ = photos()
    discard = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    await world.has(a_listing(a, b, discards=(discard,)))
    world.stores(*copy_keys(a_copy("c")))
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(a_copy("a")), *copy_keys(a_copy("b"))}
    assert await world.evidence() == [(discard.image_id, "photo-withdrawn")]


async def test_an_opt_out_goes_as_one_and_a_superseded_version_when_its_hours_are_over(world: World) -> None:
    old, new = a_copy("a", sha256="aa" * 32), a_copy("a", sha256="bb" * 32)
    superseded = a_discard("a", copy=old, remove_at=NOW + timedelta(hours=24))
    opted_out = a_hidden_listing("X2", hidden=hidden(since=-9, remove_at=-4, reason=RemovalReason.OPT_OUT))
    await world.has(a_listing(a_downloaded_photo("a", copy=new), discards=(superseded,)), opted_out)
    world.stores(*copy_keys(old))
    await world.a_janitor().sweep()
    assert {reason for _, reason in await world.evidence("X2")} == {"opt-out"}
    assert world.keys == {*copy_keys(old), *copy_keys(new)}
    world.later(24 * 3600)
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(new)}
    assert await world.evidence() == [(superseded.image_id, "superseded")]
    assert world.broker.events[-1]["urls"] == [RENDERER.url(one.key) for one in old.variants]


async def test_what_storage_will_not_delete_is_said_and_tried_again_and_holds_up_nothing_else(world: World) -> None:
    await world.has(a_hidden_listing(), a_hidden_listing("X2"))
    locked = copy_keys(a_copy("b"))[0]
    world.objects.locked = {locked}
    await world.a_janitor().sweep()
    assert world.keys == {locked}
    assert len(await world.evidence("X2")) == PHOTOS
    of_b = [one for one in await world.removals.of_listing(FEED, KEY) if one.image_id == photos()[1].id]
    assert [one.remained for one in of_b] == [(locked,)]
    assert photos()[1].id not in {event["image_id"] for event in world.broker.events}
    assert world.metric("removal_refused_total") == 1

    world.later(59)
    assert await world.a_janitor().sweep() == 0
    world.objects.locked = set()
    world.later(2)
    await world.a_janitor().sweep()
    assert world.keys == set()
    of_b = [one for one in await world.removals.of_listing(FEED, KEY) if one.image_id == photos()[1].id]
    assert [len(one.remained) for one in of_b] == [1, 0]
    assert {one.unshown_at for one in of_b} == {NOW}, "a second try is not when the record went"
    assert [event["image_id"] for event in world.broker.events].count(photos()[1].id) == 1


async def test_many_listings_are_a_few_requests_in_all(world: World) -> None:
    calls: list[str] = []

    class Counting(_Mortal):
        def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
            calls.append(name)
            return super().__getattr__(name)

    await world.has(*(a_hidden_listing(f"X{number}") for number in range(20)))
    janitor = world.a_janitor()
    for store in ("_listings", "_objects", "_removals", "_publisher"):
        setattr(janitor, store, Counting(getattr(janitor, store), Mortality()))
    assert await janitor.sweep() == 20
    assert {name: calls.count(name) for name in ("delete", "add", "publish", "write")} == {
        "delete": 2, "add": 1, "publish": 1, "write": 2,
    }  # fmt: skip
    assert calls.count("list") == 2 * 20  # by the prefix of the listing, not of each photo
    assert world.keys == set()


async def steps(world: World) -> int:
    """Count the steps of a whole sweep."""
    mortality = Mortality(left=10_000)
    await world.a_janitor(mortality).sweep()
    return 10_000 - (mortality.left or 0)


def everything() -> list[Listing]:
    """Return something to remove for every reason."""
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=NOW - timedelta(seconds=1))
    withdrawn = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    return [
        a_listing(*photos()[:2], discards=(old, withdrawn)),
        a_hidden_listing("X2"),
        a_hidden_listing("X3", hidden=hidden(since=-9, remove_at=-4, reason=RemovalReason.OPT_OUT)),
    ]


async def stocked() -> World:
    world = World()
    await world.has(*everything())
    world.stores(*copy_keys(a_copy("a", sha256="aa" * 32)), *copy_keys(a_copy("c")), *copy_keys(a_copy("b", key="X2")))
    return world


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_janitor_that_dies_at_any_step_is_followed_by_one_that_ends_it(after: bool) -> None:
    straight = await stocked()
    count = await steps(straight)
    assert count > 10
    for step in range(1, count + 1):
        world = await stocked()
        with pytest.raises(Died):
            await world.a_janitor(Mortality(step, after)).sweep()
        world.later(1)
        await world.a_janitor().sweep()
        assert world.keys == straight.keys, step
        for key in (KEY, "X2", "X3"):
            assert await world.evidence(key) == await straight.evidence(key), step
            left, wanted = await world.listing(key), await straight.listing(key)
            assert replace(left, revision=0) == replace(wanted, revision=0), step
        said = {(event["image_id"], event["reason"], *event["urls"]) for event in world.broker.events}
        assert said == {(event["image_id"], event["reason"], *event["urls"]) for event in straight.broker.events}, step


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_listing_that_comes_back_at_any_step_ends_served_and_complete(after: bool) -> None:
    """The janitor dies, the listing is active again, is downloaded if due, and the next janitor ends what was begun."""
    for step in range(1, 40):
        world = World()
        await world.has(a_hidden_listing())
        try:
            await world.a_janitor(Mortality(step, after)).sweep()
        except Died:
            world.later(1)
        else:
            break
        await told(world, KEY)
        await downloaded(world)
        await world.a_janitor().sweep()
        await downloaded(world)
        listing = await world.listing()
        assert listing.is_displayed, step
        assert [photo.object_id for photo in listing.photos] == ["a", "b", "c"], step
        assert all(photo.copy for photo in listing.photos), step
        assert world.keys == {key for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}, step
    else:
        pytest.fail("the sweep never came to its end")


class Stalling:
    """A store of one janitor that stands still once, before or after a call, while the world goes on."""

    def __init__(self, store: object, method: str, meanwhile: Callable[[], Awaitable[None]], *, after: bool) -> None:
        self._store, self._method, self._after = store, method, after
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile
        self._turn = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        async def stalling(*given: object) -> object:
            async with self._turn:
                result = await call(*given) if self._after else None
                if name == self._method and self._meanwhile:
                    meanwhile, self._meanwhile = self._meanwhile, None
                    await meanwhile()
            return result if self._after else await call(*given)

        return stalling


@pytest.mark.parametrize(
    ("store", "method", "after", "lost"),
    [("_listings", "write", True, 0), ("_objects", "delete", False, PHOTOS), ("_removals", "add", False, 0)],
    ids=["it had marked them", "it was about to delete them", "it had deleted them"],
)
async def test_a_janitor_that_wakes_after_it_was_overtaken_leaves_no_record_without_its_bytes(
    world: World, store: str, method: str, after: bool, lost: int
) -> None:
    """It stands still for a minute at some step of a removal.

    Another removes the listing, the listing comes back, and the same bytes are stored again; then it wakes.
    """

    async def meanwhile() -> None:
        world.later(60)
        assert await world.a_janitor(name="other").sweep() == 1
        assert world.keys == set()
        await told(world, KEY)
        await downloaded(world)

    await world.has(a_hidden_listing())
    slow = world.a_janitor(name="slow")
    setattr(slow, store, Stalling(getattr(slow, store), method, meanwhile, after=after))
    await slow.sweep()
    listing = await world.listing()
    assert [listing.photo_due_at(photo) for photo in listing.photos if photo.copy is None] == [world.now] * lost
    await downloaded(world)
    listing = await world.listing()
    assert len(listing.photos) == PHOTOS
    assert all(photo.copy for photo in listing.photos)
    assert world.keys == {key for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}


async def told(world: World, key: str, **fields: Any) -> Listing:
    """Record what the MLS says a minute after NOW of a listing with its photos."""
    said = a_record(*(a_row(name) for name in "abc"), key=key, at=60, **fields)
    listing = announced(said, await world.listing(key), now=world.now)
    assert listing
    assert not await world.listings.write([listing])
    return listing


async def downloaded(world: World) -> None:
    """Get a copy of every photo that is due, as a downloader would."""
    listing = await world.listing()
    due = [photo for photo in listing.photos if listing.photo_due_at(photo) and photo.copy is None]
    for photo in due:
        world.stores(*copy_keys(a_copy(photo.object_id)))
    assert not await world.listings.write(
        [listing.with_photos(replace(photo, copy=a_copy(photo.object_id), announced_at=NOW) for photo in due)]
    )


# The guard


def burst(size: int, since: float = -6, **facts: Any) -> list[Listing]:
    """Return listings that turned hidden together, and are due."""
    gone = hidden(since=since, remove_at=since + 5, **facts)
    keys = [f"H{since}-{number}" for number in range(size)]
    return [a_listing(a_downloaded_photo("a", key=key), key=key, hidden=gone) for key in keys]


def displayed(size: int) -> list[Listing]:
    return [a_listing(a_photo(key=f"D{number}"), key=f"D{number}") for number in range(size)]


async def removed(world: World, *listings: Listing) -> int:
    """How many of the listings have no photo left."""
    return sum([not (await world.listing(one.key)).photos for one in listings])


@pytest.mark.parametrize(
    ("gone", "left", "share", "is_frozen"),
    [
        (MIN_HIDDEN, 150, 0.2, True),  # 50 of 200
        (MIN_HIDDEN, 200, 0.2, False),  # 50 of 250 is the share, not more
        (MIN_HIDDEN - 1, 0, 0.2, False),  # all of a small feed
        (MIN_HIDDEN, 0, 1.0, False),  # never
        (MIN_HIDDEN, 500, 0.0, True),
    ],
)
async def test_a_burst_is_held_and_an_ordinary_day_is_not(
    world: World, gone: int, left: int, share: float, is_frozen: bool
) -> None:
    leaving = burst(gone)
    await world.has(*leaving, *displayed(left))
    await world.a_janitor(removal_freeze_share=share).sweep()
    assert await removed(world, *leaving) == (0 if is_frozen else gone)
    assert bool(world.keys) is is_frozen
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == is_frozen
    assert [one.hidden for one in await world.removal_holds.all()] == [gone] * is_frozen


async def test_the_first_of_a_burst_is_not_deleted_while_the_others_still_arrive(world: World) -> None:
    leaving = burst(MIN_HIDDEN, since=-4.5)
    first = burst(1, since=-5.5)
    await world.has(*first, *leaving)
    await world.a_janitor().sweep()
    assert await removed(world, *first) == 0


@pytest.mark.parametrize("hours", [1.1, 30.0])
async def test_a_burst_that_no_janitor_watched_is_held_and_goes_as_it_is_decided(world: World, hours: float) -> None:
    before, leaving = burst(1, since=-3_600 * (hours + 2)), burst(80, since=-3_600 * hours)
    await world.has(*before, *leaving, *displayed(10))
    await world.a_janitor().sweep()
    assert await removed(world, *before, *leaving) == 0
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 1
    assert await world.removal_holds.decide(FEED, Decision.RESUME, world.now) == 1
    world.later(2)
    await world.a_janitor().sweep()
    assert await removed(world, *before, *leaving) == 81


async def test_what_left_in_many_hours_that_no_janitor_watched_goes(world: World) -> None:
    leaving = [one for hour in range(8) for one in burst(MIN_HIDDEN - 1, since=-3_600 * (hour * 1.1 + 1.1))]
    await world.has(*leaving, *displayed(10))
    await world.a_janitor().sweep()
    assert await removed(world, *leaving) == len(leaving)


async def test_what_was_never_shown_does_not_count(world: World) -> None:
    leaving = [replace(one, hidden=replace(one.hidden, was_displayed=False)) for one in burst(80) if one.hidden]
    await world.has(*leaving, *displayed(10))
    await world.a_janitor().sweep()
    assert await removed(world, *leaving) == 80


async def test_an_opt_out_is_not_held_up_by_a_feed_that_loses_its_listings_and_a_mass_of_them_is(world: World) -> None:
    inactive, owners = burst(80), burst(MIN_HIDDEN - 1, since=-7, reason=RemovalReason.OPT_OUT)
    await world.has(*inactive, *owners, *displayed(10))
    await world.a_janitor().sweep()
    assert (await removed(world, *inactive), await removed(world, *owners)) == (0, len(owners))

    mass = burst(MIN_HIDDEN, since=-8, reason=RemovalReason.OPT_OUT)
    await world.has(*mass)
    world.later(1)
    await world.a_janitor().sweep()
    assert await removed(world, *mass) == 0
    assert world.metric("removals_held", feed=FEED, reason="opt-out") == 1


async def test_withdrawn_photos_superseded_and_forced_ones_go_on_while_a_feed_is_frozen(world: World) -> None:
    forced = a_hidden_listing("F", hidden=hidden(since=-1, remove_at=-1, reason=RemovalReason.FORCED))
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32))
    withdrawn = a_discard("c", copy=a_copy("c"), reason=RemovalReason.PHOTO_WITHDRAWN, whole=True)
    other = a_listing(*photos()[:2], discards=(old, withdrawn))
    leaving = burst(80)
    await world.has(*leaving, forced, other)
    await world.a_janitor().sweep()
    assert await removed(world, *leaving) == 0
    assert await removed(world, forced) == 1
    assert (await world.listing()).discards == ()


async def test_a_janitor_that_was_succeeded_says_nothing_of_freezes_and_delays(world: World) -> None:
    await world.has(*burst(80), *displayed(10))
    first = world.a_janitor(name="first")
    await first.sweep()
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 1
    assert world.metric("removal_late_seconds") == 0  # all are held
    assert await world.leases.hold("removal", "second", NOW, NOW) is False
    await world.leases.release("removal", "first")
    assert await world.leases.hold("removal", "second", NOW, NOW + timedelta(minutes=10))
    world.later(60)
    await first.sweep()
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") is None
    assert world.metric("removal_late_seconds") == 0


async def test_resuming_removes_what_was_held_and_does_not_freeze_again_for_it(world: World) -> None:
    leaving = burst(80)
    await world.has(*leaving, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removal_holds.decide(FEED, Decision.RESUME, world.now) == 1
    world.later(1)
    janitor = world.a_janitor()
    await janitor.sweep()
    assert await removed(world, *leaving) == 80
    assert world.metric("removals_held", feed=FEED, reason="listing-inactive") == 0
    again = burst(MIN_HIDDEN, since=2)
    world.later(7)
    await world.has(*again)
    await janitor.sweep()
    assert await removed(world, *again) == 0, "a burst after the decision is another burst"


async def test_discarding_keeps_the_copies_hidden_for_72_hours_for_the_feed_to_show_them_again(world: World) -> None:
    leaving = [*burst(79), *burst(1, since=-2)]  # the last is not due yet
    await world.has(*leaving, *displayed(10))
    await world.a_janitor().sweep()
    assert await world.removal_holds.decide(FEED, Decision.DISCARD, world.now) == 1
    janitor = world.a_janitor()
    for seconds in (10, 72 * 3_600 - 20):
        world.later(seconds)
        await janitor.sweep()
        assert await removed(world, *leaving) == 0
    assert not (await told(world, leaving[0].key, StandardStatus="Closed")).is_displayed
    shown = await told(world, leaving[1].key)
    assert shown.is_displayed
    assert shown.photos[0].copy
    await janitor.sweep()
    assert await removed(world, *leaving) == 0, "to be told again that they are inactive changes nothing"
    world.later(20)
    await janitor.sweep()
    assert await removed(world, *leaving) == len(leaving) - 1
    assert (await world.listing(leaving[1].key)).photos


async def test_an_owner_who_opts_out_of_a_held_listing_is_not_kept_waiting(world: World) -> None:
    leaving = burst(80)
    await world.has(*leaving)
    await world.a_janitor().sweep()
    await told(world, leaving[0].key, InternetEntireListingDisplayYN=False)
    await world.a_janitor().sweep()
    assert await removed(world, *leaving) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"StandardStatus": "Closed"}, "listing-inactive"),
        ({"MlgCanView": False}, "listing-inactive"),  # as the sweep says of keys that the MLS no longer has
        ({"InternetEntireListingDisplayYN": False}, "opt-out"),
    ],
)
async def test_whoever_hides_a_mass_of_listings_meets_the_guard(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    shown = [a_listing(a_downloaded_photo("a", key=f"S{number}"), key=f"S{number}") for number in range(60)]
    await world.has(*shown)
    for one in shown:
        assert not (await told(world, one.key, **fields)).is_displayed
    world.later(6)
    await world.a_janitor().sweep()
    assert await removed(world, *shown) == 0
    assert [str(one.reason) for one in await world.removal_holds.all()] == [reason]


async def test_a_janitor_that_dies_while_it_holds_a_burst_deletes_none_of_it() -> None:
    for step in range(1, 60):
        world, leaving = World(), burst(60)
        await world.has(*leaving)
        try:
            await world.a_janitor(Mortality(step, after=bool(step % 2))).sweep()
        except Died:
            world.later(1)
        else:
            break
        await world.a_janitor().sweep()
        assert await removed(world, *leaving) == 0
        await world.removal_holds.decide(FEED, Decision.RESUME, world.now)
        with pytest.raises(Died):
            await world.a_janitor(Mortality(5)).sweep()
        world.later(1)
        await world.a_janitor().sweep()
        assert await removed(world, *leaving) == 60
    else:
        pytest.fail("the sweep never came to its end")


async def test_how_late_the_oldest_removal_is_can_be_seen(world: World) -> None:
    await world.has(a_hidden_listing(hidden=hidden(since=-100, remove_at=-95)))
    janitor = world.a_janitor(Mortality(6))
    with pytest.raises(Died):
        await janitor.sweep()
    assert world.metric("removal_late_seconds") == 95
    await world.a_janitor().sweep()
    assert world.metric("removal_late_seconds") == 0


# What an operator has removed


async def change(world: World, rule: Callable[..., Listing], *images: str) -> None:
    await removals.change(world.listings, (FEED, KEY), partial(rule, image_ids=images), world.clock)


def said_at(at: float | None, **fields: Any) -> dict[str, Any]:
    return a_record(*(a_row(name) for name in "abc"), at=at, **fields)


async def hear(world: World, record: dict[str, Any], offset: int = 0) -> Listing:
    """Record what the MLS says, if it says anything new; return the listing as it is then."""
    if after := announced(record, await world.listing(), offset=offset, now=world.now):
        assert not await world.listings.write([after])
    return await world.listing()


async def test_a_forced_listing_goes_at_once_with_all_its_versions_and_stays_away(world: World) -> None:
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=NOW + timedelta(hours=24))
    await world.has(a_listing(*photos(), discards=(old,)))
    world.stores(*copy_keys(a_copy("a", sha256="aa" * 32)))
    await change(world, removals.remove)
    assert not (await world.listing()).is_displayed
    await world.a_janitor().sweep()
    assert world.keys == set()
    assert await world.evidence() == sorted((one.id, "forced") for one in photos())
    assert {event["reason"] for event in world.broker.events} == {"forced"}
    for at, offset in ((0, 1), (60, 2), (120, 3)):  # the same again, and newer ones
        listing = await hear(world, said_at(at), offset)
        assert (listing.is_displayed, listing.photos, listing.due_at) == (False, (), None)
    assert await world.a_janitor().sweep() == 0


@pytest.mark.parametrize(
    ("at", "offset"),
    [(0, 0), (-60, 0), (60, 1), (None, 0)],
    ids=["the same", "an older one", "a newer one", "the same without a time"],
)
async def test_a_forced_listing_that_is_allowed_comes_back_with_whatever_the_mls_says_next(
    world: World, at: float | None, offset: int
) -> None:
    await world.has(a_listing(*photos()))
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    await change(world, removals.allow_again)
    listing = await world.listing()
    assert not listing.is_displayed
    assert not removals.is_removed(listing, ())
    listing = await hear(world, said_at(at), offset)
    assert listing.is_displayed
    assert [photo.object_id for photo in listing.photos] == ["a", "b", "c"]
    assert listing.due_at == NOW


async def test_a_forced_listing_that_is_allowed_stays_hidden_where_the_mls_says_so(world: World) -> None:
    await world.has(a_listing(*photos()))
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    await change(world, removals.allow_again)
    listing = await hear(world, said_at(0, StandardStatus="Closed"))
    assert listing.hidden
    assert listing.hidden.reason is RemovalReason.LISTING_INACTIVE


async def test_a_forced_image_goes_alone_and_stays_away_until_it_is_allowed(world: World) -> None:
    a, b, c = photos()
    await world.has(a_listing(a, b, c))
    await change(world, removals.remove, b.id)
    await world.a_janitor().sweep()
    assert world.keys == {*copy_keys(a_copy("a")), *copy_keys(a_copy("c"))}
    assert await world.evidence() == [(b.id, "forced")]
    for at, offset in ((0, 1), (60, 2)):
        listing = await hear(world, said_at(at), offset)
        assert [(photo.object_id, photo.order) for photo in listing.photos] == [("a", 0), ("c", 1)]
        assert listing.due_at is None or at == 60
    assert await world.a_janitor().sweep() == 0
    await change(world, removals.allow_again, b.id)
    listing = await hear(world, said_at(60), offset=2)
    assert [(photo.object_id, photo.order) for photo in listing.photos] == [("a", 0), ("b", 1), ("c", 2)]
    assert listing.photos[0].copy
    assert listing.photo_due_at(listing.photos[1]) == NOW


@pytest.mark.parametrize("images", [[], [photos()[1].id]])
async def test_what_is_forced_after_its_listing_left_was_not_shown_since_then(world: World, images: list[str]) -> None:
    left = replace(hidden(since=-90, remove_at=900), off_market_at=NOW - timedelta(minutes=3))
    await world.has(a_listing(*photos(), hidden=left))
    await change(world, removals.remove, *images)
    await world.a_janitor().sweep()
    evidence = await world.removals.of_listing(FEED, KEY)
    assert len(evidence) == len(images or PHOTOS * [0])
    for one in evidence:
        assert (one.reason, one.off_market_at, one.hidden_at, one.unshown_at) == (
            "forced",
            left.off_market_at,
            left.since,
            NOW,
        )


async def test_to_allow_a_listing_allows_its_images_too_and_to_allow_an_image_no_listing(world: World) -> None:
    a, b, _ = photos()
    await world.has(a_listing(*photos()))
    await change(world, removals.remove, a.id, b.id)
    await change(world, removals.remove)
    await change(world, removals.allow_again, a.id)
    listing = await world.listing()
    assert (listing.is_removed_by_operator, listing.removed_image_ids) == (True, (b.id,))
    assert not removals.is_removed(listing, [a.id])
    assert removals.is_removed(listing, [b.id])
    await change(world, removals.allow_again)
    listing = await world.listing()
    assert (listing.is_removed_by_operator, listing.removed_image_ids) == (False, ())


async def test_what_is_forced_in_a_frozen_feed_goes_all_the_same(world: World) -> None:
    await world.has(*burst(80), a_hidden_listing(hidden=hidden(since=-6, remove_at=-1)))
    await world.a_janitor().sweep()
    assert world.keys
    await change(world, removals.remove)
    await world.a_janitor().sweep()
    assert await world.evidence() == sorted((one.id, "forced") for one in photos())


async def test_a_download_under_way_does_not_bring_a_forced_image_back(world: World) -> None:
    a = replace(photos()[0], claim=Claim(worker="w", until=NOW + timedelta(seconds=80)), released_at=NOW)
    await world.has(a_listing(a))
    await change(world, removals.remove, a.id)
    settled = settle(
        await world.listing(), a, Downloaded(a_copy("a", sha256="cc" * 32)), feed=a_feed(),
        superseded_for=timedelta(hours=24), now=world.now, jitter=0.0,
    )  # fmt: skip
    world.stores(*copy_keys(a_copy("a", sha256="cc" * 32)))
    assert not await world.listings.write([settled.listing])
    await world.a_janitor().sweep()
    assert (world.keys, (await world.listing()).photos) == (set(), ())
