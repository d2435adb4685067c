"""The resolver's cache of answers: by listing, by photo and by URL, each read through from MongoDB."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import orjson

from services.resolver.cache import ReadThroughCache
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.cached_answers import CachedAnswer
from services.resolver.lookups import ListingLookup, PhotoLookup
from services.resolver.policy import TTL_SECONDS, TTL_WITHOUT_EVENTS_SECONDS, CachePolicy
from shared.http_api.answers import Body
from shared.stores.answers import Answer, Answers, PhotoAnswer, ShownPhoto
from shared.stores.documents import ListingId

_LISTINGS_SHARE = 0.75
"""The share of the memory for answers about listings: they are large, and many clients request the same ones."""
_UNKNOWN = ""
"""The tag of lookups that found nothing: any event may be about the photo that they name."""
_ENTRY_BYTES = 1_000
"""The memory that an entry takes beside the bytes of its answer."""
_CHARACTER_BYTES = 4
_MISSING_ID_BYTES = 100
_PHOTO_BYTES = 4_000
"""The memory that a photo's facts take, with those of its copy."""

Result = TypeVar("Result", PhotoAnswer, ShownPhoto)
Read = TypeVar("Read", Answer, PhotoAnswer, ShownPhoto)


class AnswerCache:
    """Returns answers about displayed listings and their photos, from memory while fresh, else from MongoDB.

    `max_bytes` is the memory for all entries together. `withholds` is called with a listing's id, the pair of feed name
    and ListingKey. A listing for which it returns True is answered as if it were not displayed, whatever MongoDB says.
    When `withholds` begins to return True for a listing, the caller must call `remove_listing`.

    The methods that may read MongoDB are `listings`, `photo`, `photo_answer` and `photo_answers`. They raise
    StoreUnavailable if MongoDB is unavailable and no cached value may be used, TimeoutError if a value is not read
    within 5 s, and Overloaded if too many keys wait to be read.
    """

    def __init__(
        self,
        answers: Answers,
        policy: CachePolicy,
        metrics: CacheMetrics,
        max_bytes: int,
        withholds: Callable[[ListingId], bool],
    ) -> None:
        self._answers = answers
        self._withholds = withholds
        self._policy = policy
        listings_bytes = int(max_bytes * _LISTINGS_SHARE)
        photos_bytes = (max_bytes - listings_bytes) // 2
        self._listings = ReadThroughCache(
            self._load_listings,
            _listing_tags,
            _answers_size,
            listings_bytes,
            policy,
            metrics.counts("page"),
            lambda lookup: lookup.listing_key,
        )
        self._photos = ReadThroughCache(
            self._load_photos,
            _photo_tags,
            _photos_size,
            photos_bytes,
            policy,
            metrics.counts("image"),
            lambda lookup: lookup.key,
        )
        self._photo_answers = ReadThroughCache(
            self._load_photo_answers,
            _photo_answer_tags,
            _answers_size,
            photos_bytes,
            policy,
            metrics.counts("url"),
            lambda lookup: lookup.key,
        )

    async def listings(self, lookups: Collection[ListingLookup]) -> Mapping[ListingLookup, Sequence[CachedAnswer]]:
        """Return the answers of each lookup: one for each feed that displays the listing, none if no feed does.

        Reads MongoDB if an answer is not fresh in memory.
        """
        return await self._listings.get(lookups)

    def fresh_listing(self, lookup: ListingLookup) -> Sequence[CachedAnswer] | None:
        """Return the answers of one lookup if they are fresh in memory, else None. Never reads MongoDB.

        There is one answer for each feed that displays the listing; an empty result says that no feed displays it.
        """
        return self._listings.fresh(lookup)

    async def photo(self, lookup: PhotoLookup) -> ShownPhoto | None:
        """Return the photo that a lookup finds, with its listing; None if no displayed listing shows the photo.

        If the lookup finds several photos, a photo with a copy is preferred.
        """
        photos = await self._photos.get_one(lookup)
        return min(photos, key=lambda shown: (shown.photo.copy is None, shown.feed, shown.listing_key), default=None)

    async def photo_answer(self, lookup: PhotoLookup) -> CachedAnswer | None:
        """Return the answer about the photo that a lookup by URL finds; None if no displayed listing shows the photo.

        If several photos were announced under the URL, an answer about a photo with a copy is preferred.
        """
        answers = await self._photo_answers.get_one(lookup)
        return answers[0] if answers else None

    async def photo_answers(self, lookups: Collection[PhotoLookup]) -> Mapping[PhotoLookup, Sequence[CachedAnswer]]:
        """Return the answers about the photos that each lookup by URL finds, those about photos with a copy first.

        A lookup has no answers if no displayed listing shows a photo announced under its URL.
        """
        return await self._photo_answers.get(lookups)

    @property
    def is_database_unavailable(self) -> bool:
        """True if the last query of this cache found MongoDB unavailable.

        The cache may then return answers that are up to half a minute old.
        """
        return self._policy.is_database_unavailable

    def choose_ttl(self, *, events_arrive: bool) -> None:
        """Set the time to live of answers read from now on: 1 s if events arrive to invalidate them, else 0.5 s."""
        self._policy.ttl_seconds = TTL_SECONDS if events_arrive else TTL_WITHOUT_EVENTS_SECONDS

    def invalidate(self, listing_key: str, image_id: str, *, remove: bool = False) -> None:
        """Invalidate the cached answers about a listing and about one of its photos: the next requests read them anew.

        Called for each event about the photo. Invalidated answers are still returned while MongoDB is unavailable. With
        `remove`, which is for a photo that was removed, the cached answers are dropped from memory, so that no request
        gets them even while MongoDB is unavailable.
        """
        self._listings.invalidate(listing_key, remove=remove)
        self._photos.invalidate(listing_key, image_id, remove=remove)
        self._photo_answers.invalidate(listing_key, remove=remove)
        # Entries of lookups that found nothing are removed, not kept as stale: else each event would expire all of them
        # again, which is slow after a flood of made-up URLs.
        self._photos.invalidate(_UNKNOWN, remove=True)
        self._photo_answers.invalidate(_UNKNOWN, remove=True)

    def remove_listing(self, listing_key: str) -> None:
        """Drop the cached answers about a listing and its photos from memory, so that no request gets them any more.

        Called when an event hides the listing and MongoDB may still display it.
        """
        for cache in (self._listings, self._photos, self._photo_answers):
            cache.invalidate(listing_key, remove=True)

    def invalidate_photo(self, image_id: str) -> None:
        """Invalidate the cached state of one photo, which `photo` returns, but no answers about its listing.

        Called before a photo is read for the visitors who wait for it. While the database is unavailable, `photo` still
        returns the old state.
        """
        self._photos.invalidate(image_id, remove=False)

    def invalidate_all(self) -> None:
        """Invalidate all entries, because events may have been missed: the next requests read the answers again.

        Called each time that the reading of events starts. While the database is unavailable, the old answers are still
        returned.
        """
        self._listings.invalidate_all()
        self._photos.invalidate_all()
        self._photo_answers.invalidate_all()

    async def _load_listings(
        self, lookups: Collection[ListingLookup]
    ) -> Mapping[ListingLookup, Sequence[CachedAnswer]]:
        """Read the answers about listings from MongoDB, and return them by lookup.

        The list of a lookup has one answer for each feed that displays the listing; it is empty if no feed does. One
        query reads the listings of which all photos are wanted (`max_photos` is None), another the listings of which
        the first photos are wanted. Both queries run at the same time. If a listing is looked up in both ways, only the
        first query reads it.
        """
        whole = {lookup.listing_key for lookup in lookups if lookup.max_photos is None}
        partial = [(key, photos) for key, photos in lookups if photos is not None and key not in whole]
        queries = [(whole, None), ({key for key, _ in partial}, max((photos for _, photos in partial), default=0))]
        found = await asyncio.gather(*(self._answers.answers(keys, photos) for keys, photos in queries if keys))
        answers_by_key: dict[str, list[Answer]] = {}
        for answer in self._admissible(itertools.chain(*found)):
            answers_by_key.setdefault(answer.listing_key, []).append(answer)
        return {
            lookup: [self._listing_answer(lookup, answer) for answer in answers_by_key.get(lookup.listing_key, ())]
            for lookup in lookups
        }

    def _listing_answer(self, lookup: ListingLookup, answer: Answer) -> CachedAnswer:
        """Return the answer to cache for a lookup: the stored `answer`, cut to the first `max_photos` of the lookup.

        If the cache already has an equal answer for this lookup, fresh or stale, that object is returned instead. Its
        hash and gzipped form may be computed already.
        """
        count = lookup.max_photos
        plain = b'{"feed":%s,"listing_key":%s,"photo_count":%d,"images":[%s]}' % (
            orjson.dumps(answer.feed),
            orjson.dumps(answer.listing_key),
            answer.photo_count,
            ",".join(answer.rendered[:count]).encode(),
        )
        missing = [image_id for image_id, place in answer.missing.items() if count is None or place < count]
        for cached in self._listings.last(lookup) or ():
            if cached.body.plain == plain and cached.missing_image_ids == missing:
                return cached
        return CachedAnswer((answer.feed, answer.listing_key), Body(plain), missing)

    async def _load_photos(self, lookups: Collection[PhotoLookup]) -> Mapping[PhotoLookup, Sequence[ShownPhoto]]:
        """Read photos from MongoDB, in one query, by the image ids or URL keys of lookups; return them by lookup.

        The list of a lookup that finds no photo is empty.
        """
        image_ids = [lookup.image_id for lookup in lookups if lookup.image_id is not None]
        url_keys = [lookup.url_key for lookup in lookups if lookup.url_key is not None]
        photos_by_key: dict[str, list[ShownPhoto]] = {}
        for shown in self._admissible(await self._answers.showing(image_ids, url_keys)):
            for key in (shown.photo.id, *shown.photo.url_keys):
                photos_by_key.setdefault(key, []).append(shown)
        return _admitted(lookups, photos_by_key)

    async def _load_photo_answers(
        self, lookups: Collection[PhotoLookup]
    ) -> Mapping[PhotoLookup, Sequence[CachedAnswer]]:
        """Read the answers about photos from MongoDB by the URL keys of lookups, and return them by lookup.

        The first query returns at least one photo of each listing. For lookups that found no photo with a copy, a
        second query reads all photos with their URL keys, because another photo may have a copy. The list of a lookup
        that finds no photo is empty.
        """
        answers = self._admissible(await self._answers.photo_answers({lookup.key for lookup in lookups}, every=False))
        found = _answers_of(lookups, answers)
        # Another photo of the same listing may be admitted, or have a copy.
        others = [lookup for lookup in lookups if not found[lookup] or not found[lookup][0].has_copy]
        if others and answers:
            more = await self._answers.photo_answers({lookup.key for lookup in others}, every=True)
            found |= _answers_of(others, self._admissible(more))
        return {lookup: [_photo_answer(answer) for answer in answers] for lookup, answers in found.items()}

    def _admissible(self, read: Iterable[Read]) -> list[Read]:
        """Return the items in `read` whose listing is not withheld, in the same order.

        The items are answers or photos that were read from MongoDB. A listing is withheld if an event hides it although
        MongoDB may still display it.
        """
        return [item for item in read if not self._withholds((item.feed, item.listing_key))]


