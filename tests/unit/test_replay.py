"""Events are published again as they were, at the allowed rate, and an interrupted replay can be resumed."""

import asyncio

import pytest

from ops import replay
from ops.replay import ReplayProgress
from shared.domain.freshness import Position
from shared.events.records import Record
from tests.builders import NOW, after
from tests.replays import KeepingBroker, published, records


async def test_value_and_key_are_published_unchanged() -> None:
    broker = await published(records(b"1", None, b"\xff"))
    assert [(record.topic, record.key, record.value) for record in broker.records] == [
        ("t.listing-seen", b"X1", value) for value in (b"1", None, b"\xff")
    ]


async def test_an_event_keeps_its_first_position_however_often_it_is_published_again() -> None:
    first = records(b"1", b"2")
    for at in (after(9), after(99)):
        outgoing = (await published(first)).records
        first = [
            Record("t.listing-seen", 7, offset, at, record.key, record.value, record.headers)
            for offset, record in enumerate(outgoing)
        ]
    assert [record.position for record in first] == [record.position for record in records(b"1", b"2")]


@pytest.mark.parametrize("header", [b"", b"x", b"2026-11-23T09:00:00+00:00 0", b"\xff 0 0", b"yesterday 0 0"])
def test_an_unreadable_first_position_is_ignored(header: bytes) -> None:
    record = Record("t", 1, 2, NOW, None, b"", (("first_position", header),))
    assert record.position == Position(NOW, 1, 2)


async def test_an_interrupted_replay_is_resumed_where_it_stopped() -> None:
    events = records(*(b"%d" % number for number in range(10)))
    progress, broker = ReplayProgress([]), KeepingBroker(interrupted_at=4)
    with pytest.raises(KeyboardInterrupt):
        await published(events, rate=8_000 / 1_000, broker=broker, progress=progress)
    text = replay.ranges_text(progress.remaining)
    assert (progress.published, text) == (4, "0:4-10")
    rest = await published(events, replay.parse_ranges(text))
    assert [record.value for record in broker.records + rest.records] == [b"%d" % number for number in range(10)]


async def test_no_more_events_are_published_in_a_second_than_allowed() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await published(records(*[b"x"] * 12), rate=40.0)
    assert loop.time() - began >= 12 / 40.0
