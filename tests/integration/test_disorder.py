"""Real services on real servers, with events doubled, late, lost and broken, and processes killed in between."""

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
"""A scheduler that dies right between marking and saying so costs a lease of two minutes."""


@pytest.mark.timeout(240)
async def test_all_is_well_in_the_end_whatever_came_in_between(namespace: Namespace, tmp_path: Path) -> None:
    chance = random.Random(23)
    async with (
        Sandbox(listings=LISTINGS, photos=PHOTOS, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(max_attempts=30, requests_per_second=PER_SECOND), tmp_path) as whole,
    ):
        await mls.draw_ahead()
        mls.misbehave(kind="status", status=500, share=0.1)
        mls.misbehave(kind="html", share=0.1)
        said = disordered([*mls.properties(), *(change(mls, chance) for _ in range(CHANGES))], chance)
        ever: set[str] = set()
        for number, killed in enumerate(KILLED):
            await publish(whole, said[number :: len(KILLED)], chance)
            ever |= await urls_of(whole, mls)
            await whole.stop(killed, signal.SIGKILL)
            await whole.start(killed)
        mls.behave()
        await whole.publish_listings(*mls.properties())
        await at_rest(whole, mls)

        shown = await urls_of(whole, mls)
        assert all([await whole.is_open(url) for url in shown])
        for listing in mls.market.listings.values():
            for image in await whole.images(listing.key, context="search"):
                assert mls.host not in json.dumps(image)
        removed = {
            url
            for key in mls.market.listings
            for one in await whole.events("image-removed", key)
            for url in one["urls"]
        }
        assert not any([await whole.is_open(url) for url in removed - shown])
        assert not [url for url in ever - shown - removed if not await whole.is_open(url)], "gone without a word"
        dead = await whole.records("dead-letter")
        assert len(dead) >= 2 * len(GARBAGE), "scheduler and janitor say what they cannot read"
        for name in ("scheduler", "downloader", "resolver", "janitor"):
            assert mls.host not in whole.log(name).replace(f"{mls.host} answered", ""), name
            assert "Traceback" not in whole.log(name), whole.log(name)[-3000:]

        assert most_within(WATCHED_SECONDS, [one.at for one in mls.image_log]) <= PER_SECOND * (WATCHED_SECONDS + 1)
        asked = mls.image_requests
        await whole.publish_listings(*mls.properties(), *mls.properties())
        await whole.wait_until_read()
        await at_rest(whole, mls)
        assert mls.image_requests == asked, "what is known already is not fetched again"


def change(mls: Sandbox, chance: random.Random) -> Mapping[str, Any]:
    """Let something happen to one listing; return its record as it is then."""
    key = chance.choice(list(mls.market.listings))
    happening = chance.choice(
        ["change_photo", "reorder", "withdraw_photo", "withdraw", "reactivate", "opt_out", "touch"]
    )
    if happening == "withdraw_photo" and len(mls.market.listing(key).photos) == 1:
        happening = "touch"
    record: Mapping[str, Any] = getattr(mls.market, happening)(key)
    return record


def disordered(records: Sequence[Mapping[str, Any]], chance: random.Random) -> list[Mapping[str, Any]]:
    """Lose some of the records, double others, and let each arrive up to ten places too late or too early."""
    kept = [record for record in records if chance.random() < 0.8]
    doubled = [*enumerate(kept), *((place + chance.randrange(20), kept[place]) for place in range(0, len(kept), 3))]
    return [record for _, record in sorted(doubled, key=lambda one: one[0] + chance.uniform(-10, 10))]


def most_within(seconds: float, times: Sequence[float]) -> int:
    """The most that lie within so many seconds. The MLS notes when it has answered, a little after it was asked."""
    ordered = sorted(times)
    return max(bisect_right(ordered, begin + seconds) - place for place, begin in enumerate(ordered))


async def publish(whole: System, records: Sequence[Mapping[str, Any]], chance: random.Random) -> None:
    """Publish them, with garbage in between."""
    for value in GARBAGE:
        await whole.send("listing-seen", value, key=b"garbage")
        await whole.send(chance.choice(["image-outdated", "image-outdated.viewed"]), value, key=b"garbage")
    await whole.publish_listings(*records)


async def urls_of(whole: System, mls: Sandbox) -> set[str]:
    """Every public URL that is shown at the moment."""
    images = [image for key in mls.market.listings for image in await whole.images(key, context="search")]
    return {variant["url"] for image in images for variant in image["variants"]}


async def at_rest(whole: System, mls: Sandbox, seconds: float = MAX_WAIT_SECONDS) -> None:
    """Wait until every listing is shown as the MLS has it, or not at all."""

    async def is_as_at_the_mls() -> bool:
        for listing in mls.market.listings.values():
            is_displayed = listing.status != "Expired" and not listing.is_opted_out
            images = await whole.images(listing.key, context="search")
            if len(images) != len(listing.photos) * is_displayed or {one["status"] for one in images} - {"downloaded"}:
                return False
        return True

    await until(is_as_at_the_mls, "all to be as at the MLS", seconds)
