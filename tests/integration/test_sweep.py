"""Test freshness sweeps: changes at the MLS without an event are found, and served or hidden soon after."""

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
async def mls_with_api() -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=9, photos=2, widest=320, tokens={"odata": TOKEN}) as running:
        yield running


@pytest.fixture(scope="module")
async def swept(
    servers: Servers, mls_with_api: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """Yield a system whose listings were all found by a sweep, and whose photos are downloaded."""
    asks = {"reso_url": mls_with_api.web_api, "reso_token_env": "SANDBOX_MLS_TOKEN"}
    feeds = mls_with_api.feeds_toml(**asks) + mls_with_api.feeds_toml(feed="plain", recheck_days=0.000001)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SANDBOX_MLS_TOKEN", TOKEN)
        async with system.running(a_namespace(servers), feeds, tmp_path_factory.mktemp("swept")) as whole:
            assert (await sweep(whole))["published"] == 9
            for key in mls_with_api.market.listings:
                await whole.wait_until_downloaded(key, 2)
            await until(lambda: has_followed(whole), "the first look at what changed")
            yield whole


async def has_followed(whole: System) -> bool:
    """Return True if the feed reader has read all changes: before that it may find changes instead of the sweep."""
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:
        return (await mongo.MongoSweeps(database).get("sandbox")).followed_at is not None


async def sweep(whole: System, *options: str, feed: str = "sandbox") -> dict[str, Any]:
    code, output = await whole.run("imagectl", "sweep", "freshness", "--json", "--feed", feed, *options)
    assert code == 0, output
    return dict(json.loads(output)[feed])


@pytest.mark.parametrize("expands", [True, False])
async def test_a_freshness_sweep_finds_changes_without_an_event(
    swept: System, mls_with_api: Sandbox, expands: bool
) -> None:
    mls_with_api.allow_expand(expands)
    on_the_market = [listing.key for listing in mls_with_api.market.listings.values() if listing.status != "Expired"]
    changed, withdrawn, forgotten = on_the_market[-3:]
    before = await swept.images(changed)
    mls_with_api.change_photo(changed, 1, media_only=True)
    mls_with_api.withdraw(withdrawn)
    mls_with_api.forget(forgotten)
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


async def test_copies_of_a_feed_without_a_web_api_are_rechecked_conditionally(
    swept: System, mls_with_api: Sandbox
) -> None:
    record = next(iter(mls_with_api.properties()))
    key = str(record["ListingKey"])
    await swept.publish_listings(record, feed="plain")

    async def all_downloaded() -> list[dict[str, Any]] | None:
        images = await swept.images(key, feed="plain")
        return images if [image["status"] for image in images] == ["downloaded"] * 2 else None

    before = await until(all_downloaded, "two photos")
    mls_with_api.image_log.clear()

    async def both_are_due() -> bool:
        return bool((await sweep(swept, feed="plain"))["published"] == 2)

    await until(both_are_due, "both to be rechecked")  # a check by schedule may run at this moment

    async def both_requested() -> bool:
        return len({request.photo for request in mls_with_api.image_log}) == 2

    await until(both_requested, "two conditional requests")
    assert {request.status for request in mls_with_api.image_log} == {304}
    assert await until(all_downloaded, "two photos") == before


async def test_a_sweep_of_a_failing_mls_is_reported_and_changes_nothing(swept: System, mls_with_api: Sandbox) -> None:
    mls_with_api.misbehave(on="odata", kind="status", status=401)
    code, output = await swept.run("imagectl", "sweep", "freshness", "--feed", "sandbox")
    mls_with_api.behave()
    assert (code, "nothing is concluded: refused: the MLS answered 401" in output) == (1, True), output


async def test_a_sweep_without_a_web_api_says_what_to_do(whole: System) -> None:
    code, output = await whole.run("imagectl", "sweep", "freshness")
    assert (code, "give a feed in" in output, "a reso_url, or recheck_days" in output) == (1, True, True)
    code, output = await whole.run("imagectl", "sweep", "freshness", "--feed", "nobody")
    assert (code, "there is no feed 'nobody'" in output) == (1, True)
