"""The demo's gallery on small and large screens: files of the right size, no layout shift, no overflow."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from local import ports
from local.config import PROJECT
from local.sandbox import Sandbox
from tests.e2e.site import layout_shift, looking_at
from tests.system import System, until

MAX_WAIT_MS = 40_000
PRICES = (500_000, 1_249_000, None, 899_900)
CARD = "article listing-photos li:first-child"


@dataclass(frozen=True)
class Screen:
    """A browser's window in CSS pixels, and its device pixels for each CSS pixel."""

    width: int
    height: int
    density: float


SCREENS = {"phone": Screen(390, 844, 3), "tablet": Screen(820, 1180, 2), "desktop": Screen(1440, 900, 1)}


@pytest.fixture(scope="module")
async def titles(whole: System, mls: Sandbox, _keys: Iterator[str]) -> Mapping[str, str]:
    """The titles of four listings by ListingKey; their photos are downloaded."""
    keys = [next(_keys) for _ in PRICES]
    for key in keys:
        await whole.publish_listings(mls.market.property(mls.market.listing(key)))
    for key in keys:
        await whole.wait_until_downloaded(key, 4)
    return {key: f"{12 + number} <Main> St" for number, key in enumerate(keys)}


@pytest.fixture(scope="module")
async def gallery(
    whole: System, titles: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """Yield the URL of the demo's site."""
    listings, port = tmp_path_factory.mktemp("gallery") / "listings.json", ports.choose(set())
    entries = [
        {"key": key, "title": title, "place": "Guelph", "price": price}
        for (key, title), price in zip(titles.items(), PRICES, strict=True)
    ]
    listings.write_text(json.dumps(entries))
    command = ["-m", "local.site", "--port", str(port), "--resolver", whole.url("resolver"), "--feed", "sandbox"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, "--listings", str(listings), cwd=PROJECT)
    try:
        await until(lambda: asyncio.to_thread(lambda: ports.http_status(port, "/") == 200), "the example site")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def check_layout(page: Page, screen: Screen) -> None:
    """Assert that nothing has moved, and that the page is no wider than the screen."""
    assert await layout_shift(page) < 0.01
    assert await page.evaluate("document.documentElement.scrollWidth") <= screen.width


async def check_file(img: Locator, image: Mapping[str, Any]) -> None:
    """Assert that an `<img>` has loaded the smallest of the photo's files with a pixel for each device pixel."""
    await expect(img).to_have_class("here", timeout=MAX_WAIT_MS)
    await expect(img).to_have_attribute("alt", image["alt"])
    pixels, chosen = await img.evaluate("img => [img.clientWidth * devicePixelRatio, img.currentSrc]")
    files = {variant["width"]: variant["url"] for variant in image["variants"]}
    assert chosen == files[min(width for width in files if width >= pixels)], pixels


@pytest.mark.parametrize("name", SCREENS)
async def test_the_gallery_fits_the_screen_and_loads_photos_of_its_size(
    browser: Browser, whole: System, gallery: str, titles: Mapping[str, str], tmp_path: Path, name: str
) -> None:
    screen = SCREENS[name]
    images = {key: await whole.images(key) for key in titles}
    async with looking_at(browser, gallery, screen.width, screen.height, screen.density) as page:
        await expect(page.locator(CARD)).to_have_count(len(titles), timeout=MAX_WAIT_MS)
        for card, images_of_card in zip(await page.locator(f"{CARD} img").all(), images.values(), strict=True):
            await card.scroll_into_view_if_needed()
            await check_file(card, images_of_card[0])
        await page.evaluate("scrollTo(0, 0)")
        await check_layout(page, screen)
        await page.screenshot(path=tmp_path / f"{name}.png", animations="disabled")
        key = next(iter(titles))
        await page.get_by_role("button", name=f"Photos of {titles[key]}").click()
        await expect(page.locator("dialog [part=thumbnail] img.here")).to_have_count(4, timeout=MAX_WAIT_MS)
        photos = page.locator("dialog li img")
        await check_file(photos.first, images[key][0])
        assert await photos.evaluate_all("all => all.map(img => img.alt)") == [image["alt"] for image in images[key]]
        await check_layout(page, screen)
        await page.screenshot(path=tmp_path / f"{name}-listing.png", animations="disabled")
