"""The desk does an action when it is confirmed: not before, not by another site's form, and once for two clicks."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.sandbox import Sandbox
from shared.clock import utc_now
from shared.domain.listing import UNTIL_DECIDED, RemovalReason
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.removal_holds import Decision, RemovalHold
from tests import system
from tests.desks import a_browser, asked_for, sign_in
from tests.servers import Namespace
from tests.system import System, until


def record_of(mls: Sandbox, key: str) -> dict[str, Any]:
    return dict(mls.market.property(mls.market.listing(key)))


@pytest.fixture
async def desk(whole: System) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has signed in."""
    async with a_browser(whole) as browser:
        await sign_in(browser)
        yield browser


# Dead letters


async def letters(desk: httpx.AsyncClient, *keys: str) -> list[int]:
    """Return the offsets of the dead letters of these listings."""
    pages = [await desk.get("/dead-letters", params={"names": key}) for key in keys]
    return sorted({int(offset) for page in pages for offset in re.findall(r"/dead-letter\?offset=(\d+)", page.text)})


@pytest.mark.parametrize("is_all", [False, True])
async def test_dead_letters_are_sent_again_once(whole: System, desk: httpx.AsyncClient, key: str, is_all: bool) -> None:
    keys = [key, f"{key}-other"] if is_all else [key]
    for listing_key in keys:
        await whole.send("listing-seen", unknown_feed(listing_key), key=listing_key.encode())

    async def are_there() -> list[int]:
        found = await letters(desk, *keys)
        return found if len(found) == 2 * len(keys) else []

    first = await until(are_there, "a dead letter of each reader")
    about = {"offset": str(first[-1]), "all": "yes" if is_all else ""}
    again = await asked_for(desk, "requeue", **about)
    assert f"{'2 records' if is_all else '1 record'} would be sent again" in again.text
    await again.is_refused_without_its_token()
    assert await sent(whole, keys) == len(keys)
    assert await letters(desk, *keys) == first

    done = await again.click_twice()
    assert f"Sent again: {'2 records' if is_all else '1 record'}." in done
    assert "Sent again: 0 records." in done
    assert await sent(whole, keys) == 2 * len(keys)

    async def are_refused_again() -> list[int]:
        found = await letters(desk, *keys)
        return found if len(found) == 2 * len(keys) and not set(found) & set(first) else []

    last = await until(are_refused_again, "both readers to refuse it once more, for nothing was repaired")
    assert "Sent again: 0 records." in await again.click()
    assert await sent(whole, keys) == 2 * len(keys), "a click is about what was there when it was shown"
    for offset in last:
        await (await asked_for(desk, "drop", offset=str(offset))).click()
    assert await letters(desk, *keys) == []


def unknown_feed(key: str) -> bytes:
    return json.dumps(
        {"type": "listing-seen.v1", "data": {"feed": "unheard-of", "property": {"ListingKey": key}}}
    ).encode()


async def sent(whole: System, keys: list[str]) -> int:
    """Return the number of records of these listings; each must equal the record that was sent first."""
    records = [record for record in await whole.records("listing-seen") if record.key and record.key.decode() in keys]
    assert all(record.value == unknown_feed(record.key.decode()) for record in records)
    return len(records)


# Variants


async def test_variants_are_made_anew_once(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=1, photos=3, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path, variants="full=300:webp:80") as whole,
    ):
        (record,) = mls.properties()
        key = str(record["ListingKey"])
        await whole.publish_listings(record)
        before, requests_before = await whole.wait_until_downloaded(key, 3), mls.image_requests
        for name in ("downloader", "resolver", "desk"):
            await whole.stop(name)
        whole.env["IMAGES_VARIANTS"] = "full=200:jpeg:80"
        await whole.start("downloader", "resolver", "desk")
        async with a_browser(whole) as desk:
            await sign_in(desk)
            anew = await asked_for(desk, "rebuild", feed="sandbox")
            assert "the MLS is not asked" in anew.text
            await anew.is_refused_without_its_token()
            await whole.wait_until_read()
            assert await whole.images(key) == before
            assert "sandbox is being looked at" in await anew.click_twice()

            async def made_anew() -> bool:
                return all(image["width"] == 200 for image in await whole.images(key))

            await until(made_anew, "the new variants")
            await anew.click()
            await until(lambda: has_looked(whole, 2), "the last look to end")
            assert sum(looks(whole)) == 3, "photos made anew, by all looks together"
        attempts = [event["image_id"] for event in await whole.events("image-downloaded", key)]
        assert sorted(attempts) == sorted([image["id"] for image in before] * 2), "each made once, and once anew"
        assert mls.image_requests == requests_before


