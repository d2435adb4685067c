"""What the MLS did without a word is found by a sweep, and served, or hidden, soon after."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.sandbox import Sandbox
from shared.stores import mongo
from tests import system
from tests.servers import Servers, a_namespace
from tests.system import System, until

TOKEN = "let-me-in"


@pytest.fixture(scope="module")
async def asked() -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=9, photos=2, widest=320, tokens={"odata": TOKEN}) as running:
        yield running


@pytest.fixture(scope="module")
async def swept(servers: Servers, asked: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A system that has heard of the whole market by a sweep alone, and has its photos."""
    asks = {"reso_url": asked.web_api, "reso_token_env": "SANDBOX_MLS_TOKEN"}
    feeds = asked.feeds_toml(**asks) + asked.feeds_toml(feed="plain", recheck_days=0.000001)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SANDBOX_MLS_TOKEN", TOKEN)
        async with system.running(a_namespace(servers), feeds, tmp_path_factory.mktemp("swept")) as whole:
            assert (await sweep(whole))["published"] == 9
            for key in asked.market.listings:
                await whole.wait_until_downloaded(key, 2)
            await until(lambda: has_followed(whole), "the first look at what changed")
            yield whole


async def has_followed(whole: System) -> bool:
    """Whether what changed is read already: while it is, it may find by itself what a test asks a sweep for."""
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:
        return (await mongo.MongoSweeps(database).get("sandbox")).followed_at is not None


async def sweep(whole: System, *options: str, feed: str = "sandbox") -> dict[str, Any]:
    code, output = await whole.run("imagectl", "sweep", "freshness", "--json", "--feed", feed, *options)
    assert code == 0, output
    return dict(json.loads(output)[feed])


@pytest.mark.parametrize("expands", [True, False])
async def test_what_changed_without_an_event_is_found_and_served(swept: System, asked: Sandbox, expands: bool) -> None:
    asked.allow_expand(expands)
    on_the_market = [one.key for one in asked.market.listings.values() if one.status != "Expired"]
    changed, withdrawn, forgotten = on_the_market[-3:]
    before = await swept.images(changed)
    asked.change_photo(changed, 1, media_only=True)
    asked.withdraw(withdrawn)
    asked.forget(forgotten)
    assert (await sweep(swept, "--dry-run"))["asked_for"] == 3
    assert await swept.images(withdrawn)

    found = await sweep(swept)
    assert (found["published"], found["missing"], found["gone"]) == (3, 2, 1)

    async def is_served() -> bool:
        first, second = await swept.images(changed)
        assert first["url"] == before[0]["url"]
        return second["url"] != before[1]["url"] and await swept.is_open(second["url"])

    await until(is_served, "the new picture")
    await swept.wait_until_hidden(withdrawn)
    await swept.wait_until_hidden(forgotten)
    assert TOKEN not in swept.log("scheduler")


async def test_copies_of_a_feed_without_an_mls_are_asked_for_conditionally(swept: System, asked: Sandbox) -> None:
    record = next(iter(asked.properties()))
    key = str(record["ListingKey"])
    await swept.publish_listings(record, feed="plain")

    async def all_here() -> list[dict[str, Any]] | None:
        images = await swept.images(key, feed="plain")
        return images if [image["status"] for image in images] == ["downloaded"] * 2 else None

    before = await until(all_here, "two photos")
    asked.image_log.clear()

    async def both_are_due() -> bool:
        return bool((await sweep(swept, feed="plain"))["published"] == 2)

    await until(both_are_due, "both to be asked for again")  # by the clock they may be just now

    async def all_asked() -> bool:
        return len({one.photo for one in asked.image_log}) == 2

    await until(all_asked, "two conditional requests")
    assert {one.status for one in asked.image_log} == {304}
    assert await until(all_here, "two photos") == before


async def test_an_mls_in_trouble_is_reported_and_nothing_is_concluded(swept: System, asked: Sandbox) -> None:
    asked.misbehave(on="odata", kind="status", status=401)
    code, output = await swept.run("imagectl", "sweep", "freshness", "--feed", "sandbox")
    asked.behave()
    assert (code, "nothing is concluded: refused: the MLS answered 401" in output) == (1, True), output


async def test_without_anything_to_ask_a_sweep_says_what_to_do(whole: System) -> None:
    code, output = await whole.run("imagectl", "sweep", "freshness")
    assert (code, "give a feed in" in output, "a reso_url, or recheck_days" in output) == (1, True, True)
    code, output = await whole.run("imagectl", "sweep", "freshness", "--feed", "nobody")
    assert (code, "there is no feed 'nobody'" in output) == (1, True)
