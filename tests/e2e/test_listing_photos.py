"""`<listing-photos>` in a browser, on a site of another origin than the resolver, against a running system."""

import base64
from typing import Any

import pytest
import thash
from playwright.async_api import Browser, Page, expect

from local.sandbox import Sandbox
from tests.e2e.site import NOWHERE, Site, layout_shift, looking_at
from tests.system import System, until

MAX_WAIT_MS = 40_000
GALLERY = "listing-photos"


async def announce(whole: System, mls: Sandbox, key: str, **changes: Any) -> None:
    """Announce a listing of the sandbox, with changes to its property record."""
    await whole.publish_listings({**mls.market.property(mls.market.listing(key)), **changes})


async def expect_state(page: Page, state: str) -> None:
    """Wait until the gallery is in a state."""
    await expect(page.locator(GALLERY)).to_have_attribute("state", state, timeout=MAX_WAIT_MS)


async def expect_thumbnails(page: Page, count: int) -> None:
    """Wait until `count` thumbnails are painted."""
    await expect(page.locator(f"{GALLERY} [part=thumbnail] img.here")).to_have_count(count, timeout=MAX_WAIT_MS)


@pytest.fixture(scope="module")
async def downloaded(whole: System, mls: Sandbox, _keys: Any) -> str:
    """The ListingKey of a listing whose photos are downloaded."""
    key = str(next(_keys))
    await announce(whole, mls, key)
    await whole.wait_until_downloaded(key, 4)
    return key


@pytest.mark.parametrize("width", [390, 1280])
async def test_photos_appear_without_layout_shift(
    browser: Browser, site: Site, whole: System, downloaded: str, width: int
) -> None:
    images = await whole.images(downloaded)
    async with looking_at(browser, site.with_gallery(listing=downloaded, feed="sandbox"), width) as page:
        await expect_state(page, "ready")
        await expect_thumbnails(page, 4)
        first = page.locator(f"{GALLERY} [part=photo]").first
        await expect(first).to_have_attribute("alt", images[0]["alt"])
        assert await first.evaluate("img => [img.width > 300, img.naturalWidth > 0, img.loading]") == [
            True,
            True,
            "eager",
        ]
        assert await first.evaluate("img => img.currentSrc") == images[0]["variants"][1]["url"]
        assert await layout_shift(page) < 0.01
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_keys_move_through_the_photos_and_the_focus_is_visible(
    browser: Browser, site: Site, downloaded: str
) -> None:
    async with looking_at(browser, site.with_gallery(listing=downloaded)) as page:
        await expect_state(page, "ready")
        count = page.locator(f"{GALLERY} [part=count]")
        await page.keyboard.press("Tab")
        ring = "ul => getComputedStyle(ul.parentElement, '::after').borderTopStyle"
        assert await page.locator(f"{GALLERY} ul").evaluate(ring) == "solid"
        for pressed, number in (("ArrowRight", 2), ("End", 4), ("ArrowRight", 1), ("ArrowLeft", 4), ("Home", 1)):
            await page.keyboard.press(pressed)
            await expect(page.locator(f"{GALLERY} li").nth(number - 1)).to_be_in_viewport(ratio=0.99)
            await expect(count).to_contain_text(f"{number} / 4")
        for _ in range(3):  # past the two arrows, to the thumbnail that Tab stops at
            await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowRight")
        assert (
            await page.evaluate("document.querySelector('listing-photos').shadowRoot.activeElement.ariaCurrent")
            == "true"
        )
        await expect(count).to_contain_text("2 / 4")
        await expect(page.locator(f"{GALLERY} li").nth(1)).to_be_in_viewport(ratio=0.99)
        await expect(page.locator(f"{GALLERY} li").nth(1).locator("img")).to_have_class("here")
        assert await layout_shift(page) < 0.01


async def test_a_key_press_overrides_a_pending_scroll_position(browser: Browser, site: Site, downloaded: str) -> None:
    """On a busy machine the browser begins to scroll long after the key was pressed; in this test it never does."""
    async with looking_at(browser, site.with_gallery(listing=downloaded)) as page:
        await expect_state(page, "ready")
        slides = page.locator(f"{GALLERY} ul")
        await slides.evaluate("ul => { ul.scrollTo = () => {}; ul.dispatchEvent(new Event('scroll')); }")
        await page.keyboard.press("Tab")
        await page.keyboard.press("End")
        await page.wait_for_timeout(300)  # 120 ms without scrolling count as rest
        await expect(page.locator(f"{GALLERY} [part=count]")).to_contain_text("4 / 4")


