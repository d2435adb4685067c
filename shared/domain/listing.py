"""What is recorded of a listing? It is an aggregate: each change of a photo is a conditional write of its listing."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from shared.domain.freshness import Position, Version
from shared.domain.image import Copy, Photo, Status
from shared.domain.priority import Priority, most_urgent


class RemovalReason(StrEnum):
    """Why a photo, or a version of it, is removed."""

    LISTING_INACTIVE = "listing-inactive"
    PHOTO_WITHDRAWN = "photo-withdrawn"
    OPT_OUT = "opt-out"
    SUPERSEDED = "superseded"
    FORCED = "forced"


UNTIL_DECIDED = datetime(9999, 1, 1, tzinfo=UTC)
"""The end of a hold that waits for an operator's decision, or of a wait for a word of the MLS that a rule knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Why and since when a listing is hidden, and when its copies are removed.

    The copies are removed at `remove_at`, or at `held_until` if that is later.
    """

    reason: RemovalReason
    since: datetime
    remove_at: datetime
    off_market_at: datetime | None = None
    """When the listing left the market, by the MLS's clock; None if the MLS gave no time."""
    was_displayed: bool = True
    """False if the first announcement of the listing hid it: it was never on the market."""
    held_until: datetime | None = None
    """When the hold on the copies ends (`UNTIL_DECIDED`: when an operator decides); None if there is no hold."""

    @property
    def waits_for_word(self) -> bool:
        """True if a word that no rule knows hides the listing: its copies stay until the MLS sends a known word."""
        return self.remove_at == UNTIL_DECIDED

    @property
    def removal_at(self) -> datetime:
        """When the hidden listing's copies are removed: at `remove_at`, or when their hold ends if that is later."""
        return self.remove_at if self.held_until is None else max(self.remove_at, self.held_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """An order in a listing's record to delete stored objects of one photo, from the time `remove_at` on.

    The janitor deletes the objects. `reason` is why they must go, and `since` is when that reason arose. `image_id` is
    our id of the photo, `object_id` the MLS's.
    """

    image_id: str
    object_id: str
    reason: RemovalReason
    since: datetime
    remove_at: datetime
    public_keys: tuple[str, ...]
    """Keys of objects in the public bucket."""
    original_keys: tuple[str, ...]
    """Keys of objects in the bucket of originals."""
    whole: bool
    """True if all objects of all versions of the photo are removed; False if only those under the two lists of keys."""
    removing: bool = False
    """True once the removal has begun: the objects may disappear at any moment, and nothing may be stored under their
    keys until the discard is finished."""
    off_market_at: datetime | None = None
    """When the listing left the market, by the MLS's clock; None if it did not, or the MLS gave no time."""
    unshown_at: datetime | None = None
    """From when on the record did not show the photo; None if from `since` on."""

    def touches(self, copy: Copy) -> bool:
        """Return True if this discard orders the deletion of an object that the copy has."""
        return not {*copy_keys(copy)}.isdisjoint({*self.public_keys, *self.original_keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A row of a listing's `Media` that is not shown. `reason` says why, as a phrase for operators."""

    media_key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unannounced:
    """A mark in a listing's record: the event `image-downloaded` is still to be published for a photo's copy.

    `at` is when the copy was stored or confirmed. `changed` is the event's field: False if the copy has the same bytes
    as the copy before.
    """

    image_id: str
    at: datetime
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The record of one listing of a feed. `revision` counts its writes; 0 means that it was never written."""

    feed: str
    key: str
    revision: int = 0
    standard_status: str | None = None
    city: str | None = None
    modified_at: datetime | None = None
    media_changed_at: datetime | None = None
    position: Position | None = None
    seen_at: datetime | None = None
    hidden: Hidden | None = None
    photos: tuple[Photo, ...] = ()
    discards: tuple[Discard, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    is_removed_by_operator: bool = False
    """True if an operator removed the listing: it stays hidden, whatever the MLS announces, until an operator allows it
    again."""
    removed_image_ids: tuple[str, ...] = ()
    """The ids of photos that an operator removed: they are not shown until an operator allows them again."""
    unannounced: tuple[Unannounced, ...] = ()
    """The marks of photos whose `image-downloaded` Kafka may not have yet, at most one for each photo."""

    @property
    def is_displayed(self) -> bool:
        """True if the public may see the listing."""
        return self.hidden is None

    @property
    def version(self) -> Version:
        """The version of the last announcement that was recorded of this listing."""
        return Version(modified_at=self.modified_at, media_changed_at=self.media_changed_at, position=self.position)

    def photo(self, image_id: str) -> Photo | None:
        """Return the listing's photo with this `image_id`; None if the listing shows no such photo."""
        return next((photo for photo in self.photos if photo.id == image_id), None)

    def with_photos(self, changed: Iterable[Photo]) -> "Listing":
        """Return the listing with the photos `changed` in place of its photos with the same ids.

        Photos in `changed` that the listing does not show are ignored.
        """
        by_id = {photo.id: photo for photo in changed}
        return replace(self, photos=tuple(by_id.get(photo.id, photo) for photo in self.photos))

    def reverted(self) -> "Listing":
        """Return this listing with its revision raised by one, for a caller that undoes its own write of the listing.

        The caller calls this method on the listing as it was before its write, and writes the result. The store refuses
        the result if another process has written the listing meanwhile.
        """
        return replace(self, revision=self.revision + 1)

    def photo_due_at(self, photo: Photo) -> datetime | None:
        """Return when the photo's next attempt is due; None if the photo wants no attempt or the listing forbids it.

        A hidden listing forbids all attempts. A discard of the whole photo forbids attempts of that photo.
        """
        if self.hidden is not None:
            return None
        if self.discards and any(discard.whole and discard.image_id == photo.id for discard in self.discards):
            return None
        return photo.due_at

    @property
    def due_at(self) -> datetime | None:
        """When the first attempt of any of the listing's photos is due; None if no attempt is wanted or allowed."""
        return min((due for photo in self.photos if (due := self.photo_due_at(photo))), default=None)

    @property
    def priority(self) -> Priority:
        """The most urgent priority among the listing's photos that want an attempt; routine if there are none."""
        return most_urgent(*(photo.priority for photo in self.photos if self.photo_due_at(photo)))

    @property
    def queued(self) -> Mapping[Priority, tuple[datetime, int]]:
        """For each priority, when the first attempt of a photo is due, and the number of photos that want an attempt.

        A priority without photos that want an attempt is left out.
        """
        times: dict[Priority, list[datetime]] = {priority: [] for priority in Priority}
        for photo in self.photos:
            if due_at := self.photo_due_at(photo):
                times[photo.priority].append(due_at)
        return {priority: (min(due), len(due)) for priority, due in times.items() if due}

    @property
    def released(self) -> tuple[Photo, ...]:
        """The listing's photos in flight, whether claimed or not."""
        return tuple(
            photo
            for photo in self.photos
            if photo.released_at is not None and (self.photo_due_at(photo) or photo.claim is not None)
        )

    @property
    def recheckable(self) -> tuple[Photo, ...]:
        """The listing's photos that can be rechecked (`Photo.can_recheck`), without those that want an attempt already.

        Empty while the listing is hidden.
        """
        if not self.is_displayed:
            return ()
        return tuple(photo for photo in self.photos if photo.can_recheck and not photo.due_at)

    @property
    def checked_at(self) -> datetime | None:
        """The earliest `checked_at` of the copies of `recheckable` photos; None if there are none."""
        return min((photo.copy.checked_at for photo in self.recheckable if photo.copy), default=None)

    @property
    def removal_due_at(self) -> datetime | None:
        """When the next of the listing's removals is due; None if there is none.

        Each discard is a removal, and so are the photos of a hidden listing together.
        """
        times = [discard.remove_at for discard in self.discards]
        if self.hidden is not None and self.photos:
            times.append(self.hidden.removal_at)
        return min(times, default=None)

    @property
    def removing(self) -> tuple[Discard, ...]:
        """The listing's discards whose removal has begun: their objects may be deleted at any moment."""
        return tuple(discard for discard in self.discards if discard.removing)

    @property
    def counts(self) -> Mapping[Status, int]:
        """The number of the listing's photos with each status; a status without photos is left out."""
        return Counter(photo.status for photo in self.photos)


@dataclass(frozen=True, slots=True)
class RecordedState:
    """The recorded version of a listing, and whether it is displayed; without its photos."""

    version: Version
    is_displayed: bool
    hidden_by: RemovalReason | None
    """Why the listing is hidden; None if it is displayed."""


def copy_keys(copy: Copy) -> tuple[str, ...]:
    """Return the keys of all stored objects of a copy: the original's first, then those of the variants."""
    return (copy.original_key, *(variant.key for variant in copy.variants))
