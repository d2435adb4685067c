"""Test imagectl on a running system in trouble: freeze, force, dead letters, replay, explain, doctor."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from typer.testing import CliRunner

from local.config import PROJECT
from local.sandbox import Sandbox
from ops.imagectl import app
from shared.domain.failures import REASONS, Reason
from tests.servers import Namespace
from tests.system import System, until

Answer = Any


def record_of(mls: Sandbox, key: str) -> dict[str, Any]:
    return dict(mls.market.property(mls.market.listing(key)))


async def run(system: System, *arguments: str, env: Mapping[str, str] = MappingProxyType({})) -> tuple[int, str, str]:
    """Run an imagectl command in this process, which is fast. Return its exit code, output and errors."""
    done = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env={**system.env, **env})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


async def answer_of(system: System, *arguments: str, code: int = 0) -> Answer:
    found, output, errors = await run(system, *arguments, "--json")
    assert found == code, output + errors
    return json.loads(output)


async def dead_letters(system: System, number: int) -> list[dict[str, Any]]:
    """Wait until the number of unhandled dead letters is `number`, and return their groups."""

    async def all_there() -> list[dict[str, Any]] | None:
        groups: list[dict[str, Any]] = await answer_of(system, "dead-letters", "list")
        return groups if sum(group["letters"] for group in groups) == number else None

    return await until(all_there, f"{number} dead letters")


async def test_a_frozen_feed_gets_no_request_until_it_is_thawed(whole: System, mls: Sandbox, key: str) -> None:
    answer = await answer_of(whole, "freeze", "other", "--reason", "the MLS asked us to")
    assert [silence["by"] for silence in answer["silences"]] == ["operator"]
    await whole.publish_listings(record_of(mls, key), feed="other")

    async def explained_freeze() -> str | None:
        (found,) = await answer_of(whole, "explain", key)
        text = "\n".join([*found["lines"], *(line for photo in found["photos"] for line in photo["lines"])])
        return text if "is silent: frozen by an operator until it is thawed: the MLS asked us to" in text else None

    async def is_recorded() -> bool:
        return len(await whole.images(key, feed="other")) == 4

    await until(is_recorded, "the listing to be recorded")
    await until(explained_freeze, "the freeze to be explained")
    serve = (await whole.images(key, feed="other"))[0]["url"]
    assert (await whole.http.get(serve)).status_code == 503
    assert mls.begun[key] == 0
    assert (await answer_of(whole, "status"))["budgets"]["other"]["silences"][0]["reason"] == "the MLS asked us to"
    assert (await answer_of(whole, "thaw", "other"))["silences"] == []
    await until(lambda: _all_downloaded(whole, key), "the photos once it is thawed")


async def test_a_freeze_with_a_duration_ends_by_itself(whole: System, mls: Sandbox, key: str) -> None:
    (silence,) = (await answer_of(whole, "freeze", "other", "--for", "6s"))["silences"]
    ends = datetime.fromisoformat(silence["until"])
    await whole.publish_listings(record_of(mls, key), feed="other")
    await until(lambda: _all_downloaded(whole, key), "the photos without a thaw")
    for image in await whole.images(key, feed="other"):
        assert datetime.fromisoformat(image["downloaded_at"]) >= ends
    assert (await answer_of(whole, "status"))["budgets"]["other"]["silences"] == []
    assert mls.begun[key] == 4


async def _all_downloaded(whole: System, key: str) -> bool:
    images = await whole.images(key, feed="other", context="search")
    return {image["status"] for image in images} == {"downloaded"}


async def test_photos_that_failed_for_a_reason_are_forced_and_downloaded(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="status", status=404, listing=key, count=1)
    await whole.publish_listings(record_of(mls, key))

    async def is_settled() -> bool:
        images = await whole.images(key, context="search")
        return sorted({image["status"] for image in images}) == ["downloaded", "failed"]

    await until(is_settled, "a photo that is gone")
    order = ["force", key, "--feed", "sandbox", "--failed", "gone"]
    planned = (await answer_of(whole, *order, "--dry-run"))["sandbox"]
    assert (planned["photos"], planned["bytes_expected"] > 0) == (1, True)
    assert (await answer_of(whole, *order, "--priority", "viewed"))["sandbox"]["photos"] == 1
    await whole.wait_until_downloaded(key, 4)
    code, _, errors = await run(whole, "force", "nowhere")
    assert (code, "not recorded" in errors) == (1, True), errors


async def test_dead_letters_are_listed_requeued_once_and_dropped(whole: System) -> None:
    there = await answer_of(whole, "dead-letters", "drop", "--all", "--yes")
    assert there["dropped"] >= 0
    odd = b'{"type":"listing-seen.v1","data":{"feed":"nobody","property":{"ListingKey":"DL1"}}}'
    await whole.send("listing-seen", odd, key=b"DL1")
    groups = await dead_letters(whole, 2)
    assert {(group["service"], group["reason"]) for group in groups} == {
        (service, "the feed 'nobody' is not in feeds.toml") for service in ("scheduler", "janitor")
    }
    shown = await answer_of(whole, "dead-letters", "show", str(groups[0]["example"]))
    assert (shown["key"], shown["value"]["data"]["feed"]) == ("DL1", "nobody")
    (unknown,) = await answer_of(whole, "explain", "DL1", code=1)
    assert any("dead letter" in line and "not in feeds.toml" in line for line in unknown["lines"])

    done = await answer_of(whole, "dead-letters", "requeue", "--service", "janitor")
    assert (done["sent"], done["marked"]) == (1, 2)
    records = [record for record in await whole.records("listing-seen") if record.key == b"DL1"]
    assert [record.value for record in records] == [odd, odd]
    await dead_letters(whole, 2)  # the feed is still unknown, so both services refuse the record again
    assert (await answer_of(whole, "dead-letters", "drop", "--reason", "nobody", "--yes"))["dropped"] == 2
    assert (await answer_of(whole, "status"))["dead_letters"] == 0
    code, _, errors = await run(whole, "dead-letters", "drop", "--all")
    assert (code, "--yes" in errors) == (1, True), errors


async def test_a_replayed_old_withdrawal_does_not_hide_a_listing_that_is_back(
    whole: System, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    """A sweep's withdrawal has no timestamp: only its position on the topic shows that it is old."""
    record = {name: value for name, value in record_of(mls, key).items() if not name.endswith("Timestamp")}
    await whole.publish_listings({"ListingKey": key, "MlgCanView": False})
    await whole.publish_listings(record)
    await whole.wait_until_downloaded(key, 4)
    before = await whole.images(key)
    code, lines, errors = await run(whole, "export", "listing-seen", "--from", "1h")
    assert code == 0, errors
    (withdrawal,) = [line for line in lines.splitlines() if key in line and "MlgCanView" in line]
    file = tmp_path / "withdrawal.ndjson"
    file.write_text(f"{withdrawal}\n")

    replay = ["replay", "listing-seen", "--file", str(file), "--yes", "--rate", "0"]
    assert (await answer_of(whole, *replay, "--dry-run"))["changing"] == 0
    for topic in (replay, ["replay", "listing-seen", "--from", "1h", "--listing", key, "--yes", "--rate", "0"]):
        await answer_of(whole, *topic)
        await whole.wait_until_read()
        assert await whole.images(key) == before
    assert not await whole.events("image-removed", key)

    said_now = json.loads(withdrawal)
    del said_now["at"]
    file.write_text(json.dumps(said_now))
    await answer_of(whole, *replay)
    await whole.wait_until_hidden(key)


