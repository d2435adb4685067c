"""Do records and objects agree? What is found, what an interrupted walk goes on with, and what a repair leaves."""

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ops import audit as auditing
from services.janitor.audit import DailyAudit
from shared.audit import AuditScope, Step, Walk
from shared.domain.audit import Drift, Finding, is_sampled
from shared.domain.image import REBUILD_WANTED, Claim, Copy, Status
from shared.domain.listing import Listing, RemovalReason, copy_keys
from shared.lease import Lease
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.memory import MemoryAudits, MemoryLeases, MemoryListings, MemoryObjects
from shared.stores.objects import Bucket
from tests.builders import FEED, NOW, a_copy, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden

ORIGINAL = b"the bytes as received"
SHA256 = hashlib.sha256(ORIGINAL).hexdigest()
RENDERER = Renderer("https://cdn.example.com")


class Place:
    """Listings and buckets, and a clock; what is stored was stored two days ago unless said otherwise."""

    def __init__(self, folder: Path) -> None:
        self.now = after(-2 * 86_400)
        self.listings = MemoryListings(RENDERER)
        self.objects = MemoryObjects(lambda: self.now)
        self._folder = folder

    async def puts(self, bucket: Bucket, key: str, content: bytes) -> None:
        source = self._folder / "source"
        source.write_bytes(content)
        await self.objects.put(bucket, key, source, "image/webp")

    async def has(self, *listings: Listing) -> None:
        """Record listings, with the objects of all their copies."""
        assert not await self.listings.write(listings)
        for copy in (photo.copy for listing in listings for photo in listing.photos if photo.copy):
            await self.puts(Bucket.ORIGINALS, copy.original_key, ORIGINAL)
            for variant in copy.variants:
                await self.puts(Bucket.PUBLIC, variant.key, bytes(variant.file_size))

    def strews(self, count: int) -> None:
        """Store objects that no record knows of."""
        for number in range(count):
            key = f"proptx-idx/Z{number}/a/0123456789abcdef/full-1.webp"
            self.objects.held[Bucket.PUBLIC][key] = b"x"
            self.objects.stored_at[Bucket.PUBLIC, key] = after(-2 * 86_400)

    def walk(self, *feeds: str, **scope: Any) -> Walk:
        self.now = max(self.now, NOW)
        return Walk(self.listings, self.objects, lambda: self.now, AuditScope(feeds=feeds or (FEED,), **scope))

    async def found(self, **scope: Any) -> list[tuple[Drift, str]]:
        done = await auditing.run(self.walk(**scope), None)
        assert done.drift == {kind: sum(one.drift == kind for one in done.findings) for kind in done.drift}
        return sorted((one.drift, one.key) for one in done.findings)

    async def repaired(self) -> auditing.Audited:
        walk = self.walk()
        return await auditing.run(walk, auditing.Repair(self.listings, self.objects, lambda: self.now))

    async def repairs(self, *found: Finding) -> auditing.Audited:
        done, self.now = auditing.Audited(), max(self.now, NOW)
        await auditing.Repair(self.listings, self.objects, lambda: self.now)(found, done)
        return done

    @property
    def keys(self) -> set[str]:
        return {key for bucket in Bucket for key in self.objects.held[bucket]}

    async def listing(self, key: str = "X1") -> Listing:
        found = await self.listings.get(FEED, key)
        assert found
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Nothing recorded, nothing stored."""
    return Place(tmp_path)


def copied(photo: str = "a", key: str = "X1", **facts: Any) -> Copy:
    """Return a copy whose original is ORIGINAL."""
    return a_copy(photo, key=key, sha256=SHA256, file_size=len(ORIGINAL), **facts)


def listed(*names: str, key: str = "X1", **facts: Any) -> Listing:
    photos = [a_downloaded_photo(name, key=key, copy=copied(name, key)) for name in names]
    return a_listing(*photos, key=key, **facts)


FULL, THUMB = (variant.key for variant in copied().variants)
OF_ORIGINAL = copied().original_key


async def test_what_agrees_is_not_spoken_of(place: Place) -> None:
    await place.has(listed("a", "b"), listed("a", key="X2"))
    done = await auditing.run(place.walk(), None)
    assert (done.listings, done.objects, done.findings) == (2, 18, [])
    assert list(auditing.in_words(done))[-1] == "found: records and objects agree"


@pytest.mark.parametrize(
    ("harm", "drift", "key"),
    [
        (lambda held: held[Bucket.PUBLIC].pop(FULL), Drift.MISSING, FULL),
        (lambda held: held[Bucket.ORIGINALS].pop(OF_ORIGINAL), Drift.MISSING, OF_ORIGINAL),
        (lambda held: held[Bucket.PUBLIC].update({THUMB: b""}), Drift.EMPTY, THUMB),
        (lambda held: held[Bucket.PUBLIC].update({THUMB: b"x"}), Drift.WRONG_SIZE, THUMB),
        (lambda held: held[Bucket.ORIGINALS].update({OF_ORIGINAL: ORIGINAL + b"x"}), Drift.WRONG_SIZE, OF_ORIGINAL),
        (lambda held: held[Bucket.ORIGINALS].update({OF_ORIGINAL: ORIGINAL[::-1]}), Drift.WRONG_HASH, OF_ORIGINAL),
    ],
)
async def test_every_kind_of_drift_is_found(
    place: Place, harm: Callable[[dict[Bucket, dict[str, bytes]]], object], drift: Drift, key: str
) -> None:
    await place.has(listed("a", "b"))
    harm(place.objects.held)
    assert await place.found() == [(drift, key)]


async def test_an_object_that_no_record_knows_of_counts_after_a_day(place: Place) -> None:
    await place.has(listed("a"))
    orphans = [
        "proptx-idx/X1/gone/0123456789abcdef/full-1.webp",  # of a photo that its listing does not show
        copied("a").original_key.replace("original.jpg", "original.png"),
        "proptx-idx/nobody/a/0123456789abcdef/full-1.webp",  # of a listing that no record knows of
        "other/X~2F1/a/0123456789abcdef/full-1.webp",
    ]
    for key in orphans:
        await place.puts(Bucket.PUBLIC, key, b"x")
    place.now = after(-86_399)
    await place.puts(Bucket.PUBLIC, "proptx-idx/nobody/b/0123456789abcdef/full-1.webp", b"x")
    await place.puts(Bucket.PUBLIC, "not ours", b"x")
    assert await place.found() == sorted((Drift.ORPHAN, key) for key in orphans)
    assert await place.found(key_prefix="other/") == sorted((Drift.ORPHAN, key) for key in orphans if key != orphans[2])
    assert await place.found(with_buckets=False) == sorted((Drift.ORPHAN, key) for key in orphans[:2])


async def test_what_is_to_be_removed_or_in_work_is_no_orphan(place: Place) -> None:
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=after(9))
    in_work = a_photo("w", claim=Claim(worker="w", until=after(60)))
    await place.has(a_listing(in_work, discards=(old,)))
    for key in (*copy_keys(a_copy("a", sha256="aa" * 32)), *copy_keys(a_copy("w"))):
        await place.puts(Bucket.ORIGINALS if "original" in key else Bucket.PUBLIC, key, b"x")
    assert await place.found() == []


async def test_a_listing_that_changes_while_it_is_looked_at_is_looked_at_again(place: Place) -> None:
    """Its new copy's objects are listed, the record that names them was read before: that is no drift."""
    await place.has(listed("a"))

    class Moving(MemoryObjects):
        async def page(self, bucket: Bucket, prefix: str, after: str, limit: int):  # type: ignore[no-untyped-def]
            if bucket is Bucket.PUBLIC and prefix and FULL in place.objects.held[Bucket.PUBLIC]:
                listing = await place.listing()
                assert not await place.listings.write([replace(listing, photos=())])
                for key in (FULL, THUMB):
                    place.objects.held[Bucket.PUBLIC].pop(key)
            return await place.objects.page(bucket, prefix, after, limit)

    place.now = NOW
    done = await auditing.run(
        Walk(place.listings, Moving(), lambda: NOW, AuditScope(feeds=[FEED], with_buckets=False)), None
    )
    assert [one.drift for one in done.findings] == [Drift.ORPHAN]  # the original, which the record no longer names


