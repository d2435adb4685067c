"""What must go now, and what is left once it has gone? Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.listing import Discard, Listing
from shared.domain.reconcile import whole


def begin(listing: Listing, now: datetime) -> Listing:
    """Return the listing with everything whose time has come marked `removing`: nothing calls it back."""
    leaving = listing.discards
    photos = listing.photos
    if listing.hidden is not None and listing.hidden.remove_at <= now:
        leaving += tuple(
            replace(whole(photo, listing.hidden.reason, now), since=listing.hidden.since) for photo in photos
        )
        photos = ()
    return replace(listing, photos=photos, discards=tuple(_marked(_joined(leaving), now)))


def removing(listing: Listing) -> tuple[Discard, ...]:
    """Return what is being removed."""
    return tuple(discard for discard in listing.discards if discard.removing)


def finish(listing: Listing, gone: Collection[Discard]) -> Listing:
    """Return the listing without what is gone; photos that came back meanwhile are due from now on."""
    return replace(listing, discards=tuple(discard for discard in listing.discards if discard not in gone))


def _marked(discards: Sequence[Discard], now: datetime) -> list[Discard]:
    return [replace(discard, removing=discard.removing or discard.remove_at <= now) for discard in discards]


def _joined(discards: Sequence[Discard]) -> list[Discard]:
    """Where a whole photo goes, its superseded versions go with it, in one removal that names all their URLs."""
    wholes = {discard.image_id: discard for discard in reversed(discards) if discard.whole}
    others = [discard for discard in discards if discard is not wholes.get(discard.image_id)]
    for other in others:
        if into := wholes.get(other.image_id):
            wholes[other.image_id] = _with_keys_of(into, other)
    return [*wholes.values(), *(other for other in others if other.image_id not in wholes)]


def _with_keys_of(discard: Discard, other: Discard) -> Discard:
    return replace(
        discard,
        public_keys=tuple(dict.fromkeys((*discard.public_keys, *other.public_keys))),
        original_keys=tuple(dict.fromkeys((*discard.original_keys, *other.original_keys))),
    )
