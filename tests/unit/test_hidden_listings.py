"""A listing that `listing-seen` hides is answered no more, whatever MongoDB says, until MongoDB hides it too."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from services.resolver import hidden_listings as hidden_listings_module
from shared.events.codec import encode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import LISTING_SEEN
from tests.answering import Resolver, a_resolver
from tests.builders import FEED, KEY, NOW, a_downloaded_photo, a_listing, after, hidden

PHOTO = a_downloaded_photo()
LISTING = a_listing(PHOTO, modified_at=NOW, media_changed_at=NOW)
ID = (FEED, KEY)


def announce(resolver: Resolver, modified_at: datetime, offset: int = 1, **fields: Any) -> None:
    """Let the resolver read a `listing-seen` event of the listing KEY, with these fields of its property record."""
    property_record = {"ListingKey": KEY, "ModificationTimestamp": modified_at.isoformat(), **fields}
    value = encode(ListingSeen(feed=FEED, record=property_record), source="test", now=NOW)
    record = Record(LISTING_SEEN, 0, offset, after(offset), KEY.encode(), value)
    resolver.parts.hidden_listings.note(record)


async def statuses(resolver: Resolver) -> list[int]:
    """Return the statuses of the answers about the listing KEY and its photo: in a page, by key, by URL and by id.

    A page without the listing counts as 404.
    """
    get = resolver.http.get
    page = await resolver.http.post(
        "/api/images/resolve", json={"listing_keys": [KEY]}, headers={"Accept-Encoding": "identity"}
    )
    answers = [
        await get(f"/api/listings/{KEY}/images"),
        await get("/api/images/resolve", params={"url": PHOTO.url}),
        await get(f"/api/images/serve?id={PHOTO.id}", allow_redirects=False),
    ]
    is_absent = page.status == 200 and KEY not in (await page.json())["listings"]
    return [404 if is_absent else page.status, *(answer.status for answer in answers)]


SHOWN, WITHHELD, UNAVAILABLE = [200, 200, 200, 302], [404] * 4, [503] * 4


async def test_a_listing_is_withheld_before_it_is_recorded_as_hidden_and_shown_if_displayed_again() -> None:
    async with a_resolver(LISTING) as resolver:
        assert await statuses(resolver) == SHOWN
        announce(resolver, after(1), StandardStatus="Closed")
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == WITHHELD
        announce(resolver, NOW, 2, StandardStatus="Active")
        assert resolver.parts.hidden_listings.withholds(ID), "an older event does not display it"
        announce(resolver, after(2), 3, StandardStatus="Active")
        resolver.parts.cache.invalidate_all()
        assert await statuses(resolver) == SHOWN


async def test_a_replayed_event_that_once_hid_a_listing_withholds_nothing() -> None:
    async with a_resolver(LISTING) as resolver:
        announce(resolver, after(-60), StandardStatus="Closed")
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == SHOWN
        assert not resolver.parts.hidden_listings.withholds(ID)


async def test_a_listing_is_withheld_while_the_database_is_unavailable_and_until_it_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hidden_listings_module, "CONFIRMED_SECONDS", 0.0)
    monkeypatch.setattr(hidden_listings_module, "CHECK_SECONDS", 0.05)
    async with a_resolver(LISTING) as resolver:
        assert await statuses(resolver) == SHOWN
        resolver.listings.is_unavailable = True
        resolver.parts.cache.invalidate_all()
        assert await statuses(resolver) == SHOWN, "stale answers"
        announce(resolver, after(1), InternetEntireListingDisplayYN=False)
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == UNAVAILABLE
        resolver.listings.is_unavailable = False
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == WITHHELD, "not recorded yet"
        await resolver.record(hidden=hidden(), modified_at=after(1))
        await resolver.parts.hidden_listings.run_round()
        await resolver.parts.hidden_listings.run_round()
        assert not resolver.parts.hidden_listings.withholds(ID), "the record hides it now"
        resolver.parts.cache.invalidate_all()
        assert await statuses(resolver) == WITHHELD


async def test_a_database_that_hangs_does_not_delay_the_hiding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_listings_module, "CHECK_SECONDS", 0.05)
    async with a_resolver(LISTING) as resolver:

        async def hang(_: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(resolver.listings, "recorded_states", hang)
        announce(resolver, after(1), StandardStatus="Closed")
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == WITHHELD


async def test_an_event_that_cannot_be_read_or_is_of_another_feed_withholds_nothing() -> None:
    async with a_resolver(LISTING) as resolver:
        for value in (
            None,
            b"",
            b"{}",
            b'{"type":"listing-seen.v1","data":{"feed":"other","property":{"ListingKey":"X1"}}}',
        ):
            resolver.parts.hidden_listings.note(Record(LISTING_SEEN, 0, 0, NOW, KEY.encode(), value))
        await resolver.parts.hidden_listings.run_round()
        assert await statuses(resolver) == SHOWN
