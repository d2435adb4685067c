"""Every page of the desk is rendered from stored examples: a name that a template has wrong fails here, not in use."""

from collections.abc import AsyncIterator, Sequence
from html import unescape
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from ops.stores import Stores
from services.desk.access import Sessions, TokenCheck
from services.desk.app import create_app
from services.desk.session import COOKIE, SignInPages
from services.desk.snapshots import AttemptHistory, Snapshots
from services.desk.view import DeskParts
from shared import kafka
from shared.events.records import Record
from shared.health import Health
from shared.kafka import Broker, BrokerUnavailable, OffsetRange
from shared.origin_budget import codec
from shared.render import Renderer
from shared.settings import Settings
from shared.stores.memory import (
    MemoryAttempts,
    MemoryAudits,
    MemoryHandledDeadLetters,
    MemoryLedgers,
    MemoryListings,
    MemoryRemovalHolds,
    MemoryRemovals,
    MemoryThroughputs,
)
from tests import examples
from tests.builders import FEED, KEY, NOW, after

RENDERER = Renderer("https://cdn.example.com")
HEADERS = tuple(
    (f"dead_letter_{name}", value)
    for name, value in {
        "reason": b"not JSON", "service": b"janitor", "topic": b"listing-seen", "partition": b"0", "offset": b"7",
    }.items()
)  # fmt: skip
DEAD_LETTERS = [Record("dead-letter", 0, offset, after(offset), KEY.encode(), b"x", HEADERS) for offset in range(2)]
PAGES = {
    "/": ["paused by an operator until 2026-11-23 10:00:00 UTC: too fast", "Allow…", "Not known: Kafka"],
    "/live": ["Latest attempts", "forbidden"],
    "/?live=off": ["Not refreshing"],
    "/listings": ["hidden: opt-out", KEY],
    "/photos": ["forbidden", "its URL works once and was used"],
    "/queue": ["No request is sent to this feed's origin: paused by an operator until"],
    "/queue?order=age": ["by age alone"],
    "/removals": [
        "Removals of proptx-idx are held: 50 of 150 listings turned hidden",
        ": 1 difference between records and objects",
    ],
    "/removals?from=2026-11-22": ["photo-withdrawn", "proptx-idx/X1/a/5a/full.webp"],
    "/dead-letters": ["not JSON", "janitor"],
    f"/dead-letters?names={KEY}": ["/dead-letter?offset=1"],
    "/dead-letter?offset=1": ["not JSON", "listing-seen"],
    f"/listing?feed={FEED}&key={KEY}": [
        "of its 11 photos are missing",
        "the feed is suspended: paused",
        "Evidence of removals",
    ],
    f"/listing?feed={FEED}&key=hidden": ["Not shown"],
    f"/search?q={KEY[:1]}": ["Keys that begin with"],
    "/search?q=nowhere": ["Nothing is recorded under nowhere"],
    f"/do/force?feed={FEED}&key={KEY}": ["would be due at once", "Fetch again"],
    f"/do/freeze?feed={FEED}": ["Pause a feed's requests", "For how long"],
    f"/do/thaw?feed={FEED}": ["Allow a feed's requests again"],
    f"/do/rebuild?feed={FEED}": ["the MLS is not asked"],
    f"/do/remove?feed={FEED}&key={KEY}": ["Remove a listing for good"],
    f"/do/allow?feed={FEED}&key=blocked": ["Allow a listing again"],
    f"/do/resume?feed={FEED}": ["Removals of proptx-idx are held", "Every copy of those listings is removed now."],
    "/do/drop?offset=1": ["1 dead letter would count as dealt with"],
    "/do/nothing": ["there is no such action"],
}
"""Each page, and phrases that it shows."""


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TestClient[Any, Any]]:
    """The desk, with stores that hold the examples, and a signed-in client."""

    async def offset_ranges(*_: object) -> list[OffsetRange]:
        return [OffsetRange(0, 0, len(DEAD_LETTERS))]

    async def read(_: str, __: str, ranges: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
        for offsets in ranges:
            yield DEAD_LETTERS[offsets.start : offsets.end]

    async def oldest_record_at(*_: object) -> object:
        return NOW

    async def lag_of_groups(*_: object) -> object:
        raise BrokerUnavailable("Kafka: it is not there")

    for name, replacement in {
        "offset_ranges": offset_ranges, "read": read, "oldest_record_at": oldest_record_at,
        "lag_of_groups": lag_of_groups,
    }.items():  # fmt: skip
        monkeypatch.setattr(kafka, name, replacement)
    parts, sessions = await a_desk_parts(), Sessions(lambda: 0.0)
    registry = CollectorRegistry()
    sign_in = SignInPages(TokenCheck("a-token-for-operators", lambda: 0.0), sessions)
    app = create_app(parts, Broker("nowhere"), sign_in, Health({}, registry), registry)
    async with TestClient(TestServer(app), cookies={COOKIE: sessions.begin().id}) as client:
        yield client


async def a_desk_parts() -> DeskParts:
    """Return what the pages read from: stores in memory with the examples."""
    listings, ledgers, attempts = MemoryListings(RENDERER), MemoryLedgers(lambda: after(60)), MemoryAttempts()
    removals, holds, audits = MemoryRemovals(), MemoryRemovalHolds(), MemoryAudits()
    await listings.write(examples.listings().values())
    assert await ledgers.replace(FEED, codec.to_document(examples.ledgers()["halted for an hour"]), 0)
    await attempts.add(examples.ATTEMPTS)
    await removals.add(examples.REMOVALS)
    for hold in examples.REMOVAL_HOLDS:
        assert await holds.begin(hold)
    for audit in examples.AUDITS:
        await audits.save(audit)
    stores = Stores(
        listings=cast("Any", listings), attempts=attempts, ledgers=ledgers, throughputs=MemoryThroughputs(),
        handled_dead_letters=MemoryHandledDeadLetters(), removal_holds=holds,
    )  # fmt: skip
    settings, feeds = Settings(_env_file=None), {FEED: examples.LEDGER_FEED}
    return DeskParts(
        settings=settings, feeds=feeds, stores=stores, removals=removals, audits=audits,
        snapshots=Snapshots(settings, feeds, stores, lambda: after(60)),
        history=AttemptHistory(attempts, lambda: after(60)), renderer=RENDERER, clock=lambda: after(60),
    )  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_is_rendered(desk: TestClient[Any, Any], path: str) -> None:
    async with desk.get(path) as answer:
        text = unescape(await answer.text())
    assert answer.status in (200, 404), text
    assert "A fault of ours" not in text
    assert [phrase for phrase in PAGES[path] if phrase not in text] == []
