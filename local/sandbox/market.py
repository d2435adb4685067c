"""The listings of the sandbox MLS: how they change, their RESO records and their signed image URLs."""

import base64
import hashlib
import hmac
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.sandbox.album import Shot, width_of
from local.sandbox.scenes import SCENES
from shared.clock import Clock, utc_now

Record = dict[str, object]

_PLACES = (
    ("Toronto", "ON", "C", "M5V 2T6"), ("Toronto", "ON", "E", "M4L 1C7"), ("Mississauga", "ON", "W", "L5B 3C1"),
    ("Toronto", "ON", "W", "M6P 1A6"), ("Vancouver", "BC", "R", "V6B 4Y8"), ("Ottawa", "ON", "X", "K1P 5N2"),
    ("Hamilton", "ON", "X", "L8P 4X3"), ("Markham", "ON", "N", "L3R 9W1"), ("Oakville", "ON", "W", "L6J 5A8"),
)  # fmt: skip
_STREETS = ("Maple Ave", "Queen St W", "Lakeshore Rd", "Birchmount Rd", "Dundas St E", "Elm Grove", "Bathurst St")
_STATUSES = ("Active",) * 7 + ("Active Under Contract", "Coming Soon", "Pending")
_KINDS = ("Detached", "Semi-Detached", "Condo Apartment", "Att/Row/Townhouse")


@dataclass(frozen=True, slots=True)
class Size:
    """A size in which every photo of the sandbox MLS can be fetched. `width` is in pixels; None: the photo's own width.

    `name` is its ImageSizeDescription, `suffix` its part of a photo's MediaKey, `permission` who may see it.
    """

    name: str
    suffix: str
    width: int | None
    permission: tuple[str, ...]


SIZES = (
    Size("Thumbnail", "t", 240, ("Public",)),
    Size("Medium", "m", 640, ("Public",)),
    Size("Large", "l", 1024, ("Public",)),
    Size("Largest", "xl", None, ("Public",)),
    Size("LargestNoWatermark", "nw", None, ("Private",)),
)
ALL_SIZES = {size.name: size for size in SIZES}
_OWN_SIZES = tuple(size for size in SIZES if size.name != "Medium")
"""The sizes in the sandbox's own records; emulated vendors have other sizes."""


@dataclass(slots=True)
class SandboxPhoto:
    """A photo of a sandbox listing, in all its sizes. `shot` names the picture that the photo shows now."""

    object_id: str
    shot: Shot
    width: int
    """The width in pixels of the largest size."""
    caption: str
    modified_at: str
    """The MediaModificationTimestamp."""

    def width_in(self, size: Size) -> int:
        """Return the photo's width in pixels in this size: the width of the size, or the photo's own if it is less."""
        return min(self.width, size.width or self.width)

    @property
    def cache_buster(self) -> str:
        """Return the digits of the photo's timestamp.

        Image URLs contain the digits: a changed photo has another URL, so that no cache answers with the old picture.
        """
        return "".join(char for char in self.modified_at if char.isdigit())


@dataclass(slots=True)
class SandboxListing:
    """A listing of the sandbox MLS with its photos in order. All but `key`, `facts` and `first_status` may change.

    `facts` are the listing's RESO fields that have no attribute here; `first_status` is the StandardStatus at the
    start.
    """

    key: str
    facts: Record
    status: str
    modified_at: str
    media_changed_at: str
    photos: list[SandboxPhoto]
    is_opted_out: bool = False
    first_status: str = field(init=False)

    def __post_init__(self) -> None:
        self.first_status = self.status

    def photo(self, position_or_id: int | str) -> SandboxPhoto:
        """Return a photo of the listing by its position, from 0, or by its MediaObjectID.

        Raises:
            KeyError: there is no such photo; the message says how many there are.
        """
        for position, photo in enumerate(self.photos):
            if position_or_id in (position, photo.object_id):
                return photo
        raise KeyError(f"listing {self.key} has no photo {position_or_id}; it has {len(self.photos)}, counted from 0")