async def test_a_walk_goes_on_where_another_left_off_and_sees_all_once(place: Place) -> None:
    keys = [f"Y{number:03}" for number in range(50)]
    await place.has(*(listed("a", key=key) for key in keys))
    place.strews(2_500)
    steps: list[Step] = []
    next_place = place.walk("empty", FEED).start
    while next_place:
        steps.append(await place.walk("empty", FEED).step(next_place))
        next_place = steps[-1].next
    assert sum(step.listings for step in steps) == 50
    orphans = [one.key for step in steps for one in step.findings]
    assert len(orphans) == len(set(orphans)) == 2_500
    assert max(step.listings for step in steps) == 20
    assert max(len(step.findings) for step in steps) <= 1_000


async def test_a_sample_looks_at_every_nth_listing(place: Place) -> None:
    await place.has(*(listed("a", key=f"Y{number:03}") for number in range(50)))
    done = await auditing.run(place.walk(every=5, with_buckets=False), None)
    assert done.listings == 10


def test_each_salt_reads_another_share_of_the_originals() -> None:
    photos = [a_photo(f"{number}") for number in range(1_000)]
    first, second = ({photo.id for photo in photos if is_sampled(photo, 0.1, salt)} for salt in ("1", "2"))
    assert 60 < len(first) < 140
    assert first != second
    assert not any(is_sampled(photo, 0.0, "1") for photo in photos)
    assert all(is_sampled(photo, 1.0, "1") for photo in photos)


