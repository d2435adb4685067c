"""How do clients see load shedding and times without events, and does the resolver recover afterwards?"""

import asyncio
from typing import Any

import aiohttp
import pytest

from services.resolver import answer_cache as answer_cache_module
from services.resolver import batches as batches_module
from services.resolver import demand as demand_module
from services.resolver import policy
from services.resolver import waiters as waiters_module
from shared.domain.priority import Priority
from shared.kafka import BrokerUnavailable
from shared.stores.answers import Answer
from tests.answering import Resolver, a_resolver
from tests.builders import KEY, a_downloaded_photo, a_listing, a_photo, hidden
from tests.system import until

LISTING = f"/api/listings/{KEY}/images"
FULL = a_listing(a_downloaded_photo("a"))


async def is_shed(answer: aiohttp.ClientResponse) -> bool:
    """Return True if a request was shed; it then has the problem and the headers that clients are promised."""
    if answer.content_type != "application/problem+json":
        return False
    problem = await answer.json()
    assert (answer.status, problem["status"]) == (503, 503)
    assert "too many" in problem["detail"]
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
    return True


async def test_requests_for_more_than_can_be_read_are_shed_and_later_ones_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches_module, "MAX_PENDING_KEYS", 5)
    async with a_resolver(FULL) as resolver:
        assert (await resolver.http.get(LISTING)).status == 200
        read, may_return = resolver.listings.answers, asyncio.Event()

        async def read_slowly(*query: Any) -> list[Answer]:
            await may_return.wait()
            return await read(*query)

        monkeypatch.setattr(resolver.listings, "answers", read_slowly)
        requests = [asyncio.create_task(resolver.http.get(f"/api/listings/U{n}/images")) for n in range(30)]

        async def all_but_five_have_ended() -> bool:
            return sum(request.done() for request in requests) == 25

        await until(all_but_five_have_ended, "all but five to be refused", seconds=30)
        assert all([await is_shed(request.result()) for request in requests if request.done()])
        assert resolver.metric("listing_images_shed_total") == 25
        assert (await resolver.http.get(LISTING)).status == 200, "a fresh entry answers"
        may_return.set()
        answers = await asyncio.gather(*requests)
        assert sorted(answer.status for answer in answers) == [404] * 5 + [503] * 25
        later = await asyncio.gather(*(resolver.http.get(f"/api/listings/V{n}/images") for n in range(5)))
        assert {answer.status for answer in later} == {404}


async def test_visitors_who_wait_for_more_photos_than_are_watched_are_shed_and_later_ones_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiters_module, "MAX_AWAITED_PHOTOS", 2)
    photos = [a_photo(f"p{number}") for number in range(5)]
    async with a_resolver(a_listing(*photos), serve_wait_seconds=0.3) as resolver:
        paths = [f"/api/images/serve?id={photo.id}" for photo in photos]
        answers = await asyncio.gather(*(resolver.http.get(path) for path in paths))
        assert [await is_shed(answer) for answer in answers].count(True) == 3
        assert resolver.metric("listing_images_shed_total") == 3

        async def is_idle() -> bool:
            return not resolver.parts.waiters._awaited

        await until(is_idle, "the watches to end", seconds=30)
        answer = await resolver.http.get(paths[-1])
        assert (answer.status, answer.headers["Content-Type"]) == (503, "image/svg+xml")


async def test_demand_that_a_full_queue_drops_is_counted_in_the_metrics_and_delays_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demand_module, "MAX_QUEUED_LISTINGS", 5)
    keys = [f"D{number}" for number in range(30)]
    async with a_resolver(*(a_listing(a_photo("a", key=key), key=key) for key in keys)) as resolver:
        plain = {"Accept-Encoding": "identity"}
        body = {"listing_keys": keys, "context": "view"}
        page = await resolver.http.post("/api/images/resolve", json=body, headers=plain)
        assert (page.status, len((await page.json())["listings"])) == (200, 30)
        metrics = await resolver.http.get("/metrics", headers=plain)
        assert "listing_images_demand_dropped_total 25.0" in (await metrics.text()).splitlines()

        async def the_queued_are_published() -> bool:
            return len(resolver.broker.records) == 5

        await until(the_queued_are_published, "the events of the demand that was not dropped", seconds=30)


async def test_demand_of_a_search_is_raised_after_the_answer_and_publishes_nothing() -> None:
    async with a_resolver(a_listing(a_photo("a"))) as resolver:
        read, may_return = resolver.listings.get_many, asyncio.Event()

        async def read_slowly(*query: Any) -> Any:
            await may_return.wait()
            return await read(*query)

        resolver.listings.get_many = read_slowly  # type: ignore[method-assign, assignment]
        page = {"listing_keys": [KEY]}
        assert (await resolver.http.post("/api/images/resolve", json=page)).status == 200
        assert (await resolver.http.get(LISTING, params={"context": "search"})).status == 200
        assert resolver.metric("listing_images_priority_raised_total", priority="searched") == 0
        may_return.set()

        async def is_raised() -> bool:
            return resolver.metric("listing_images_priority_raised_total", priority="searched") == 1

        await until(is_raised, "the photo to be raised")
        (listing,) = await resolver.listings.by_key(KEY)
        assert listing.photos[0].priority is Priority.SEARCHED
        assert resolver.broker.records == []


# The TTL, with and without events


async def queries_of_two_views(resolver: Resolver) -> int:
    """Return how many queries two views of a listing take, one after the other, from an empty cache."""
    resolver.parts.cache.invalidate_all()
    before = resolver.listings.queries
    for _ in range(2):
        assert (await resolver.http.get(LISTING)).status == 200
    return resolver.listings.queries - before


@pytest.mark.parametrize("events_arrive", [True, False])
async def test_a_change_without_an_event_is_shown_within_two_seconds(events_arrive: bool) -> None:
    async with a_resolver(FULL) as resolver:
        resolver.parts.cache.choose_ttl(events_arrive=events_arrive)
        photo = FULL.photos[0]
        paths = [LISTING, f"/api/images/resolve?url={photo.url}", f"/api/images/serve?id={photo.id}"]

        async def statuses() -> set[int]:
            answers = [await resolver.http.get(path, allow_redirects=False) for path in paths]
            return {answer.status for answer in answers}

        assert await statuses() == {200, 302}
        await resolver.record(hidden=hidden())

        async def is_hidden() -> bool:
            return await statuses() == {404}

        await until(is_hidden, "the listing to be hidden", seconds=5)


async def test_without_events_from_kafka_answers_have_the_shorter_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.TTL_WITHOUT_EVENTS_SECONDS < policy.TTL_SECONDS
    monkeypatch.setattr(answer_cache_module, "TTL_SECONDS", 60.0)
    monkeypatch.setattr(answer_cache_module, "TTL_WITHOUT_EVENTS_SECONDS", 0.0)
    async with a_resolver(FULL) as resolver:
        invalidation = resolver.parts.invalidation
        invalidation.is_following.set()
        await invalidation.check()
        assert await queries_of_two_views(resolver) == 1
        resolver.broker.is_unavailable = True
        with pytest.raises(BrokerUnavailable):
            await invalidation.check()
        assert await queries_of_two_views(resolver) == 2, "the broker is unavailable, though the consumer has not ended"
        resolver.broker.is_unavailable = False
        await invalidation.check()
        assert await queries_of_two_views(resolver) == 1
        invalidation.is_following.clear()
        await invalidation.check()
        assert await queries_of_two_views(resolver) == 2, "the broker answers, but its events are not followed"
