"""Test the desk in a browser, as an operator uses it, on a running system."""

from collections.abc import AsyncIterator, Iterator, Mapping
from urllib.parse import urlencode

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from local.sandbox import Sandbox
from tests.servers import DESK_TOKEN
from tests.system import System

PATIENCE_MS = 40_000
NOWHERE = "nowhere-at-all"
MOST_TABS, PARTS_OF_A_DATE = 40, 4
PHONE = {"width": 390, "height": 844}


@pytest.fixture
async def page(browser: Browser, whole: System) -> AsyncIterator[Page]:
    """Yield the desk's overview, signed in. An error that the browser reports fails the test."""
    complaints: list[str] = []
    found = await browser.new_page(base_url=whole.url("desk"))
    found.set_default_timeout(PATIENCE_MS)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda message: complaints.append(message.text) if is_complaint(message) else None)
    await found.goto("/")
    await found.get_by_label("Token").fill(DESK_TOKEN)
    await found.keyboard.press("Enter")
    await expect(found.get_by_role("heading", name="Overview")).to_be_visible(timeout=PATIENCE_MS)
    yield found
    await found.close()
    assert complaints == []


def is_complaint(message: ConsoleMessage) -> bool:
    """Return True if a browser's message is an error, other than the 404 that a test expects."""
    return message.type == "error" and NOWHERE not in message.location["url"]


async def test_an_operator_finds_why_photos_are_missing_in_two_clicks_and_forces_them(
    page: Page,
    whole: System,
    mls: Sandbox,
    key: str,
) -> None:
    mls.misbehave(kind="status", status=404, listing=key)
    await whole.publish_listings(mls.market.property(mls.market.listing(key)))
    await whole.wait_until_read()
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
    await whole.wait_until_downloaded(key, 4)
    await page.reload()
    await expect(verdict).to_contain_text("All 4 photos are here", timeout=PATIENCE_MS)
    picture = page.locator("ul.photos img").first
    await picture.scroll_into_view_if_needed()
    assert await picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")


async def test_the_desk_fits_a_phone_in_dark_mode_and_works_by_keyboard(
    page: Page, whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(mls.market.property(mls.market.listing(key)))
    await whole.wait_until_downloaded(key, 4)
    offset = await dead_letter(page, whole, key)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await page.emulate_media(color_scheme="dark")
    whom = {"feed": "sandbox", "key": key, "offset": offset}
    for path, heading in pages(whom):
        await page.goto(path)
        await expect(page.get_by_role("heading", level=1, name=heading)).to_be_visible(timeout=PATIENCE_MS)
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], path
        assert len(await page.screenshot()) > 5_000
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, dark.removeprefix("rgb(").removesuffix(")").split(","))) < 200, (path, dark)
        if path == "/login":
            assert await page.evaluate("document.activeElement.id") == "token"
            continue
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content", path
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main", path
        await reaches_everything(page, path)


async def dead_letter(page: Page, whole: System, key: str) -> str:
    """Make a dead letter, and return its offset."""
    await whole.send("listing-seen", b"not JSON " + b"x" * 300, key=key.encode())
    link = page.locator('a[href^="/dead-letter?offset="]').first
    for _ in range(PATIENCE_MS // 1_000):
        await page.goto(f"/dead-letters?names={key}")
        if await link.count():
            break
        await page.wait_for_timeout(1_000)
    return (await link.get_attribute("href") or "").rpartition("=")[2]


def pages(whom: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the path and the heading of every page."""
    about = urlencode(whom)
    yield from (
        ("/", "Overview"), ("/listings", "Listings"), (f"/listing?{about}", whom["key"]), ("/photos", "Photos"),
        (f"/search?q={whom['key'][:3]}", "Search"), (f"/search?q={NOWHERE}", "Search"), (f"/{NOWHERE}", "Not Found"),
        ("/queue", "Queue"), ("/dead-letters", "Dead letters"), (f"/dead-letters?names={whom['key']}", "Dead letters"),
        (f"/dead-letter?{about}", "Dead letter"), ("/removals", "Removals"),
        ("/login", "listing-images desk"),
    )  # fmt: skip
    for action, title in (
        ("force", "Fetch a listing"), ("freeze", "Pause a feed"), ("thaw", "Allow a feed"), ("rebuild", "Make a feed"),
        ("requeue", "Send dead letters"), ("drop", "Drop dead letters"), ("remove", "Remove a listing"),
    ):  # fmt: skip
        yield f"/do/{action}?{about}", title


async def reaches_everything(page: Page, path: str) -> None:
    """Press Tab through the content. The focus must reach each link, field and button in order, and be visible."""
    wanted = await page.evaluate(
        """() => {
            const reachable = 'a[href], button, input:not([type=hidden]), select, summary, [tabindex="0"]'
            const all = [...document.querySelectorAll(`main :is(${reachable})`)].filter(one => one.checkVisibility())
            all.forEach((one, place) => one.dataset.place = place)
            return all.length
        }"""
    )
    for place in range(min(wanted, MOST_TABS)):
        for _ in range(PARTS_OF_A_DATE):
            await page.keyboard.press("Tab")
            if (reached := await page.evaluate("document.activeElement.dataset.place")) != str(place - 1):
                break
        assert reached == str(place), path
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", path
