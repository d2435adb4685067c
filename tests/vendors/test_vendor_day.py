"""From a fresh checkout to a gallery of each vendor's listings in three commands, and through a day of changes.

`make test-vendors` runs this for every vendor; `make test` runs a short form for one.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from local.config import saved_settings
from local.sandbox import Sandbox, naming, vendors
from shared.clock import utc_now
from tests.vendor_feeds import secrets_of, target_of
from tests.vendors.fresh import Checkout

VENDORS = [name for name in vendors.NAMES if name != "generic"]
IN_CI = "ddf"
LISTINGS, PHOTOS = 8, 3
_SECONDS = 420.0


class MlsClock:
    """A clock that tests move on."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class Site:
    """A running emulator, the checkout that was connected to it, and a client for its gallery and resolver."""

    mls: Sandbox
    clock: MlsClock
    checkout: Checkout
    http: httpx.AsyncClient
    gallery: str

    @property
    def resolver(self) -> str:
        return f"http://127.0.0.1:{saved_settings(self.checkout.path / '.local')['IMAGES_RESOLVER_PORT']}"

    async def images(self, key: str) -> list[Any]:
        answer = await self.http.get(
            f"{self.resolver}/api/listings/{key}/images", params={"feed": self.mls.vendor.name}
        )
        return list(answer.json()["images"]) if answer.status_code == 200 else []

    def expected(self) -> dict[str, int]:
        """Return how many photos each listing that may be shown has, by the vendor's ListingKey."""
        return {
            str(self.mls.records.bare(listing)["ListingKey"]): len(listing.photos)
            for listing in self.mls.market.listings.values()
            if naming.is_on_market(listing) and not listing.is_opted_out
        }

    async def shown(self) -> dict[str, int]:
        """Return how many downloaded photos each listing of the gallery has."""
        page = (await self.http.get(self.gallery)).text
        keys = re.findall(r'"key": "([^"]+)"', page)
        images = {key: await self.images(key) for key in keys}
        return {key: sum(image["status"] == "downloaded" for image in found) for key, found in images.items() if found}

    async def wait_until_complete(self) -> None:
        """Wait until the gallery shows exactly the photos of the MLS, all downloaded."""
        end = monotonic() + _SECONDS
        while (shown := await self.shown()) != self.expected():
            assert monotonic() < end, f"shown {shown}, expected {self.expected()}, {await self.state()}"
            await asyncio.sleep(1)

    async def state(self) -> str:
        """Return what an operator would look at if something is missing."""
        status = await self.checkout.imagectl("status")
        return f"{self.mls.refused} {self.mls.meter.refused} {self.mls.requests.total()}\n{status}"


@asynccontextmanager
async def connected(vendor: str, path: Path) -> AsyncIterator[Site]:
    """Connect a fresh checkout to a vendor's emulator in three commands, and stop everything at the end."""
    clock = MlsClock()
    mls = Sandbox(listings=LISTINGS, photos=PHOTOS, widest=240, cache=path / "pictures", vendor=vendor, clock=clock)
    async with mls, httpx.AsyncClient(trust_env=False, timeout=30) as http:
        target = target_of(mls)
        checkout = Checkout(path / "checkout", secrets_of(mls))
        condition = ["--filter", target.filter] if target.filter else []
        try:
            await checkout.run("make", "install")
            await checkout.imagectl("connect", mls.web_api, "--profile", vendor, *condition, "--yes", "--start")
            printed = await checkout.run("make", "gallery")
            # Where make calls make, its last line names a directory.
            yield Site(mls, clock, checkout, http, re.findall(r"http://\S+", printed)[-1])
        finally:
            await checkout.run("make", "down")


async def change_photo(site: Site) -> None:
    """Give a photo another picture, and check that the site shows the new one after a sweep."""
    listing = next(iter(site.mls.market.listings.values()))
    key = str(site.mls.records.bare(listing)["ListingKey"])
    before = [image["url"] for image in await site.images(key)]
    site.mls.change_photo(listing.key, 1)
    await site.checkout.imagectl("sweep", "freshness")
    end = monotonic() + _SECONDS
    while True:
        after = await site.images(key)
        urls = [image["url"] for image in after]
        if len(after) == len(before) and urls[1] != before[1] and all(one["status"] == "downloaded" for one in after):
            return
        assert monotonic() < end, f"{before} {after} {await site.state()}"
        await asyncio.sleep(1)


async def change_much(site: Site) -> None:
    """Change listings in every way that an MLS does, and check that the site shows the result after a sweep."""
    keys = list(site.mls.market.listings)
    site.mls.withdraw_photo(keys[1])
    site.mls.reorder(keys[2])
    site.mls.withdraw(keys[3])
    site.mls.touch(keys[4])
    site.mls.rename(keys[5], "Hall")
    site.mls.expire_tokens()
    await site.checkout.imagectl("sweep", "freshness")
    await site.wait_until_complete()
    site.clock.ahead = timedelta(hours=1, minutes=1)  # MLS Grid gives no picture twice within an hour
    site.mls.reactivate(keys[3])
    site.mls.withdraw(keys[6])
    await site.checkout.imagectl("sweep", "freshness")
    await site.wait_until_complete()


def assert_rules_were_kept(mls: Sandbox) -> None:
    """Check that no quota was exceeded, and that no URL was used twice, too late or without what the vendor wants."""
    assert mls.meter.refused == {}
    refused: Mapping[str, int] = mls.refused
    assert not {"used", "expired", "agent", "authorization", "gzip", "quota"} & refused.keys(), refused


@pytest.mark.slow
@pytest.mark.parametrize(
    "vendor",
    [pytest.param(name, marks=[pytest.mark.servers if name == IN_CI else pytest.mark.vendors]) for name in VENDORS],
)
@pytest.mark.timeout(1_800)
async def test_three_commands_lead_to_a_gallery_that_follows_the_mls(vendor: str, tmp_path: Path) -> None:
    async with connected(vendor, tmp_path) as site:
        await site.wait_until_complete()
        await change_photo(site)
        if vendor != IN_CI:
            await change_much(site)
        assert_rules_were_kept(site.mls)
        table = (site.checkout.path / "feeds.toml").read_text()
        secrets = secrets_of(site.mls).values()
        assert not [secret for secret in secrets if secret in table]
        assert (site.checkout.path / ".env").stat().st_mode & 0o777 == 0o600
