"""Test removals: automatic ones, those of an operator, holds of bursts, sweeps and audits."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from local.sandbox import Sandbox
from shared.stores.minio_objects import MinioObjects
from shared.stores.objects import Bucket
from tests import system
from tests.contract.test_objects import settings_of
from tests.servers import Namespace
from tests.system import System, until

LISTINGS = 56
FROZEN = 'listing_images_removals_held{feed="sandbox",reason="listing-inactive"} 1.0'
THAWED = FROZEN.replace("1.0", "0.0")
ALL_REMOVED = f'listing_images_removed_total{{reason="listing-inactive"}} {LISTINGS - 1}.0'


def record_of(mls: Sandbox, key: str) -> Mapping[str, Any]:
    return mls.market.property(mls.market.listing(key))


async def wait_for_evidence(whole: System, key: str, count: int) -> list[dict[str, Any]]:
    """Wait until there is evidence of `count` removals of a listing, at most the contract's 30 s; return the lines."""

    async def all_published() -> list[dict[str, Any]] | None:
        events = await whole.events("image-removed", key)
        return events if len(events) == count else None

    return await until(all_published, f"{count} removals of {key}", seconds=30)


async def imagectl(whole: System, *arguments: str) -> str:
    """Run an imagectl command, which must succeed, and return its output."""
    code, output = await whole.run("imagectl", *arguments)
    assert code == 0, output
    return output


async def test_the_removals_of_a_burst_wait_until_an_operator_decides(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=LISTINGS, photos=1, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path, superseded_hours=0.0005) as whole,
    ):
        owner, first, *_ = keys = [str(record["ListingKey"]) for record in mls.properties()]
        await whole.publish_listings(*mls.properties())
        before = {key: (await whole.wait_until_downloaded(key, 1))[0]["url"] for key in keys}

        await whole.publish_listings(mls.change_photo(first, 0))  # the superseded copy is removed after its hours
        (superseded,) = await wait_for_evidence(whole, first, 1)
        assert superseded["reason"] == "superseded"
        assert not await whole.is_open(before[first])
        before[first] = (await whole.wait_until_downloaded(first, 1))[0]["url"]

        await whole.publish_listings(*(mls.withdraw(key) for key in keys if key != owner))

        await until(lambda: shows(whole, FROZEN), "the freeze")
        await whole.wait_until_hidden(first)
        await whole.publish_listings(mls.opt_out(owner))
        assert [event["reason"] for event in await wait_for_evidence(whole, owner, 1)] == ["opt-out"]
        assert not await whole.is_open(before[owner])
        assert all([await whole.is_open(before[key]) for key in keys if key != owner])
        for command in (["removals", "list"], ["status"]):
            shown = " ".join((await imagectl(whole, *command)).split())
            assert re.search(rf"removals of sandbox are frozen: \d+ of {LISTINGS}", shown)
        assert "imagectl removals resume sandbox" in shown
        assert "removals discard sandbox" in shown
        ((feed, reason, hidden, displayed),) = await frozen(whole)  # the hold begins as soon as there is a burst
        assert (feed, reason, hidden + displayed) == ("sandbox", "listing-inactive", LISTINGS)
        assert '"removals-held"' in whole.log("janitor")

        said_of_it = await imagectl(whole, "removals", "discard", "sandbox")
        assert "stay hidden with their copies until the feed shows them again, for 72 hours at most" in said_of_it
        assert await frozen(whole) == []
        assert "UTC: discard" in await imagectl(whole, "removals", "list")
        await until(lambda: shows(whole, THAWED), "the janitor to hear of it")
        assert (await whole.http.get(f"/api/listings/{first}/images")).status_code == 404
        await whole.publish_listings(*(mls.market.reactivate(key) for key in keys if key != owner))
        assert {key: (await whole.wait_until_downloaded(key, 1))[0]["url"] for key in keys if key != owner} == {
            key: url for key, url in before.items() if key != owner
        }
        assert all([await whole.is_open(before[key]) for key in keys if key != owner])
        assert mls.image_requests == LISTINGS + 1, "every copy was kept"

        await whole.publish_listings(*(mls.withdraw(key) for key in keys if key != owner))
        await until(lambda: shows(whole, FROZEN), "the freeze of what is lost after all")
        await imagectl(whole, "removals", "resume", "sandbox")
        assert await frozen(whole) == []
        await until(lambda: shows(whole, ALL_REMOVED), "all removals")
        assert not any([await whole.is_open(url) for url in before.values()])
        assert not await shows(whole, FROZEN)
        period = ("--from", "1h", "--to", "2999-01-01")
        evidence = json.loads(await imagectl(whole, "compliance", *period, "--json"))
        assert len(evidence) == LISTINGS + 1  # all photos and the superseded copy


