"""Test the commands of imagectl from a terminal, on a running system."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.config import PROJECT
from local.sandbox import Sandbox
from shared.domain.failures import REASONS, Reason
from tests.proxies import Proxy, proxy_to
from tests.system import System, until
from tests.terminals import BACK_AGAIN, CTRL_C, OWN_SCREEN, Terminal, a_terminal

MOST_SECONDS = 25
"""A command that waits for Kafka's own patience takes more."""


def record_of(mls: Sandbox, key: str) -> dict[str, Any]:
    return dict(mls.market.property(mls.market.listing(key)))


async def test_a_file_is_published(whole: System, mls: Sandbox, key: str, tmp_path: Path) -> None:
    file = tmp_path / "listings.json"
    file.write_text(json.dumps({"value": [record_of(mls, key)]}))
    code, output = await whole.run("imagectl", "publish", str(file), "--feed", "sandbox")
    assert (code, "published 1 listing" in output) == (0, True), output
    await whole.wait_until_downloaded(key, 4)


async def test_unusable_records_are_reported_and_the_others_published(
    whole: System, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "listings.ndjson"
    lines = [
        '{"City": "Toronto"}', '{"ListingKey": "X65bits", "ParcelNumber": 123456789012345678901}',
        '{"ListingKey": "Xhalf", "PublicRemarks": "\\ud83d"}', json.dumps(record_of(mls, key)), "not JSON",
    ]  # fmt: skip
    file.write_text("\n".join(lines))
    code, output = await whole.run("imagectl", "publish", str(file), "--feed", "sandbox", "--json")
    assert code == 1
    answer = json.loads(output)
    assert answer["published"] == 2
    assert [item["where"] for item in answer["unusable"]] == ["line 1", "X65bits", "line 5"]
    await whole.wait_until_downloaded(key, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["publish", "nowhere.json", "--feed", "sandbox"], "is not a file"),
        (["publish", __file__, "--feed", "nobody"], "there is no feed 'nobody'"),
        (["removals", "resume", "nobody"], "there is no feed 'nobody'"),
        (["removals", "discard", "sandbox"], "the removals of sandbox are not frozen"),
        (["removals", "force", "nowhere", "--yes"], "no listing 'nowhere' is recorded"),
        (["compliance"], "name a ListingKey, or a period"),
        (["compliance", "--from", "yesterday", "--to", "now"], "'yesterday' is not a time"),
    ],
)
async def test_a_wrong_command_is_refused_with_advice(whole: System, arguments: list[str], message: str) -> None:
    code, output = await whole.run("imagectl", *arguments)
    assert (code, message in output) == (1, True), output
    assert "Traceback" not in output


