"""Test the services with events that are doubled, late, lost or invalid, and with killed processes."""

import json
import random
import signal
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from local.sandbox import Sandbox
from tests import system
from tests.servers import Namespace
from tests.system import System, until

LISTINGS, PHOTOS, CHANGES = 10, 3, 40
KILLED = ("downloader", "scheduler", "janitor", "downloader")
GARBAGE = (None, b"no event", b'{"type":"listing-seen.v1","data":{"feed":"unheard-of","property":{"ListingKey":"X"}}}')
PER_SECOND, WATCHED_SECONDS = 2, 5
MAX_WAIT_SECONDS = 150.0
"""If the scheduler dies between `released_at` and its event, the photo is due again when a lease of 2 minutes ends."""


@pytest.mark.timeout(240)
async def test_answers_match_the_mls_after_disordered_events_and_killed_processes(
    namespace: Namespace, tmp_path: Path
) -> None:
    chance = random.Random(23)
    async with (
        Sandbox(listings=LISTINGS, photos=PHOTOS, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(max_attempts=30, requests_per_second=PER_SECOND), tmp_path) as whole,
    ):
        await mls.draw_ahead()
        mls.misbehave(kind="status", status=500, share=0.1)
        mls.misbehave(kind="html", share=0.1)
        records = disordered([*mls.properties(), *(change(mls, chance) for _ in range(CHANGES))], chance)
        ever: set[str] = set()
        for number, killed in enumerate(KILLED):
            await publish(whole, records[number :: len(KILLED)], chance)
            ever |= await urls_of(whole, mls)
            await whole.stop(killed, signal.SIGKILL)
            await whole.start(killed)
        mls.behave()
        await whole.publish_listings(*mls.properties())
        await matches_mls(whole, mls)

        shown = await urls_of(whole, mls)
        assert all([await whole.is_open(url) for url in shown])
        for listing in mls.market.listings.values():
            for image in await whole.images(listing.key, context="search"):
                assert mls.host not in json.dumps(image)
        removed = {
            url
            for key in mls.market.listings
            for event in await whole.events("image-removed", key)
            for url in event["urls"]
        }
        assert not any([await whole.is_open(url) for url in removed - shown])
        assert not [url for url in ever - shown - removed if not await whole.is_open(url)], (
            "every URL that stopped working is in an image-removed event"
        )
        dead = await whole.records("dead-letter")
        assert len(dead) >= 2 * len(GARBAGE), "scheduler and janitor copy invalid records to dead-letter"
        for name in ("scheduler", "downloader", "resolver", "janitor"):
            assert mls.host not in whole.log(name).replace(f"{mls.host} answered", ""), name
            assert "Traceback" not in whole.log(name), whole.log(name)[-3000:]

        assert max_within(WATCHED_SECONDS, [request.at for request in mls.image_log]) <= PER_SECOND * (
            WATCHED_SECONDS + 1
        )
        requests = mls.image_requests
        await whole.publish_listings(*mls.properties(), *mls.properties())
        await whole.wait_until_read()
        await matches_mls(whole, mls)
        assert mls.image_requests == requests, "downloaded photos are not fetched again"


def change(mls: Sandbox, chance: random.Random) -> Mapping[str, Any]:
    """Change a listing at random, and return its record after the change."""
    key = chance.choice(list(mls.market.listings))
    change_name = chance.choice(
        ["change_photo", "reorder", "withdraw_photo", "withdraw", "reactivate", "opt_out", "touch"]
    )
    if change_name == "withdraw_photo" and len(mls.market.listing(key).photos) == 1:
        change_name = "touch"
    record: Mapping[str, Any] = getattr(mls.market, change_name)(key)
    return record


def disordered(records: Sequence[Mapping[str, Any]], chance: random.Random) -> list[Mapping[str, Any]]:
    """Return the records with some lost, some doubled, and each moved by up to ten positions."""
    remaining = [record for record in records if chance.random() < 0.8]
    doubled = [
        *enumerate(remaining),
        *((place + chance.randrange(20), remaining[place]) for place in range(0, len(remaining), 3)),
    ]
    return [record for _, record in sorted(doubled, key=lambda placed: placed[0] + chance.uniform(-10, 10))]


def max_within(seconds: float, times: Sequence[float]) -> int:
    """Return the largest number of times within any `seconds`. The MLS logs the time of its answers."""
    ordered = sorted(times)
    return max(bisect_right(ordered, begin + seconds) - place for place, begin in enumerate(ordered))


async def publish(whole: System, records: Sequence[Mapping[str, Any]], chance: random.Random) -> None:
    """Publish the records, with invalid records before them."""
    for value in GARBAGE:
        await whole.send("listing-seen", value, key=b"garbage")
        await whole.send(chance.choice(["image-outdated", "image-outdated.viewed"]), value, key=b"garbage")
    await whole.publish_listings(*records)


async def urls_of(whole: System, mls: Sandbox) -> set[str]:
    """Return all public URLs in the resolver's answers."""
    images = [image for key in mls.market.listings for image in await whole.images(key, context="search")]
    return {variant["url"] for image in images for variant in image["variants"]}


async def matches_mls(whole: System, mls: Sandbox, seconds: float = MAX_WAIT_SECONDS) -> None:
    """Wait until each listing has all its photos in the answers if the MLS displays it, else none."""

    async def is_as_at_the_mls() -> bool:
        for listing in mls.market.listings.values():
            is_displayed = listing.status != "Expired" and not listing.is_opted_out
            images = await whole.images(listing.key, context="search")
            if len(images) != len(listing.photos) * is_displayed or {image["status"] for image in images} - {
                "downloaded"
            }:
                return False
        return True

    await until(is_as_at_the_mls, "all answers to match the MLS", seconds)
