"""The image host of a dump, at the port that its recorded URLs name."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests import pictures


@dataclass
class Origin:
    """Answers every path with a photo, or with 304 if the request is conditional.

    `failing` maps paths to the status that they get, with a page of HTML; `statuses` remembers each answer by path.
    Its RESO Web API answers 503.
    """

    failing: dict[str, int] = field(default_factory=dict)
    statuses: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request for a photo or for the Web API."""
        if request.path.startswith("/odata"):
            return web.Response(status=503)
        if status := self.failing.get(request.raw_path):
            response = web.Response(status=status, text="<!doctype html>", content_type="text/html")
        elif "If-None-Match" in request.headers:
            response = web.Response(status=304)
        else:
            photo = pictures.encoded(pictures.corners(), "JPEG")
            response = web.Response(body=photo, content_type="image/jpeg", headers={"ETag": '"new"'})
        self.statuses[request.raw_path].append(response.status)
        return response


@asynccontextmanager
async def serving(origin: Origin, port: int) -> AsyncIterator[None]:
    """Serve the origin on loopback until the block ends."""
    app = web.Application()
    app.router.add_get("/{path:.*}", origin.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