async def frozen(whole: System) -> list[tuple[str, str, int, int]]:
    """Return the holds in `--json` of imagectl: (feed, reason, hidden, displayed)."""
    found = json.loads(await imagectl(whole, "status", "--json"))["removals_frozen"]
    return [(hold["feed"], hold["reason"], hold["hidden"], hold["displayed"]) for hold in found]


async def shows(whole: System, line: str) -> bool:
    """Return True if the janitor's metrics have the line."""
    return line in (await whole.http.get(f"{whole.url('janitor')}/metrics")).text.splitlines()


async def test_a_listing_off_the_market_is_hidden_at_once_and_its_objects_are_removed_in_30_s(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    prefix = images[0]["url"].removeprefix(f"{whole.env['IMAGES_PUBLIC_URL']}/").rsplit("/", 3)[0]
    objects = MinioObjects(settings_of(whole.namespace))
    try:
        assert [len(await objects.list(bucket, prefix)) for bucket in Bucket] == [12, 4]
        await whole.publish_listings(mls.withdraw(key))
        await whole.wait_until_hidden(key)

        async def nothing_left() -> bool:
            return not any([await objects.list(bucket, prefix) for bucket in Bucket])

        await until(nothing_left, "variants and originals to be gone", seconds=30)
    finally:
        objects.close()
    (said_first, *others) = await wait_for_evidence(whole, key, 4)
    assert len(others) == 3
    urls = {variant["url"] for image in images for variant in image["variants"]}
    assert {url for event in (said_first, *others) for url in event["urls"]} == urls


async def test_an_image_that_an_operator_removed_stays_removed_until_it_is_allowed_again(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    code, output = await whole.run("imagectl", "removals", "force", key)
    assert (code, "Give --yes" in output) == (1, True)

    await imagectl(whole, "removals", "force", key, "--image", images[1]["id"], "--yes")
    (event,) = await wait_for_evidence(whole, key, 1)
    assert (event["image_id"], event["reason"]) == (images[1]["id"], "forced")
    assert not await whole.is_open(images[1]["url"])
    await whole.publish_listings(record_of(mls, key), mls.touch(key))
    await whole.wait_until_read()
    assert [image["id"] for image in await whole.images(key)] == [images[which]["id"] for which in (0, 2, 3)]
    served = await whole.http.get("/api/images/serve", params={"id": images[1]["id"]})
    assert served.status_code == 404

    await imagectl(whole, "removals", "force", key, "--yes")
    await whole.wait_until_hidden(key)
    await wait_for_evidence(whole, key, 4)
    await whole.publish_listings(record_of(mls, key), mls.touch(key))
    await whole.wait_until_read()
    assert (await whole.http.get(f"/api/listings/{key}/images")).status_code == 404
    words = await imagectl(whole, "compliance", key)
    assert words.count("an operator had it removed (forced, status ") == 4
    assert words.count("nothing remained") == 4
    evidence = json.loads(await imagectl(whole, "compliance", key, "--json"))
    assert sorted(removal["image_id"] for removal in evidence) == sorted(removal["id"] for removal in images)
    assert {(removal["feed"], removal["listing_key"], removal["reason"]) for removal in evidence} == {
        ("sandbox", key, "forced")
    }
    for removal in evidence:
        hidden, removed = (datetime.fromisoformat(removal[name]) for name in ("hidden_at", "removed_at"))
        assert (hidden <= removed, removal["objects"] > 1, removal["remained"]) == (True, True, [])

    await imagectl(whole, "removals", "allow", key)
    await whole.publish_listings(record_of(mls, key))
    assert [image["id"] for image in await whole.wait_until_downloaded(key, 4)] == [image["id"] for image in images]
    code, output = await whole.run("imagectl", "removals", "allow", key)
    assert (code, "nothing of listing" in output) == (1, True)


async def test_a_removal_sweep_ends_when_all_is_removed_or_reports_the_hold(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    await whole.stop("janitor")
    try:
        await whole.publish_listings(mls.withdraw(key))
        await whole.wait_until_hidden(key)

        async def is_missed() -> str | None:
            code, output = await whole.run("imagectl", "sweep", "removals", "--wait", "1")
            return output if code == 1 else None

        output = await until(is_missed, "the removal to be due")
        assert "Does a janitor run" in output
        waiting = asyncio.create_task(whole.run("imagectl", "sweep", "removals", "--json"))
    finally:
        await whole.start("janitor")
    code, output = await waiting
    assert (code, json.loads(output)["frozen"], json.loads(output)["removed"] >= 1) == (0, [], True), output
    assert len(await whole.events("image-removed", key)) == 4


async def test_an_audit_finds_lost_objects_and_its_repair_restores_them(
    whole: System, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    lost, _, emptied, _ = [image["url"].removeprefix(f"{whole.env['IMAGES_PUBLIC_URL']}/") for image in images]
    objects = MinioObjects(settings_of(whole.namespace))
    try:
        await objects.delete(Bucket.PUBLIC, [lost])
        (tmp_path / "empty").touch()
        await objects.put(Bucket.PUBLIC, emptied, tmp_path / "empty", "image/webp")
        (original,) = await objects.list(Bucket.ORIGINALS, emptied.rsplit("/", 1)[0])
        await objects.delete(Bucket.ORIGINALS, [original])
    finally:
        objects.close()

    found = json.loads(await imagectl(whole, "audit", "--feed", "sandbox", "--json"))
    ours = {(finding["drift"], finding["key"]) for finding in found["findings"] if finding["listing_key"] == key}
    assert ours == {("missing", lost), ("empty", emptied), ("missing", original)}
    sample = ["audit", "--feed", "sandbox", "--json", "--sample"]
    sampled = json.loads(await imagectl(whole, *sample, str(found["listings"])))
    assert (sampled["listings"], sampled["findings"]) == (found["listings"], found["findings"])
    assert sampled["objects"] < found["objects"], "no bucket is walked as a whole"
    assert json.loads(await imagectl(whole, *sample, "1"))["listings"] == 1
    words = await imagectl(whole, "audit", "--feed", "sandbox", "--repair")
    assert "repaired: 2 photos are due again, 0 orphans removed" in words

    async def is_whole() -> bool:
        answers = [await whole.http.get(image["url"]) for image in await whole.images(key)]
        return [len(image.content) for image in answers if image.status_code == 200] == [
            image["file_size"] for image in images
        ]

    await until(is_whole, "the lost copies")
    assert await agree(whole)
    assert mls.begun[key] == 5, "what had its original was made of that"


async def agree(whole: System) -> bool:
    """Return True if an audit finds no drift."""

    async def nothing_found() -> bool:
        return not json.loads(await imagectl(whole, "audit", "--feed", "sandbox", "--json"))["drift"]

    return await until(nothing_found, "records and objects to agree")


async def test_the_metrics_show_the_daily_audit(whole: System) -> None:
    async def is_finished() -> bool:
        metrics: httpx.Response = await whole.http.get(f"{whole.url('janitor')}/metrics")
        lines = metrics.text.splitlines()
        finished = [line for line in lines if line.startswith("listing_images_audit_finished_timestamp_seconds ")]
        return float(finished[0].split()[1]) > 0

    await until(is_finished, "the first audit")