# Repair


async def test_lost_variants_are_made_of_the_original(place: Place) -> None:
    await place.has(listed("a", "b"))
    del place.objects.held[Bucket.PUBLIC][THUMB]
    done = await place.repaired()
    (lost, other) = (await place.listing()).photos
    assert (done.due_again, done.removed) == (1, 0)
    assert (lost.due_at, lost.forced_at, lost.status) == (NOW, NOW, Status.DOWNLOADED)
    assert lost.copy == replace(copied(), rendering=REBUILD_WANTED)
    assert other.due_at is None
    assert place.objects.held[Bucket.ORIGINALS][OF_ORIGINAL] == ORIGINAL


async def test_a_lost_original_is_fetched_again_while_its_variants_are_served(place: Place) -> None:
    await place.has(listed("a"))
    place.objects.held[Bucket.ORIGINALS][OF_ORIGINAL] = ORIGINAL[::-1]
    await place.repaired()
    (photo,) = (await place.listing()).photos
    assert (photo.due_at, photo.status) == (NOW, Status.DOWNLOADED)
    assert OF_ORIGINAL not in place.keys, "nothing is made of bytes that are not those received"


async def test_with_nothing_left_there_is_no_copy_and_the_photo_is_due(place: Place) -> None:
    await place.has(listed("a"))
    for key in (FULL, OF_ORIGINAL):
        place.objects.held[Bucket.ORIGINALS if "original" in key else Bucket.PUBLIC].pop(key)
    await place.repaired()
    listing = await place.listing()
    assert (listing.photos[0].status, listing.due_at) == (Status.PENDING, NOW)
    (rest,) = listing.discards
    assert (rest.reason, rest.remove_at, rest.whole) == (RemovalReason.SUPERSEDED, after(86_400), False)
    assert await place.found() == []


async def test_orphans_are_removed_and_nothing_else(place: Place) -> None:
    await place.has(listed("a"))
    before = place.keys
    place.strews(1_200)
    done = await place.repaired()
    assert (done.removed, done.due_again) == (1_200, 0)
    assert place.keys == before
    assert (await place.listing()).revision == 1


async def test_what_a_record_names_since_it_was_found_is_not_removed(place: Place) -> None:
    strays = [
        Finding(Drift.ORPHAN, key, is_original, FEED, "X1")
        for key, is_original in ((FULL, False), (THUMB, False), (OF_ORIGINAL, True))
    ]
    await place.has(listed("a"))
    done = await place.repairs(*strays)
    assert (done.removed, done.due_again) == (0, 0)
    assert {FULL, THUMB, OF_ORIGINAL} <= place.keys


async def test_what_is_recorded_while_it_is_removed_is_due(place: Place) -> None:
    class Slow(MemoryObjects):
        async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
            refused = await super().delete(bucket, keys)
            if FULL in keys:
                assert not await place.listings.write([listed("a")])
            return refused

    place.objects = Slow(lambda: place.now)
    await place.puts(Bucket.PUBLIC, FULL, b"x")
    done = await place.repairs(Finding(Drift.ORPHAN, FULL, False, FEED, "X1"))
    assert (done.removed, done.due_again) == (1, 1)
    assert (await place.listing()).photos[0].wants_rebuild


