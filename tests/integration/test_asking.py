"""Test questions of imagectl: a costly command asks for consent at a terminal, and asks nothing in a script."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from local.sandbox import Sandbox
from shared.stores.minio_objects import MinioObjects
from shared.stores.objects import Bucket
from tests.contract.test_objects import settings_of
from tests.system import System, until
from tests.terminals import Terminal, a_terminal

TIMEOUT_SECONDS = 60
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def record_of(mls: Sandbox, key: str, **fields: object) -> dict[str, Any]:
    return {**mls.market.property(mls.market.listing(key)), **fields}


def text_of(terminal: Terminal) -> str:
    """Return the text that was written to the terminal, without colours and line breaks."""
    return " ".join(_ESCAPES.sub("", terminal.written).split())


@asynccontextmanager
async def question(whole: System, *command: str, **env: str) -> AsyncIterator[Terminal]:
    """Run a command at a terminal, and yield the terminal when the command asks its question."""
    async with a_terminal({**whole.env, **env}, "ops.imagectl", *command) as terminal:

        async def asks() -> bool:
            return "[y/N]" in terminal.written

        await until(asks, f"{' '.join(command)} to ask", TIMEOUT_SECONDS)
        yield terminal


async def refuse(terminal: Terminal) -> None:
    """Answer no. The command must end with code 1 and say that nothing was done."""
    terminal.press(b"n\n")
    assert await terminal.end(TIMEOUT_SECONDS) == 1
    terminal.read()
    assert text_of(terminal).endswith("imagectl: nothing was done")


async def agree(terminal: Terminal) -> str:
    """Answer yes. The command must succeed; return the text that it wrote after the answer."""
    before = len(text_of(terminal))
    terminal.press(b"y\n")
    assert await terminal.end(TIMEOUT_SECONDS) == 0, text_of(terminal)
    terminal.read()
    return text_of(terminal)[before:]


async def test_force_at_a_terminal_shows_its_cost_and_waits_for_consent(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key, City="Askwith"))
    await whole.wait_until_downloaded(key, 4)
    force = ("force", "--city", "askwith", "--feed", "sandbox")
    async with question(whole, *force) as terminal:
        assert re.search(
            r"sandbox: 4 photos of 1 listing would be due now: "
            r"about [\d.,]+ \w+, at least .+ within the budget Fetch them again\?",
            text_of(terminal),
        )
        await refuse(terminal)
    assert mls.begun[key] == 4
    async with question(whole, *force, "--json") as terminal:
        assert '"photos": 4' in await agree(terminal)
    await until(lambda: is_requested(mls, key, 8), "every photo to be fetched again")

    await whole.wait_until_downloaded(key, 4)
    async with a_terminal(whole.env, "ops.imagectl", *force, "--yes") as terminal:
        assert await terminal.end(TIMEOUT_SECONDS) == 0
    await until(lambda: is_requested(mls, key, 12), "every photo to be fetched again without a question")


async def test_force_without_a_terminal_asks_no_question(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key, City="Scriptville"))
    await whole.wait_until_downloaded(key, 4)
    code, output = await whole.run("imagectl", "force", "--city", "Scriptville")
    assert (code, "4 photos of 1 listing due now" in output, "[y/N]" in output) == (0, True, False), output
    await until(lambda: is_requested(mls, key, 8), "every photo to be fetched again")


async def is_requested(mls: Sandbox, key: str, requests: int) -> bool:
    return mls.begun[key] >= requests


async def test_force_of_a_single_listing_asks_no_question(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    async with a_terminal(whole.env, "ops.imagectl", "force", key) as terminal:
        assert await terminal.end(TIMEOUT_SECONDS) == 0
    await until(lambda: is_requested(mls, key, 8), "every photo to be fetched again")


async def test_rebuild_at_a_terminal_shows_the_number_of_photos_and_can_be_refused(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    async with question(whole, "rebuild", "--feed", "sandbox", IMAGES_VARIANTS="full=200:jpeg:80") as terminal:
        assert re.search(r"sandbox: \d+ photos of \d+ listings? would be made anew Make them anew\?", text_of(terminal))
        await refuse(terminal)
    assert await whole.images(key) == before


@pytest.mark.parametrize("records", [1, 2])
async def test_requeue_of_more_than_one_record_waits_for_consent(whole: System, key: str, records: int) -> None:
    reason = f"no-feed-{key}"
    for number in range(records):
        data = {"feed": reason, "property": {"ListingKey": f"{key}-{number}"}}
        await whole.send("listing-seen", json.dumps({"type": "listing-seen.v1", "data": data}).encode(), key=b"x")

    async def letters() -> int:
        _, output = await whole.run("imagectl", "dead-letters", "list", "--json")
        return sum(group["letters"] for group in json.loads(output) if reason in group["reason"])

    async def all_there() -> bool:
        return await letters() == 2 * records

    await until(all_there, "a dead letter of each service")
    requeue = ("dead-letters", "requeue", "--reason", reason)
    if records > 1:
        async with question(whole, *requeue) as terminal:
            assert "2 records are sent again, for 4 dead letters. Send them?" in text_of(terminal)
            await refuse(terminal)
        assert await letters() == 4
        async with question(whole, *requeue) as terminal:
            assert "2 records were sent again, for 4 dead letters" in await agree(terminal)
    else:
        async with a_terminal(whole.env, "ops.imagectl", *requeue) as terminal:
            assert await terminal.end(TIMEOUT_SECONDS) == 0
            terminal.read()
            assert "1 record was sent again, for 2 dead letters" in text_of(terminal)
    await until(all_there, "both services to refuse it again")
    code, output = await whole.run("imagectl", "dead-letters", "drop", "--reason", reason, "--yes")
    assert code == 0, output


async def test_an_audit_shows_the_drift_and_repairs_it_after_consent(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key), feed="other")
    (first, *_) = await whole.wait_until_downloaded(key, 4)
    objects = MinioObjects(settings_of(whole.namespace))
    try:
        await objects.delete(Bucket.PUBLIC, [first["url"].removeprefix(f"{whole.env['IMAGES_PUBLIC_URL']}/")])
    finally:
        objects.close()
    repair = ("audit", "--feed", "other", "--repair")
    async with question(whole, *repair) as terminal:
        assert "found: 1 missing Make lost copies due, and remove orphans?" in text_of(terminal)
        await refuse(terminal)
    assert not await whole.is_open(first["url"])
    async with question(whole, *repair) as terminal:
        assert "repaired: 1 photo is due again, 0 orphans removed" in await agree(terminal)
    await until(lambda: whole.is_open(first["url"]), "the lost copy")
    async with a_terminal(whole.env, "ops.imagectl", *repair) as terminal:
        assert await terminal.end(TIMEOUT_SECONDS) == 0, "without drift there is no question"
