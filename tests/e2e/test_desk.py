"""The desk in a browser, as an operator uses it, on the running system."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from local.sandbox import Sandbox
from tests.servers import DESK_TOKEN
from tests.system import System

PATIENCE_MS = 40_000
PHONE = {"width": 390, "height": 844}


@pytest.fixture
async def page(browser: Browser, whole: System) -> AsyncIterator[Page]:
    """The overview, signed in; what the browser complains of fails the test."""
    complaints: list[str] = []
    found = await browser.new_page(base_url=whole.url("desk"))
    found.set_default_timeout(PATIENCE_MS)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    await found.goto("/")
    await found.get_by_label("Token").fill(DESK_TOKEN)
    await found.keyboard.press("Enter")
    await expect(found.get_by_role("heading", name="Overview")).to_be_visible(timeout=PATIENCE_MS)
    yield found
    await found.close()
    assert complaints == []


async def test_why_has_this_listing_no_photos_is_answered_in_two_clicks_and_put_right(
    page: Page,
    whole: System,
    mls: Sandbox,
    key: str,
) -> None:
    mls.misbehave(kind="status", status=404, listing=key)
    await whole.see(mls.market.property(mls.market.listing(key)))
    await whole.caught_up()
    await expect(page.locator("#reason-gone")).to_be_visible(timeout=PATIENCE_MS)  # the numbers refresh by themselves

    await page.get_by_role("searchbox").fill(key)
    await page.get_by_role("button", name="Find").click()
    verdict = page.get_by_label("Why it is as it is")
    await expect(verdict).to_contain_text("None of its 4 photos is here", timeout=PATIENCE_MS)
    await expect(verdict).to_contain_text("the photo does not exist (404, 410)", timeout=PATIENCE_MS)

    mls.behave()
    await page.get_by_role("link", name="Fetch again…").click()
    await page.get_by_role("button", name="Fetch again").click()
    await expect(page.get_by_role("status")).to_contain_text("4 photos of listing", timeout=PATIENCE_MS)
    await whole.downloaded(key, 4)
    await page.reload()
    await expect(verdict).to_contain_text("All 4 photos are here", timeout=PATIENCE_MS)
    picture = page.locator("ul.photos img").first
    await picture.scroll_into_view_if_needed()
    assert await picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")


async def test_it_fits_a_phone_in_the_dark_and_obeys_the_keyboard(page: Page) -> None:
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await page.emulate_media(color_scheme="dark")
    for path in ("/", "/listings", "/photos", "/queue", "/dead-letters", "/removals"):
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], path
        assert len(await page.screenshot()) > 5_000
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, dark.removeprefix("rgb(").removesuffix(")").split(","))) < 200, dark
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