async def test_a_replay_continues_where_ctrl_c_stopped_it(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(*[record_of(mls, key)] * 6)
    await whole.wait_until_downloaded(key, 4)

    async def replayed() -> int:
        return [record.key for record in await whole.records("listing-seen")].count(key.encode()) - 6

    command = ("replay", "listing-seen", "--listing", key, "--yes", "--rate", "2")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.imagectl", *command, "--from", "1h",
        cwd=PROJECT, env={**os.environ, **whole.env}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await until(replayed, "the first event")
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130
    (ranges,) = re.findall(r"go on with --resume (\S+)", errors.decode())
    first = await replayed()
    assert 0 < first < 6
    answer = await answer_of(whole, *command, "--resume", ranges)
    assert (answer["published"], await replayed()) == (6 - first, 6)


async def test_a_replay_of_recorded_events_changes_nothing(
    whole: System, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    old, new = record_of(mls, key), record_of(mls, key)
    old["ModificationTimestamp"] = old["MediaChangeTimestamp"] = "2020-01-01T00:00:00Z"
    for row in old["Media"]:
        row.pop("MediaModificationTimestamp", None)
    await whole.publish_listings(old, new)
    await whole.wait_until_downloaded(key, 4)
    await whole.wait_until_read()
    before = await whole.images(key)

    topic = ["replay", "listing-seen", "--from", "1h", "--listing", key]
    planned = await answer_of(whole, *topic, "--dry-run")
    assert (planned["events"], planned["unchanged"], planned["changing"]) == (2, 2, 0)
    code, _, errors = await run(whole, *topic)
    assert (code, "--yes" in errors) == (1, True), errors
    assert (await answer_of(whole, *topic, "--yes", "--rate", "0"))["published"] == 2

    code, lines, errors = await run(whole, "export", "listing-seen", "--from", "1h")
    assert code == 0, errors
    file = tmp_path / "events.ndjson"
    file.write_text(lines)
    planned = await answer_of(whole, "replay", "listing-seen", "--file", str(file), "--listing", key, "--dry-run")
    assert (planned["events"], planned["unchanged"]) == (4, 4)
    ranges = f"0:0-{len(file.read_text().splitlines())}"
    again = ["replay", "listing-seen", "--file", str(file), "--listing", key, "--resume", ranges, "--yes"]
    assert (await answer_of(whole, *again))["published"] == 4
    await whole.wait_until_read()
    assert await whole.images(key) == before
    assert mls.begun[key] == 4
    values = [record.value for record in await whole.records("listing-seen") if record.key == key.encode()]
    assert len(values) == 8
    assert len(set(values)) == 2


async def test_the_doctor_finds_no_fault_in_a_running_system(whole: System) -> None:
    findings = {finding["what"]: finding for finding in await answer_of(whole, "doctor")}
    found = {subject: finding["state"] for subject, finding in findings.items()}
    assert set(found.values()) == {"ok"}
    assert "agrees" in findings["clock of mongo"]["said"]
    assert "whether it is behind" in findings["clock of kafka"]["said"], "no more than its records prove"
    assert {"topics", "buckets", "indexes", "feeds", "the release loop", "downloader", "desk"} <= found.keys()
    assert {"the desk's token", "the desk's settings"} <= found.keys()
    assert not any((await answer_of(whole, "topics", "diff")).values())
    assert (await answer_of(whole, "indexes", "apply")) == {"created": []}


@pytest.mark.parametrize(
    ("setting", "value", "finding"),
    [
        ("DESK_PORT", "9", ("desk", "unknown", "does not answer")),
        ("DESK_TOKEN", "", ("the desk's token", "unknown", "IMAGES_DESK_TOKEN is not set here")),
        ("DESK_TOKEN", "not-what-operators-have", ("the desk's token", "fault", "refuses the one that is set here")),
        ("VARIANTS", "full=200:jpeg:80", ("the desk's settings", "fault", "other values of IMAGES_VARIANTS")),
        ("FEEDS", "other.toml", ("the desk's settings", "fault", "other values of feeds.other, feeds.strict")),
    ],
)
async def test_the_doctor_checks_the_desk(
    whole: System, mls: Sandbox, key: str, tmp_path: Path, setting: str, value: str, finding: tuple[str, str, str]
) -> None:
    if setting == "FEEDS":
        await whole.publish_listings(record_of(mls, key), feed="other")
        await whole.wait_until_read()
        (tmp_path / value).write_text(mls.feeds_toml())
        value = str(tmp_path / value)
    code, output, _ = await run(whole, "doctor", "--json", env={f"IMAGES_{setting}": value})
    subject, state, message = finding
    found = {checked["what"]: checked for checked in json.loads(output)}
    wrong = {name: checked["state"] for name, checked in found.items() if checked["state"] != "ok"}
    feeds = {name: wrong.pop(name) for name in tuple(wrong) if name.startswith("feed ")}
    assert wrong == {subject: state}
    assert feeds.get("feed other") == ("fault" if setting == "FEEDS" else None), "shown, and not in the file"
    assert message in found[subject]["said"]
    assert found[subject]["advice"]
    assert code == (1 if state == "fault" else 0), "a system without a desk is none the worse"


async def test_explain_says_why_a_photo_failed_and_what_is_served(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="status", status=404, listing=key, count=1)
    await whole.publish_listings(record_of(mls, key))

    async def is_explained() -> bool:
        _, found, _ = await run(whole, "explain", key)
        wanted = (REASONS[Reason.GONE].meaning, "there is no copy, so a view waits for one", "the full variant of")
        return all(phrase in found for phrase in wanted)

    await until(is_explained, "what failed and what is served")


async def test_the_doctor_names_missing_topics_buckets_and_indexes(namespace: Namespace, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds.toml"
    feeds.write_text('[feeds.a]\nimage_hosts = ["a.example.com"]\ntoken_env = "NOWHERE_SET"\n')
    system = System(namespace, feeds, tmp_path, None)
    found = {finding["what"]: finding for finding in await answer_of(system, "doctor", code=1)}
    faults = {subject: finding["advice"] for subject, finding in found.items() if finding["state"] == "fault"}
    assert faults[f"topic {namespace.prefix}listing-seen"] == "imagectl topics apply"
    assert faults["indexes"] == "imagectl indexes apply"
    assert "imagectl init" in faults["buckets"]
    assert "NOWHERE_SET" in faults["feed a"]
    assert "scheduler" in faults["the release loop"]
    assert found["resolver"]["state"] == "unknown"
    diff = await answer_of(system, "topics", "diff", code=1)
    assert set(map(tuple, diff.values())) == {("it is missing",)}
    await system.close()