async def test_a_missing_photo_appears_once_it_is_downloaded(
    browser: Browser, site: Site, whole: System, mls: Sandbox, key: str
) -> None:
    mls.misbehave(kind="slow", listing=key, delay_seconds=3)
    await announce(whole, mls, key)
    await until(lambda: whole.images(key, context="search"), f"{key} to be recorded")
    async with looking_at(browser, site.with_gallery(listing=key), 390) as page:
        await expect(page.locator(f"{GALLERY} [part=note]").first).to_have_text("Photo on its way")
        await expect_thumbnails(page, 4)
        await expect(page.locator(f"{GALLERY} [part=note]")).to_have_count(0)
        assert await layout_shift(page) < 0.01


async def test_the_gallery_says_why_it_shows_no_photos(
    browser: Browser, site: Site, whole: System, mls: Sandbox, key: str
) -> None:
    for feed in ("sandbox", "other"):
        await whole.publish_listings(mls.market.property(mls.market.listing(key)), feed=feed)
        await until(lambda feed=feed: whole.images(key, feed=feed, context="search"), f"{key} of {feed}")  # type: ignore[misc]
    async with looking_at(browser, site.with_gallery(listing="no/such ?&#listing")) as page:
        await expect_state(page, "empty")
        await expect(page.get_by_text("Nothing here")).to_be_visible()
        gallery = page.locator(GALLERY)
        await gallery.evaluate("(gallery, key) => gallery.setAttribute('listing', key)", key)
        await expect_state(page, "error")
        await expect(page.get_by_text("Photos cannot be shown right now")).to_be_visible()
        await gallery.evaluate("gallery => gallery.setAttribute('feed', 'other')")
        await expect_state(page, "ready")
        await gallery.evaluate("(gallery, api) => gallery.setAttribute('api', api)", NOWHERE)
        await expect_state(page, "error")
        assert await layout_shift(page) < 0.01


async def test_a_caption_with_markup_is_shown_as_text(
    browser: Browser, site: Site, whole: System, mls: Sandbox, key: str
) -> None:
    hostile = '"><img src=x onerror=self.hit=1><script>self.hit=1</script>'
    await whole.publish_listings(mls.rename(key, hostile, 0))
    await whole.wait_until_downloaded(key, 4)
    async with looking_at(browser, site.with_gallery(listing=key)) as page:
        await expect_thumbnails(page, 4)
        await expect(page.locator(f"{GALLERY} li img").first).to_have_attribute("alt", hostile)
        assert hostile in await page.locator(f"{GALLERY} [part=count]").inner_text()
        assert await page.evaluate("self.hit") is None


def painted(width: int, height: int, opacity: float) -> bytes:
    """Return RGBA pixels: red grows to the right, green downwards; blue fades to the right, and alpha to `opacity`."""
    return bytes(
        value
        for y in range(height)
        for x in range(width)
        for across in [x / width]
        for value in (round(255 * across), y * 200 // height, round(255 - 200 * across), round(255 * opacity**across))
    )


@pytest.mark.parametrize(("width", "height", "opacity"), [(60, 40, 1.0), (30, 60, 1.0), (60, 60, 0.5)])
async def test_a_decoded_thumbhash_has_the_colours_of_its_picture_in_place(
    browser: Browser, site: Site, downloaded: str, width: int, height: int, opacity: float
) -> None:
    picture = painted(width, height, opacity)
    thumbhash = base64.b64encode(bytes(thash.rgba_to_thumb_hash(width, height, picture))).decode()
    async with looking_at(browser, site.with_gallery(listing=downloaded)) as page:
        across, down, pixels = await page.evaluate(
            """async ([module, hash]) => {
              const {width, height, data} = (await import(module)).thumbHashToImageData(hash);
              return [width, height, [...data]];
            }""",
            [f"{site.resolver}/assets/thumbhash.js", thumbhash],
        )
    assert across / down == pytest.approx(width / height, rel=0.15)
    expected = painted(across, down, opacity)
    assert (
        sum(abs(value - expected_value) for value, expected_value in zip(pixels, expected, strict=True)) / len(pixels)
        < 20
    )
