"""Runs an audit now, and repairs what it finds: lost copies are made due, orphans removed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ops.words import many
from shared.audit import Walk
from shared.clock import Clock
from shared.domain import lifecycle
from shared.domain.audit import Drift, Finding, unreferenced_keys
from shared.domain.listing import Listing
from shared.stores.documents import ListingId
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.objects import Bucket, Objects
from shared.stores.updates import OptimisticUpdate

_MOST_KEPT = 1_000


@dataclass(slots=True)
class Audited:
    """How much was looked at, what was found (the first thousand by name), and what was repaired."""

    listings: int = 0
    objects: int = 0
    drift: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    due_again: int = 0
    removed: int = 0


class Repair:
    """Repairs what an audit found."""

    def __init__(self, listings: ListingRecords, objects: Objects, clock: Clock) -> None:
        self._listings = listings
        self._objects = objects
        self._clock = clock
        self.not_repaired = 0
        """Listings that others changed before each attempt to write them."""

    async def __call__(self, findings: Sequence[Finding], done: Audited) -> None:
        """Make lost copies due and remove orphans. Raises StoreUnavailable."""
        by_listing: dict[ListingId, list[Finding]] = {}
        for one in findings:
            by_listing.setdefault((one.feed, one.listing_key), []).append(one)
        for one_listing, found in by_listing.items():
            try:
                await self._of_listing(one_listing, found, done)
            except Contention:
                self.not_repaired += 1

    async def _of_listing(self, one: ListingId, found: Sequence[Finding], done: Audited) -> None:
        """Look again: the record may have changed since, and what it names by now is not removed."""
        removed = await self._remove_orphans(one, [finding for finding in found if finding.drift is Drift.ORPHAN])
        done.removed += len(removed)
        drifted = {finding.key for finding in found if finding.drift is not Drift.ORPHAN}
        attempts = OptimisticUpdate(self._listings, [one])
        async for readings in attempts:
            for listing in readings.values():
                # What was removed and is named after all is lost: a download stored the same bytes again in between.
                after = due_again(listing, drifted | removed, self._clock())
                if after is None:
                    continue
                # Bad originals first: what is made anew must not be made of them.
                await self._objects.delete(Bucket.ORIGINALS, _originals_of(listing, after) & drifted)
                if await attempts.write([after]):
                    done.due_again += sum(now is not was for now, was in zip(after.photos, listing.photos, strict=True))

    async def _remove_orphans(self, one: ListingId, found: Sequence[Finding]) -> set[str]:
        """Delete those of the objects that no record names by now; return the keys of those that were deleted."""
        listing = await self._listings.get(*one) if found else None
        orphans = {finding.key for finding in found}
        if listing:
            orphans = unreferenced_keys(listing, orphans)
        for bucket, is_original in ((Bucket.PUBLIC, False), (Bucket.ORIGINALS, True)):
            going = [each.key for each in found if each.is_original is is_original and each.key in orphans]
            orphans.difference_update(await self._objects.delete(bucket, going))
        return orphans


async def run(
    walk: Walk, repair: Repair | None, tell: Callable[[Audited], object] = lambda _: None
) -> Audited:  # fmt: skip
    """Walk to the end, repairing if told to. Raises StoreUnavailable, and Contention after the last page."""
    done, cursor, pending = Audited(), walk.start, list[Finding]()
    while cursor:
        step = await walk.step(cursor)
        done.listings += step.listings
        done.objects += step.objects
        for one in step.findings:
            done.drift[one.drift.value] = done.drift.get(one.drift.value, 0) + 1
        done.findings += step.findings[: _MOST_KEPT - len(done.findings)]
        if repair:
            # A step late: a listing of keys goes on after the last one of a page, which had better still be there.
            await repair(pending, done)
            pending = list(step.findings)
        cursor = step.next
        tell(done)
    if repair:
        await repair(pending, done)
        if repair.not_repaired:
            what = many(repair.not_repaired, "listing was", "listings were")
            raise Contention(f"{what} not repaired: others changed them before each attempt to write; repair again")
    return done


def due_again(listing: Listing, lost: set[str], now: datetime) -> Listing | None:
    """Return the listing with every photo due of whose copy an object is lost; None where there is none. Pure.

    With the original left, variants are made of it; with the variants left, they are served until the MLS has sent the
    original again; with neither, there is no copy.
    """
    if not listing.is_displayed:
        return None
    photos, discards = [], list(listing.discards)
    for photo in listing.photos:
        copy, original_lost = photo.copy, photo.copy is not None and photo.copy.original_key in lost
        variants_lost = copy is not None and any(variant.key in lost for variant in copy.variants)
        if copy is None or photo.is_claimed(now) or not (original_lost or variants_lost):
            photos.append(photo)
        elif original_lost and variants_lost:
            photos.append(lifecycle.lose_copy(photo, now))
            discards.append(lifecycle.discard_lost_copy(photo, copy, now))
        elif original_lost:
            photos.append(lifecycle.lose_original(photo, now))
        else:
            photos.append(lifecycle.rebuild(photo, now))
    if all(now is was for now, was in zip(photos, listing.photos, strict=True)):
        return None
    return replace(listing, photos=tuple(photos), discards=tuple(discards))


def _originals_of(before: Listing, after: Listing) -> set[str]:
    """Return the originals of the photos that differ."""
    pairs = zip(before.photos, after.photos, strict=True)
    return {was.copy.original_key for was, now in pairs if was is not now and was.copy}


def in_words(done: Audited) -> Iterable[str]:
    """Say what was found and done."""
    yield f"{many(done.listings, 'listing')} and {many(done.objects, 'object')} looked at"
    for one in done.findings[:20]:
        bucket = Bucket.ORIGINALS if one.is_original else Bucket.PUBLIC
        yield f"  {one.drift}: {one.key} ({bucket}) of listing {one.listing_key} of {one.feed}"
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(done.drift.items()))
    yield f"found: {found or 'records and objects agree'}"
