"""Serve the example site: `python -m local.site --port 8060 --resolver http://127.0.0.1:8080 --listings FILE`."""

import argparse
import asyncio
import json
from pathlib import Path

from aiohttp import web

_PAGE = Path(__file__).with_name("gallery.html")


def main() -> None:
    """Serve the example site with the command line's options until interrupted."""
    options = _arguments()
    app = web.Application()
    app.add_routes([web.get("/", _Gallery(options.resolver, options.feed, options.listings))])
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, loop=asyncio.new_event_loop())


class _Gallery:
    """The handler of the site's only page.

    The page holds the listings; its script asks the resolver for their pictures. `resolver` is the resolver's address;
    `listings` is a JSON file, read again at each request.
    """

    def __init__(self, resolver: str, feed: str, listings: Path) -> None:
        self._source = {"resolver": resolver, "feed": feed}
        self._listings = listings

    async def __call__(self, _: web.Request) -> web.Response:
        listings = json.loads(await asyncio.to_thread(self._listings.read_text, encoding="utf-8"))
        page = await asyncio.to_thread(_PAGE.read_text, encoding="utf-8")
        # A "</script>" in the data would end the script element that contains it.
        data = json.dumps(self._source | {"listings": listings}).replace("<", "\\u003c")
        return web.Response(text=page.replace("__DATA__", data), content_type="text/html")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.site", description="Serves an example of a listing site.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--resolver", required=True, help="where the resolver answers, such as http://127.0.0.1:8080")
    parser.add_argument("--feed", required=True, help="the feed that the listings belong to")
    parser.add_argument("--listings", type=Path, required=True, help="JSON: a list of {key, title, place, price}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
