"""Two services hear of each listing: what does the second of them do, and what becomes of what cannot be read?"""

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shared.domain import announcement
from shared.events.codec import encode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores.memory import MemoryListings
from tests.builders import FEED, NOW, a_feed, a_record, a_row


class Dead:
    """Keeps the reasons of what it is given."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def put(self, _: Record, reason: str) -> None:
        self.reasons.append(reason)


class Side:
    """One service's recorder, and what it counted."""

    def __init__(self, store: MemoryListings) -> None:
        self.dead = Dead()
        self._registry = CollectorRegistry()
        self._recorder = Recorder(store, {FEED: a_feed()}, self.dead, lambda: NOW, self._registry)  # type: ignore[arg-type]

    async def record(self, *said: dict[str, Any]) -> None:
        await self._recorder.record(events(said))

    def counted(self, outcome: str) -> float:
        return self._registry.get_sample_value("listing_images_announcements_total", {"outcome": outcome}) or 0.0


def events(said: Sequence[dict[str, Any]]) -> list[Record]:
    values = [encode(ListingSeen(feed=FEED, record=record), source="test", now=NOW) for record in said]
    return [Record("listing-seen", 0, offset, NOW, b"", value) for offset, value in enumerate(values)]


@pytest.fixture
def store() -> MemoryListings:
    return MemoryListings(Renderer("https://cdn.example.com"))


async def test_an_old_event_is_told_before_its_rows_are_read(
    store: MemoryListings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Side(store), Side(store)
    await first.record(a_record(a_row("a")))
    monkeypatch.setattr(announcement, "read", lambda *_: pytest.fail("its rows were read"))
    await second.record(a_record(a_row("a")))
    assert (first.counted("written"), second.counted("unchanged"), second.counted("written")) == (1, 1, 0)


async def test_an_event_whose_rows_cannot_be_read_is_a_dead_letter_beside_what_is_good(store: MemoryListings) -> None:
    side = Side(store)
    await side.record(a_record(a_row("a")))
    await side.record({**a_record(at=1), "Media": "none"}, a_record(a_row("b"), key="X2"), {"Media": []})
    assert side.dead.reasons == ["ListingKey is missing", "Media must be a list of rows, not str"]
    assert (side.counted("dead"), side.counted("written")) == (2, 2)
