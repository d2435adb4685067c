"""What a replay is said to do is what the services then do."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ops import replay, replay_plan
from ops.replay import Filter, Source
from ops.replay_plan import Plan
from services.downloader import decide
from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing
from shared.events.codec import AnyEvent, Event, encode
from shared.events.images import ImageOutdated, ImageRemoved, OutdatedReason
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.events.topics import IMAGE_OUTDATED, IMAGE_REMOVED, LISTING_SEEN
from shared.kafka import OffsetRange, Outgoing
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores.memory import MemoryListings
from tests.builders import (
    FEED,
    KEY,
    NOW,
    a_copy,
    a_downloaded_photo,
    a_feed,
    a_listing,
    a_photo,
    a_record,
    a_row,
    after,
    hidden,
)

FEEDS = {FEED: a_feed()}
LATER = after(3_600)
ALL = Filter()


def a_store() -> MemoryListings:
    return MemoryListings(Renderer("https://cdn.example.com"))


def records(*values: bytes | None, at: datetime = NOW, key: str = KEY) -> list[Record]:
    return [Record("t", 0, offset, at, key.encode(), value) for offset, value in enumerate(values)]


def said(record: dict[str, Any], feed: str = FEED) -> bytes:
    return encode(ListingSeen(feed=feed, record=record), source="test", now=NOW)


def source(found: Sequence[Record]) -> Source:
    async def read(spans: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
        for span in spans:
            yield [record for record in found if span.start <= record.offset < span.end]

    return Source([OffsetRange(0, 0, len(found))], read)


async def record_all(store: MemoryListings, found: Sequence[Record], now: datetime) -> int:
    """Record one event after the other as the services do; return how many changed something."""
    recorder = Recorder(store, FEEDS, None, lambda: now, CollectorRegistry())  # type: ignore[arg-type]
    changed = 0
    for record in found:
        before = {one.key: one.revision for one in await store.page(FEED, "", 100)}
        await recorder.record([record])
        changed += before != {one.key: one.revision for one in await store.page(FEED, "", 100)}
    return changed


async def due(store: MemoryListings) -> int:
    return sum(one.photo_due_at(photo) is not None for one in await store.page(FEED, "", 100) for photo in one.photos)


async def planned(
    store: MemoryListings, found: Sequence[Record], topic: str = LISTING_SEEN, wanted: Filter = ALL
) -> Plan:
    return await replay_plan.plan(topic, source(found), wanted, store, FEEDS, LATER)


def a_statement(key: str, at: float | None, photos: list[str], status: str, own: float) -> dict[str, Any]:
    stamps = {"MediaModificationTimestamp": after(own).isoformat()} if own else {}
    return a_record(*(a_row(photo, **stamps) for photo in photos), key=key, at=at, StandardStatus=status)


STATEMENTS = st.lists(
    st.builds(
        a_statement,
        key=st.sampled_from(["X1", "X2"]),
        at=st.sampled_from([None, 0, 1, 2]),
        photos=st.lists(st.sampled_from("abc"), unique=True, max_size=3),
        status=st.sampled_from(["Active", "Active", "Closed"]),
        own=st.sampled_from([0, 5]),
    ),
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(recorded=STATEMENTS, replayed=STATEMENTS, again=st.booleans())
def test_a_plan_says_what_the_services_then_do(
    recorded: list[dict[str, Any]], replayed: list[dict[str, Any]], again: bool
) -> None:
    async def story() -> None:
        store = a_store()
        await record_all(store, records(*map(said, recorded)), NOW)
        events = records(*map(said, (recorded + replayed) if again else replayed), at=LATER)
        plan, before = await planned(store, events), await due(store)
        changed = await record_all(store, events, LATER)
        assert (plan.events, plan.changing, plan.changing + plan.unchanged) == (len(events), changed, len(events))
        assert plan.downloads[FEED] == await due(store) - before

    asyncio.run(story())


async def test_later_events_meet_what_earlier_ones_left() -> None:
    new, same, newer = (
        said(a_record(a_row("a"))),
        said(a_record(a_row("a"))),
        said(a_record(a_row("a"), a_row("b"), at=1)),
    )
    plan = await planned(a_store(), records(new, same, newer, new, newer))
    assert (plan.changing, plan.unchanged, plan.downloads[FEED]) == (2, 3, 2)


async def test_what_cannot_be_read_is_counted_by_reason() -> None:
    store = a_store()
    broken = a_record(a_row("a"), ModificationTimestamp="yesterday")
    found = records(
        None, b"x", said(a_record(), feed="nobody"), said(broken), said({"City": "Guelph"}), said(a_record())
    )
    plan = await planned(store, found)
    assert (plan.events, plan.changing, sum(plan.unreadable.values())) == (6, 1, 5)
    assert plan.unreadable["the feed 'nobody' is not in feeds.toml"] == 1
    assert plan.unreadable["ListingKey is missing"] == 1


async def test_what_would_be_hidden_shown_withdrawn_and_fetched_is_said() -> None:
    store = a_store()
    shown, away = (
        a_listing(a_downloaded_photo("a"), a_downloaded_photo("b")),
        a_listing(a_downloaded_photo(key="X2"), key="X2", hidden=hidden()),
    )
    await store.write([shown, away])
    closed = said(a_record(a_row("a"), at=1, StandardStatus="Closed"))
    active = said(a_record(a_row("a"), key="X2", at=1))
    plan = await planned(store, records(closed, active))
    assert (plan.listings_hidden, plan.listings_shown, plan.photos_withdrawn) == (1, 1, 1)
    assert (plan.downloads[FEED], plan.bytes_expected(FEED)) == (1, 400_000)


async def test_only_what_is_meant_is_counted_and_published() -> None:
    mine = records(said(a_record()), said(a_record(), feed="other"), b"x")
    other = [replace(record, offset=3, key=b"X2") for record in records(said(a_record(key="X2")))]
    for wanted, events in ((ALL, 4), (Filter(listing_key=KEY), 3), (Filter(feed=FEED), 2)):
        assert (await planned(a_store(), mine + other, wanted=wanted)).events == events
        assert len((await published(mine + other, wanted=wanted)).records) == events


def outdated(photo: Photo, reason: OutdatedReason = OutdatedReason.MISSING) -> ImageOutdated:
    return ImageOutdated(feed=FEED, listing_key=KEY, image_id=photo.id, reason=reason)


TIMES = tuple(after(seconds) for seconds in (-10, 0, 10))
"""Times before, at and after the event's, which is published at NOW."""


