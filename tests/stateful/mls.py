"""An MLS in memory: what it shows, what it says of it, and the origin that its photos are fetched from."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
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
"""In every URL of the MLS: it must be seen nowhere else."""
ORIGIN_SECONDS = 0.2


class Retake(Enum):
    """What a photo's bytes become."""

    NEW = auto()
    AS_AT_FIRST = auto()
    BROKEN = auto()


@dataclass(frozen=True)
class Shot:
    """A photo as the MLS has it. `picture` numbers its bytes: 0 are none that can be decoded."""

    picture: int
    changed_at: datetime


@dataclass
class Shown:
    """One listing at the MLS, its photos in order."""

    status: str = "Active"
    opted_out: bool = False
    photos: dict[str, Shot] = field(default_factory=dict)
    modified_at: datetime | None = None
    media_changed_at: datetime | None = None
    pictures: dict[str, list[int]] = field(default_factory=dict)
    """Of each photo, every picture that it ever was."""
    signed: int = 0
    said: list[Mapping[str, Any]] = field(default_factory=list)
    """Every record that an ingest could have read, oldest first."""

    @property
    def is_displayed(self) -> bool:
        """Whether the public may see it."""
        return self.status == "Active" and not self.opted_out


@dataclass
class Origin:
    """How a feed's photo server is at the moment, and what it was asked."""

    fault: Failure | None = None
    redirects: bool = False
    slow: float = 0.0
    requests: list[float] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    silent_from: float = 0.0
    silent_until: float = 0.0
    broke_silence: list[float] = field(default_factory=list)


class Mls:
    """All listings of all feeds."""

    def __init__(self, ids: list[ListingId], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._last = clock()
        self._pictures = 0
        self.listings = {one: Shown() for one in ids}
        self.origins = {feed: Origin() for feed, _ in ids}
        self._of_url: dict[str, tuple[ListingId, str]] = {}

    # What happens at the MLS

    def show(self, one: ListingId, photo: str) -> None:
        """Add the photo, or withdraw it."""
        listing = self.listings[one]
        if listing.photos.pop(photo, None) is None:
            listing.photos[photo] = shot = self._shot()
            listing.pictures.setdefault(photo, []).append(shot.picture)
        self._media_changed(listing)

    def retake(self, one: ListingId, photo: str, now: Retake) -> None:
        """Replace a photo's bytes."""
        listing = self.listings[one]
        if photo in listing.photos:
            shot = self._shot()
            if now is not Retake.NEW:
                picture = 0 if now is Retake.BROKEN else listing.pictures[photo][0]
                shot = replace(shot, picture=picture)
            listing.photos[photo] = shot
            listing.pictures[photo].append(shot.picture)
            self._media_changed(listing)

    def reorder(self, one: ListingId) -> None:
        """Turn the order of the photos round."""
        listing = self.listings[one]
        listing.photos = dict(reversed(listing.photos.items()))
        self._media_changed(listing)

    def status(self, one: ListingId, status: str, *, opted_out: bool) -> None:
        """List it, close it, or opt it out of display."""
        listing = self.listings[one]
        listing.status, listing.opted_out = status, opted_out
        listing.modified_at = self._moment()

    def speak(self, one: ListingId, *, with_media: bool = True, signs_anew: bool = True) -> None:
        """Make the record that an ingest reads now; URLs may be signed anew without any change."""
        listing = self.listings[one]
        listing.signed += signs_anew
        record: dict[str, Any] = {
            "ListingKey": one[1],
            "StandardStatus": listing.status,
            "ModificationTimestamp": _text(listing.modified_at),
            "MediaChangeTimestamp": _text(listing.media_changed_at),
            "InternetEntireListingDisplayYN": not listing.opted_out,
        }
        if with_media:
            record["Media"] = [
                self._row(one, photo, shot, order) for order, (photo, shot) in enumerate(listing.photos.items())
            ]
        listing.said.append({name: value for name, value in record.items() if value is not None})

    def _row(self, one: ListingId, photo: str, shot: Shot, order: int) -> Mapping[str, Any]:
        url = f"https://photos.example.com/{SIGNATURE}/{'/'.join(one)}/{photo}/{self.listings[one].signed}.jpg"
        self._of_url[url] = one, photo
        own = {"MediaModificationTimestamp": _text(shot.changed_at)} if one[0] == "a" else {}
        return {"MediaKey": photo, "MediaURL": url, "Order": order, **own}

    def _shot(self) -> Shot:
        self._pictures += 1
        return Shot(self._pictures, self._moment())

    def _media_changed(self, listing: Shown) -> None:
        listing.media_changed_at = listing.modified_at = self._moment()

    def _moment(self) -> datetime:
        """Now by the MLS's clock, which never says the same twice."""
        self._last = max(self._clock(), self._last + timedelta(microseconds=1))
        return self._last

    # What can be had of it

    def bytes_of(self, one: ListingId, photo: str) -> bytes | None:
        """The photo's bytes as they are now; None where it is gone."""
        shot = self.listings[one].photos.get(photo)
        return b"%s/%s/%d" % ("/".join(one).encode(), photo.encode(), shot.picture) if shot else None

    def is_good(self, one: ListingId, photo: str) -> bool:
        """Whether the photo's bytes are a picture."""
        return self.listings[one].photos[photo].picture != 0

    async def get(self, feed: str, url: str) -> bytes | Failure:
        """Answer one request for a photo, as the origin is by then."""
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
        if origin.fault:
            if origin.fault.wait_seconds:
                # What another worker sends within a moment of it is allowed for.
                origin.silent_from = max(origin.silent_from, now() + 0.2)
                origin.silent_until = max(origin.silent_until, now() + origin.fault.wait_seconds - 0.1)
            return origin.fault
        return self.bytes_of(*self._of_url[url]) or Failure(Reason.GONE, "the origin answered 404")


class OriginFetcher:
    """A downloader's way to the origins, in place of HTTP."""

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
        """Fetch, conditionally where something is held."""
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


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
