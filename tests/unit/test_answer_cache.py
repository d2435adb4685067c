"""Answers by listing and by URL: each lookup gets its own, though few queries read them, within a limit of memory."""

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from services.resolver.answer_cache import AnswerCache
from services.resolver.cache_metrics import CacheMetrics
from services.resolver.lookups import ListingLookup
from services.resolver.policy import CachePolicy
from shared.domain.image import image_id, url_key
from tests.answering import CountingListings, Resolver, a_resolver
from tests.builders import FEED, KEY, a_downloaded_photo, a_listing, a_photo, hidden

RESOLVE = "/api/images/resolve"


async def test_lookups_of_any_shape_that_come_together_are_two_queries() -> None:
    listings = CountingListings()
    held = [a_downloaded_photo(f"p{number}", key="X1") for number in range(5)]
    await listings.write(
        [
            a_listing(*held, a_photo("p5", key="X1"), key="X1"),
            a_listing(a_photo("p0", key="X1", feed="other"), key="X1", feed="other"),
            a_listing(*(a_photo(f"p{number}", key="X2") for number in range(60)), key="X2"),
            *(a_listing(a_photo(key=f"Y{number}"), key=f"Y{number}") for number in range(50)),
        ]
    )
    cache = AnswerCache(
        listings,
        CachePolicy(asyncio.get_running_loop().time),
        CacheMetrics(CollectorRegistry()),
        10_000_000,
        lambda _: False,
    )
    shapes = [ListingLookup("X1", max_photos) for max_photos in (None, 1, 3, 6, 99)]
    shapes += [ListingLookup("X2", 55), ListingLookup("X2", 2)]
    many = [ListingLookup(f"{'Z' if number % 2 else 'Y'}{number}", number + 1) for number in range(50)]
    found = await cache.listings([*shapes, *many])
    assert listings.queries == 2

    def answered(max_photos: int | None, key: str = "X1") -> list[tuple[str, int, int]]:
        """Return feed, count of photos and count of missing ones of each answer."""
        answers = found[ListingLookup(key, max_photos)]
        return sorted(
            (answer.listing_id[0], answer.body.plain.count(b'"order"'), len(answer.missing_image_ids))
            for answer in answers
        )

    whole, partial = [("other", 1, 1), (FEED, 6, 1)], [("other", 1, 1), (FEED, 3, 0)]
    assert [answered(count) for count in (None, 99, 6, 3)] == [whole, whole, whole, partial]
    assert answered(1) == [("other", 1, 1), (FEED, 1, 0)]
    assert [answered(count, "X2") for count in (55, 2)] == [[(FEED, 55, 55)], [(FEED, 2, 2)]]
    assert [len(found[lookup]) for lookup in many] == [0 if number % 2 else 1 for number in range(50)]


async def test_an_answer_that_is_read_again_unchanged_keeps_its_compressed_bytes() -> None:
    async with a_resolver(a_listing(a_downloaded_photo())) as resolver:
        lookup = ListingLookup(KEY, None)
        (first,) = (await resolver.parts.cache.listings([lookup]))[lookup]
        resolver.parts.cache.invalidate_all()
        (second,) = (await resolver.parts.cache.listings([lookup]))[lookup]
        assert first is second
        assert resolver.listings.queries == 2


async def test_long_keys_that_no_listing_has_count_as_memory() -> None:
    async with a_resolver() as resolver:
        for number in range(10):
            key = f"{number}{'x' * 5_000}"
            assert (await resolver.http.get(f"/api/listings/{key}/images")).status == 404
        assert resolver.metric("listing_images_cache_bytes", kind="page") > 10 * 5_000


async def test_answers_of_all_kinds_together_keep_to_the_memory_of_the_setting() -> None:
    many = [
        a_listing(*(a_downloaded_photo(f"{n}", key=f"X{key}") for n in range(25)), key=f"X{key}") for key in range(16)
    ]
    async with a_resolver(*many, resolver_cache_mb=1) as resolver:
        for listing in many:
            assert (await resolver.http.get(f"/api/listings/{listing.key}/images")).status == 200
        for listing in many[:2]:
            for photo in listing.photos:
                assert (await resolver.http.get(RESOLVE, params={"url": photo.url})).status == 200
                serve = await resolver.http.get(f"/api/images/serve?id={photo.id}", allow_redirects=False)
                assert serve.status == 302
        sizes = [resolver.metric("listing_images_cache_bytes", kind=kind) for kind in ("page", "image", "url")]
        assert 900_000 < sum(sizes) <= 1_000_000
        assert min(sizes) > 0