async def test_the_status_counts_what_is_there(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    code, output = await whole.run("imagectl", "status", "--json")
    found = json.loads(output)
    assert code == 0
    assert found["feeds"]["sandbox"]["images"]["downloaded"] >= 4
    assert found["feeds"]["sandbox"]["displayed"] >= 1
    assert set(found["lag"]) == {"scheduler", "janitor", "downloader"}
    code, output = await whole.run("imagectl", "status")
    assert (code, "sandbox" in output, "dead letters" in output) == (0, True, True)


async def test_topics_and_the_rest_are_applied_again_without_harm(whole: System) -> None:
    for command in (["init"], ["topics", "apply"]):
        code, output = await whole.run("imagectl", *command, "--json")
        assert code == 0, output
    assert set(json.loads(output).values()) == {"unchanged"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"], ["explain", "nowhere"], ["dead-letters", "list"], ["export", "listing-seen"],
        ["replay", "listing-seen", "--from", "1h", "--yes"], ["publish", "listing.json", "--feed", "sandbox"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
async def test_missing_topics_are_reported_with_the_command_that_creates_them(
    whole: System, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "listing.json").write_text('{"ListingKey": "X1"}')
    given = [str(tmp_path / argument) if argument == "listing.json" else argument for argument in arguments]
    code, output = await whole.run("imagectl", *given, IMAGES_TOPIC_PREFIX="nowhere.")
    assert (code, "create what is missing with: imagectl init" in output, "Traceback" in output) == (1, True, False), (
        output
    )


async def test_the_config_shows_everything_but_secrets(whole: System) -> None:
    for form in ([], ["--json"]):
        code, output = await whole.run("imagectl", "config", *form)
        assert code == 0
        assert whole.env["IMAGES_KAFKA"] in output
        assert whole.env["IMAGES_S3_SECRET_KEY"] not in output.replace(whole.env["IMAGES_S3_ACCESS_KEY"], "")
        assert whole.env["IMAGES_MONGO"] not in output


async def test_a_listing_an_image_and_a_url_are_explained(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="status", status=404, listing=key, count=1)
    record = record_of(mls, key)
    await whole.publish_listings(record)

    async def is_settled() -> list[dict[str, Any]] | None:
        images = await whole.images(key, context="search")
        return images if sorted({image["status"] for image in images}) == ["downloaded", "failed"] else None

    images = await until(is_settled, "three photos and a failure")
    for subject in (key, next(image["id"] for image in images if image["status"] == "failed")):
        code, output = await whole.run("imagectl", "explain", subject)
        assert code == 0, output
        for phrase in ("it is displayed, with 4 photos", REASONS[Reason.GONE].meaning, "given up for now; tried again"):
            assert phrase in output, output
    code, output = await whole.run("imagectl", "explain", record["Media"][0]["MediaURL"], "--json")
    (found,) = json.loads(output)
    assert (code, found["listing_key"], len(found["photos"])) == (0, key, 1)
    code, output = await whole.run("imagectl", "explain", "nowhere")
    assert (code, "nothing is recorded" in output) == (1, True)


@pytest.fixture
async def to_kafka(whole: System) -> AsyncIterator[Proxy]:
    """Yield a proxy to Kafka that a test can interrupt; commands use it as their broker."""
    async with proxy_to(whole.namespace.servers.kafka) as proxy:
        yield proxy


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_listing_is_explained_while_kafka_is_away(
    whole: System, mls: Sandbox, to_kafka: Proxy, key: str, is_silent: bool
) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    (to_kafka.fall_silent if is_silent else to_kafka.refuse)()
    for subject, code, phrases in (
        (key, 0, ["it is displayed, with 4 photos", "whether dead letters name it is not known: Kafka"]),
        ("nowhere", 1, ["nothing is recorded under this", "or dead letters name it, is not known: Kafka"]),
    ):
        found, output = await asyncio.wait_for(
            whole.run("imagectl", "explain", subject, IMAGES_KAFKA=to_kafka.address), MOST_SECONDS
        )
        assert found == code, output
        assert all(phrase in output for phrase in phrases), output
        assert "Unable connect" not in output, "a library's own words"


async def test_a_status_shows_the_rest_while_kafka_is_silent(whole: System, to_kafka: Proxy) -> None:
    to_kafka.fall_silent()
    for as_json in (False, True):
        code, output = await asyncio.wait_for(
            whole.run("imagectl", "status", *["--json"] * as_json, IMAGES_KAFKA=to_kafka.address), MOST_SECONDS
        )
        assert code == 1
        assert "imagectl: Kafka: " in output
        assert ('"budgets"' if as_json else "downloads running") in output
        assert "Traceback" not in output
    found, _ = json.JSONDecoder().raw_decode(output)
    assert (found["lag"], found["dead_letters"], found["fault"][:7]) == (None, None, "Kafka: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "X1"], "interrupted; running it again does no harm"),
        (["status"], "interrupted; running it again does no harm"),
        (["status", "--watch"], "no longer watching"),
        (["audit", "--feed", "sandbox"], "interrupted"),
    ],
)
async def test_ctrl_c_ends_a_command_that_waits_for_a_silent_database(
    whole: System, arguments: list[str], message: str
) -> None:
    async with proxy_to(urlsplit(whole.namespace.servers.mongo).netloc) as to_mongo:
        to_mongo.fall_silent()
        env = {**os.environ, **whole.env, "IMAGES_MONGO": f"mongodb://{to_mongo.address}/?directConnection=true"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.imagectl", *arguments, cwd=PROJECT, env=env, stderr=asyncio.subprocess.PIPE
        )
        await until(lambda: _has_come(to_mongo), "the command to ask the database")
        process.send_signal(signal.SIGINT)
        _, errors = await asyncio.wait_for(process.communicate(), MOST_SECONDS)
        assert (process.returncode, message in errors.decode()) == (130, True), errors
        assert "Traceback" not in errors.decode()


async def _has_come(proxy: Proxy) -> bool:
    return bool(proxy.tasks)


@pytest.mark.timeout(
    400
)  # two servers become unavailable and recover, and each client notices after a timeout of its own
async def test_a_watched_status_is_a_live_screen_until_ctrl_c(
    whole: System, mls: Sandbox, to_kafka: Proxy, several_keys: Iterator[str]
) -> None:
    first, second = next(several_keys), next(several_keys)
    await whole.publish_listings(record_of(mls, first))
    await whole.wait_until_downloaded(first, 4)
    async with proxy_to(urlsplit(whole.namespace.servers.mongo).netloc) as to_mongo:
        away = {
            "IMAGES_KAFKA": to_kafka.address,
            "IMAGES_MONGO": f"mongodb://{to_mongo.address}/?directConnection=true",
        }
        async with a_terminal({**whole.env, **away}, "ops.imagectl", "status", "--watch") as terminal:
            before = await until(lambda: displayed(terminal), "the first screen")
            await whole.publish_listings(record_of(mls, second))
            await until(lambda: displayed(terminal, before + 1), "the listing on the screen")
            for server, name, cut in (
                (to_kafka, "Kafka", to_kafka.fall_silent),
                (to_mongo, "MongoDB", to_mongo.refuse),
            ):
                cut()
                await until(partial(says, terminal, f"{name}: "), f"{name} to be reported as unavailable")
                assert "this is how it stood at" in terminal.screen
                assert await displayed(terminal, before + 1)
                server.restore()
                await until(lambda: is_well(terminal), f"{name} to be back")
            terminal.press(CTRL_C)
            assert await terminal.end(MOST_SECONDS) == 130
        on_it, _, after = terminal.written.partition(BACK_AGAIN)
        assert on_it.count(OWN_SCREEN) == 1
        assert "no longer watching" in after
        assert "Traceback" not in terminal.written
        assert "Unable connect" not in terminal.written, "a library's own words across the screen"


async def displayed(terminal: Terminal, at_least: int = 1) -> int | None:
    """Return the number of displayed listings of the first feed on the screen; None if it is less than `at_least`."""
    found = re.search(r"displayed +([\d,]+)", terminal.screen)
    return int(found[1].replace(",", "")) if found and int(found[1].replace(",", "")) >= at_least else None


async def says(terminal: Terminal, text: str) -> bool:
    return text in terminal.screen and "dead letters" in terminal.screen


async def is_well(terminal: Terminal) -> bool:
    return await says(terminal, "displayed") and "this is how it stood" not in terminal.screen


async def test_status_watch_with_json_prints_one_line_for_each_look(whole: System, to_kafka: Proxy) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.imagectl", "status", "--watch", "--json",
        cwd=PROJECT, env={**os.environ, **whole.env, "IMAGES_KAFKA": to_kafka.address}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    looks = [json.loads(await process.stdout.readline()) for _ in range(2)]
    assert [look["fault"] for look in looks] == ["", ""]
    assert looks[0]["at"] < looks[1]["at"]
    to_kafka.refuse()
    for _ in range(5):
        look = json.loads(await process.stdout.readline())
        if look["fault"]:
            break
    assert look["fault"].startswith("Kafka: ")
    assert look["feeds"].keys() == looks[0]["feeds"].keys()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), MOST_SECONDS) == 130