@dataclass(frozen=True, slots=True)
class Requested:
    """The listing, photo and size that an image URL names."""

    listing: SandboxListing
    photo: SandboxPhoto
    size: Size


class BadSignature(ValueError):
    """Raised if an image URL has a wrong signature, or was signed with a key that has expired."""


class Market:
    """Holds the listings of the sandbox MLS in memory; its methods change them, and make their RESO records.

    At the start there are `listings` listings with `photos` photos each, at most `widest` pixels wide. The timestamps
    are times of `clock`. `root` is the beginning of all image URLs, without a slash at its end; the server sets it. If
    `photo_moves_record` is False, a change of photos leaves the listing's ModificationTimestamp as it is, as at AMPRE.
    """

    def __init__(
        self,
        listings: int,
        photos: int,
        *,
        widest: int = 3840,
        clock: Clock = utc_now,
        photo_moves_record: bool = True,
    ) -> None:
        self.root = ""
        self._clock, self._photo_moves_record = clock, photo_moves_record
        self._last = clock()
        self._keys = [b"sandbox-1"]
        """The signing keys of valid URLs; the last one signs new URLs."""
        start = self._last - timedelta(days=20)
        step = timedelta(days=19) / max(1, listings)
        self.listings: dict[str, SandboxListing] = {}
        for index in range(listings):
            listing = _listing(index, photos, _text(start + step * index), widest)
            self.listings[listing.key] = listing

    @property
    def signing_key(self) -> str:
        """Return a text that changes whenever new URLs are signed with another key."""
        return self._keys[-1].decode()

    def now(self) -> str:
        """Return the time by the MLS's clock as an ISO 8601 text, later than all timestamps returned before."""
        self._last = max(self._clock(), self._last + timedelta(milliseconds=1))
        return _text(self._last)

    def listing(self, key: str) -> SandboxListing:
        """Return the listing with this ListingKey.

        Raises:
            KeyError: there is none; the message names a ListingKey that exists.
        """
        if key not in self.listings:
            raise KeyError(f"there is no listing {key}; the first is {next(iter(self.listings), 'none')}")
        return self.listings[key]

    # Each method below that returns a Record changes a listing and its timestamps, and returns its new record.

    def change_photo(self, key: str, photo: int | str = 0, *, media_only: bool = False) -> Record:
        """Give a photo another picture, and so another MediaModificationTimestamp and other URLs.

        Return the listing's new record. `photo` is a position, from 0, or a MediaObjectID. With `media_only`, the
        listing's MediaChangeTimestamp changes, but not its ModificationTimestamp: this can happen at AMPRE.
        """

        def change(listing: SandboxListing) -> None:
            changed = listing.photo(photo)
            shot = changed.shot
            changed.shot = Shot(shot.listing_key, shot.number, shot.index, shot.version + 1)
            changed.modified_at = self.now()

        return self._changed(key, change, record=not media_only)

    def reorder(self, key: str, order: list[int] | None = None) -> Record:
        """Put a listing's photos in another order, and return the listing's new record.

        `order` lists the present positions, from 0, in the new order; None puts the last photo first. Raises ValueError
        if `order` does not name each position once.
        """

        def change(listing: SandboxListing) -> None:
            count = len(listing.photos)
            wanted = order if order is not None else [count - 1, *range(count - 1)][:count]
            if sorted(wanted) != list(range(count)):
                raise ValueError(f"order must name each of the positions 0 to {count - 1} once")
            listing.photos = [listing.photos[position] for position in wanted]

        return self._changed(key, change)

    def rename(self, key: str, caption: str, photo: int | str = 0) -> Record:
        """Change the caption of a photo, by its position or MediaObjectID, and return the listing's new record.

        The photo's picture and MediaModificationTimestamp do not change.
        """

        def change(listing: SandboxListing) -> None:
            listing.photo(photo).caption = caption

        return self._changed(key, change)

    def withdraw_photo(self, key: str, photo: int | str = -1) -> Record:
        """Remove a photo from its listing, and return the listing's new record.

        Requests for the photo's URLs are answered with 404 from then on. `photo` is its position, from 0, or its
        MediaObjectID; -1 is the last photo.
        """

        def change(listing: SandboxListing) -> None:
            listing.photos.remove(listing.photo(len(listing.photos) - 1 if photo == -1 else photo))

        return self._changed(key, change)

    def withdraw(self, key: str, status: str = "Expired") -> Record:
        """Take a listing off the market by giving it the StandardStatus `status`. Return the new record."""
        return self._changed(key, lambda listing: setattr(listing, "status", status), media=False)

    def reactivate(self, key: str) -> Record:
        """Give a listing the StandardStatus that it had at first, and undo its opt-out. Return the new record."""

        def change(listing: SandboxListing) -> None:
            listing.status, listing.is_opted_out = listing.first_status, False

        return self._changed(key, change, media=False)

    def opt_out(self, key: str) -> Record:
        """Record that the owner does not want the listing shown on the internet. Return the new record."""
        return self._changed(key, lambda listing: setattr(listing, "is_opted_out", True), media=False)

    def touch(self, key: str) -> Record:
        """Change only the ModificationTimestamp of a listing, as if its price changed. Return the new record."""
        return self._changed(key, lambda _: None, media=False)

    def re_sign(self, *, expire: bool = False) -> None:
        """Sign the URLs of all images with a new key. The URLs change, and no timestamp changes.

        The old URLs still work, unless `expire` is True: then requests for them are answered with 403.
        """
        self._keys = [*([] if expire else self._keys), f"sandbox-{self.now()}".encode()]

    def forget(self, key: str) -> None:
        """Delete a listing. Requests for its record and its pictures are answered 404 from then on."""
        del self.listings[self.listing(key).key]

    def _changed(
        self, key: str, change: Callable[[SandboxListing], None], *, record: bool = True, media: bool = True
    ) -> Record:
        listing, now = self.listing(key), self.now()
        change(listing)
        is_record_moved = record and (self._photo_moves_record or not media)
        listing.modified_at = now if is_record_moved else listing.modified_at
        listing.media_changed_at = now if media else listing.media_changed_at
        return self.property(listing)

    def properties(self) -> list[Record]:
        """Return the present RESO Property records of all listings, with their Media rows."""
        return [self.property(listing) for listing in self.listings.values()]

    def property(self, listing: SandboxListing) -> Record:
        """Return the listing's present RESO Property record, with its Media rows."""
        return self.bare(listing) | {"Media": self.media(listing)}

    def bare(self, listing: SandboxListing) -> Record:
        """Return the listing's present RESO Property record, without Media rows."""
        return {
            **listing.facts,
            "StandardStatus": listing.status,
            "InternetEntireListingDisplayYN": not listing.is_opted_out,
            "PhotosCount": len(listing.photos),
            "ModificationTimestamp": listing.modified_at,
            "PhotosChangeTimestamp": listing.media_changed_at,
            "MediaChangeTimestamp": listing.media_changed_at,
        }

    def media(self, listing: SandboxListing) -> list[Record]:
        """Return the RESO Media rows of a listing: a row for each size of each photo, in the photos' order."""
        placed = enumerate(listing.photos)
        return [self.row(listing, photo, order, size) for order, photo in placed for size in _OWN_SIZES]

    def row(self, listing: SandboxListing, photo: SandboxPhoto, order: int, size: Size) -> Record:
        """Return the Media row of a photo in one of its sizes.

        `order` is the photo's position among the photos of the listing, from 0.
        """
        width, height = photo.shot.size(photo.width_in(size))
        return {
            "MediaKey": f"{photo.object_id}-{size.suffix}",
            "MediaObjectID": photo.object_id,
            "ResourceRecordKey": listing.key,
            "ResourceName": "Property",
            "MediaURL": self.url(listing, photo, size),
            "MediaCategory": "Photo",
            "MediaType": "image/jpeg",
            "MediaStatus": "Active",
            "Order": order,
            "PreferredPhotoYN": order == 0,
            "ImageSizeDescription": size.name,
            "ImageWidth": width,
            "ImageHeight": height,
            "Permission": list(size.permission),
            "ShortDescription": photo.caption,
            "LongDescription": None,
            "MediaModificationTimestamp": photo.modified_at,
            "ModificationTimestamp": photo.modified_at,
        }

    def url(self, listing: SandboxListing, photo: SandboxPhoto, size: Size) -> str:
        """Return the URL of a photo in one of its sizes, signed with the newest key.

        The URL's path contains the signature, the size, and the version of the picture.
        """
        source = _base64(f"{listing.key}/{photo.object_id}/{size.suffix}".encode())
        width = photo.width_in(size)
        mark = "" if size.suffix == "nw" else "/wm:.5:so:0:50:.4"
        signed = f"rs:fit:{width}:{width}{mark}/cb:{photo.cache_buster}/{source}.jpg"
        return f"{self.root}/{_signature(self._keys[-1], signed)}/{signed}"

    def requested(self, path: str) -> Requested:
        """Return the listing, photo and size that the path of an image URL names.

        Raises:
            BadSignature: the URL was not signed here, or its key has expired.
            KeyError: the photo or its listing does not exist any more.
        """
        signature, _, signed = path.lstrip("/").partition("/")
        if not any(hmac.compare_digest(signature, _signature(key, signed)) for key in self._keys):
            raise BadSignature
        source = signed.rpartition("/")[2].removesuffix(".jpg")
        decoded = base64.urlsafe_b64decode(source + "=" * (-len(source) % 4)).decode()
        key, object_id, suffix = decoded.split("/")
        listing = self.listing(key)
        return Requested(listing, listing.photo(object_id), next(size for size in SIZES if size.suffix == suffix))


