"""More is asked than can be read, or Kafka falls silent: what does a client see, and what comes after?"""

import asyncio
from typing import Any

import aiohttp
import pytest

from services.resolver import batches as batches_module
from services.resolver import catalog as catalog_module
from services.resolver import demand as demand_module
from services.resolver import policy
from services.resolver import waiting as waiting_module
from shared.domain.priority import Priority
from shared.kafka import BrokerUnavailable
from shared.stores.answers import Answer
from tests.answering import Resolver, a_resolver
from tests.builders import KEY, a_downloaded_photo, a_listing, a_photo, hidden
from tests.system import until

LISTING = f"/api/listings/{KEY}/images"
FULL = a_listing(a_downloaded_photo("a"))


async def is_shed(answer: aiohttp.ClientResponse) -> bool:
    """Whether a question was refused as one too many, in the way that clients are told of."""
    if answer.content_type != "application/problem+json":
        return False
    problem = await answer.json()
    assert (answer.status, problem["status"]) == (503, 503)
    assert "too many" in problem["detail"]
    assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
    return True


async def test_more_questions_than_can_be_read_are_shed_and_later_ones_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches_module, "MAX_PENDING_KEYS", 5)
    async with a_resolver(FULL) as resolver:
        assert (await resolver.http.get(LISTING)).status == 200
        read, may_read = resolver.listings.answers, asyncio.Event()

        async def slowly(*asked: Any) -> list[Answer]:
            await may_read.wait()
            return await read(*asked)

        monkeypatch.setattr(resolver.listings, "answers", slowly)
        asking = [asyncio.create_task(resolver.http.get(f"/api/listings/U{n}/images")) for n in range(30)]

        async def enough_are_refused() -> bool:
            return sum(task.done() for task in asking) == 25

        await until(enough_are_refused, "all but five to be refused", seconds=10)
        assert all([await is_shed(task.result()) for task in asking if task.done()])
        assert resolver.metric("listing_images_shed_total") == 25
        assert (await resolver.http.get(LISTING)).status == 200, "what is kept is answered"
        may_read.set()
        answers = await asyncio.gather(*asking)
        assert sorted(answer.status for answer in answers) == [404] * 5 + [503] * 25
        again = await asyncio.gather(*(resolver.http.get(f"/api/listings/V{n}/images") for n in range(5)))
        assert {answer.status for answer in again} == {404}


async def test_more_photos_waited_for_than_can_be_watched_are_shed_and_later_ones_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_module, "_MOST_WATCHES", 2)
    photos = [a_photo(f"p{number}") for number in range(5)]
    async with a_resolver(a_listing(*photos), serve_wait_seconds=0.3) as resolver:
        asked = [f"/api/images/serve?id={photo.id}" for photo in photos]
        answers = await asyncio.gather(*(resolver.http.get(path) for path in asked))
        assert [await is_shed(answer) for answer in answers].count(True) == 3
        assert resolver.metric("listing_images_shed_total") == 3

        async def nobody_is_watched() -> bool:
            return not resolver.parts.waiting._watches

        await until(nobody_is_watched, "the watches to end", seconds=5)
        answer = await resolver.http.get(asked[-1])
        assert (answer.status, answer.headers["Content-Type"]) == (503, "image/svg+xml")


async def test_what_a_full_queue_of_demand_drops_is_counted_where_operators_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demand_module, "_LONGEST_QUEUE", 5)
    keys = [f"D{number}" for number in range(30)]
    async with a_resolver(*(a_listing(a_photo("a", key=key), key=key) for key in keys)) as resolver:
        plain = {"Accept-Encoding": "identity"}
        asked = {"listing_keys": keys, "context": "view"}
        page = await resolver.http.post("/api/images/resolve", json=asked, headers=plain)
        assert (page.status, len((await page.json())["listings"])) == (200, 30), "nobody waits for it"
        metrics = await resolver.http.get("/metrics", headers=plain)
        assert "listing_images_demand_dropped_total 25.0" in (await metrics.text()).splitlines()

        async def those_in_it_are_said() -> bool:
            return len(resolver.said.records) == 5

        await until(those_in_it_are_said, "the events of what was not dropped", seconds=10)


