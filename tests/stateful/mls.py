"""An MLS in memory: its listings, the property records of them, and the origin of its photos."""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any

from services.downloader.answers import Answer, Fetched, NotModified, Validators
from services.downloader.permit import Permit
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.stores.documents import ListingId
from tests.simulated import now

SIGNATURE = "signed-by-the-mls"
"""In each URL of the MLS: it must appear nowhere else."""
ORIGIN_SECONDS = 0.2


class Retake(Enum):
    """The bytes that a retaken photo gets: new ones, its first ones, or some that cannot be decoded."""

    NEW = auto()
    AS_AT_FIRST = auto()
    BROKEN = auto()


class OptOut(Enum):
    """What a record says of display on the internet: yes, no, or a word that no rule knows."""

    YES = auto()
    NO = auto()
    UNKNOWN = auto()


_SPELLINGS = {
    OptOut.YES: (False, 0, "0", "F", "N", "No", "off", "FALSE"),
    OptOut.NO: (True, None, "", "Y", 1, "true"),
    OptOut.UNKNOWN: ("Ask", "NA", 2),
}
"""How MLSs write InternetEntireListingDisplayYN."""
_CHURN = "~"
"""Between a photo's name and the number of its listing's renumbering, in a MediaKey."""


@dataclass(frozen=True)
class Shot:
    """What a photo shows at the MLS. `picture` numbers its bytes; 0 stands for bytes that cannot be decoded."""

    picture: int
    changed_at: datetime


@dataclass
class Shown:
    """A listing as the MLS has it, with its photos in order."""

    status: str = "Active"
    opt_out: OptOut = OptOut.NO
    photos: dict[str, Shot] = field(default_factory=dict)
    modified_at: datetime | None = None
    media_changed_at: datetime | None = None
    pictures: dict[str, list[int]] = field(default_factory=dict)
    """By photo, all pictures that it ever had."""
    signed: int = 0
    """How often its URLs were signed."""
    renumbered: int = 0
    """How often its photos got new MediaKeys."""
    late: set[str] = field(default_factory=set)
    """The photos that are not ready."""
    records: list[Mapping[str, Any]] = field(default_factory=list)
    """All property records that an ingest could have read, oldest first."""

    @property
    def is_displayed(self) -> bool:
        """Return True if the public may see the listing: it is active and its owner has not opted out."""
        return self.status == "Active" and self.opt_out is OptOut.NO

    @property
    def keeps_photos(self) -> bool:
        """Return True if the listing is hidden by an unknown word alone, which removes nothing."""
        return self.status == "Active" and self.opt_out is OptOut.UNKNOWN

    def key(self, photo: str) -> str:
        """Return the photo's present MediaKey."""
        return f"{photo}{_CHURN}{self.renumbered}" if self.renumbered else photo


@dataclass
class Origin:
    """How one feed's origin answers now, and which requests it got.

    `slow` is how many seconds an answer takes, 0 for the usual time. `requests` are their times. From `silent_from` to
    `silent_until` no request is allowed; `broke_silence` has the times of those that were sent all the same.
    """

    failure: Failure | None = None
    redirects: bool = False
    slow: float = 0.0
    requests: list[float] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    silent_from: float = 0.0
    silent_until: float = 0.0
    broke_silence: list[float] = field(default_factory=list)


