"""The texts of `imagectl explain`, `status` and `compliance` stay as they are: operators and scripts look for them."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from ops import circumstances, compliance, explain, terminal
from ops.explain import QueuePosition
from ops.imagectl import app
from ops.status import SystemStatus
from shared.domain.image import Status as ImageStatus
from shared.domain.listing import UNTIL_DECIDED
from shared.domain.priority import Priority
from shared.origin_budget import codec
from shared.origin_budget.use import of_ledger
from shared.render import Renderer
from shared.stores.listing_reports import FeedCounts
from tests import examples, golden_files
from tests.builders import NOW, a_feed, a_listing, a_photo, after, hidden

RENDERER = Renderer("https://cdn.example.com")
LISTINGS = examples.listings()


def explained(name: str) -> list[str]:
    """Return the explanation of a listing and its photos, ten seconds after NOW."""
    listing, now, feed = LISTINGS[name], after(10), a_feed(max_attempts=3)
    lines = list(explain.explain_listing(listing, now))
    for photo in listing.photos:
        turn = {"viewed": QueuePosition(1, after(70)), "undated": QueuePosition(0, None)}.get(photo.media_key)
        attempts = [attempt for attempt in examples.ATTEMPTS if photo.media_key == "downloaded"]
        attempts = [replaced(attempt, photo.id) for attempt in attempts]
        lines += explain.explain_photo(listing, photo, attempts, feed, RENDERER, now, turn).lines
    return lines


def replaced(attempt: Any, image_id: str) -> Any:
    """Return a copy of the attempt with this image id."""
    return replace(attempt, image_id=image_id)


def test_explanations_of_listings_stay() -> None:
    golden_files.check("imagectl/explain", {name: explained(name) for name in LISTINGS})


def test_explanations_of_a_silent_feed_stay() -> None:
    feed, stored = examples.LEDGER_FEED, golden_files.read("mongo/ledgers")
    uses = {name: of_ledger(feed, codec.from_document(document), after(60)) for name, document in stored.items()}
    found = {name: circumstances.explain_feed(feed, use) for name, use in uses.items()}
    golden_files.check("imagectl/explain-feeds", found)


def test_advice_of_explain_stays() -> None:
    questions = [("X1", 0, False), ("X1", 2, False), ("a b", 0, True), ("https://photos.example.com/1.jpg", 0, False)]
    found = {f"{what} {waiting} {named}": list(circumstances.what_to_check(what, waiting, is_named=named))
             for what, waiting, named in questions}  # fmt: skip
    golden_files.check("imagectl/explain-unknown", found)


def test_texts_of_times_stay() -> None:
    seconds = [-200_000, -86_400, -7_200, -120, -1, 0, 1, 119, 120, 7_200, 172_800]
    found = {str(second): explain.time_text(after(second), NOW) for second in seconds} | {
        "none": explain.time_text(None, NOW)
    }
    golden_files.check("imagectl/times", found)


def test_descriptions_of_removals_stay() -> None:
    found = {name: list(compliance.describe_listing(listing, examples.REMOVALS)) for name, listing in LISTINGS.items()}
    found |= {removal.id: [compliance.describe_removal(removal)] for removal in examples.REMOVALS}
    golden_files.check("imagectl/compliance", found)


def a_status(counts: FeedCounts, ledger: str, **facts: Any) -> SystemStatus:
    """Return the status of two feeds, one of them unused."""
    use = of_ledger(examples.LEDGER_FEED, codec.from_document(golden_files.read("mongo/ledgers")[ledger]), after(60))
    unused = of_ledger(a_feed(name="other"), codec.from_document({}), after(60))
    until_done: dict[Priority, float | None] = {Priority.VIEWED: 2.5, Priority.ROUTINE: 7_200.0}
    given: dict[str, Any] = {
        "at": after(60), "feeds": {"proptx-idx": counts, "other": a_count()},
        "seconds_until_done": {"proptx-idx": until_done, "other": dict.fromkeys(Priority)},
        "budgets": {"proptx-idx": use, "other": unused},
        "lag": {"scheduler": {"listing-seen": 3}, "janitor": {"listing-seen": 0},
                "downloader": {"image-outdated.viewed": 0, "image-outdated": 1_234}},
        "dead_letters": 1_002,
    }  # fmt: skip
    return SystemStatus(**given, **facts)


def a_count(oldest_due_at: datetime | None = None, in_work: int = 0) -> FeedCounts:
    """Return the counts of a feed."""
    return FeedCounts(
        listings=1_200, displayed=1_000, images={status: 10 ** number for number, status in enumerate(ImageStatus)},
        queued={"viewed": 5, "routine": 10_000}, in_flight=in_work, oldest_due_at=oldest_due_at,
    )  # fmt: skip


STATUSES = {
    "busy": a_status(a_count(after(-30), 7), "busy", removal_holds=[]),
    "frozen": a_status(a_count(after(3_660)), "all fields", removal_holds=examples.REMOVAL_HOLDS),
}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["words", "json"])
def test_the_text_of_status_stays(monkeypatch: pytest.MonkeyPatch, form: list[str]) -> None:
    found = {}
    for name, status in STATUSES.items():
        for fault in ("", "Kafka: no answer")[: 2 if name == "frozen" else 1]:
            monkeypatch.setattr(terminal, "run", lambda *_, given=(status, fault): given)
            done = CliRunner().invoke(app, ["status", *form])
            lines = [line.rstrip() for line in done.stdout.splitlines()]
            found[f"{name} {fault}".strip()] = [done.exit_code, json.loads(done.stdout) if form else lines]
    golden_files.check(f"imagectl/status{''.join(form)}", found)


def test_a_listing_hidden_by_an_unknown_word_is_said_to_be_kept() -> None:
    doubtful = a_listing(a_photo("a"), hidden=replace(hidden(), remove_at=UNTIL_DECIDED))
    assert any("kept: the MLS says neither yes nor no" in line for line in explain.explain_listing(doubtful, NOW))
