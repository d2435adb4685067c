"""Do records and objects agree? What an audit finds, how a walk continues, and what a repair changes."""

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


class Stores:
    """Listings, buckets and a clock. Objects are stored two days before NOW unless a test sets the clock."""

    def __init__(self, folder: Path) -> None:
        self.now = after(-2 * 86_400)
        self.listings = MemoryListings(RENDERER)
        self.objects = MemoryObjects(lambda: self.now)
        self._folder = folder

    async def put(self, bucket: Bucket, key: str, content: bytes) -> None:
        source = self._folder / "source"
        source.write_bytes(content)
        await self.objects.put(bucket, key, source, "image/webp")

    async def record(self, *listings: Listing) -> None:
        """Record listings, with the objects of all their copies."""
        assert not await self.listings.write(listings)
        for copy in (photo.copy for listing in listings for photo in listing.photos if photo.copy):
            await self.put(Bucket.ORIGINALS, copy.original_key, ORIGINAL)
            for variant in copy.variants:
                await self.put(Bucket.PUBLIC, variant.key, bytes(variant.file_size))

    def add_orphans(self, count: int) -> None:
        """Store objects that no record names."""
        for number in range(count):
            key = f"proptx-idx/Z{number}/a/0123456789abcdef/full-1.webp"
            self.objects.contents[Bucket.PUBLIC][key] = b"x"
            self.objects.stored_at[Bucket.PUBLIC, key] = after(-2 * 86_400)

    def walk(self, *feeds: str, **scope: Any) -> Walk:
        self.now = max(self.now, NOW)
        return Walk(self.listings, self.objects, lambda: self.now, AuditScope(feeds=feeds or (FEED,), **scope))

    async def find_drift(self, **scope: Any) -> list[tuple[Drift, str]]:
        audited = await auditing.run(self.walk(**scope), None)
        assert audited.drift == {
            kind: sum(finding.drift == kind for finding in audited.findings) for kind in audited.drift
        }
        return sorted((finding.drift, finding.key) for finding in audited.findings)

    async def audit_and_repair(self) -> auditing.Audited:
        walk = self.walk()
        return await auditing.run(walk, auditing.Repair(self.listings, self.objects, lambda: self.now))

    async def repair(self, *findings: Finding) -> auditing.Audited:
        audited, self.now = auditing.Audited(), max(self.now, NOW)
        await auditing.Repair(self.listings, self.objects, lambda: self.now)(findings, audited)
        return audited

    @property
    def keys(self) -> set[str]:
        return {key for bucket in Bucket for key in self.objects.contents[bucket]}

    async def listing(self, key: str = "X1") -> Listing:
        found = await self.listings.get(FEED, key)
        assert found
        return found


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Empty stores."""
    return Stores(tmp_path)


def copied(photo: str = "a", key: str = "X1", **facts: Any) -> Copy:
    """Return a copy of the photo whose original is ORIGINAL."""
    return a_copy(photo, key=key, sha256=SHA256, file_size=len(ORIGINAL), **facts)


def listed(*names: str, key: str = "X1", **facts: Any) -> Listing:
    """Return a listing of downloaded photos whose originals are ORIGINAL."""
    photos = [a_downloaded_photo(name, key=key, copy=copied(name, key)) for name in names]
    return a_listing(*photos, key=key, **facts)


FULL, THUMB = (variant.key for variant in copied().variants)
ORIGINAL_KEY = copied().original_key


async def test_nothing_is_found_if_records_and_objects_agree(stores: Stores) -> None:
    await stores.record(listed("a", "b"), listed("a", key="X2"))
    audited = await auditing.run(stores.walk(), None)
    assert (audited.listings, audited.objects, audited.findings) == (2, 18, [])
    assert list(auditing.in_words(audited))[-1] == "found: records and objects agree"


@pytest.mark.parametrize(
    ("harm", "drift", "key"),
    [
        (lambda contents: contents[Bucket.PUBLIC].pop(FULL), Drift.MISSING, FULL),
        (lambda contents: contents[Bucket.ORIGINALS].pop(ORIGINAL_KEY), Drift.MISSING, ORIGINAL_KEY),
        (lambda contents: contents[Bucket.PUBLIC].update({THUMB: b""}), Drift.EMPTY, THUMB),
        (lambda contents: contents[Bucket.PUBLIC].update({THUMB: b"x"}), Drift.WRONG_SIZE, THUMB),
        (
            lambda contents: contents[Bucket.ORIGINALS].update({ORIGINAL_KEY: ORIGINAL + b"x"}),
            Drift.WRONG_SIZE,
            ORIGINAL_KEY,
        ),
        (
            lambda contents: contents[Bucket.ORIGINALS].update({ORIGINAL_KEY: ORIGINAL[::-1]}),
            Drift.WRONG_HASH,
            ORIGINAL_KEY,
        ),
    ],
)
async def test_every_kind_of_drift_is_found(
    stores: Stores, harm: Callable[[dict[Bucket, dict[str, bytes]]], object], drift: Drift, key: str
) -> None:
    await stores.record(listed("a", "b"))
    harm(stores.objects.contents)
    assert await stores.find_drift() == [(drift, key)]


async def test_an_object_that_no_record_names_is_an_orphan_after_a_day(stores: Stores) -> None:
    await stores.record(listed("a"))
    orphans = [
        "proptx-idx/X1/gone/0123456789abcdef/full-1.webp",  # of a photo that its listing does not show
        copied("a").original_key.replace("original.jpg", "original.png"),
        "proptx-idx/nobody/a/0123456789abcdef/full-1.webp",  # of a listing that no record knows of
        "other/X~2F1/a/0123456789abcdef/full-1.webp",
    ]
    for key in orphans:
        await stores.put(Bucket.PUBLIC, key, b"x")
    stores.now = after(-86_399)
    await stores.put(Bucket.PUBLIC, "proptx-idx/nobody/b/0123456789abcdef/full-1.webp", b"x")
    await stores.put(Bucket.PUBLIC, "not ours", b"x")
    assert await stores.find_drift() == sorted((Drift.ORPHAN, key) for key in orphans)
    assert await stores.find_drift(key_prefix="other/") == sorted(
        (Drift.ORPHAN, key) for key in orphans if key != orphans[2]
    )
    assert await stores.find_drift(with_buckets=False) == sorted((Drift.ORPHAN, key) for key in orphans[:2])


async def test_objects_of_discards_and_of_claimed_photos_are_no_orphans(stores: Stores) -> None:
    old = a_discard("a", copy=a_copy("a", sha256="aa" * 32), remove_at=after(9))
    claimed = a_photo("w", claim=Claim(worker="w", until=after(60)))
    await stores.record(a_listing(claimed, discards=(old,)))
    for key in (*copy_keys(a_copy("a", sha256="aa" * 32)), *copy_keys(a_copy("w"))):
        await stores.put(Bucket.ORIGINALS if "original" in key else Bucket.PUBLIC, key, b"x")
    assert await stores.find_drift() == []


async def test_a_listing_that_changes_while_it_is_audited_is_read_again(stores: Stores) -> None:
    """The objects of a new copy are listed after the record was read: that is no drift."""
    await stores.record(listed("a"))

    class Moving(MemoryObjects):
        async def page(self, bucket: Bucket, prefix: str, after: str, limit: int):  # type: ignore[no-untyped-def]
            if bucket is Bucket.PUBLIC and prefix and FULL in stores.objects.contents[Bucket.PUBLIC]:
                listing = await stores.listing()
                assert not await stores.listings.write([replace(listing, photos=())])
                for key in (FULL, THUMB):
                    stores.objects.contents[Bucket.PUBLIC].pop(key)
            return await stores.objects.page(bucket, prefix, after, limit)

    stores.now = NOW
    audited = await auditing.run(
        Walk(stores.listings, Moving(), lambda: NOW, AuditScope(feeds=[FEED], with_buckets=False)), None
    )
    assert [finding.drift for finding in audited.findings] == [
        Drift.ORPHAN
    ]  # the original, which the record no longer names


async def test_a_walk_continues_where_another_stopped_and_reads_all_once(stores: Stores) -> None:
    keys = [f"Y{number:03}" for number in range(50)]
    await stores.record(*(listed("a", key=key) for key in keys))
    stores.add_orphans(2_500)
    steps: list[Step] = []
    cursor = stores.walk("empty", FEED).start
    while cursor:
        steps.append(await stores.walk("empty", FEED).step(cursor))
        cursor = steps[-1].next
    assert sum(step.listings for step in steps) == 50
    orphans = [finding.key for step in steps for finding in step.findings]
    assert len(orphans) == len(set(orphans)) == 2_500
    assert max(step.listings for step in steps) == 20
    assert max(len(step.findings) for step in steps) <= 1_000


async def test_a_sample_audits_every_nth_listing(stores: Stores) -> None:
    await stores.record(*(listed("a", key=f"Y{number:03}") for number in range(50)))
    audited = await auditing.run(stores.walk(every=5, with_buckets=False), None)
    assert audited.listings == 10


def test_each_salt_reads_another_share_of_the_originals() -> None:
    photos = [a_photo(f"{number}") for number in range(1_000)]
    first, second = ({photo.id for photo in photos if is_sampled(photo, 0.1, salt)} for salt in ("1", "2"))
    assert 60 < len(first) < 140
    assert first != second
    assert not any(is_sampled(photo, 0.0, "1") for photo in photos)
    assert all(is_sampled(photo, 1.0, "1") for photo in photos)


# Repair


async def test_a_photo_with_lost_variants_is_rebuilt_from_its_original(stores: Stores) -> None:
    await stores.record(listed("a", "b"))
    del stores.objects.contents[Bucket.PUBLIC][THUMB]
    audited = await stores.audit_and_repair()
    lost, other = (await stores.listing()).photos
    assert (audited.due_again, audited.removed) == (1, 0)
    assert (lost.due_at, lost.forced_at, lost.status) == (NOW, NOW, Status.DOWNLOADED)
    assert lost.copy == replace(copied(), rendering=REBUILD_WANTED)
    assert other.due_at is None
    assert stores.objects.contents[Bucket.ORIGINALS][ORIGINAL_KEY] == ORIGINAL


async def test_a_photo_with_a_lost_original_is_due_and_keeps_its_variants(stores: Stores) -> None:
    await stores.record(listed("a"))
    stores.objects.contents[Bucket.ORIGINALS][ORIGINAL_KEY] = ORIGINAL[::-1]
    await stores.audit_and_repair()
    (photo,) = (await stores.listing()).photos
    assert (photo.due_at, photo.status) == (NOW, Status.DOWNLOADED)
    assert ORIGINAL_KEY not in stores.keys, "no variant is made from bytes that were not received"


async def test_a_photo_with_lost_original_and_variants_is_due_without_a_copy(stores: Stores) -> None:
    await stores.record(listed("a"))
    for key in (FULL, ORIGINAL_KEY):
        stores.objects.contents[Bucket.ORIGINALS if "original" in key else Bucket.PUBLIC].pop(key)
    await stores.audit_and_repair()
    listing = await stores.listing()
    assert (listing.photos[0].status, listing.due_at) == (Status.PENDING, NOW)
    (discard,) = listing.discards
    assert (discard.reason, discard.remove_at, discard.whole) == (RemovalReason.SUPERSEDED, after(86_400), False)
    assert await stores.find_drift() == []


async def test_orphans_are_removed_and_nothing_else(stores: Stores) -> None:
    await stores.record(listed("a"))
    before = stores.keys
    stores.add_orphans(1_200)
    audited = await stores.audit_and_repair()
    assert (audited.removed, audited.due_again) == (1_200, 0)
    assert stores.keys == before
    assert (await stores.listing()).revision == 1


async def test_an_orphan_that_a_record_names_by_now_is_not_removed(stores: Stores) -> None:
    orphans = [
        Finding(Drift.ORPHAN, key, is_original, FEED, "X1")
        for key, is_original in ((FULL, False), (THUMB, False), (ORIGINAL_KEY, True))
    ]
    await stores.record(listed("a"))
    audited = await stores.repair(*orphans)
    assert (audited.removed, audited.due_again) == (0, 0)
    assert {FULL, THUMB, ORIGINAL_KEY} <= stores.keys


async def test_a_photo_recorded_while_its_objects_are_removed_as_orphans_is_due(stores: Stores) -> None:
    class Slow(MemoryObjects):
        async def delete(self, bucket: Bucket, keys: Collection[str]) -> Collection[str]:
            refused = await super().delete(bucket, keys)
            if FULL in keys:
                assert not await stores.listings.write([listed("a")])
            return refused

    stores.objects = Slow(lambda: stores.now)
    await stores.put(Bucket.PUBLIC, FULL, b"x")
    audited = await stores.repair(Finding(Drift.ORPHAN, FULL, False, FEED, "X1"))
    assert (audited.removed, audited.due_again) == (1, 1)
    assert (await stores.listing()).photos[0].wants_rebuild


@pytest.mark.parametrize("facts", [{"hidden": hidden()}, {"claim": Claim(worker="w", until=after(9))}])
async def test_a_drifted_original_stays_if_its_photo_is_not_repaired_now(stores: Stores, facts: dict[str, Any]) -> None:
    photo = a_downloaded_photo("a", copy=copied(), claim=facts.get("claim"))
    await stores.record(a_listing(photo, hidden=facts.get("hidden")))
    await stores.repair(Finding(Drift.WRONG_HASH, ORIGINAL_KEY, True, FEED, "X1", photo.id))
    assert ORIGINAL_KEY in stores.keys


@pytest.mark.parametrize(
    "listing",
    [
        a_listing(a_downloaded_photo("a", copy=copied(), claim=Claim(worker="w", until=after(9)))),
        listed("a", hidden=hidden()),
        a_listing(a_photo("a")),
    ],
)
def test_claimed_photos_and_hidden_listings_are_not_repaired(listing: Listing) -> None:
    assert auditing.repair_listing(listing, {FULL, ORIGINAL_KEY}, NOW) is None


# Every day


class Janitor:
    """The daily audit as a new process runs it."""

    def __init__(self, stores: Stores, audits: MemoryAudits) -> None:
        self.registry = CollectorRegistry()
        lease = Lease(MemoryLeases(), "removal", "w", lambda: stores.now)
        self.audit = DailyAudit(
            stores.listings, stores.objects, audits, lease, [FEED], lambda: stores.now, self.registry
        )  # fmt: skip

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"listing_images_audit_{name}", labels)


async def lease_of_another(stores: Stores) -> Lease:
    leases = MemoryLeases()
    assert await Lease(leases, "removal", "other", lambda: stores.now).is_held()
    return Lease(leases, "removal", "w", lambda: stores.now)


async def test_a_daily_audit_continues_in_the_next_process_and_begins_again_the_next_day(stores: Stores) -> None:
    await stores.record(*(listed("a", key=f"Y{number:03}") for number in range(50)))
    del stores.objects.contents[Bucket.PUBLIC][copied("a", "Y007").variants[0].key]
    stores.now, audits = NOW, MemoryAudits()
    steps = 0
    while not (newest := await audits.newest(1)) or newest[0].finished_at is None:
        await Janitor(stores, audits).audit.step()
        stores.now += timedelta(seconds=1)
        steps += 1
    assert (newest[0].listings, newest[0].drift) == (50, {"missing": 1})
    janitor = Janitor(stores, audits)
    await janitor.audit.step()
    assert janitor.metric("drift", kind="missing") == 1
    assert janitor.metric("drift", kind="orphan") == 0
    assert janitor.metric("checked", what="listings") == 50
    assert janitor.metric("finished_timestamp_seconds") == newest[0].finished_at.timestamp()
    assert len(await audits.newest(9)) == 1
    stores.now = NOW + timedelta(days=1)
    await janitor.audit.step()
    begun = await audits.newest(9)
    assert [audit.listings for audit in begun] == [20, 50]
    assert janitor.metric("drift", kind="missing") == 1
    assert steps == 5


async def test_a_janitor_without_the_lease_audits_nothing(stores: Stores) -> None:
    audits = MemoryAudits()
    janitor = Janitor(stores, audits)
    janitor.audit._lease = await lease_of_another(stores)
    await janitor.audit.step()
    assert not await audits.newest(1)


async def test_a_janitor_that_lost_the_lease_shows_no_drift(stores: Stores) -> None:
    await stores.record(listed("a"))
    del stores.objects.contents[Bucket.PUBLIC][THUMB]
    stores.now, janitor = NOW, Janitor(stores, MemoryAudits())
    for _ in range(5):
        await janitor.audit.step()
    assert (janitor.metric("drift", kind="missing"), janitor.metric("checked", what="listings")) == (1, 1)
    janitor.audit._lease = await lease_of_another(stores)
    await janitor.audit.step()
    assert (janitor.metric("drift", kind="missing"), janitor.metric("checked", what="listings")) == (None, None)


async def test_a_listing_that_others_keep_changing_is_reported_as_not_repaired(stores: Stores) -> None:
    class RefusingListings(MemoryListings):
        """Listings that another changes before each write of ours."""

        async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
            return [(listing.feed, listing.key) for listing in listings]

    contested = RefusingListings(RENDERER)
    await MemoryListings.write(contested, [listed("a")])
    repair = auditing.Repair(contested, stores.objects, lambda: NOW)
    with pytest.raises(Contention, match="1 listing was not repaired"):
        await auditing.run(Walk(contested, stores.objects, lambda: NOW, AuditScope(feeds=[FEED])), repair)
