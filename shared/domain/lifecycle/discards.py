"""Which objects must go, and when? A discard is ordered, begun, and finished once its objects are deleted."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.audit import ORPHAN_AFTER
from shared.domain.image import NO_RENDERING, Copy, Photo
from shared.domain.lifecycle.attempts import defer
from shared.domain.listing import Discard, Hidden, Listing, RemovalReason, copy_keys

_RETRY_AFTER = timedelta(minutes=1)
_UNCLAIMED_KEPT_FOR = timedelta(hours=1)
"""Another worker, which has claimed the photo since, may store the same objects."""


def withdraw(
    photo: Photo, reason: RemovalReason, hidden: Hidden | None, now: datetime, *, off_market_at: datetime | None = None
) -> Discard:
    """Return the discard, due now, of all versions of a photo that its listing does not show any more.

    The caller adds the discard to the listing. `reason` is why the photo goes. `hidden` is the recorded `hidden` of the
    listing, None if the listing was displayed until now. If the listing was hidden, the discard's `since` and
    `off_market_at` are those of `hidden`. Otherwise `since` is `now`, and the argument `off_market_at` is used: the MLS
    timestamp of the announcement that withdrew the photo, None if there is none.
    """
    copy = photo.copy
    return Discard(
        image_id=photo.id,
        object_id=photo.object_id,
        reason=reason,
        since=hidden.since if hidden else now,
        off_market_at=hidden.off_market_at if hidden else off_market_at,
        unshown_at=now,
        remove_at=now,
        public_keys=tuple(variant.key for variant in copy.variants) if copy else (),
        original_keys=(copy.original_key,) if copy else (),
        whole=True,
    )


def supersede(listing: Listing, photo: Photo, now: datetime, remove_at: datetime) -> Listing:
    """Return the listing with `photo`, which has a new copy, in place of the recorded photo with the same id.

    Objects that only the former copy used are discarded: they are due for deletion at `remove_at`. Objects that the new
    copy uses are taken out of all the listing's discards.
    """
    former = listing.photo(photo.id)
    copy = photo.copy
    assert copy is not None  # noqa: S101 - it was downloaded
    discards = [_without(discard, copy) for discard in listing.discards]
    if former is not None and former.copy is not None:
        discards.append(_without(_discard(photo, former.copy, RemovalReason.SUPERSEDED, now, remove_at), copy))
    remaining = tuple(discard for discard in discards if discard)
    return replace(listing.with_photos([photo]), discards=remaining)


def discard_unclaimed(listing: Listing, claimed: Photo, copy: Copy, now: datetime) -> Listing:
    """Return the listing with a discard of the objects of `copy`, which a worker stored although its claim had ended.

    `claimed` is the photo as it was when the worker's attempt began; `copy` is not recorded. If the listing shows the
    photo no more, the discard is due now. Otherwise the discard is due in an hour, since another worker may have
    claimed the photo and may store the same objects. Objects that copies of the listing's photos use are not discarded;
    if no other object remains, the listing is returned unchanged.
    """
    if listing.photo(claimed.id) is None:
        reason = listing.hidden.reason if listing.hidden else RemovalReason.PHOTO_WITHDRAWN
        discard: Discard | None = _discard(claimed, copy, reason, now, now)
    else:
        discard = _discard(claimed, copy, RemovalReason.SUPERSEDED, now, now + _UNCLAIMED_KEPT_FOR)
    for photo in listing.photos:  # a renamed photo may have its copy under the name of the claimed one
        discard = _without(discard, photo.copy) if discard and photo.copy else discard
    return replace(listing, discards=(*listing.discards, discard)) if discard else listing


def lose_copy(photo: Photo, now: datetime) -> Photo:
    """Return the photo without its copy, because a stored object of the copy is lost.

    The photo is due now, and its failure and count of attempts are cleared.
    """
    return replace(defer(photo, now), copy=None, attempts=0, failure=None)


def discard_lost_copy(photo: Photo, copy: Copy, now: datetime) -> Discard:
    """Return the discard of the objects that remain of `copy`, which `lose_copy` took from the photo.

    The discard is due in a day, because the photo's next copy may use the same objects. The caller adds the discard to
    the listing.
    """
    return _discard(photo, copy, RemovalReason.SUPERSEDED, now, now + ORPHAN_AFTER)


def lose_original(photo: Photo, now: datetime) -> Photo:
    """Return the photo forced and due now, because its stored original is lost.

    The variants are served until the photo is downloaded again. The copy's rendering becomes `NO_RENDERING`. Therefore
    the next attempt downloads the photo; it does not recheck the copy or rebuild the variants.
    """
    copy = replace(photo.copy, rendering=NO_RENDERING) if photo.copy else None
    return replace(defer(photo, now), copy=copy, forced_at=now)


def begin_removal(listing: Listing, now: datetime) -> Listing:
    """Return the listing with `removing` set on each discard that is due at `now`.

    The caller writes the listing before it deletes any object; a removal that has begun is never undone. If the listing
    is hidden and its copies are due for removal, each of its photos becomes a discard, and the listing shows no photo
    any more. All discards are then begun, even those of superseded copies that are due later.
    """
    discards, photos, until = listing.discards, listing.photos, now
    if listing.hidden is not None and listing.hidden.removal_at <= now:
        hidden = listing.hidden
        discards += tuple(withdraw(photo, hidden.reason, hidden, now) for photo in photos)
        until = max((discard.remove_at for discard in discards), default=now) if photos else now
        photos = ()
    return replace(listing, photos=photos, discards=tuple(_marked(_joined(discards), until)))


def add_objects(discard: Discard, public_keys: Collection[str], original_keys: Collection[str]) -> Discard:
    """Return the discard with the keys of more objects of its photo, which were found in the two buckets.

    The caller writes the keys before it deletes the objects.
    """
    return replace(
        discard,
        public_keys=tuple(dict.fromkeys((*discard.public_keys, *sorted(public_keys)))),
        original_keys=tuple(dict.fromkeys((*discard.original_keys, *sorted(original_keys)))),
    )


def finish_removal(listing: Listing, removed: Collection[Discard]) -> Listing:
    """Return the listing without the discards `removed`, whose objects are deleted.

    A photo that was announced again during its removal may be attempted from now on: no discard forbids it any more.
    """
    return replace(listing, discards=tuple(discard for discard in listing.discards if discard not in removed))


def retry_removal(listing: Listing, refused: Collection[Discard], now: datetime) -> Listing:
    """Return the listing with the discards `refused` due again in a minute.

    Each of these discards has an object that storage refused to delete.
    """
    return replace(
        listing,
        discards=tuple(
            replace(discard, remove_at=now + _RETRY_AFTER) if discard in refused else discard
            for discard in listing.discards
        ),
    )


def _marked(discards: Sequence[Discard], until: datetime) -> list[Discard]:
    return [replace(discard, removing=discard.removing or discard.remove_at <= until) for discard in discards]


def _joined(discards: Sequence[Discard]) -> list[Discard]:
    """Return the listing's discards, joined into one discard for each photo that has a discard with `whole` set.

    The joined discard has the keys of all the photo's discards, so that a single `image-removed` event names all URLs
    of the photo. The discards of other photos are returned unchanged.
    """
    wholes = {discard.image_id: discard for discard in reversed(discards) if discard.whole}
    others = [discard for discard in discards if discard is not wholes.get(discard.image_id)]
    for other in others:
        if whole := wholes.get(other.image_id):
            wholes[other.image_id] = add_objects(whole, other.public_keys, other.original_keys)
    return [*wholes.values(), *(other for other in others if other.image_id not in wholes)]


def _discard(photo: Photo, copy: Copy, reason: RemovalReason, now: datetime, remove_at: datetime) -> Discard:
    """Return the discard of this one copy of a photo; objects of the photo's other versions are not in it."""
    return Discard(
        image_id=photo.id,
        object_id=photo.object_id,
        reason=reason,
        since=now,
        remove_at=remove_at,
        public_keys=tuple(variant.key for variant in copy.variants),
        original_keys=(copy.original_key,),
        whole=False,
    )


def _without(discard: Discard, copy: Copy) -> Discard | None:
    """Return the discard without the keys of the objects of `copy`, which must stay because the photo uses them.

    Return None if nothing is left to delete: no key remains, and `whole` is not set.
    """
    used = set(copy_keys(copy))
    remaining = replace(
        discard,
        public_keys=tuple(key for key in discard.public_keys if key not in used),
        original_keys=tuple(key for key in discard.original_keys if key not in used),
    )
    return remaining if remaining.whole or remaining.public_keys or remaining.original_keys else None
