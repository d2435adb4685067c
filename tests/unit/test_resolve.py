"""Pages of search results in one call: by ListingKeys or by URLs, within limits, and without flooding the cache."""

from typing import Any

import pytest

from shared.domain.priority import Priority
from tests.answering import Resolver, a_resolver
from tests.builders import FEED, KEY, a_downloaded_photo, a_listing, a_photo, hidden

RESOLVE = "/api/images/resolve"
URLS = [f"https://photos.example.com/{name}.jpg" for name in ("a", "b", "hidden")]
TWO_FEEDS = [
    a_listing(a_downloaded_photo("a", key="both", feed=feed, url=URLS[0]), key="both", feed=feed)
    for feed in (FEED, "other")
]


async def answer_of(resolver: Resolver, method: str, path: str, **options: Any) -> Any:
    """Return the JSON of the answer to a request, which must be 200; `options` are those of aiohttp's client."""
    answer = await resolver.http.request(method, path, headers={"Accept-Encoding": "identity"}, **options)
    assert answer.status == 200, await answer.text()
    return await answer.json()


async def test_photos_are_answered_by_url_in_one_call_and_missing_ones_are_raised() -> None:
    missing = a_photo("b")
    hidden_listing = a_listing(a_downloaded_photo("hidden", key="X9"), key="X9", hidden=hidden())
    async with a_resolver(a_listing(a_downloaded_photo("a"), missing), hidden_listing) as resolver:
        body = await answer_of(resolver, "POST", RESOLVE, json={"urls": [*URLS, URLS[0]]})
        assert set(body) == {"images", "unknown"}
        assert {url: image["id"] for url, image in body["images"].items()} == {
            URLS[0]: a_downloaded_photo("a").id,
            URLS[1]: missing.id,
        }
        assert body["unknown"] == [URLS[2]]
        assert body["images"][URLS[0]] == await answer_of(resolver, "GET", RESOLVE, params={"url": URLS[0]})
        assert resolver.listings.queries <= 2
        await resolver.parts.demand.run_round()
        (listing,) = await resolver.listings.by_key(KEY)
        assert listing.photos[1].priority is Priority.SEARCHED


async def test_a_url_that_two_feeds_announced_is_answered_by_the_feed_that_is_named() -> None:
    async with a_resolver(*TWO_FEEDS) as resolver:
        for feed, expected in ((FEED, FEED), ("other", "other"), ("no such", None)):
            images = (await answer_of(resolver, "POST", RESOLVE, json={"urls": URLS[:1], "feed": feed}))["images"]
            ids = {listing.feed: listing.photos[0].id for listing in TWO_FEEDS}
            assert [image["id"] for image in images.values()] == ([ids[expected]] if expected else [])


async def test_each_listing_says_how_many_photos_it_has() -> None:
    photos = [a_downloaded_photo("a"), a_photo("b"), a_photo("c")]
    async with a_resolver(a_listing(*photos), a_listing(key="none")) as resolver:
        whole = await answer_of(resolver, "GET", f"/api/listings/{KEY}/images")
        assert (whole["photo_count"], len(whole["images"])) == (3, 3)
        page = await answer_of(resolver, "POST", RESOLVE, json={"listing_keys": [KEY, "none"]})
        counts = {key: (found["photo_count"], len(found["images"])) for key, found in page["listings"].items()}
        assert counts == {KEY: (3, 1), "none": (0, 0)}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"listing_keys": ["X"] * 200, "photos_per_listing": 10}, 200),
        ({"listing_keys": ["X"] * 200, "photos_per_listing": 11}, 413),
        ({"listing_keys": ["X"] * 4, "photos_per_listing": 500}, 200),
        ({"listing_keys": ["X"] * 5, "photos_per_listing": 500}, 413),
        ({"urls": ["u"] * 200}, 200),
        ({"urls": ["u"] * 201}, 413),
        ({"urls": ["u" * 8_000]}, 200),
        ({"urls": ["u" * 8_001]}, 422),
        ({"urls": []}, 422),
        ({"urls": [""]}, 422),
        ({"urls": "u"}, 422),
        ({"urls": ["u"], "listing_keys": ["X"]}, 422),
        ({"feed": "a"}, 422),
        ({"listing_keys": ["X"], "feed": "f" * 100}, 200),
        ({"listing_keys": ["X"], "feed": "f" * 101}, 422),
    ],
)
async def test_a_page_beyond_its_limits_is_refused(body: dict[str, Any], status: int) -> None:
    async with a_resolver() as resolver:
        answer = await resolver.http.post(RESOLVE, json=body)
        assert answer.status == status, await answer.text()
        assert answer.content_type == ("application/json" if status == 200 else "application/problem+json")


async def test_made_up_names_of_feeds_take_no_memory_and_no_reading() -> None:
    async with a_resolver(a_listing(a_downloaded_photo())) as resolver:
        resolver.parts.cache._policy.ttl_seconds = 60
        path = f"/api/listings/{KEY}/images"
        assert (await resolver.http.get(path)).status == 200
        before = resolver.metric("listing_images_cache_bytes", kind="page"), resolver.listings.queries
        for number in range(50):
            assert (await resolver.http.get(path, params={"feed": f"feed-{number}"})).status == 404
        assert (resolver.metric("listing_images_cache_bytes", kind="page"), resolver.listings.queries) == before
        assert (await resolver.http.get(path, params={"feed": FEED})).status == 200
        assert (await resolver.http.get(path, params={"feed": "f" * 101})).status == 413
