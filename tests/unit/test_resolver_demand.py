"""Demand: which photos are raised in priority, in which order, and what happens if that is not possible."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.resolver.cached_answers import CachedAnswer
from services.resolver.demand import DemandQueue
from services.resolver.lookups import ListingLookup
from services.resolver.models import Context
from shared.domain.priority import Priority
from shared.http_api.answers import Body
from tests.answering import RENDERER, Resolver, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_listing, a_photo, after
from tests.system import until

LISTING = f"/api/listings/{KEY}/images"


async def events_published(resolver: Resolver, events: int) -> None:
    """Wait until the resolver has published this number of events."""

    async def are_published() -> bool:
        return len(resolver.broker.records) == events

    await until(are_published, f"{events} events", seconds=30)


def test_demand_of_an_answer_is_repeated_after_five_seconds_and_at_once_if_it_is_more_urgent() -> None:
    answer = CachedAnswer((FEED, KEY), Body(b"{}"), ("a",))
    for priority, seconds, is_raised in (
        (Priority.SEARCHED, 0, True),
        (Priority.SEARCHED, 4.9, False),
        (Priority.VIEWED, 4.9, True),
        (Priority.SEARCHED, 5, False),
        (Priority.VIEWED, 9.8, False),
        (Priority.SEARCHED, 9.9, True),
        (Priority.VIEWED, 10, True),
    ):
        assert answer.notes_demand(priority, after(seconds)) is is_raised, (priority, seconds)


async def test_ten_thousand_views_of_a_listing_without_copies_publish_one_event_for_each_photo() -> None:
    async with a_resolver(a_listing(a_photo("a"), a_photo("b"))) as resolver:
        lookup = ListingLookup(KEY, None)
        for _ in range(10_000):
            (answer,) = (await resolver.parts.cache.listings([lookup]))[lookup]
            resolver.parts.answer_routes._add_demand(answer, Context.VIEW)
        await events_published(resolver, 2)
        await resolver.http.get(LISTING)
        assert len(resolver.broker.records) == 2


async def test_demand_beyond_ten_thousand_listings_is_dropped_and_counted() -> None:
    async with a_resolver() as resolver:
        given = resolver.resources
        demand = DemandQueue(
            given.listings, resolver.parts.demand._publisher, given.feeds, given.clock, CollectorRegistry()
        )
        for number in range(10_500):
            demand.add((FEED, f"X{number}"), ["i"], Priority.SEARCHED)
        assert len(demand._queued) == 10_000
        assert demand._dropped._value.get() == 500


@pytest.mark.parametrize(
    ("server", "outage"),
    [("listings", "is_unavailable"), ("broker", "is_unavailable"), ("broker", "fails_at_publish")],
    ids=["no database", "no broker", "no broker once it is raised"],
)
async def test_demand_during_an_outage_is_counted_as_dropped_and_a_view_five_seconds_later_raises(
    server: str, outage: str
) -> None:
    now = [NOW]
    async with a_resolver(a_listing(a_photo("a"), a_photo("b")), clock=lambda: now[0]) as resolver:
        await resolver.parts.cache.listings([ListingLookup(KEY, None)])
        setattr(getattr(resolver, server), outage, True)
        assert (await resolver.http.get(LISTING)).status == 200

        async def is_counted() -> bool:
            return resolver.metric("listing_images_demand_dropped_total") == 1

        await until(is_counted, "the dropped demand to be counted", seconds=30)
        resolver.listings.is_unavailable = False
        resolver.broker.is_unavailable = resolver.broker.fails_at_publish = False
        now[0] = after(5)
        assert (await resolver.http.get(LISTING)).status == 200
        await events_published(resolver, 2)
        assert await is_counted()


async def test_the_most_urgent_demand_is_raised_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"D{number}" for number in range(60)]
    async with a_resolver(*(a_listing(a_photo("a", key=key), key=key) for key in keys)) as resolver:
        read, order = resolver.listings.get_many, list[str]()

        async def noted(ids: Any) -> Any:
            order.extend(key for _, key in ids)
            return await read(ids)

        monkeypatch.setattr(resolver.listings, "get_many", noted)
        for key in keys:
            photo = a_photo("a", key=key)
            priority = Priority.VIEWED if key == keys[-1] else Priority.SEARCHED
            resolver.parts.demand.add((FEED, key), [photo.id], priority)
        await events_published(resolver, 1)
        assert order[0] == keys[-1]


async def test_a_listing_of_a_feed_that_is_not_configured_is_answered_and_raised_by_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    photo = a_photo("a", key="X2", feed="former")
    former = a_listing(photo, key="X2", feed="former")
    async with a_resolver(former, a_listing(a_photo("a"))) as resolver:
        page = {"listing_keys": ["X2", KEY], "context": "view"}
        answer = await resolver.http.post("/api/images/resolve", json=page)
        assert set((await answer.json())["listings"]) == {"X2", KEY}
        await events_published(resolver, 1)
        waiting = await resolver.begin_waiting(photo)
        copy = a_copy("a", key="X2", feed="former")
        await resolver.listings.write([replace(former, revision=1, photos=(replace(photo, copy=copy),))])
        resolver.parts.waiters.wake(photo.id)
        assert (await waiting).headers["Location"] == RENDERER.url(copy.full.key)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_photo_of_a_feed_that_is_not_configured_has_the_default_retry_after() -> None:
    photo = a_photo("a", feed="former")
    async with a_resolver(a_listing(photo, feed="former"), serve_wait_seconds=0) as resolver:
        answer = await resolver.http.get(f"/api/images/serve?id={photo.id}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_photo_that_becomes_due_is_raised_though_the_answer_has_the_same_bytes_as_before() -> None:
    being_removed = (a_discard("a", whole=True),)
    async with a_resolver(a_listing(a_photo("a"), discards=being_removed)) as resolver:
        before = await (await resolver.http.get(LISTING)).read()
        await resolver.record(discards=())
        resolver.parts.cache.invalidate_all()
        assert await (await resolver.http.get(LISTING)).read() == before
        await events_published(resolver, 1)
