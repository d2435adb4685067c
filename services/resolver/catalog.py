"""What can be shown, by listing, by image and by URL: from memory, else in one query for all who ask."""

import asyncio
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import orjson

from services.resolver.answers import Body
from services.resolver.cache import ReadThroughCache
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.policy import TTL_SECONDS, TTL_WITHOUT_EVENTS_SECONDS, CachePolicy
from shared.domain.priority import Priority
from shared.stores.answers import Answer, Answers, PhotoAnswer, ShownPhoto
from shared.stores.documents import ListingId

_ASK_AGAIN_AFTER = timedelta(seconds=5)
"""When a page that is still incomplete is asked for again: the first time may have been dropped."""
_PAGES_SHARE = 0.75
"""Of the memory: pages are large and many ask for them; images are asked for one by one."""
_UNKNOWN = ""
"""The group of URLs that no listing shows: any event may be about one of them."""
_ENTRY_BYTES = 1_000
"""What keeping costs beside the bytes of the answer."""
_LETTER_BYTES = 4
_MISSING_BYTES = 100
_PHOTO_BYTES = 4_000
"""What a photo's facts take, with its copy's."""


class Question(NamedTuple):
    """A listing's answers, in one feed or all, with all photos or the first few."""

    listing_key: str
    feed: str | None
    photos: int | None


class Name(NamedTuple):
    """What an image is asked for by: its id or the key of a URL; in any listing or one."""

    image_id: str | None
    url_key: str | None = None
    listing_key: str | None = None

    @property
    def word(self) -> str:
        """The one of the two that is given."""
        return self.image_id or self.url_key or ""

    def admits(self, listing_key: str) -> bool:
        """Whether an image of this listing is meant."""
        return self.listing_key in (None, listing_key)


@dataclass(slots=True)
class Page:
    """One listing's answer; its bytes are made once for all who ask."""

    one: ListingId
    body: Body
    missing: Sequence[str]
    """The images in it that are not the newest."""
    asked_as: Priority = Priority.ROUTINE
    asked_at: datetime | None = None

    @property
    def listing_key(self) -> str:
        """The listing that it is of."""
        return self.one[1]

    def is_to_be_asked(self, priority: Priority, now: datetime) -> bool:
        """Whether its missing images are to be raised: once a page and priority, not once a view."""
        is_long_ago = self.asked_at is None or now >= self.asked_at + _ASK_AGAIN_AFTER
        if not is_long_ago and priority.rank >= self.asked_as.rank:
            return False
        self.asked_as, self.asked_at = priority, now
        return True


Shown = TypeVar("Shown", PhotoAnswer, ShownPhoto)


