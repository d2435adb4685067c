"""Does `imagectl publish` send what a file or standard input holds?"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.commands import publish
from ops.imagectl import app
from shared.events.topics import LISTING_SEEN
from tests.answering import MemoryBroker

RECORDS = [{"ListingKey": "A", "StandardStatus": "Active"}, {"ListingKey": "B"}]
LINES = "".join(f"{json.dumps(record)}\n" for record in RECORDS)


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """Return the broker that the command publishes to; feeds.toml has the feed `idx`."""
    feeds = tmp_path / "feeds.toml"
    feeds.write_text('[feeds.idx]\nimage_hosts = ["photos.example.com"]\n')
    monkeypatch.setenv("IMAGES_FEEDS", str(feeds))
    broker = MemoryBroker()
    monkeypatch.setattr(publish, "Broker", lambda _: broker)
    return broker


@pytest.mark.parametrize("is_standard_input", [False, True])
def test_the_records_of_a_file_or_of_standard_input_are_published(
    tmp_path: Path, broker: MemoryBroker, *, is_standard_input: bool
) -> None:
    file = tmp_path / "listings.ndjson"
    file.write_text(LINES)
    source = "-" if is_standard_input else str(file)
    done = CliRunner().invoke(app, ["publish", source, "--feed", "idx"], input=LINES if is_standard_input else "")
    assert (done.exit_code, "published 2 listings" in done.output) == (0, True), done.output
    assert {record.topic for record in broker.records} == {LISTING_SEEN}
    assert [json.loads(record.value or b"")["data"]["property"] for record in broker.records] == RECORDS
