"""What do we know of one listing? It is the aggregate: every change of a photo is one conditional write of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from shared.domain.freshness import Position, Version
from shared.domain.image import Copy, Photo, Status
from shared.domain.priority import Priority, most_urgent


class RemovalReason(StrEnum):
    """Why an image, or a version of it, must no longer be held."""

    LISTING_INACTIVE = "listing-inactive"
    PHOTO_WITHDRAWN = "photo-withdrawn"
    OPT_OUT = "opt-out"
    SUPERSEDED = "superseded"
    FORCED = "forced"


UNTIL_DECIDED = datetime(9999, 1, 1, tzinfo=UTC)
"""Until when copies are held that an operator has to decide about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The listing may not be shown; its copies are removed at `remove_at`, or later where the guard holds them."""

    reason: RemovalReason
    since: datetime
    remove_at: datetime
    off_market_at: datetime | None = None
    """When it left the market, by the MLS's own clock."""
    was_displayed: bool = True
    """False where the very first statement hid it: such a listing left no market."""
    held_until: datetime | None = None
    """Set where so many listings of the feed turned hidden at once that it may be the feed's fault."""

    @property
    def removal_at(self) -> datetime:
        """When its copies go."""
        return self.remove_at if self.held_until is None else max(self.remove_at, self.held_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """Objects that nothing shows any more, to be removed at `remove_at`.

    `whole` means every version of the photo; otherwise only the named keys. Once `removing` is set, objects may be
    disappearing at any moment, and nothing may be stored under those keys until the discard is gone.
    """

    image_id: str
    object_id: str
    reason: RemovalReason
    since: datetime
    remove_at: datetime
    public_keys: tuple[str, ...]
    original_keys: tuple[str, ...]
    whole: bool
    removing: bool = False
    off_market_at: datetime | None = None
    """When it left the market, by the MLS's own clock."""
    unshown_at: datetime | None = None
    """When the record showed the photo no more; null where that is `since`."""

    def touches(self, copy: Copy) -> bool:
        """Whether a copy uses one of the keys."""
        return not {*copy_keys(copy)}.isdisjoint({*self.public_keys, *self.original_keys})


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A row of `Media` that is not shown, and why."""

    media_key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One listing of one feed; `revision` 0 has never been written."""

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
    """An operator had it removed: it stays hidden whatever the MLS says, until that is lifted."""
    removed_image_ids: tuple[str, ...] = ()
    """The ids of single images that an operator had removed: they are not shown again until that is lifted."""

    @property
    def is_displayed(self) -> bool:
        """Whether the public may see it."""
        return self.hidden is None

    @property
    def version(self) -> Version:
        """How new the recorded statement is."""
        return Version(modified_at=self.modified_at, media_changed_at=self.media_changed_at, position=self.position)

    def photo(self, image_id: str) -> Photo | None:
        """Return the photo with this id, if the listing shows it."""
        return next((photo for photo in self.photos if photo.id == image_id), None)

    def with_photos(self, changed: Iterable[Photo]) -> "Listing":
        """Replace photos by id; the others stay as they are."""
        by_id = {photo.id: photo for photo in changed}
        return replace(self, photos=tuple(by_id.get(photo.id, photo) for photo in self.photos))

    def reverted(self) -> "Listing":
        """Return what takes back the one write that followed this reading; refused where others followed."""
        return replace(self, revision=self.revision + 1)

    def photo_due_at(self, photo: Photo) -> datetime | None:
        """When the photo's next attempt is due: never while hidden, nor while its objects are still being removed."""
        if self.hidden is not None:
            return None
        if self.discards and any(gone.whole and gone.image_id == photo.id for gone in self.discards):
            return None
        return photo.due_at

    @property
    def due_at(self) -> datetime | None:
        """When its most urgent photo needs an attempt."""
        return min((due for photo in self.photos if (due := self.photo_due_at(photo))), default=None)

    @property
    def priority(self) -> Priority:
        """The most urgent of the photos that want an attempt."""
        return most_urgent(*(photo.priority for photo in self.photos if self.photo_due_at(photo)))

    @property
    def queued(self) -> Mapping[Priority, tuple[datetime, int]]:
        """By priority: when the first of its photos is due that want an attempt, and how many those are."""
        wanting = [(photo.priority, due_at) for photo in self.photos if (due_at := self.photo_due_at(photo))]
        by_priority = {one: [due_at for priority, due_at in wanting if priority is one] for one in Priority}
        return {one: (min(due), len(due)) for one, due in by_priority.items() if due}

    @property
    def released(self) -> tuple[Photo, ...]:
        """The photos that are on their way to a downloader or in its hands."""
        return tuple(
            photo
            for photo in self.photos
            if photo.released_at is not None and (self.photo_due_at(photo) or photo.claim is not None)
        )

    @property
    def recheckable(self) -> tuple[Photo, ...]:
        """The photos whose copies can be asked for again, conditionally, and want no attempt otherwise."""
        if not self.is_displayed:
            return ()
        return tuple(photo for photo in self.photos if photo.copy and photo.copy.has_validator and not photo.due_at)

    @property
    def checked_at(self) -> datetime | None:
        """When the copy was last asked for that was not for the longest time, of those that can be."""
        return min((photo.copy.checked_at for photo in self.recheckable if photo.copy), default=None)

    @property
    def removal_due_at(self) -> datetime | None:
        """When the next object must be removed; None where there is nothing to remove."""
        leaving = [discard.remove_at for discard in self.discards]
        if self.hidden is not None and self.photos:
            leaving.append(self.hidden.removal_at)
        return min(leaving, default=None)

    @property
    def removing(self) -> tuple[Discard, ...]:
        """The discards whose removal has begun: their objects may be disappearing."""
        return tuple(discard for discard in self.discards if discard.removing)

    @property
    def counts(self) -> Mapping[Status, int]:
        """How many photos have each status."""
        return Counter(photo.status for photo in self.photos)


@dataclass(frozen=True, slots=True)
class RecordedState:
    """What is recorded of the MLS's last statement about a listing, without its photos."""

    version: Version
    is_displayed: bool
    hidden_by: RemovalReason | None


def copy_keys(copy: Copy) -> tuple[str, ...]:
    """Every object key that a copy needs."""
    return (copy.original_key, *(variant.key for variant in copy.variants))
