"""The web application of the example site: one page with a feed's listings, whose pictures come from the resolver."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web

_PAGE = Path(__file__).with_name("gallery.html")
Listing = dict[str, object]
"""What the page shows of a listing: `key`, `title`, `place` and `price`."""


def application(resolver: str, feed: str, read_listings: Callable[[], Awaitable[Sequence[Listing]]]) -> web.Application:
    """Return the application of the example site.

    `resolver` is the resolver's address. `read_listings` is called at each request for the page, and returns the
    listings of the feed that the page shows.
    """

    async def page(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(_PAGE.read_text, encoding="utf-8")
        source = {"resolver": resolver, "feed": feed, "listings": list(await read_listings())}
        # A "</script>" in the data would end the script element that contains it.
        data = json.dumps(source).replace("<", "\\u003c")
        return web.Response(text=text.replace("__DATA__", data), content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", page)])
    return app


def serve(app: web.Application, port: int) -> None:
    """Serve the application on this machine until interrupted."""
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, loop=asyncio.new_event_loop())