@pytest.mark.parametrize("facts", [{"hidden": hidden()}, {"claim": Claim(worker="w", until=after(9))}])
async def test_a_bad_original_that_is_not_fetched_again_now_stays(place: Place, facts: dict[str, Any]) -> None:
    photo = a_downloaded_photo("a", copy=copied(), claim=facts.get("claim"))
    await place.has(a_listing(photo, hidden=facts.get("hidden")))
    await place.repairs(Finding(Drift.WRONG_HASH, OF_ORIGINAL, True, FEED, "X1", photo.id))
    assert OF_ORIGINAL in place.keys


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_downloaded_photo("a", copy=copied(), claim=Claim(worker="w", until=after(9)))),
        listed("a", hidden=hidden()),
        a_listing(a_photo("a")),
    ],
)
def test_what_is_in_work_or_no_more_shown_is_left_alone(listing: Listing) -> None:
    assert auditing.repair_listing(listing, {FULL, OF_ORIGINAL}, NOW) is None


# Every day


class Janitor:
    """The audit's loop as a new process runs it."""

    def __init__(self, place: Place, audits: MemoryAudits) -> None:
        self.registry = CollectorRegistry()
        lease = Lease(MemoryLeases(), "removal", "w", lambda: place.now)
        self.audit = DailyAudit(
            place.listings, place.objects, audits, lease, [FEED], lambda: place.now, self.registry
        )  # fmt: skip

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"listing_images_audit_{name}", labels)


async def held_by_another(place: Place) -> Lease:
    leases = MemoryLeases()
    assert await Lease(leases, "removal", "other", lambda: place.now).is_held()
    return Lease(leases, "removal", "w", lambda: place.now)


async def test_the_daily_audit_goes_on_in_the_next_process_ends_and_begins_anew_the_next_day(place: Place) -> None:
    await place.has(*(listed("a", key=f"Y{number:03}") for number in range(50)))
    del place.objects.held[Bucket.PUBLIC][copied("a", "Y007").variants[0].key]
    place.now, audits = NOW, MemoryAudits()
    steps = 0
    while not (newest := await audits.newest(1)) or newest[0].finished_at is None:
        await Janitor(place, audits).audit.step()
        place.now += timedelta(seconds=1)
        steps += 1
    assert (newest[0].listings, newest[0].drift) == (50, {"missing": 1})
    janitor = Janitor(place, audits)
    await janitor.audit.step()
    assert janitor.metric("drift", kind="missing") == 1
    assert janitor.metric("drift", kind="orphan") == 0
    assert janitor.metric("checked", what="listings") == 50
    assert janitor.metric("finished_timestamp_seconds") == newest[0].finished_at.timestamp()
    assert len(await audits.newest(9)) == 1
    place.now = NOW + timedelta(days=1)
    await janitor.audit.step()
    begun = await audits.newest(9)
    assert [one.listings for one in begun] == [20, 50]
    assert janitor.metric("drift", kind="missing") == 1
    assert steps == 5


async def test_two_janitors_audit_once(place: Place) -> None:
    audits = MemoryAudits()
    janitor = Janitor(place, audits)
    janitor.audit._lease = await held_by_another(place)
    await janitor.audit.step()
    assert not await audits.newest(1)


async def test_a_janitor_that_was_succeeded_shows_no_drift(place: Place) -> None:
    await place.has(listed("a"))
    del place.objects.held[Bucket.PUBLIC][THUMB]
    place.now, janitor = NOW, Janitor(place, MemoryAudits())
    for _ in range(5):
        await janitor.audit.step()
    assert (janitor.metric("drift", kind="missing"), janitor.metric("checked", what="listings")) == (1, 1)
    janitor.audit._lease = await held_by_another(place)
    await janitor.audit.step()
    assert (janitor.metric("drift", kind="missing"), janitor.metric("checked", what="listings")) == (None, None)


async def test_a_repair_that_others_keep_from_being_written_is_not_silent(place: Place) -> None:
    class RefusingListings(MemoryListings):
        """Listings that another changes before each write of ours."""

        async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
            return [(listing.feed, listing.key) for listing in listings]

    contested = RefusingListings(RENDERER)
    await MemoryListings.write(contested, [listed("a")])
    repair = auditing.Repair(contested, place.objects, lambda: NOW)
    with pytest.raises(Contention, match="1 listing was not repaired"):
        await auditing.run(Walk(contested, place.objects, lambda: NOW, AuditScope(feeds=[FEED])), repair)
