"""The `<img>` of docs/frontend.md, written from one answer, in a browser: nothing moves when its photo is loaded."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Browser, Route

from local import ports
from local.config import PROJECT
from local.sandbox import Sandbox
from shared.health import serving
from tests.e2e.site import layout_shift, looking_at
from tests.system import System

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">
<style>main { width: 40rem; max-width: 92vw } img { width: 100%; height: auto }</style>
<main><p>Above</p><span id="photo"></span><p>BELOW</p></main></html>""".replace("BELOW", "Below. " * 400)
_WRITE = """({image, attributes}) => {
  const img = new Image();
  for (const [name, expression] of Object.entries(attributes)) {
    const value = new Function("image", `return ${expression}`)(image);
    if (value !== undefined) img.setAttribute(name, value);
  }
  document.querySelector("#photo").replaceWith(img);
}"""
_RENDERED = """() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"""


def documented() -> dict[str, str]:
    """Return the attributes of the documented `<img>`, each with its JavaScript expression."""
    text = (PROJECT / "docs" / "frontend.md").read_text()
    (tag,) = re.findall(r"```jsx\n<img (.+?) />\n```", text, re.DOTALL)
    return {
        name.lower(): value.removeprefix("{").removesuffix("}")
        for name, value in re.findall(r'(\w+)=(\{[^}]+\}|"[^"]*")', tag)
    }


async def shift_of(browser: Browser, image: Mapping[str, Any], attributes: Mapping[str, str], width: int) -> float:
    """Write an `<img>` into a page that is shown already; return the layout shift when its photo is loaded."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    may_load = asyncio.Event()

    async def load_late(route: Route) -> None:
        await may_load.wait()
        await route.continue_()

    app, port = web.Application(), ports.choose(set())
    app.add_routes([web.get("/", answer)])
    async with serving(app, "127.0.0.1", port), looking_at(browser, f"http://127.0.0.1:{port}/", width) as page:
        await page.route("**/*.webp", load_late)
        await page.evaluate(_WRITE, {"image": image, "attributes": attributes})
        await page.evaluate(_RENDERED)
        await page.evaluate("self.shifted = 0")
        may_load.set()
        img = page.locator("img")
        await img.evaluate("img => img.decode()")
        await page.evaluate(_RENDERED)
        assert await img.evaluate("img => [img.naturalWidth > 0, img.alt]") == [True, image["alt"]]
        assert await img.evaluate("img => img.currentSrc") in [variant["url"] for variant in image["variants"]]
        return await layout_shift(page)


@pytest.mark.parametrize("width", [390, 1280])
async def test_an_img_written_from_an_answer_causes_no_layout_shift(
    browser: Browser, whole: System, mls: Sandbox, key: str, width: int
) -> None:
    await whole.publish_listings(mls.market.property(mls.market.listing(key)))
    image, attributes = (await whole.wait_until_downloaded(key, 4))[0], documented()
    assert await shift_of(browser, image, attributes, width) == 0
    without_size = {name: value for name, value in attributes.items() if name not in {"width", "height"}}
    assert await shift_of(browser, image, without_size, width) > 0.01, "the measurement finds a shift"
