"""Does the plan of a replay count what the services then do?"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from ops import replay_plan, terminal
from ops.imagectl import app
from ops.replay import EventFilter, EventSource, Replay
from ops.replay_plan import ReplayPlan
from services.downloader import decide
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Photo
from shared.domain.listing import Listing
from shared.events.codec import AnyEvent, Event, encode
from shared.events.images import ImageOutdated, ImageRemoved, OutdatedReason
from shared.events.records import Record
from shared.events.topics import IMAGE_OUTDATED, IMAGE_REMOVED, LISTING_SEEN
from shared.kafka import OffsetRange
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
from tests.replays import ALL, a_source, listing_records, published, records, seen

FEEDS = {FEED: a_feed()}
LATER = after(3_600)


def a_store() -> MemoryListings:
    return MemoryListings(Renderer("https://cdn.example.com"))


async def record_all(store: MemoryListings, of: Sequence[Record], now: datetime) -> int:
    """Record one event after the other as the services do; return how many of them changed a record."""
    recorder = Recorder(store, FEEDS, None, lambda: now, CollectorRegistry())  # type: ignore[arg-type]
    changed = 0
    for record in of:
        before = await revisions(store)
        await recorder.record([record])
        changed += before != await revisions(store)
    return changed


async def revisions(store: MemoryListings) -> dict[str, int]:
    return {listing.key: listing.revision for listing in await store.page(FEED, "", 100)}


async def photos_due(store: MemoryListings) -> int:
    listings = await store.page(FEED, "", 100)
    return sum(listing.photo_due_at(photo) is not None for listing in listings for photo in listing.photos)


async def planned(
    store: MemoryListings,
    of: Sequence[Record],
    topic: str = LISTING_SEEN,
    selected: EventFilter = ALL,
    batch_size: int = 1_000,
) -> ReplayPlan:
    return await replay_plan.plan(Replay(topic, a_source(of, batch_size), selected), store, FEEDS, LATER)


def a_property_record(key: str, at: float | None, photos: list[str], status: str, own: float) -> dict[str, Any]:
    stamps = {"MediaModificationTimestamp": after(own).isoformat()} if own else {}
    return a_record(*(a_row(photo, **stamps) for photo in photos), key=key, at=at, StandardStatus=status)


PROPERTY_RECORDS = st.lists(
    st.builds(
        a_property_record,
        key=st.sampled_from(["X1", "X2"]),
        at=st.sampled_from([None, 0, 1, 2]),
        photos=st.lists(st.sampled_from("abc"), unique=True, max_size=3),
        status=st.sampled_from(["Active", "Active", "Closed"]),
        own=st.sampled_from([0, 5]),
    ),
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(
    recorded=PROPERTY_RECORDS, replayed=PROPERTY_RECORDS, again=st.booleans(), listings_a_round=st.sampled_from([1, 9])
)
def test_a_plan_counts_what_the_services_then_change(
    recorded: list[dict[str, Any]], replayed: list[dict[str, Any]], again: bool, listings_a_round: int
) -> None:
    async def story() -> None:
        store = a_store()
        await record_all(store, listing_records(recorded), NOW)
        events = listing_records((recorded + replayed) if again else replayed, at=LATER)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replay_plan, "MAX_CHANGED_LISTINGS", listings_a_round)
            plan = await planned(store, events, batch_size=2)
        before = await photos_due(store)
        changed = await record_all(store, events, LATER)
        assert (plan.events, plan.changing, plan.changing + plan.unchanged) == (len(events), changed, len(events))
        assert plan.downloads[FEED] == await photos_due(store) - before

    asyncio.run(story())


async def test_a_plan_in_several_rounds_counts_the_same_and_reads_the_events_once_a_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    announced = [
        a_record(a_row("a"), a_row("b"), key=f"X{number}", at=version) for version in (1, 2) for number in range(10)
    ]
    events = [*listing_records(announced), Record("t", 0, 20, NOW, b"X3", b"not JSON")]
    in_one_round = await planned(a_store(), events, batch_size=1)
    assert (in_one_round.events, in_one_round.changing, in_one_round.downloads[FEED]) == (21, 20, 20)

    monkeypatch.setattr(replay_plan, "MAX_CHANGED_LISTINGS", 3)
    source, reads, progress = a_source(events, batch_size=1), list[object](), list[int]()

    def read(ranges: Sequence[OffsetRange]) -> AsyncIterator[Sequence[Record]]:
        reads.append(ranges)
        return source.read(ranges)

    counted = Replay(LISTING_SEEN, EventSource(source.ranges, read))
    assert await replay_plan.plan(counted, a_store(), FEEDS, LATER, progress.append) == in_one_round
    assert len(reads) == 4, "three listings in each of three rounds, one in the last"
    assert (progress, progress[-1]) == (sorted(progress), 21)


async def test_each_event_is_applied_to_its_listing_as_earlier_events_leave_it() -> None:
    new, same, newer = (
        seen(a_record(a_row("a"))),
        seen(a_record(a_row("a"))),
        seen(a_record(a_row("a"), a_row("b"), at=1)),
    )
    plan = await planned(a_store(), records(new, same, newer, new, newer))
    assert (plan.changing, plan.unchanged, plan.downloads[FEED]) == (2, 3, 2)


async def test_unreadable_events_are_counted_by_reason() -> None:
    broken = a_record(a_row("a"), ModificationTimestamp="yesterday")
    events = records(
        None, b"x", seen(a_record(), feed="nobody"), seen(broken), seen({"City": "Guelph"}), seen(a_record())
    )
    plan = await planned(a_store(), events)
    assert (plan.events, plan.changing, sum(plan.unreadable.values())) == (6, 1, 5)
    assert plan.unreadable["the feed 'nobody' is not in feeds.toml"] == 1
    assert plan.unreadable["ListingKey is missing"] == 1


def test_a_plan_with_unreadable_events_is_printed_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ReplayPlan(
        events=9, changing=4, unchanged=2, unreadable=Counter({"no JSON": 2, "ListingKey is missing": 1}),
        listings_hidden=1, listings_shown=2, photos_withdrawn=3, downloads=Counter({FEED: 5}), held=6, bytes_held=600,
    )  # fmt: skip
    costs = {FEED: {"downloads": 5, "bytes_expected": 500, "seconds_at_least": 1.5}}
    monkeypatch.setattr(terminal, "run", lambda *_: (plan, costs))
    result = CliRunner().invoke(app, ["replay", "listing-seen", "--from", "1h", "--dry-run", "--json"])
    assert result.exit_code == 0, result.exception
    assert json.loads(result.output) == {
        "events": 9,
        "changing": 4,
        "unchanged": 2,
        "unreadable": {"no JSON": 2, "ListingKey is missing": 1},
        "listings_hidden": 1,
        "listings_shown": 2,
        "photos_withdrawn": 3,
        "downloads": costs,
        "held": 6,
        "bytes_held": 600,
    }


async def test_a_plan_counts_what_turns_hidden_shown_withdrawn_and_due() -> None:
    store = a_store()
    shown, not_shown = (
        a_listing(a_downloaded_photo("a"), a_downloaded_photo("b")),
        a_listing(a_downloaded_photo(key="X2"), key="X2", hidden=hidden()),
    )
    await store.write([shown, not_shown])
    closed = seen(a_record(a_row("a"), at=1, StandardStatus="Closed"))
    active = seen(a_record(a_row("a"), key="X2", at=1))
    plan = await planned(store, records(closed, active))
    assert (plan.listings_hidden, plan.listings_shown, plan.photos_withdrawn) == (1, 1, 1)
    assert (plan.downloads[FEED], plan.bytes_expected(FEED)) == (1, 400_000)


@pytest.mark.parametrize(
    ("selected", "events"), [(ALL, 4), (EventFilter(listing_key=KEY), 3), (EventFilter(feed=FEED), 2)]
)
async def test_only_selected_events_are_planned_and_published(selected: EventFilter, events: int) -> None:
    ours = records(seen(a_record()), seen(a_record(), feed="other"), b"x")
    other = [replace(record, offset=3, key=b"X2") for record in records(seen(a_record(key="X2")))]
    assert (await planned(a_store(), ours + other, selected=selected)).events == events
    assert len((await published(ours + other, selected=selected)).records) == events


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


def test_a_forced_copy_whose_attempt_failed_after_the_event_is_not_counted_as_a_download() -> None:
    """The copy was last checked before the event, but an attempt after the event failed: the event has been handled."""
    photo = a_downloaded_photo(attempted_at=after(5), failure=Failure(Reason.GONE))
    listing = a_listing(replace(photo, copy=a_copy(checked_at=after(-5))))
    requested = outdated(photo, OutdatedReason.FORCED)
    assert decide.claimable(listing, [Event(requested, "1", NOW)], "nobody", (), LATER) == []
    assert not replay_plan.begins_download(listing, listing.photos[0], requested, NOW, LATER)


@pytest.mark.parametrize("reason", list(OutdatedReason))
def test_an_image_is_planned_as_a_download_if_a_downloader_would_begin(reason: OutdatedReason) -> None:
    for photo, is_hidden in itertools.product(photos(), (False, True)):
        listing: Listing = a_listing(photo, hidden=hidden() if is_hidden else None)
        requested = outdated(photo, reason)
        claimed = decide.claimable(listing, [Event(requested, "1", NOW)], "nobody", (), LATER)
        assert replay_plan.begins_download(listing, listing.photos[0], requested, NOW, LATER) == bool(claimed), photo


async def test_a_download_is_counted_once_and_other_events_change_nothing() -> None:
    store, photo = a_store(), a_photo()
    await store.write([a_listing(photo)])
    request = encode(outdated(photo), source="t", now=NOW)
    plan = await planned(store, records(request, request, b"x"), IMAGE_OUTDATED)
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