def looks(whole: System) -> list[int]:
    """Return the `photos` field of each `desk-rebuilt` line in the desk's log."""
    lines = [json.loads(line) for line in whole.log("desk").splitlines() if '"desk-rebuilt"' in line]
    return [line["photos"] for line in lines]


async def has_looked(whole: System, times: int) -> bool:
    return len(looks(whole)) >= times


# Removals that wait for a decision


@pytest.mark.parametrize("decision", Decision)
async def test_frozen_removals_are_decided_once(
    whole: System, mls: Sandbox, desk: httpx.AsyncClient, key: str, decision: Decision
) -> None:
    await whole.publish_listings(record_of(mls, key), feed="other")
    images = await whole.wait_until_downloaded(key, 4)
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:
        removal_holds, listings = mongo.MongoRemovalHolds(database), mongo.MongoListings(database, Renderer(""))

        async def held_until() -> datetime | None:
            listing = await listings.get("other", key)
            return listing.hidden.held_until if listing and listing.hidden else None

        async def decided() -> Decision | None:
            (freeze,) = [hold for hold in await removal_holds.all() if hold.feed == "other"]
            return freeze.decision

        now = utc_now()
        assert await removal_holds.begin(
            RemovalHold(
                feed="other", reason=RemovalReason.LISTING_INACTIVE, at=now, since=now - timedelta(hours=1),
                hidden=60, displayed=20,
            )
        )  # fmt: skip
        await whole.publish_listings(mls.withdraw(key), feed="other")
        await until(lambda: is_equal(held_until, UNTIL_DECIDED), "its removal to be held")

        page = await asked_for(desk, decision.value, feed="other")
        assert "Removals of other are held: 60 of 80 listings turned hidden" in page.text
        await page.is_refused_without_its_token()
        assert await decided() is None
        assert all([await whole.is_open(image["url"]) for image in images])

        done = await page.click_twice()
        assert await decided() is decision
        assert done.count("No removals of other are held; nothing was decided.") == 1
        assert (await desk.get(f"/do/{decision}", params={"feed": "other"})).status_code == 409
        if decision is Decision.RESUME:
            assert "Every copy of those listings is removed now." in done
            await until(lambda: is_gone(whole, key, 4), "all removals")
            assert not any([await whole.is_open(image["url"]) for image in images])
        else:
            assert "Their copies are kept, hidden, until the feed shows the listings again" in done
            await until(lambda: is_between(held_until, now, UNTIL_DECIDED), "it to be held for some days alone")
            await whole.publish_listings(mls.market.reactivate(key), feed="other")
            shown = await until(lambda: whole.images(key), "the listing to be shown again")
            assert [image["url"] for image in shown] == [image["url"] for image in images]
            assert all([await whole.is_open(image["url"]) for image in images])
            assert await whole.events("image-removed", key) == []


async def is_equal(look: Callable[[], Awaitable[object]], wanted: object) -> bool:
    return bool(await look() == wanted)


async def is_between(look: Callable[[], Awaitable[datetime | None]], low: datetime, high: datetime) -> bool:
    found = await look()
    return bool(found and low < found < high)


async def is_gone(whole: System, key: str, photos: int) -> bool:
    """Return True if `image-removed` was published for all photos of the listing, once for each."""
    removed = [event["image_id"] for event in await whole.events("image-removed", key)]
    assert len(removed) == len(set(removed)) <= photos
    return len(removed) == photos