class Catalog:
    """Reads listings for answering; keeps what it read for a moment."""

    def __init__(self, answers: Answers, policy: CachePolicy, metrics: CacheMetrics, max_bytes: int) -> None:
        self._answers = answers
        self._policy = policy
        pages_bytes = int(max_bytes * _PAGES_SHARE)
        others_bytes = (max_bytes - pages_bytes) // 2
        self._pages = ReadThroughCache(
            self._load_pages, _groups_of_pages, _pages_size, pages_bytes, policy, metrics.counts("page")
        )
        self._images = ReadThroughCache(
            self._load_images, _groups_of_images, _images_size, others_bytes, policy, metrics.counts("image")
        )
        self._by_url = ReadThroughCache(
            self._load_by_url, _groups_of_urls, _pages_size, others_bytes, policy, metrics.counts("url")
        )

    async def pages(self, questions: Collection[Question]) -> Mapping[Question, Sequence[Page]]:
        """Return each question's answers, one a feed where the listing is displayed. Raises StoreUnavailable."""
        return await self._pages.get(questions)

    def fresh_pages(self, question: Question) -> Sequence[Page] | None:
        """Return a question's answers where they need not be read."""
        return self._pages.fresh(question)

    async def image(self, name: Name) -> ShownPhoto | None:
        """Return a photo that a displayed listing shows, one with a copy first. Raises StoreUnavailable."""
        found = await self._images.get_one(name)
        return min(found, key=lambda one: (one.photo.copy is None, one.feed, one.listing_key), default=None)

    async def by_url(self, name: Name) -> Page | None:
        """Return the answer of a photo that was announced under a URL, of one with a copy first.

        Raises StoreUnavailable.
        """
        found = await self._by_url.get_one(name)
        return found[0] if found else None

    @property
    def is_failing(self) -> bool:
        """Whether the database is away, and answers may be older than they should be."""
        return self._policy.is_database_unavailable

    def hears(self, does: bool) -> None:
        """Keep answers for a shorter time while Kafka does not tell of changes."""
        self._policy.ttl_seconds = TTL_SECONDS if does else TTL_WITHOUT_EVENTS_SECONDS

    def forget(self, listing_key: str, image_id: str, *, for_good: bool = False) -> None:
        """Read anew what an event says has changed; for good where it was removed."""
        self._pages.invalidate(listing_key, remove=for_good)
        self._images.invalidate(listing_key, image_id, remove=for_good)
        self._by_url.invalidate(listing_key, remove=for_good)
        # For good, so that a flood of made-up URLs costs the events no more than it cost to read them.
        self._images.invalidate(_UNKNOWN, remove=True)
        self._by_url.invalidate(_UNKNOWN, remove=True)

    def forget_image(self, image_id: str) -> None:
        """Read an image anew."""
        self._images.invalidate(image_id, remove=False)

    def forget_all(self) -> None:
        """Read everything anew: events may have been missed."""
        self._pages.invalidate_all()
        self._images.invalidate_all()
        self._by_url.invalidate_all()

    async def _load_pages(self, questions: Collection[Question]) -> Mapping[Question, Sequence[Page]]:
        """Read listings that are asked for whole, and the first photos of the others: two queries, whoever asks."""
        whole = {key for key, _, photos in questions if photos is None}
        begun = [(key, photos) for key, _, photos in questions if photos is not None and key not in whole]
        wanted = [(whole, None), ({key for key, _ in begun}, max((photos for _, photos in begun), default=0))]
        read = await asyncio.gather(*(self._answers.answers(keys, photos) for keys, photos in wanted if keys))
        by_key: dict[str, list[Answer]] = {}
        for answer in itertools.chain(*read):
            by_key.setdefault(answer.listing_key, []).append(answer)
        return {
            question: [
                self._page(question, answer)
                for answer in by_key.get(question.listing_key, ())
                if question.feed in (None, answer.feed)
            ]
            for question in questions
        }

    def _page(self, question: Question, answer: Answer) -> Page:
        """Make the page, or take the one from before where nothing changed: its bytes are hashed and compressed."""
        plain = b'{"feed":%s,"listing_key":%s,"images":[%s]}' % (
            orjson.dumps(answer.feed),
            orjson.dumps(answer.listing_key),
            ",".join(answer.rendered[: question.photos]).encode(),
        )
        missing = [one for one, place in answer.missing.items() if question.photos is None or place < question.photos]
        for before in self._pages.last(question) or ():
            if before.body.plain == plain and before.missing == missing:
                return before
        return Page((answer.feed, answer.listing_key), Body(plain), missing)

    async def _load_images(self, names: Collection[Name]) -> Mapping[Name, Sequence[ShownPhoto]]:
        ids = [name.image_id for name in names if name.image_id is not None]
        keys = [name.url_key for name in names if name.url_key is not None]
        by: dict[str, list[ShownPhoto]] = {}
        for shown in await self._answers.showing(ids, keys):
            for word in (shown.photo.id, *shown.photo.url_keys):
                by.setdefault(word, []).append(shown)
        return _meant(names, by)

    async def _load_by_url(self, names: Collection[Name]) -> Mapping[Name, Sequence[Page]]:
        answers = await self._answers.photo_answers({name.word for name in names}, every=False)
        found = _answers_by(names, answers)
        # Of a listing the first photo was found: another one of it may be meant, or have a copy.
        others = [name for name in names if not found[name] or not found[name][0].has_copy]
        if others and answers:
            more = await self._answers.photo_answers({name.word for name in others}, every=True)
            found |= _answers_by(others, more)
        return {name: [_page_of(one) for one in some] for name, some in found.items()}


def _answers_by(names: Collection[Name], answers: Collection[PhotoAnswer]) -> dict[Name, Sequence[PhotoAnswer]]:
    by: dict[str, list[PhotoAnswer]] = {}
    for answer in sorted(answers, key=lambda one: (not one.has_copy, one.feed, one.listing_key)):
        for url_key in answer.url_keys:
            by.setdefault(url_key, []).append(answer)
    return _meant(names, by)


def _page_of(answer: PhotoAnswer) -> Page:
    missing = (answer.image_id,) if answer.is_missing else ()
    return Page((answer.feed, answer.listing_key), Body(answer.json.encode()), missing)


def _meant(names: Collection[Name], by: Mapping[str, Sequence[Shown]]) -> dict[Name, Sequence[Shown]]:
    """Return of what was found by id or URL what each name means."""
    return {name: [one for one in by.get(name.word, ()) if name.admits(one.listing_key)] for name in names}


def _groups_of_pages(question: Question, _: Sequence[Page]) -> Sequence[str]:
    return (question.listing_key,)


def _groups_of_images(name: Name, found: Sequence[ShownPhoto]) -> Sequence[str]:
    known = [group for one in found for group in (one.photo.id, one.listing_key)]
    return [*known, *filter(None, (name.image_id, name.listing_key))] or [_UNKNOWN]


def _groups_of_urls(name: Name, found: Sequence[Page]) -> Sequence[str]:
    return [*(page.listing_key for page in found), *filter(None, (name.listing_key,))] or [_UNKNOWN]


def _pages_size(key: Question | Name, pages: Sequence[Page]) -> int:
    return sum(page.body.most_bytes + _MISSING_BYTES * len(page.missing) for page in pages) + _entry_size(key)


def _images_size(name: Name, found: Sequence[ShownPhoto]) -> int:
    return len(found) * _PHOTO_BYTES + _entry_size(name)


def _entry_size(key: Question | Name) -> int:
    """What keeping costs beside the answer; whoever makes up keys may make up long ones."""
    return _ENTRY_BYTES + sum(_LETTER_BYTES * len(word) for word in key if isinstance(word, str))
