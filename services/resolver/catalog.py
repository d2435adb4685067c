"""What can be shown, by listing, by image and by URL: read from MongoDB once for all who ask at the same time."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import orjson

from shared.domain.image import Status, url_key
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.listings import Answer, Listings

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

KEPT_SECONDS = 1.0
"""How long an answer is kept: the contract allows 2 s from an event's arrival, recording it takes a part of them."""
_MOST_KEPT = 20_000
_MOST_AT_ONCE = 500


@dataclass(slots=True)
class Page:
    """One listing's answer; its bytes are made once for all who ask."""

    answer: Answer
    asked_as: Priority = Priority.ROUTINE
    """As what it was asked for already, while it was kept."""
    body: bytes = field(init=False)
    etag: str = field(init=False)
    missing: tuple[str, ...] = ()
    """The images in it that are not the newest."""

    def __post_init__(self) -> None:
        self.body = b'{"feed":%s,"listing_key":%s,"images":[%s]}' % (
            orjson.dumps(self.answer.feed),
            orjson.dumps(self.answer.listing_key),
            ",".join(self.answer.rendered).encode(),
        )
        self.etag = f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'
        if self.answer.wanting:
            images = [orjson.loads(one) for one in self.answer.rendered]
            self.missing = tuple(image["id"] for image in images if image["status"] != Status.DOWNLOADED)


@dataclass(frozen=True, slots=True)
class Question:
    """A listing's answers, in one feed or all, with all photos or the first few."""

    listing_key: str
    feed: str | None
    photos: int | None


class Catalog:
    """Reads listings for answering; keeps what it read for a moment."""

    def __init__(self, listings: Listings, now: Callable[[], float]) -> None:
        self._listings = listings
        self._pages = _Kept[Question, Sequence[Page]](self._load_pages, now)
        self._images = _Kept[str, Listing | None](self._load_images, now)

    async def pages(self, questions: Collection[Question]) -> Mapping[Question, Sequence[Page]]:
        """Return each question's answers, one a feed where the listing is displayed. Raises StoreUnavailable."""
        return await self._pages.get(questions)

    async def listing_of(self, image_id: str) -> Listing | None:
        """Return the listing that shows an image. Raises StoreUnavailable."""
        return (await self._images.get([image_id]))[image_id]

    async def listings_of_url(self, url: str) -> Sequence[Listing]:
        """Return the displayed listings with a photo announced under exactly this URL. Raises StoreUnavailable."""
        return [listing for listing in await self._listings.by_url_key(url_key(url)) if listing.is_displayed]

    def forget(self, listing_key: str, image_id: str) -> None:
        """Read anew what an event says has changed."""
        self._pages.forget(lambda question: question.listing_key == listing_key)
        self.forget_image(image_id)

    def forget_image(self, image_id: str) -> None:
        """Read an image's listing anew."""
        self._images.forget(lambda known: known == image_id)

    def forget_all(self) -> None:
        """Read everything anew: events may have been missed."""
        self._pages.forget(lambda _: True)
        self._images.forget(lambda _: True)

    async def _load_pages(self, questions: Collection[Question]) -> Mapping[Question, Sequence[Page]]:
        shapes: dict[tuple[str | None, int | None], list[Question]] = {}
        for question in questions:
            shapes.setdefault((question.feed, question.photos), []).append(question)
        found: dict[Question, list[Page]] = {question: [] for question in questions}
        for (feed, photos), alike in shapes.items():
            for answer in await self._listings.answers([one.listing_key for one in alike], feed, photos):
                found[Question(answer.listing_key, feed, photos)].append(Page(answer))
        return found

    async def _load_images(self, image_ids: Collection[str]) -> Mapping[str, Listing | None]:
        listings = await self._listings.by_images(image_ids)
        shown = {photo.id: listing for listing in listings for photo in listing.photos}
        return {image_id: shown.get(image_id) for image_id in image_ids}


class _Kept(Generic[Key, Value]):
    """Values kept for a moment. Misses that arrive together, or while others are read, become one reading."""

    _MOST_READINGS = 4

    def __init__(
        self, load: Callable[[Collection[Key]], Awaitable[Mapping[Key, Value]]], now: Callable[[], float]
    ) -> None:
        self._load = load
        self._now = now
        self._kept: OrderedDict[Key, tuple[float, Value]] = OrderedDict()
        self._awaited: dict[Key, asyncio.Future[Value]] = {}
        self._wanted: dict[Key, asyncio.Future[Value]] = {}
        self._readings: set[asyncio.Task[None]] = set()

    async def get(self, keys: Collection[Key]) -> dict[Key, Value]:
        now = self._now()
        found: dict[Key, Value] = {}
        missing: dict[Key, asyncio.Future[Value]] = {}
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and kept[0] > now:
                found[key] = kept[1]
            else:
                missing[key] = self._awaited.get(key) or self._want(key)
        for key, future in missing.items():
            found[key] = await asyncio.shield(future)  # one who leaves must not take the others' reading along
        return found

    def forget(self, is_meant: Callable[[Key], bool]) -> None:
        for key in [key for key in self._kept if is_meant(key)]:
            del self._kept[key]
        # What is being read may be from before: those who wait get it, those who come now do not.
        for key in [key for key in self._awaited if is_meant(key) and key not in self._wanted]:
            del self._awaited[key]

    def _want(self, key: Key) -> asyncio.Future[Value]:
        loop = asyncio.get_running_loop()
        future = self._wanted[key] = self._awaited[key] = loop.create_future()
        future.add_done_callback(lambda done: done.exception())
        if len(self._wanted) == 1:
            loop.call_soon(self._read_next)
        return future

    def _read_next(self) -> None:
        if self._wanted and len(self._readings) < self._MOST_READINGS:
            taken = {key: self._wanted.pop(key) for key in list(self._wanted)[:_MOST_AT_ONCE]}
            reading = asyncio.create_task(self._read(taken))
            self._readings.add(reading)
            reading.add_done_callback(self._readings.discard)
            reading.add_done_callback(lambda _: self._read_next())

    async def _read(self, wanted: Mapping[Key, asyncio.Future[Value]]) -> None:
        until = self._now() + KEPT_SECONDS
        try:
            values = await self._load(wanted)
        except Exception as fault:  # noqa: BLE001 - it is raised where it is awaited
            for key, future in wanted.items():
                self._no_longer_awaited(key, future)
                future.set_exception(fault)
            return
        for key, future in wanted.items():
            if self._no_longer_awaited(key, future):
                self._keep(key, until, values[key])
            future.set_result(values[key])

    def _no_longer_awaited(self, key: Key, future: asyncio.Future[Value]) -> bool:
        if self._awaited.get(key) is not future:
            return False
        del self._awaited[key]
        return True

    def _keep(self, key: Key, until: float, value: Value) -> None:
        self._kept[key] = until, value
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
