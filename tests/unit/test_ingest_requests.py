"""Pushes of an MLS and refreshes of an admin page: what is recorded and forced, and what is refused."""

from typing import Any

import pytest

from services.ingest.refresh_route import allowed_an_hour
from services.ingest.webhook_route import keys_of
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.http_api.answers import ProblemFound
from shared.stores.pushed_keys import PushedKey, Resource
from tests.builders import FEED, KEY, NOW, a_feed, a_listing, a_photo
from tests.ingesting import RunningIngest, an_ingest

READ = a_feed(reso_url="https://api.example.com/odata")
CONTEXT = {"@reso.context": "urn:reso:metadata:2.0:resource:entityevent"}
EVENT = {"EntityEventSequence": 1101, "ResourceName": "Property", "ResourceRecordKey": "X1"}
PHOTO = {"EntityEventSequenceNumeric": 1102, "ResourceName": "Media", "ResourceRecordKey": "m1"}
SHOWING = {"EntityEventSequence": 1103, "ResourceName": "Showing", "ResourceRecordKey": "235021"}


async def post(ingest: RunningIngest, path: str, payload: Any = None) -> tuple[int, Any]:
    async with ingest.http.post(path, json=payload) as answer:
        return answer.status, await answer.json(content_type=None)


@pytest.mark.parametrize(
    ("payload", "keys"),
    [
        ({**CONTEXT, **EVENT}, {PushedKey(Resource.PROPERTY, "X1")}),
        (
            {**CONTEXT, "value": [EVENT, EVENT, PHOTO, SHOWING]},
            {PushedKey(Resource.PROPERTY, "X1"), PushedKey(Resource.MEDIA, "m1")},
        ),
        ([EVENT], {PushedKey(Resource.PROPERTY, "X1")}),
        ({**EVENT, "ResourceRecordKey": 235021}, {PushedKey(Resource.PROPERTY, "235021")}),
        (SHOWING, set()),
        ({"value": []}, set()),
    ],
)
async def test_the_keys_of_a_push_are_recorded_each_once(payload: Any, keys: set[PushedKey]) -> None:
    async with an_ingest(READ) as ingest:
        assert await post(ingest, f"/api/webhooks/reso?feed={FEED}", payload) == (200, {"keys": len(keys)})
        assert {key for key, _ in await ingest.pushed_keys.oldest(FEED, 10)} == keys


@pytest.mark.parametrize(
    "payload",
    [
        7, "X1", {}, {"value": 7}, [7], {**EVENT, "ResourceName": None}, {**EVENT, "ResourceRecordKey": ""},
        {**EVENT, "ResourceRecordKey": None}, {**EVENT, "ResourceRecordKey": True}, {**EVENT, "ResourceRecordKey": {}},
        {**EVENT, "ResourceRecordKey": "x" * 256}, {**EVENT, "ResourceRecordKey": "a\nb"},
    ],
)  # fmt: skip
def test_what_is_no_entity_event_is_refused(payload: Any) -> None:
    with pytest.raises(ProblemFound) as found:
        keys_of(payload)
    assert found.value.status == 422


async def test_a_push_for_a_feed_whose_mls_is_not_read_is_refused() -> None:
    async with an_ingest() as ingest:
        status, answer = await post(ingest, f"/api/webhooks/reso?feed={FEED}", EVENT)
        assert (status, "reso_url" in answer["detail"]) == (422, True)


async def test_a_push_that_is_not_json_is_refused() -> None:
    async with an_ingest(READ) as ingest:
        path = f"/api/webhooks/reso?feed={FEED}"
        for data in ("{", "[" * 100_000):
            async with ingest.http.post(path, data=data, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 400


async def test_a_refresh_makes_a_listings_photos_due_before_all_others() -> None:
    async with an_ingest() as ingest:
        await ingest.listings.write([a_listing(a_photo("a"), a_photo("b"))])
        status, answer = await post(ingest, f"/api/listings/{KEY}/refresh?feed={FEED}")
        assert (status, answer["queued"], answer["done_in_seconds"] >= 0) == (202, 2, True)
        listing = await ingest.listings.get(FEED, KEY)
        assert listing is not None
        assert {(photo.forced_at, photo.priority) for photo in listing.photos} == {(NOW, Priority.VIEWED)}


async def test_a_refresh_of_one_image_leaves_the_others_alone() -> None:
    async with an_ingest() as ingest:
        photo = a_photo("b")
        await ingest.listings.write([a_listing(a_photo("a"), photo)])
        status, answer = await post(ingest, f"/api/listings/{KEY}/refresh?feed={FEED}&image={photo.id}")
        assert (status, answer["queued"]) == (202, 1)
        listing = await ingest.listings.get(FEED, KEY)
        assert listing is not None
        assert [photo.forced_at for photo in listing.photos] == [None, NOW]


async def test_what_is_not_recorded_cannot_be_refreshed() -> None:
    async with an_ingest() as ingest:
        await ingest.listings.write([a_listing(a_photo("a"))])
        assert (await post(ingest, f"/api/listings/none/refresh?feed={FEED}"))[0] == 404
        assert (await post(ingest, f"/api/listings/{KEY}/refresh?feed={FEED}&image=none"))[0] == 404
        assert (await post(ingest, f"/api/listings/{KEY}/refresh?feed=other"))[0] == 422


async def test_refreshes_beyond_a_tenth_of_the_viewed_reserve_are_refused() -> None:
    async with an_ingest(a_feed(requests_per_second=0, requests_per_hour=100, viewed_reserve=0.2)) as ingest:
        await ingest.listings.write([a_listing(a_photo("a"), a_photo("b"))])
        path = f"/api/listings/{KEY}/refresh?feed={FEED}"
        assert (await post(ingest, path))[0] == 202
        async with ingest.http.post(path) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "3600")


@pytest.mark.parametrize(
    ("feed", "allowed"),
    [
        (a_feed(requests_per_second=16, viewed_reserve=0.2), 1_152),
        (a_feed(requests_per_second=16, requests_per_hour=7_200, viewed_reserve=0.2), 144),
        (a_feed(requests_per_second=0, requests_per_day=1_000, viewed_reserve=0.5), 50),
        (a_feed(requests_per_second=0), None),
        (a_feed(requests_per_second=16, viewed_reserve=0), 1),
    ],
)
def test_a_tenth_of_the_viewed_reserve_may_be_refreshed_an_hour(feed: Feed, allowed: int | None) -> None:
    assert allowed_an_hour(feed) == allowed