def _answers_of(
    lookups: Collection[PhotoLookup], answers: Collection[PhotoAnswer]
) -> dict[PhotoLookup, Sequence[PhotoAnswer]]:
    """Return, for each lookup, the answers in `answers` that have its URL key, and its listing if it names one.

    The answers of a lookup are sorted: those about photos with a copy first, then by feed and ListingKey. The sequence
    is empty for a lookup that finds nothing.
    """
    answers_by_url: dict[str, list[PhotoAnswer]] = {}
    for answer in sorted(answers, key=lambda answer: (not answer.has_copy, answer.feed, answer.listing_key)):
        for url_key in answer.url_keys:
            answers_by_url.setdefault(url_key, []).append(answer)
    return _admitted(lookups, answers_by_url)


def _photo_answer(answer: PhotoAnswer) -> CachedAnswer:
    missing = (answer.image_id,) if answer.is_missing else ()
    return CachedAnswer((answer.feed, answer.listing_key), Body(answer.json.encode()), missing)


def _admitted(
    lookups: Collection[PhotoLookup], results: Mapping[str, Sequence[Result]]
) -> dict[PhotoLookup, Sequence[Result]]:
    """Return, for each lookup, the results that belong to its key, and to its listing if it names one.

    `results` holds, by image id or URL key, the photos or answers that MongoDB returned. A lookup's key is an image id
    or a URL key. The list of a lookup without a result is empty.
    """
    return {
        lookup: [result for result in results.get(lookup.key, ()) if lookup.admits(result.listing_key)]
        for lookup in lookups
    }


