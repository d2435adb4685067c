"""A minimal listing site with a gallery between two paragraphs, and its layout shift in a browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from aiohttp import web
from playwright.async_api import Browser, Page

NOWHERE = "http://127.0.0.1:9"
"""The address of no server."""
_MEASURE = """
self.shifted = 0;
new PerformanceObserver(list => { for (const entry of list.getEntries()) self.shifted += entry.value; })
  .observe({type: "layout-shift", buffered: true});
"""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>A listing</title>
<link rel="icon" href="data:,"><style nonce="n">
:root {{ color-scheme: light dark }} body {{ max-width: 48rem; margin: 0 auto; padding: 1rem; font-family: system-ui }}
listing-photos {{ display: grid; aspect-ratio: 4 / 3 }}
</style><h1>A listing</h1><p>Above</p>
<listing-photos {attributes} sizes="(max-width: 48rem) 92vw, 46rem"><b slot="empty">Nothing here</b></listing-photos>
<p>Below</p><script type="module" src="{resolver}/assets/listing-photos.js"></script></html>"""


@dataclass
class Site:
    """The site's URL, and the URLs of the resolver and of the pictures that its pages may load."""

    resolver: str
    pictures: str
    url: str = ""

    async def page(self, request: web.Request) -> web.Response:
        """Serve a page whose gallery has the query as attributes. Its policy forbids what the gallery does not need."""
        policy = (
            f"default-src 'none'; script-src {self.resolver}; connect-src {self.resolver} {NOWHERE}; "
            f"img-src {self.pictures} data:; style-src 'nonce-n'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        attributes = " ".join(f'{name}="{escape(value)}"' for name, value in request.query.items())
        return web.Response(
            text=_PAGE.format(attributes=attributes, resolver=self.resolver),
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    def with_gallery(self, **attributes: str) -> str:
        """Return the URL of the page whose gallery has these attributes."""
        return f"{self.url}/?{urlencode(attributes)}"


@asynccontextmanager
async def looking_at(
    browser: Browser, url: str, width: int = 1280, height: int = 900, density: float = 1
) -> AsyncIterator[Page]:
    """Open a page in a window of that size in CSS pixels, with `density` device pixels per CSS pixel.

    At the end, the page must have had no errors and no violations of its policy.
    """
    context = await browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=density)
    try:
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda entry: errors.append(entry.text) if "Content Security Policy" in entry.text else None)
        await page.add_init_script(_MEASURE)
        await page.goto(url)
        yield page
        assert not errors
    finally:
        await context.close()


async def layout_shift(page: Page) -> float:
    """Return the sum of all layout shifts of the page so far."""
    return float(await page.evaluate("self.shifted"))