# Photos by URL


async def ids_by_url(resolver: Resolver, *queries: Mapping[str, str]) -> list[str]:
    """Return the image id that the resolver answers to each query, asked at the same time."""
    answers = await asyncio.gather(*(resolver.http.get(RESOLVE, params=query) for query in queries))
    return [(await answer.json())["id"] for answer in answers]


async def test_photos_by_url_are_read_together_and_hidden_at_once() -> None:
    urls = [f"https://photos.example.com/{name}.jpg" for name in "ab"]
    listing = a_listing(a_downloaded_photo("a"), a_photo("b"))
    async with a_resolver(listing) as resolver:
        found = await ids_by_url(resolver, *({"url": url} for url in urls * 20))
        assert found == [photo.id for photo in listing.photos] * 20
        assert resolver.listings.queries <= 3
        narrowed = {"url": urls[0], "listing": "X9"}
        assert (await resolver.http.get(RESOLVE, params=narrowed)).status == 404
        await resolver.record(hidden=hidden())
        resolver.parts.cache.invalidate(KEY, listing.photos[0].id, remove=True)
        assert (await resolver.http.get(RESOLVE, params={"url": urls[0]})).status == 404


async def test_of_several_photos_under_one_url_the_answer_is_about_one_with_a_copy() -> None:
    url_keys = (url_key("u"),)
    bare = a_listing(a_photo("a", key="A", url_keys=url_keys), key="A")
    held = a_listing(a_downloaded_photo("b", key="B", url_keys=url_keys), key="B")
    async with a_resolver(bare, held) as resolver:
        assert await ids_by_url(resolver, {"url": "u"}) == [held.photos[0].id]
        assert await ids_by_url(resolver, {"url": "u", "listing": "A"}) == [bare.photos[0].id]


async def test_a_photo_with_a_copy_is_found_under_its_url_whatever_is_looked_up_with_it() -> None:
    url_keys = (url_key("u"),)
    several = [
        a_listing(
            a_photo("a", key="A", url_keys=url_keys), a_downloaded_photo("b", key="A", url_keys=url_keys), key="A"
        ),
        a_listing(a_photo("c", key="B", url_keys=(url_key("v"),)), key="B"),
        a_listing(
            a_downloaded_photo("d", key="C"), a_downloaded_photo("e", key="C", url_keys=(url_key("v"),)), key="C"
        ),
    ]
    async with a_resolver(*several) as resolver:
        queries = [{"url": "u"}, {"url": "v"}, {"url": "https://photos.example.com/d.jpg"}]
        found = await ids_by_url(resolver, *queries)
        assert found == [image_id(FEED, *names) for names in (("A", "b"), ("C", "e"), ("C", "d"))]


async def test_a_photo_is_found_in_its_listing_though_another_listing_shows_it_too() -> None:
    url_keys = (url_key("u"),)
    both = [
        a_listing(a_downloaded_photo("a", key="A", url_keys=url_keys), key="A"),
        a_listing(a_downloaded_photo("b", key="B"), a_downloaded_photo("a", key="B", url_keys=url_keys), key="B"),
    ]
    async with a_resolver(*both) as resolver:
        queries = [{"url": "u", "listing": "B"}, {"url": "https://photos.example.com/b.jpg"}, {"url": "u"}]
        found = await ids_by_url(resolver, *queries)
        assert found == [image_id(FEED, *names) for names in (("B", "a"), ("B", "b"), ("A", "a"))]


@pytest.mark.parametrize("narrowed", [{}, {"listing": KEY}])
async def test_a_url_that_was_unknown_is_found_once_an_event_names_its_listing(narrowed: Mapping[str, str]) -> None:
    async with a_resolver() as resolver:
        query = {"url": "https://photos.example.com/a.jpg", **narrowed}
        assert (await resolver.http.get(RESOLVE, params=query)).status == 404
        listing = a_listing(a_downloaded_photo("a"))
        await resolver.listings.write([listing])
        assert (await resolver.http.get(RESOLVE, params=query)).status == 404, "from the cache"
        resolver.parts.cache.invalidate(KEY, listing.photos[0].id)
        assert (await resolver.http.get(RESOLVE, params=query)).status == 200