def _listing_tags(lookup: ListingLookup, _: Sequence[CachedAnswer]) -> Sequence[str]:
    return (lookup.listing_key,)


def _photo_tags(lookup: PhotoLookup, photos: Sequence[ShownPhoto]) -> Sequence[str]:
    tags = [tag for shown in photos for tag in (shown.photo.id, shown.listing_key)]
    return [*tags, *filter(None, (lookup.image_id, lookup.listing_key))] or [_UNKNOWN]


def _photo_answer_tags(lookup: PhotoLookup, answers: Sequence[CachedAnswer]) -> Sequence[str]:
    return [*(answer.listing_key for answer in answers), *filter(None, (lookup.listing_key,))] or [_UNKNOWN]


def _answers_size(lookup: ListingLookup | PhotoLookup, answers: Sequence[CachedAnswer]) -> int:
    """Return the most bytes of memory that one cache entry takes: its key `lookup` and its value `answers`.

    The cache calls this when it adds the entry. The gzipped form of each answer is counted too, although it is made
    only when a client first wants it.
    """
    sizes = (answer.body.max_bytes + _MISSING_ID_BYTES * len(answer.missing_image_ids) for answer in answers)
    return sum(sizes) + _entry_size(lookup)


def _photos_size(lookup: PhotoLookup, photos: Sequence[ShownPhoto]) -> int:
    return len(photos) * _PHOTO_BYTES + _entry_size(lookup)


def _entry_size(lookup: ListingLookup | PhotoLookup) -> int:
    """Return the bytes of memory that an entry takes besides its value: a fixed amount and those of its key.

    The bytes of the key count because clients may send long keys.
    """
    return _ENTRY_BYTES + sum(_CHARACTER_BYTES * len(part) for part in lookup if isinstance(part, str))
