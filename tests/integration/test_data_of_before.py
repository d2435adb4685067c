"""Today's code continues the work of an older version, with its documents, indexes, objects, records and offsets.

The dumps and the way to make them are described in `tests/before/README.md`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from ops.imagectl import app
from shared.stores import mongo
from tests import system
from tests.before import copying
from tests.before.files import DUMPS, Dump
from tests.before.load import load, load_documents
from tests.before.origin import Origin, serving
from tests.before.save import storage
from tests.servers import Namespace, Servers, a_namespace
from tests.system import System, until

Document = dict[str, Any]

V1 = Dump(DUMPS / "v1")
GONE, FORBIDDEN, HTML = "E12000011", "W12000012", "W12000013"
"""Listings of the dump with photos that failed: one photo, and all three of the others."""
CHANGED, AGAIN, KEPT, UNREAD, HELD = "C12000001", "C12000010", "R12000005", "N12000017", "B060"
"""Listings with a superseded version, forced photos, copies that are kept while hidden, a withdrawal that was not read
yet, and removals that an operator has to decide about."""


@dataclass(frozen=True)
class Upgraded:
    """A system of today's code on a dump; `answers` are its resolver's, given before any other service started."""

    whole: System
    origin: Origin
    before: Sequence[Document]
    """The listings as they were dumped."""
    answers: Sequence[tuple[Document, Document]]
    """What the resolver answered then, and what it answers now."""

    async def listing(self, feed: str, key: str) -> Document:
        """Return a listing's document as it is now."""
        async with mongo.connect(self.whole.namespace.servers.mongo, self.whole.namespace.db) as database:
            found = await database["listings"].find_one({"feed": feed, "listing_key": key})
            assert found is not None, f"{feed} {key}"
            return found

    async def settled(self, feed: str, key: str, *statuses: str) -> Document:
        """Wait until the photos of a listing have these statuses, each by an attempt that is over.

        Returns its document.
        """

        async def is_settled() -> Document | None:
            found = await self.listing(feed, key)
            # A photo that its origin says is unchanged is asked for once more, in a minute and a half.
            is_over = not any(
                photo["released_at"]
                or (photo["forced_at"] and photo["copy"] and photo["not_before"] <= datetime.now(UTC))
                for photo in found["photos"]
            )
            return found if is_over and [photo["status"] for photo in found["photos"]] == list(statuses) else None

        return await until(is_settled, f"{statuses} of {feed} {key}", seconds=30)

    def held_objects(self, listing: Document) -> Collection[str]:
        """Return those of a listing's recorded public objects that are in storage."""
        namespace = self.whole.namespace
        prefix = f"{listing['feed']}/{listing['listing_key']}/"
        there = {
            stored.object_name
            for stored in storage(namespace.servers).list_objects(namespace.bucket, prefix, recursive=True)
        }
        return there & {variant["key"] for photo in listing["photos"] for variant in photo["copy"]["variants"]}

    async def imagectl(self, *arguments: str) -> Any:
        """Run a command in this process, which is quicker; it must succeed. Return the JSON that it prints."""
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"], env=self.whole.env)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


def dumped(feed: str, key: str) -> Document:
    """Return a listing's document as it was dumped."""
    return next(document for document in listings() if (document["feed"], document["listing_key"]) == (feed, key))


def listings() -> list[Document]:
    """Return the listings' documents as they were dumped."""
    return [
        line["document"] for line in V1.read("documents") if line["collection"] == "listings" and "document" in line
    ]


def path_of(photo: Document) -> str:
    """Return the path of a photo at its origin."""
    return urlsplit(photo["url"]).path


def first_failed(key: str) -> int:
    """Return the index of the first photo of a listing that had failed in the dump."""
    return [photo["status"] for photo in dumped("sandbox", key)["photos"]].index("failed")


@pytest.fixture(scope="module")
async def upgraded(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Upgraded]:
    namespace, origin, settings = a_namespace(servers), Origin(), V1.settings
    await load(V1, namespace)
    origin.failing = {
        path_of(dumped("sandbox", key)["photos"][first_failed(key)]): status
        for key, status in ((GONE, 404), (FORBIDDEN, 403), (HTML, 200))
    }
    in_force = {name: settings[name] for name in ("variants", "public_url", "superseded_hours", "serve_wait_seconds")}
    folder = tmp_path_factory.mktemp("upgraded")
    async with (
        serving(origin, settings["origin_port"]),
        system.running(namespace, V1.feeds, folder, "resolver", **in_force) as whole,
    ):
        answers = [(recorded, await answer(whole, recorded)) for recorded in V1.read("answers")]
        await whole.start("scheduler", "downloader", "janitor", "desk")
        yield Upgraded(whole, origin, listings(), answers)


async def answer(whole: System, recorded: Document) -> Document:
    """Repeat a recorded request; return it with the present answer."""
    found = await whole.http.request(recorded["method"], recorded["path"], json=recorded["body"])
    location, body = found.headers.get("Location"), found.json() if found.status_code == 200 else None
    return {**recorded, "status": found.status_code, "location": location, "json": body}


async def test_every_document_is_read_and_written_again_without_loss(namespace: Namespace) -> None:
    """The dump is loaded without indexes, because some of them delete expired documents."""
    await load_documents(V1, namespace.servers.mongo, namespace.db, with_indexes=False)
    async with (
        mongo.connect(namespace.servers.mongo, namespace.db) as before,
        mongo.connect(namespace.servers.mongo, f"{namespace.db}-again") as after,
    ):
        assert await copying.lost(before, after, V1.settings["public_url"]) == []


async def test_the_resolver_answers_as_before(upgraded: Upgraded) -> None:
    assert [fault for then, now in upgraded.answers for fault in copying.differences(then, now, then["path"])] == []
    assert len(upgraded.answers) > 100