def photos() -> Iterator[Photo]:
    """Yield a photo for every combination of the facts that decide whether a downloader begins."""
    copies = (None, *(a_copy(checked_at=checked_at) for checked_at in TIMES))
    claims = (None, Claim(worker="w", until=after(3_000)), Claim(worker="w", until=after(4_000)))
    for copy, announced_at, released_at, claim, not_before, attempted_at, forced_at in itertools.product(
        copies, (NOW, after(1)), (None, NOW), claims, (NOW, after(4_000)), (None, *TIMES), (None, after(-20))
    ):
        yield a_photo(
            copy=copy,
            announced_at=announced_at,
            released_at=released_at,
            claim=claim,
            not_before=not_before,
            attempted_at=attempted_at,
            forced_at=forced_at,
        )


def test_a_forced_copy_whose_attempt_has_failed_since_is_not_counted_as_a_download() -> None:
    """The copy was last checked before the event, but an attempt after the event failed: the event is done with."""
    photo = a_downloaded_photo(attempted_at=after(5), failure=Failure(Reason.GONE))
    listing = a_listing(replace(photo, copy=a_copy(checked_at=after(-5))))
    asked = outdated(photo, OutdatedReason.FORCED)
    assert decide.claimable(listing, [Event(asked, "1", NOW)], "nobody", (), LATER) == []
    assert not replay_plan.begins(listing, listing.photos[0], asked, NOW, LATER)