def _signature(key: bytes, signed: str) -> str:
    return _base64(hmac.digest(key, signed.encode(), hashlib.sha256))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _listing(index: int, photos: int, at: str, widest: int) -> SandboxListing:
    rng = random.Random(index)
    city, province, board, postcode = _PLACES[index % len(_PLACES)]
    key = f"{board}12{index + 1:06}"
    address = f"{rng.randint(2, 990)} {rng.choice(_STREETS)}"
    bedrooms = rng.randint(1, 5)
    facts: Record = {
        "ListingKey": key,
        "ListingId": key,
        "OriginatingSystemName": "Sandbox MLS",
        "PropertyType": "Residential",
        "PropertySubType": rng.choice(_KINDS),
        "UnparsedAddress": f"{address}, {city}, {province} {postcode}",
        "City": city,
        "StateOrProvince": province,
        "PostalCode": postcode,
        "Country": "CA",
        "ListPrice": rng.randrange(450_000, 2_400_000, 1_000),
        "BedroomsTotal": bedrooms,
        "BathroomsTotalInteger": rng.randint(1, bedrooms),
        "ListOfficeName": "Sandbox Realty Inc., Brokerage",
        "PublicRemarks": "A home that exists on this machine only.",
    }
    pictures = [_photo(key, number, index * photos + number, at, widest) for number in range(photos)]
    return SandboxListing(key, facts, _STATUSES[index % len(_STATUSES)], at, at, pictures)


def _photo(key: str, number: int, index: int, at: str, widest: int) -> SandboxPhoto:
    object_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"sandbox-mls/{key}/{number}"))
    caption = SCENES[number % len(SCENES)].caption
    return SandboxPhoto(object_id, Shot(key, number, index, 1), min(widest, width_of(index)), caption, at)
