"""What is viewed and missing is raised: most urgent first, again where it could not be, and only what can be."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from services.resolver.answers import Body
from services.resolver.catalog import Page, Question
from shared.domain.priority import Priority
from tests.answering import RENDERER, Resolver, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_discard, a_listing, a_photo, after
from tests.system import until

LISTING = f"/api/listings/{KEY}/images"


async def said(resolver: Resolver, events: int) -> None:
    """Wait until so many events are said."""

    async def are_said() -> bool:
        return len(resolver.said.records) == events

    await until(are_said, f"{events} events", seconds=10)


def test_what_a_page_lacks_is_asked_for_again_after_five_seconds_and_at_once_where_it_is_more_urgent() -> None:
    page = Page((FEED, KEY), Body(b"{}"), ("a",))
    for priority, seconds, is_asked in (
        (Priority.SEARCHED, 0, True),
        (Priority.SEARCHED, 4.9, False),
        (Priority.VIEWED, 4.9, True),
        (Priority.SEARCHED, 5, False),
        (Priority.VIEWED, 9.8, False),
        (Priority.SEARCHED, 9.9, True),
        (Priority.VIEWED, 10, True),
    ):
        assert page.is_to_be_asked(priority, after(seconds)) is is_asked, (priority, seconds)


@pytest.mark.parametrize(
    ("server", "fault"),
    [("listings", "is_away"), ("said", "is_away"), ("said", "goes_away")],
    ids=["no database", "no broker", "no broker once it is raised"],
)
async def test_a_view_while_a_server_is_away_is_counted_as_dropped_and_one_five_seconds_later_raises(
    server: str, fault: str
) -> None:
    now = [NOW]
    async with a_resolver(a_listing(a_photo("a"), a_photo("b")), clock=lambda: now[0]) as resolver:
        question = Question(KEY, None, None)
        await resolver.parts.catalog.pages([question])
        away = getattr(resolver, server)
        setattr(away, fault, True)
        assert (await resolver.http.get(LISTING)).status == 200

        async def is_counted() -> bool:
            return resolver.metric("listing_images_demand_dropped_total") == 1

        await until(is_counted, "the dropped demand to be counted", seconds=10)
        away.is_away = away.goes_away = False
        now[0] = after(5)
        assert (await resolver.http.get(LISTING)).status == 200
        await said(resolver, 2)
        assert await is_counted()


async def test_of_all_that_waits_to_be_raised_the_most_urgent_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
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
            resolver.parts.demand.ask((FEED, key), [photo.id], priority)
        await said(resolver, 1)
        assert order[0] == keys[-1]


async def test_a_feed_that_is_not_configured_here_is_answered_and_keeps_no_other_from_being_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    photo = a_photo("a", key="X2", feed="former")
    former = a_listing(photo, key="X2", feed="former")
    async with a_resolver(former, a_listing(a_photo("a"))) as resolver:
        page = {"listing_keys": ["X2", KEY], "context": "view"}
        answer = await resolver.http.post("/api/images/resolve", json=page)
        assert set((await answer.json())["listings"]) == {"X2", KEY}
        await said(resolver, 1)
        asking = await resolver.is_waited_for(photo)
        copy = a_copy("a", key="X2", feed="former")
        await resolver.listings.write([replace(former, revision=1, photos=(replace(photo, copy=copy),))])
        resolver.parts.waiting.tell(photo.id)
        assert (await asking).headers["Location"] == RENDERER.url(copy.full.key)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_photo_of_a_feed_that_is_not_configured_here_is_said_to_come_soon() -> None:
    photo = a_photo("a", feed="former")
    async with a_resolver(a_listing(photo, feed="former"), serve_wait_seconds=0) as resolver:
        answer = await resolver.http.get(f"/api/images/serve?id={photo.id}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_photo_that_can_be_had_by_now_is_raised_though_its_answer_looks_as_before() -> None:
    removing = (a_discard("a", whole=True),)
    async with a_resolver(a_listing(a_photo("a"), discards=removing)) as resolver:
        before = await (await resolver.http.get(LISTING)).read()
        await resolver.record(discards=())
        resolver.parts.catalog.forget_all()
        assert await (await resolver.http.get(LISTING)).read() == before
        await said(resolver, 1)
