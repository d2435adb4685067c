"""StoredLedger documents keep their names, types and units: databases that exist must be read by every later program.

The documents that only MongoDB's stores write are compared in tests/contract/test_stored_documents.py.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.failures import Failure, Reason
from shared.origin_budget import codec, pause
from shared.origin_budget.use import of_ledger, requests_by_minute
from shared.render import Renderer
from shared.stores import documents, summaries
from shared.stores.answers import Answer
from tests import examples, golden_files
from tests.builders import NOW, a_listing, a_photo, after

RENDERER = Renderer("https://cdn.example.com")
LISTINGS = examples.listings()
LEDGERS = examples.ledgers()
ADDED_LATER: dict[str, Any] = {
    "cause": "", "spent_url": None, "is_blocked": False, "blocked": [], "left_at": None, "record_gone_at": None,
    "removing": False,
}  # fmt: skip
"""Fields that documents of the oldest releases lack, and how each is then read."""


def written() -> dict[str, Any]:
    return {name: documents.to_document(listing, listing.revision + 1, RENDERER) for name, listing in LISTINGS.items()}


def test_stored_listings_stay() -> None:
    golden_files.check("mongo/listings", written())


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_stored_by_an_older_release_is_read_equal(name: str) -> None:
    stored, listing = golden_files.read("mongo/listings")[name], LISTINGS[name]
    assert documents.from_document(stored) == replace(listing, revision=listing.revision + 1)
    assert documents.read_recorded_state(stored).version == listing.version
    assert documents.read_recorded_state(stored).is_displayed is listing.is_displayed
    assert Answer.from_document(stored, None).rendered == RENDERER.fragments(listing)


def test_the_validators_of_a_refused_file_are_stored_only_if_there_are_any() -> None:
    refused, late = Failure(Reason.TOO_LARGE, "large", etag='"v1"', last_modified="Mon"), Failure(Reason.GONE)
    for failure in (refused, late, replace(late, may_come=True)):
        stored = documents.to_document(a_listing(a_photo(failure=failure)), 1, RENDERER)
        assert documents.from_document(stored).photos[0].failure == failure
        assert ("etag" in stored["photos"][0]["failure"]) is bool(failure.etag)


def changed(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Apply the change to each document at any depth."""
    if isinstance(value, dict):
        return change({name: changed(part, change) for name, part in value.items()})
    return [changed(part, change) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_that_lacks_the_fields_added_later_is_read_with_their_defaults(name: str) -> None:
    stored = golden_files.read("mongo/listings")[name]
    oldest = changed(
        stored, lambda document: {field: document[field] for field in document.keys() - ADDED_LATER.keys()}
    )
    expected = changed(
        stored, lambda document: document | {field: ADDED_LATER[field] for field in document.keys() & ADDED_LATER}
    )
    again = documents.to_document(documents.from_document(oldest), stored["revision"], RENDERER)
    for field in ("photos", "discards", "hidden", "is_blocked", "blocked"):
        assert golden_files.to_json(again[field]) == golden_files.to_json(expected[field])


def row_of(stored: dict[str, Any]) -> list[Any]:
    """Read the row of a stored listing; return its fields in a fixed order."""
    row = summaries.from_document(stored)
    return [
        row.feed, row.listing_key, row.standard_status, row.city, row.hidden, dict(row.counts), row.reasons,
        row.priority, row.wanting, row.in_flight, row.due_at, row.photos,
    ]  # fmt: skip


def test_summaries_of_stored_listings_stay() -> None:
    stored = golden_files.read("mongo/listings")
    golden_files.check("mongo/listings-as-rows", {name: row_of(document) for name, document in stored.items()})


@pytest.mark.parametrize("name", LISTINGS)
def test_every_field_that_queries_name_is_stored(name: str) -> None:
    stored = golden_files.read("mongo/listings")[name]
    for field in (*documents.RECORDED_STATE_FIELDS, *summaries.FIELDS):
        assert field.split(".")[0] in stored or field in {"in_work", "due_at"}, field


def test_stored_ledgers_stay() -> None:
    golden_files.check("mongo/ledgers", {name: codec.to_document(ledger) for name, ledger in LEDGERS.items()})


@pytest.mark.parametrize("name", LEDGERS)
def test_a_ledger_stored_by_an_older_release_is_read_equal(name: str) -> None:
    assert codec.from_document(golden_files.read("mongo/ledgers")[name]) == LEDGERS[name]


def test_an_empty_ledger_document_is_an_unused_ledger() -> None:
    assert codec.from_document({}) == LEDGERS["never used"]


def test_stored_ledgers_of_frozen_and_thawed_feeds_stay() -> None:
    stored = golden_files.read("mongo/ledgers")
    found = {
        "frozen": pause.paused(stored["breaker probing"], "asked by the MLS", NOW, None),
        "frozen for an hour, never used": pause.paused({}, "too fast", NOW, timedelta(hours=1)),
        "thawed": pause.resumed(stored["all fields"]),
        "thawed, never used": pause.resumed({}),
    }
    golden_files.check("mongo/ledgers-changed-by-operators", found)


def use_of(ledger: dict[str, Any]) -> list[Any]:
    """Read the use of a stored ledger a minute after NOW; return its fields in a fixed order."""
    use = of_ledger(examples.LEDGER_FEED, codec.from_document(ledger), after(60))
    return [
        use.at, use.running, use.slots, use.suspended_until, use.is_paused,
        [[w.name, w.limit, w.used, w.remaining, w.remaining_for_routine] for w in use.windows],
        [[s.by, s.since, s.until, s.reason, s.in_words()] for s in use.suspensions],
        [[at, count] for at, count in requests_by_minute(codec.from_document(ledger)).items()],
    ]  # fmt: skip


def test_the_budget_use_of_stored_ledgers_stays() -> None:
    stored = golden_files.read("mongo/ledgers")
    golden_files.check("mongo/ledgers-in-use", {name: use_of(ledger) for name, ledger in stored.items()})
