"""What goes wrong at the MLS? Slow, refused and broken answers that tests and the demo ask for."""

import asyncio
from contextlib import suppress
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

_PAGE = b"<!doctype html><title>Sorry</title><h1>The service is not available</h1>"


class Trouble(BaseModel):
    """One way to answer wrongly. Without `count` it lasts until `behave()`."""

    model_config = ConfigDict(extra="forbid")

    on: Literal["images", "odata"] = "images"
    kind: Literal["status", "html", "truncated", "empty", "slow"] = "status"
    """A status; 200 with a page of HTML; a body that ends half-way; 200 without a body; right, but late.

    Whoever waits for an answer has it as soon as all behaves again.
    """
    status: int = Field(default=503, ge=400, le=599)
    listing: str | None = None
    """Of this listing only (images); else of all."""
    delay_seconds: float = Field(default=0.0, ge=0)
    share: float = Field(default=1.0, gt=0, le=1)
    """Of so many of the requests: 0.25 is every fourth."""
    count: int | None = Field(default=None, ge=1)
    """How many answers are wrong before all is well again."""
    retry_after: str | int | None = None
    """Retry-After header: seconds or an HTTP date."""

    def answer(self) -> web.Response | None:
        """Return what to answer instead; None where the answer is the right one, late or cut."""
        if self.kind == "html":
            return web.Response(body=_PAGE, content_type="text/html")
        if self.kind == "empty":
            return web.Response(body=b"", content_type="image/jpeg")
        if self.kind == "status":
            headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            return web.Response(status=self.status, text=f"{self.status}: asked for", headers=headers)
        return None


class Troubles:
    """The troubles in force; of several that fit a request, the one added first."""

    def __init__(self) -> None:
        self._active: list[Trouble] = []
        self._owed: dict[int, float] = {}
        self._left: dict[int, int] = {}
        self._over = asyncio.Event()

    def add(self, trouble: Trouble) -> None:
        """Begin with it at the next request."""
        self._active.append(trouble)
        if trouble.count is not None:
            self._left[id(trouble)] = trouble.count

    def clear(self) -> None:
        """Answer rightly again."""
        self._active.clear()
        self._owed.clear()
        self._left.clear()
        self._over.set()
        self._over = asyncio.Event()

    async def strike(self, on: str, listing: str | None = None) -> Trouble | None:
        """Return the trouble for this request, after its delay; None if all is well."""
        for trouble in self._active:
            if trouble.on == on and trouble.listing in {None, listing} and self._is_due(trouble):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), trouble.delay_seconds)
                return trouble
        return None

    def _is_due(self, trouble: Trouble) -> bool:
        name = id(trouble)
        owed = self._owed.get(name, 0.0) + trouble.share
        self._owed[name] = owed - 1 if owed >= 1 else owed
        if owed < 1 or self._left.get(name) == 0:
            return False
        if name in self._left:
            self._left[name] -= 1
        return True


async def cut(request: web.Request, body: bytes, content_type: str) -> web.StreamResponse:
    """Announce the whole body, send half of it and hang up."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": str(len(body))})
    response.force_close()
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