async def readings_of_two_views(resolver: Resolver) -> int:
    """Return how often the database is asked for what is asked twice, one after the other."""
    resolver.parts.catalog.forget_all()
    before = resolver.listings.readings
    for _ in range(2):
        assert (await resolver.http.get(LISTING)).status == 200
    return resolver.listings.readings - before


@pytest.mark.parametrize("is_heard", [True, False])
async def test_what_no_event_tells_is_shown_within_two_seconds_whether_kafka_is_heard_or_not(is_heard: bool) -> None:
    async with a_resolver(FULL) as resolver:
        resolver.parts.catalog.hears(is_heard)
        photo = FULL.photos[0]
        paths = [LISTING, f"/api/images/resolve?url={photo.url}", f"/api/images/serve?id={photo.id}"]

        async def statuses() -> set[int]:
            answers = [await resolver.http.get(path, allow_redirects=False) for path in paths]
            return {answer.status for answer in answers}

        assert await statuses() == {200, 302}
        await resolver.record(hidden=hidden())

        async def is_hidden() -> bool:
            return await statuses() == {404}

        await until(is_hidden, "the listing to be hidden", seconds=2)


async def test_while_kafka_tells_of_no_changes_answers_are_kept_for_a_shorter_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert policy.TTL_WITHOUT_EVENTS_SECONDS < policy.TTL_SECONDS
    monkeypatch.setattr(catalog_module, "TTL_SECONDS", 60.0)
    monkeypatch.setattr(catalog_module, "TTL_WITHOUT_EVENTS_SECONDS", 0.0)
    async with a_resolver(FULL) as resolver:
        news = resolver.parts.news
        news.is_following.set()
        await news.check()
        assert await readings_of_two_views(resolver) == 1
        resolver.said.is_away = True
        with pytest.raises(BrokerUnavailable):
            await news.check()
        assert await readings_of_two_views(resolver) == 2, "a consumer says nothing of a broker that went away"
        resolver.said.is_away = False
        await news.check()
        assert await readings_of_two_views(resolver) == 1
        news.is_following.clear()
        await news.check()
        assert await readings_of_two_views(resolver) == 2, "the broker is there, and is not followed"


async def test_a_megabyte_of_memory_is_kept_to_by_all_kinds_of_answers_together() -> None:
    many = [
        a_listing(*(a_downloaded_photo(f"{n}", key=f"X{key}") for n in range(25)), key=f"X{key}") for key in range(16)
    ]
    async with a_resolver(*many, resolver_cache_mb=1) as resolver:
        for listing in many:
            assert (await resolver.http.get(f"/api/listings/{listing.key}/images")).status == 200
        for listing in many[:2]:
            for photo in listing.photos:
                assert (await resolver.http.get("/api/images/resolve", params={"url": photo.url})).status == 200
                serve = await resolver.http.get(f"/api/images/serve?id={photo.id}", allow_redirects=False)
                assert serve.status == 302
        kept = [resolver.metric("listing_images_cache_bytes", kind=kind) for kind in ("page", "image", "url")]
        assert 900_000 < sum(kept) <= 1_000_000
        assert min(kept) > 0


async def test_what_is_missing_in_a_search_is_raised_behind_the_answer_and_said_to_nobody() -> None:
    async with a_resolver(a_listing(a_photo("a"))) as resolver:
        read, may_read = resolver.listings.get_many, asyncio.Event()

        async def held_up(*asked: Any) -> Any:
            await may_read.wait()
            return await read(*asked)

        resolver.listings.get_many = held_up  # type: ignore[method-assign, assignment]
        page = {"listing_keys": [KEY]}
        assert (await resolver.http.post("/api/images/resolve", json=page)).status == 200
        assert (await resolver.http.get(LISTING, params={"context": "search"})).status == 200
        assert resolver.metric("listing_images_priority_raised_total", priority="searched") == 0
        may_read.set()

        async def is_raised() -> bool:
            return resolver.metric("listing_images_priority_raised_total", priority="searched") == 1

        await until(is_raised, "it is raised")
        (listing,) = await resolver.listings.by_key(KEY)
        assert listing.photos[0].priority is Priority.SEARCHED
        assert resolver.said.records == []