@pytest.mark.parametrize("reason", list(OutdatedReason))
def test_an_image_is_said_to_be_fetched_where_a_downloader_would_begin(reason: OutdatedReason) -> None:
    for photo, is_hidden in itertools.product(photos(), (False, True)):
        listing: Listing = a_listing(photo, hidden=hidden() if is_hidden else None)
        asked = outdated(photo, reason)
        claimed = decide.claimable(listing, [Event(asked, "1", NOW)], "nobody", (), LATER)
        assert replay_plan.begins(listing, listing.photos[0], asked, NOW, LATER) == bool(claimed), photo


async def test_an_image_is_fetched_once_and_news_change_nothing() -> None:
    store, photo = a_store(), a_photo()
    await store.write([a_listing(photo)])
    ask = encode(outdated(photo), source="t", now=NOW)
    plan = await planned(store, records(ask, ask, b"x"), IMAGE_OUTDATED)
    assert (plan.changing, plan.unchanged, plan.downloads[FEED], sum(plan.unreadable.values())) == (1, 1, 1, 1)
    gone: AnyEvent = ImageRemoved(
        feed=FEED,
        listing_key=KEY,
        image_id="i",
        reason="opt-out",
        removed_at=NOW,
        urls=(),
    )
    plan = await planned(store, records(encode(gone, source="t", now=NOW)), IMAGE_REMOVED)
    assert (plan.changing, plan.unchanged, dict(plan.downloads)) == (0, 1, {})


class Kept:
    """A broker that keeps what it is given, and may break."""

    def __init__(self, breaks_after: int = 1_000) -> None:
        self.records: list[Outgoing] = []
        self.breaks_after = breaks_after

    async def publish(self, found: Sequence[Outgoing]) -> None:
        if len(self.records) >= self.breaks_after:
            raise KeyboardInterrupt
        self.records += found


async def published(
    found: Sequence[Record], spans: Sequence[OffsetRange] | None = None, wanted: Filter = ALL, rate: float = 0.0,
    broker: Kept | None = None, done: replay.Replayed | None = None,
) -> Kept:  # fmt: skip
    broker, events = broker or Kept(), source(found)
    events = Source(spans if spans is not None else events.spans, events.read)
    done = done or replay.Replayed([])
    done.left = list(events.spans)
    await replay.run(LISTING_SEEN, "t.listing-seen", events, wanted, broker, rate, done)  # type: ignore[arg-type]
    return broker


async def test_value_and_key_go_out_unchanged_to_the_topic() -> None:
    kept = await published(records(b"1", None, b"\xff"))
    assert [(one.topic, one.key, one.value) for one in kept.records] == [
        ("t.listing-seen", b"X1", value) for value in (b"1", None, b"\xff")
    ]


async def test_an_event_stays_as_old_as_it_is_however_often_it_is_published_again() -> None:
    first = records(b"1", b"2")
    for at in (after(9), after(99)):
        sent = (await published(first)).records
        first = [
            Record("t.listing-seen", 7, number, at, one.key, one.value, one.headers) for number, one in enumerate(sent)
        ]
    assert [one.position for one in first] == [one.position for one in records(b"1", b"2")]


@pytest.mark.parametrize("said", [b"", b"x", b"2026-11-23T09:00:00+00:00 0", b"\xff 0 0", b"yesterday 0 0"])
def test_a_first_position_that_nobody_can_read_is_none(said: bytes) -> None:
    record = Record("t", 1, 2, NOW, None, b"", (("first_position", said),))
    assert record.position == Position(NOW, 1, 2)


async def test_a_replay_that_was_interrupted_goes_on_where_it_was() -> None:
    found, done, broker = records(*(b"%d" % number for number in range(10))), replay.Replayed([]), Kept(breaks_after=4)
    with pytest.raises(KeyboardInterrupt):
        await published(found, rate=8_000 / 1_000, broker=broker, done=done)
    text = replay.spans_text(done.left)
    assert (done.published, text) == (4, "0:4-10")
    rest = await published(found, replay.parse_spans(text))
    assert [record.value for record in broker.records + rest.records] == [b"%d" % number for number in range(10)]


async def test_no_more_a_second_go_out_than_allowed() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await published(records(*[b"x"] * 12), rate=40.0)
    assert loop.time() - began >= 12 / 40.0