async def test_photos_that_were_due_are_downloaded_or_fail_again_for_their_reason(upgraded: Upgraded) -> None:
    here = ("downloaded",) * 3
    for listing in upgraded.before:
        if (
            listing["feed"] == "sandbox"
            and listing["displayed"]
            and listing["listing_key"] not in {GONE, FORBIDDEN, HTML, UNREAD}
        ):
            await upgraded.settled("sandbox", listing["listing_key"], *here[: len(listing["photos"])])
    forced = await upgraded.imagectl("force", GONE, "--failed", "gone", "--feed", "sandbox")  # given up for a day
    assert forced["sandbox"]["photos"] == 1
    for key, reason in ((GONE, "gone"), (FORBIDDEN, "forbidden"), (HTML, "not-an-image")):
        assert (await failed_again(upgraded, key))["reason"] == reason


async def failed_again(upgraded: Upgraded, key: str) -> Document:
    """Wait until the first failed photo of a listing has failed once more, and the others are here; return why."""
    place = first_failed(key)
    before = dumped("sandbox", key)["photos"][place]["attempted_at"]
    statuses = ["failed" if order == place else "downloaded" for order in range(3)]

    async def is_tried() -> Document | None:
        photo = (await upgraded.settled("sandbox", key, *statuses))["photos"][place]
        return dict(photo["failure"]) if photo["attempted_at"] > before else None

    return await until(is_tried, f"another attempt of {key}")


async def test_events_that_were_not_read_are_read(upgraded: Upgraded) -> None:
    await upgraded.settled("sandbox", "NEW3", *("downloaded",) * 3)
    await upgraded.whole.wait_until_hidden(UNREAD)


async def test_a_frozen_feed_stays_frozen_until_it_is_thawed(upgraded: Upgraded) -> None:
    status = await upgraded.imagectl("status")
    assert [silence["reason"] for silence in status["budgets"]["other"]["silences"]] == ["the MLS asked us to"]
    assert not status["budgets"]["sandbox"]["silences"], "the origin asked for a minute, long ago"
    assert {photo["status"] for photo in (await upgraded.listing("other", "NEW2"))["photos"]} == {"pending"}
    await upgraded.imagectl("thaw", "other")
    await upgraded.settled("other", "NEW2", *("downloaded",) * 3)


async def test_removals_that_are_due_end_and_those_that_are_held_wait(upgraded: Upgraded) -> None:
    async def is_removed() -> bool:
        return not (await upgraded.listing("sandbox", CHANGED))["discards"]

    (superseded,) = dumped("sandbox", CHANGED)["discards"]
    await until(is_removed, "the superseded version to be removed")
    evidence = await upgraded.imagectl("compliance", CHANGED, "--feed", "sandbox")
    assert [(removal["image_id"], removal["reason"]) for removal in evidence] == [
        (superseded["image_id"], "superseded")
    ]
    for feed, key in (("other", KEPT), ("bulk", HELD)):
        found = await upgraded.listing(feed, key)
        assert len(upgraded.held_objects(found)) == 3 * len(found["photos"]) > 0
    status = await upgraded.imagectl("status")
    assert [(hold["feed"], hold["hidden"]) for hold in status["removals_frozen"]] == [("bulk", 52)]
    await upgraded.imagectl("removals", "resume", "bulk", "--yes")
    held = dumped("bulk", HELD)

    async def is_gone() -> bool:
        return not (await upgraded.listing("bulk", HELD))["photos"] and not upgraded.held_objects(held)

    await until(is_gone, "what was held to be removed")


async def test_commands_read_the_records_of_the_dump(upgraded: Upgraded) -> None:
    evidence = await upgraded.imagectl("compliance", "--from", "2026-11-01", "--to", "2999-01-01")
    before = [
        line["document"] for line in V1.read("documents") if line["collection"] == "removals" and "document" in line
    ]
    assert {removal["_id"] for removal in before} <= {removal["id"] for removal in evidence}
    letters = await upgraded.imagectl("dead-letters", "list")
    assert sum(group["letters"] for group in letters) == 3, "one of four is dealt with"
    keys = sorted({listing["listing_key"] for listing in upgraded.before if listing["photos"]})
    for key in keys:
        assert await upgraded.imagectl("explain", key)


async def test_a_sweep_that_was_asked_for_is_answered(upgraded: Upgraded) -> None:
    wish = next(
        line["document"]["wish"]
        for line in V1.read("documents")
        if line.get("document", {}).get("_id") == "other" and line["collection"] == "sweeps"
    )

    async def is_answered() -> bool:
        async with mongo.connect(upgraded.whole.namespace.servers.mongo, upgraded.whole.namespace.db) as database:
            found = await database["sweeps"].find_one({"_id": "other"})
        return found is not None and found["answered"] == wish["at"]

    await until(is_answered, "the sweep that an operator asked for")


async def test_nothing_that_was_downloaded_is_fetched_again(upgraded: Upgraded) -> None:
    photos = [photo for listing in upgraded.before for photo in listing["photos"]]
    wanted = {path_of(photo) for photo in photos if photo["status"] != "downloaded"}
    held = [photo for photo in photos if path_of(photo) not in wanted]

    async def are_forced_asked_for() -> bool:
        return all(upgraded.origin.statuses[path_of(photo)] for photo in held if photo["forced_at"])

    await until(are_forced_asked_for, "the forced photos to be asked for")
    statuses = {photo["id"]: upgraded.origin.statuses[path_of(photo)] for photo in held}
    assert statuses == {photo["id"]: [304] if photo["forced_at"] else [] for photo in held}
    assert len(statuses) > 30