class Mls:
    """The listings of all feeds at the MLS, in memory, and the origins of their photos."""

    def __init__(self, ids: list[ListingId], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last = clock()
        self._pictures = 0
        self.listings = {listing_id: Shown() for listing_id in ids}
        self.origins = {feed: Origin() for feed, _ in ids}
        self._of_url: dict[str, tuple[ListingId, str]] = {}

    # What happens at the MLS

    def show(self, listing_id: ListingId, photo: str) -> None:
        """Add a photo to the listing, or withdraw the photo if the listing has it already."""
        listing = self.listings[listing_id]
        if listing.photos.pop(photo, None) is None:
            listing.photos[photo] = shot = self._shot()
            listing.pictures.setdefault(photo, []).append(shot.picture)
        self._media_changed(listing)

    def retake(self, listing_id: ListingId, photo: str, now: Retake) -> None:
        """Give a photo the bytes that `now` says. Do nothing if the listing does not have the photo."""
        listing = self.listings[listing_id]
        if photo in listing.photos:
            shot = self._shot()
            if now is not Retake.NEW:
                picture = 0 if now is Retake.BROKEN else listing.pictures[photo][0]
                shot = replace(shot, picture=picture)
            listing.photos[photo] = shot
            listing.pictures[photo].append(shot.picture)
            self._media_changed(listing)

    def reorder(self, listing_id: ListingId) -> None:
        """Reverse the order of a listing's photos."""
        listing = self.listings[listing_id]
        listing.photos = dict(reversed(listing.photos.items()))
        self._media_changed(listing)

    def renumber(self, listing_id: ListingId) -> None:
        """Give all photos of a listing new MediaKeys. Their URLs stay."""
        listing = self.listings[listing_id]
        listing.renumbered += 1
        listing.modified_at = self._time()

    def set_late(self, listing_id: ListingId, photos: Collection[str]) -> None:
        """Let these photos of a listing not be ready, and all others of the listing be ready."""
        listing = self.listings[listing_id]
        if listing.late != set(photos):
            listing.late = set(photos)
            self._media_changed(listing)

    def status(self, listing_id: ListingId, status: str, opt_out: OptOut) -> None:
        """Set the listing's StandardStatus, and what it says of display on the internet."""
        listing = self.listings[listing_id]
        listing.status, listing.opt_out = status, opt_out
        listing.modified_at = self._time()

    def write_record(self, listing_id: ListingId, *, with_media: bool = True, signs_urls: bool = True) -> None:
        """Append the property record that an ingest would read now to the listing's `records`.

        Without `with_media`, it has no Media. With `signs_urls`, all its URLs are signed anew, and differ from earlier
        ones.
        """
        listing = self.listings[listing_id]
        listing.signed += signs_urls
        record: dict[str, Any] = {
            "ListingKey": listing_id[1],
            "StandardStatus": listing.status,
            "ModificationTimestamp": _text(listing.modified_at),
            "MediaChangeTimestamp": _text(listing.media_changed_at),
            "InternetEntireListingDisplayYN": self._spelling(listing),
        }
        if with_media:
            record["Media"] = [
                self._row(listing_id, photo, shot, order) for order, (photo, shot) in enumerate(listing.photos.items())
            ]
        listing.records.append({name: value for name, value in record.items() if value is not None})

    def _row(self, listing_id: ListingId, photo: str, shot: Shot, order: int) -> Mapping[str, Any]:
        url = f"https://photos.example.com/{SIGNATURE}/{'/'.join(listing_id)}/{photo}/{self.listings[listing_id].signed}.jpg"
        self._of_url[url] = listing_id, photo
        own = {"MediaModificationTimestamp": _text(shot.changed_at)} if listing_id[0] == "a" else {}
        row = {"MediaKey": self.listings[listing_id].key(photo), "MediaURL": url, "Order": order, **own}
        if photo not in self.listings[listing_id].late:
            return row
        return row | ({"MediaURL": None} if order % 2 else {"MediaStatus": "Processing"})

    def _spelling(self, listing: Shown) -> object:
        spellings = _SPELLINGS[listing.opt_out]
        return spellings[len(listing.records) % len(spellings)]

    def _shot(self) -> Shot:
        self._pictures += 1
        return Shot(self._pictures, self._time())

    def _media_changed(self, listing: Shown) -> None:
        listing.media_changed_at = listing.modified_at = self._time()

    def _time(self) -> datetime:
        """Return the time by the MLS's clock, later than each time before."""
        self._last = max(self._clock(), self._last + timedelta(microseconds=1))
        return self._last

    # What the origin answers

    def bytes_of(self, listing_id: ListingId, photo: str) -> bytes | None:
        """Return the photo's bytes at the MLS as they are now; None if the listing does not have the photo any more.

        `photo` is its name, or one of its MediaKeys.
        """
        shot = self.listings[listing_id].photos.get(name_of(photo))
        return b"%s/%s/%d" % ("/".join(listing_id).encode(), name_of(photo).encode(), shot.picture) if shot else None

    def is_good(self, listing_id: ListingId, photo: str) -> bool:
        """Return True if the bytes that the photo, named by one of its MediaKeys, has now can be decoded.

        Raises KeyError if the listing does not have the photo.
        """
        return self.listings[listing_id].photos[name_of(photo)].picture != 0

    async def get(self, feed: str, url: str) -> bytes | Failure:
        """Answer a request for a photo with its bytes or a failure, by the origin's state when the answer is due."""
        origin = self.origins[feed]
        origin.requests.append(now())
        if origin.silent_from < now() < origin.silent_until:
            origin.broke_silence.append(now())
        origin.running += 1
        origin.most_running = max(origin.most_running, origin.running)
        try:
            await asyncio.sleep(origin.slow or ORIGIN_SECONDS)
        finally:
            origin.running -= 1
        if origin.failure:
            if origin.failure.wait_seconds:
                # Requests that other workers send in the next 0.2 s are allowed.
                origin.silent_from = max(origin.silent_from, now() + 0.2)
                origin.silent_until = max(origin.silent_until, now() + origin.failure.wait_seconds - 0.1)
            return origin.failure
        return self.bytes_of(*self._of_url[url]) or Failure(Reason.GONE, "the origin answered 404")


class OriginFetcher:
    """Fetches photos from the origins of an `Mls` in memory, in place of the downloader's HTTP client."""

    def __init__(self, mls: Mls) -> None:
        self._mls = mls

    async def fetch(
        self,
        url: str,
        feed: Feed,
        into: Path,
        validators: Validators | None,
        permit: Permit,
    ) -> Answer:
        """Fetch a photo into the folder `into`, conditionally if there are validators; answer as the real fetcher does.

        `permit` is asked before the request, and may refuse it; its failure is returned then.
        """
        if refused := await permit.wait_for_request() or await permit.confirm_request():
            return refused
        try:
            async with asyncio.timeout(feed.request_timeout_seconds):
                body = await self._follow(feed.name, url, permit)
        except TimeoutError:
            return Failure(Reason.TIMEOUT, "no complete answer")
        if isinstance(body, Failure):
            return body
        permit.count_received(len(body))
        sha256 = hashlib.sha256(body).hexdigest()
        etag = f'"{sha256[:8]}"' if feed.name == "a" else None
        if validators and etag and validators.etag == etag:
            return NotModified(etag, None)
        path = into / "body"
        path.write_bytes(body)
        return Fetched(path, len(body), sha256, etag, None)

    async def _follow(self, feed: str, url: str, permit: Permit) -> bytes | Failure:
        answer = await self._mls.get(feed, url)
        if not self._mls.origins[feed].redirects or isinstance(answer, Failure):
            return answer
        return await permit.wait_for_request() or await self._mls.get(feed, url)


def name_of(key: str) -> str:
    """Return the name of the photo that has, or had, this MediaKey."""
    return key.partition(_CHURN)[0]


def _text(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
