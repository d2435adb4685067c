"""What does a second service record of the same announcements, and what happens to records that are invalid?"""

from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from shared.domain import announcement
from shared.events.codec import encode
from shared.events.listings import ListingSeen
from shared.events.records import Record
from shared.recording import Recorder
from shared.render import Renderer
from shared.stores.memory import MemoryListings
from tests.builders import FEED, NOW, a_feed, a_record, a_row


class DeadLetterReasons:
    """Keeps the reasons of dead letters, in place of the topic."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def put(self, _: Record, reason: str) -> None:
        self.reasons.append(reason)


class Service:
    """The recorder of one service, and its counters."""

    def __init__(self, store: MemoryListings) -> None:
        self.dead = DeadLetterReasons()
        self._registry = CollectorRegistry()
        self._recorder = Recorder(store, {FEED: a_feed()}, self.dead, lambda: NOW, self._registry)  # type: ignore[arg-type]

    async def record(self, *property_records: dict[str, Any]) -> None:
        await self._recorder.record(events(property_records))

    def unknown(self, field: str) -> float | None:
        return self._registry.get_sample_value("listing_images_unknown_words_total", {"feed": FEED, "field": field})

    def counted(self, outcome: str) -> float:
        return self._registry.get_sample_value("listing_images_announcements_total", {"outcome": outcome}) or 0.0


def events(property_records: Sequence[dict[str, Any]]) -> list[Record]:
    values = [encode(ListingSeen(feed=FEED, record=record), source="test", now=NOW) for record in property_records]
    return [Record("listing-seen", 0, offset, NOW, b"", value) for offset, value in enumerate(values)]


@pytest.fixture
def store() -> MemoryListings:
    return MemoryListings(Renderer("https://cdn.example.com"))


async def test_the_rows_of_a_recorded_announcement_are_not_read_again(
    store: MemoryListings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Service(store), Service(store)
    await first.record(a_record(a_row("a")))
    monkeypatch.setattr(announcement, "read", lambda *_: pytest.fail("its rows were read"))
    await second.record(a_record(a_row("a")))
    assert (first.counted("written"), second.counted("unchanged"), second.counted("written")) == (1, 1, 0)


async def test_invalid_records_of_a_batch_are_dead_letters_and_the_others_are_recorded(store: MemoryListings) -> None:
    service = Service(store)
    await service.record(a_record(a_row("a")))
    await service.record({**a_record(at=1), "Media": "none"}, a_record(a_row("b"), key="X2"), {"Media": []})
    assert service.dead.reasons == ["ListingKey is missing", "Media must be a list of rows, not str"]
    assert (service.counted("dead"), service.counted("written")) == (2, 2)


async def test_a_word_that_no_rule_knows_is_counted_and_logged_once_without_a_url(store: MemoryListings) -> None:
    service = Service(store)
    with structlog.testing.capture_logs() as logs:
        for at, category in enumerate(["Hologram", "Hologram", "https://mls.example.com/x"]):
            await service.record(a_record(a_row("a", MediaCategory=category), at=at))
    assert service.unknown("MediaCategory") == 3
    words = [(entry["field"], entry["word"]) for entry in logs if entry["event"] == "word-unknown"]
    assert words == [("MediaCategory", "Hologram"), ("MediaCategory", "(no word)")]
