"""Runs an audit for an operator, and repairs its findings: photos with lost objects become due, orphans are removed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ops.words import counted
from shared.audit import Walk
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.audit import Drift, Finding, unreferenced_keys
from shared.domain.image import Photo
from shared.domain.listing import Discard, Listing
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.objects import Bucket, Objects
from shared.stores.updates import MAX_ATTEMPTS, OptimisticUpdate

_MAX_FINDINGS = 1_000


@dataclass(slots=True)
class Audited:
    """Counts what an audit read, found and repaired; `imagectl audit --json` prints the names of these fields."""

    listings: int = 0
    objects: int = 0
    drift: dict[str, int] = field(default_factory=dict)
    """How many objects differ from the records, by the name of the drift."""
    findings: list[Finding] = field(default_factory=list)
    """The first thousand findings; `drift` counts all of them."""
    due_again: int = 0
    """Photos that the repair made due, because objects of their copies were lost."""
    removed: int = 0
    """Orphans that the repair deleted."""


class Repair:
    """Repairs the findings of an audit: writes listings in MongoDB, and deletes objects from the object storage.

    `run` calls this object with the findings of each step of the audit. `clock` returns the time now.
    """

    def __init__(self, listings: ListingRecords, objects: Objects, clock: Clock) -> None:
        self._listings = listings
        self._objects = objects
        self._clock = clock
        self.not_repaired = 0
        """The number of listings that others changed before each attempt to write them."""

    async def __call__(self, findings: Sequence[Finding], audited: Audited) -> None:
        """Make photos with lost objects due, delete orphans, and add the numbers of both to `audited`.

        `findings` are the findings of one step of the audit, and may be of several listings. Without findings, nothing
        changes. A listing that others change before each attempt to write it is not repaired, and is counted in
        `not_repaired`. Raises StoreUnavailable.
        """
        by_listing: dict[ListingId, list[Finding]] = {}
        for finding in findings:
            by_listing.setdefault((finding.feed, finding.listing_key), []).append(finding)
        for listing_id, of_listing in by_listing.items():
            try:
                await self._repair(listing_id, of_listing, audited)
            except Contention:
                self.not_repaired += 1

    async def _repair(self, listing_id: ListingId, findings: Sequence[Finding], audited: Audited) -> None:
        """Repair the findings of one listing in MongoDB and the object storage, and add the repairs to `audited`.

        The listing is read again, because its record may have changed since the audit read it. Raises Contention if
        others change the listing before each attempt to write it, and StoreUnavailable.
        """
        orphans = [finding for finding in findings if finding.drift is Drift.ORPHAN]
        removed = await self._remove_orphans(listing_id, orphans)
        audited.removed += len(removed)
        drifted = {finding.key for finding in findings if finding.drift is not Drift.ORPHAN}
        attempts = OptimisticUpdate(self._listings, [listing_id])
        async for readings in attempts:
            for listing in readings.values():
                # A removed orphan that the record names by now is lost: a download has stored the same bytes meanwhile.
                repaired = repair_listing(listing, drifted | removed, self._clock())
                if repaired is None:
                    continue
                # Drifted originals go first, so that nothing is rebuilt from them.
                await self._objects.delete(Bucket.ORIGINALS, _changed_originals(listing, repaired) & drifted)
                if await attempts.write([repaired]):
                    audited.due_again += _changed_photos(listing, repaired)

    async def _remove_orphans(self, listing_id: ListingId, orphans: Sequence[Finding]) -> set[str]:
        """Delete the orphans that the listing's record still does not name, and return the keys that were deleted.

        `orphans` are the audit's findings about orphans of the listing. If the listing is not recorded, all its orphans
        are deleted. The result lacks the keys of objects that the storage refuses to delete. Raises StoreUnavailable.
        """
        listing = await self._listings.get(*listing_id) if orphans else None
        keys = {orphan.key for orphan in orphans}
        if listing:
            keys = unreferenced_keys(listing, keys)
        for bucket, is_original in ((Bucket.PUBLIC, False), (Bucket.ORIGINALS, True)):
            in_bucket = [orphan.key for orphan in orphans if orphan.is_original is is_original and orphan.key in keys]
            keys.difference_update(await self._objects.delete(bucket, in_bucket))
        return keys


async def run(
    walk: Walk, repair: Repair | None, on_progress: Callable[[Audited], object] = lambda _: None
) -> Audited:  # fmt: skip
    """Audit all that the walk covers, repair the findings if `repair` is given, and return what was found and repaired.

    `walk` reads the listings and objects step by step. `on_progress` is called after each step with the counts so far.
    Raises StoreUnavailable. Raises Contention after the last step if services changed a listing before each attempt to
    write its repair.
    """
    audited, cursor, unrepaired = Audited(), walk.start, list[Finding]()
    while cursor:
        step = await walk.step(cursor)
        audited.listings += step.listings
        audited.objects += step.objects
        for finding in step.findings:
            audited.drift[finding.drift.value] = audited.drift.get(finding.drift.value, 0) + 1
        audited.findings += step.findings[: _MAX_FINDINGS - len(audited.findings)]
        if repair:
            # A step later: the next step lists keys from the last one of this step on, which must not be deleted yet.
            await repair(unrepaired, audited)
            unrepaired = list(step.findings)
        cursor = step.next
        on_progress(audited)
    if repair:
        await repair(unrepaired, audited)
        if repair.not_repaired:
            what = counted(repair.not_repaired, "listing was", "listings were")
            raise Contention(f"{what} not repaired: others changed them before each of {MAX_ATTEMPTS} attempts")
    return audited


def repair_listing(listing: Listing, lost: set[str], now: datetime) -> Listing | None:
    """Return the listing with each photo due whose copy has lost an object; None if no photo changes. Pure.

    `lost` has the keys of the lost objects. If only variants are lost, the photo is rebuilt from its original. If only
    the original is lost, the variants are served until the photo is downloaded again. If both are lost, the photo loses
    its copy. Hidden listings and photos that are claimed at the time `now` stay as they are.
    """
    if not listing.is_displayed:
        return None
    repaired = [_repair_photo(photo, lost, now) for photo in listing.photos]
    if all(photo is before for (photo, _), before in zip(repaired, listing.photos, strict=True)):
        return None
    discards = (discard for _, discard in repaired if discard)
    return replace(
        listing, photos=tuple(photo for photo, _ in repaired), discards=(*listing.discards, *discards)
    )  # fmt: skip


def _repair_photo(photo: Photo, lost: set[str], now: datetime) -> tuple[Photo, Discard | None]:
    """Return the repaired photo, and a discard if the photo loses its copy, else None.

    `lost` has the keys of the lost objects. The photo loses its copy if the original and a variant are lost; the
    discard then names the copy's objects. If the photo needs no repair, or is claimed at the time `now`, the result is
    `photo` itself, so that the caller can compare the two with `is`.
    """
    copy = photo.copy
    if copy is None or photo.is_claimed(now):
        return photo, None
    is_original_lost = copy.original_key in lost
    is_variant_lost = any(variant.key in lost for variant in copy.variants)
    if is_original_lost and is_variant_lost:
        return lifecycle.lose_copy(photo, now), lifecycle.discard_lost_copy(photo, copy, now)
    if is_original_lost:
        return lifecycle.lose_original(photo, now), None
    return (lifecycle.rebuild(photo, now) if is_variant_lost else photo), None


def _changed_photos(before: Listing, after: Listing) -> int:
    return sum(photo is not former for photo, former in zip(after.photos, before.photos, strict=True))


def _changed_originals(before: Listing, after: Listing) -> set[str]:
    """Return the keys of the originals that the photos of a listing had before a repair changed these photos.

    `before` and `after` are the listing before and after its repair. Photos that the repair did not change are left
    out.
    """
    pairs = zip(before.photos, after.photos, strict=True)
    return {former.copy.original_key for former, photo in pairs if former is not photo and former.copy}


def in_words(audited: Audited) -> Iterable[str]:
    """Yield lines for an operator about what an audit read and found. Pure.

    The lines say how much was read, then name the first twenty findings, then count the findings of each kind of drift.
    """
    yield f"{counted(audited.listings, 'listing')} and {counted(audited.objects, 'object')} looked at"
    for finding in audited.findings[:20]:
        bucket = Bucket.ORIGINALS if finding.is_original else Bucket.PUBLIC
        yield f"  {finding.drift}: {finding.key} ({bucket}) of listing {finding.listing_key} of {finding.feed}"
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(audited.drift.items()))
    yield f"found: {found or 'records and objects agree'}"
