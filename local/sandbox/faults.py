"""Fault injection: makes the sandbox MLS answer late, with an error or with a broken body."""

import asyncio
from contextlib import suppress
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

_PAGE = b"<!doctype html><title>Sorry</title><h1>The service is not available</h1>"


class Fault(BaseModel):
    """A kind of wrong answer of the sandbox MLS, and which requests get it."""

    model_config = ConfigDict(extra="forbid")

    on: Literal["images", "odata"] = "images"
    kind: Literal["status", "html", "truncated", "empty", "slow"] = "status"
    """An error status, 200 with a page of HTML, a body that ends half-way, 200 with an empty body, or a late answer.

    Late answers are sent at once when the faults are cleared.
    """
    status: int = Field(default=503, ge=400, le=599)
    """The HTTP status of the kind `status`."""
    listing: str | None = None
    """The ListingKey whose images get the fault; None: those of all listings."""
    delay_seconds: float = Field(default=0.0, ge=0)
    """How many seconds the answer is delayed, whatever its kind."""
    share: float = Field(default=1.0, gt=0, le=1)
    """The share of the requests that get the fault: 0.25 is every fourth."""
    count: int | None = Field(default=None, ge=1)
    """The number of requests that get the fault; None: all of them, until the faults are cleared."""
    retry_after: str | int | None = None
    """The Retry-After header of the kind `status`: seconds or an HTTP date; None: no header."""

    def answer(self) -> web.Response | None:
        """Return the wrong answer that a request gets in place of the right one.

        The result is None for the kinds `slow` and `truncated`: the caller makes the right answer, and sends it late or
        cuts it.
        """
        if self.kind == "html":
            return web.Response(body=_PAGE, content_type="text/html")
        if self.kind == "empty":
            return web.Response(body=b"", content_type="image/jpeg")
        if self.kind == "status":
            headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
            return web.Response(status=self.status, text=f"{self.status}: injected fault", headers=headers)
        return None


class Faults:
    """The active faults of one sandbox MLS. If several match a request, the one that was added first applies."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._owed: dict[int, float] = {}
        """By `id()` of a fault: the sum of its shares over the matching requests, less 1 whenever it reaches 1."""
        self._remaining: dict[int, int] = {}
        """By `id()` of a fault with a count: how many more requests get it."""
        self._cleared = asyncio.Event()

    def add(self, fault: Fault) -> None:
        """Make a fault active: from the next request on, requests get it."""
        self._active.append(fault)
        if fault.count is not None:
            self._remaining[id(fault)] = fault.count

    def clear(self) -> None:
        """Remove all faults, and end the delays under way, so that delayed requests are answered at once."""
        self._active.clear()
        self._owed.clear()
        self._remaining.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def apply(self, on: str, listing: str | None = None) -> Fault | None:
        """Choose the fault that a request gets, wait for the fault's delay, and return the fault.

        Returns None at once if the request gets no fault. `on` is "images" for a request for a picture, and "odata" for
        one to the Web API. `listing` is the ListingKey of the picture, None for the Web API.
        """
        for fault in self._active:
            if fault.on == on and fault.listing in {None, listing} and self._is_due(fault):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._cleared.wait(), fault.delay_seconds)
                return fault
        return None

    def _is_due(self, fault: Fault) -> bool:
        """Count one more request that matches the fault; return True if this request gets the fault.

        The fault's `share` of the matching requests get the fault, evenly spaced. After `count` requests no more get
        it; if `count` is None, there is no such end.
        """
        name = id(fault)
        owed = self._owed.get(name, 0.0) + fault.share
        self._owed[name] = owed - 1 if owed >= 1 else owed
        if owed < 1 or self._remaining.get(name) == 0:
            return False
        if name in self._remaining:
            self._remaining[name] -= 1
        return True


async def cut(request: web.Request, body: bytes, content_type: str) -> web.StreamResponse:
    """Answer a request with a body that ends half-way: announce the full length, send half, and close the connection.

    Returns the answer that was sent, because aiohttp wants a request's handler to return it.
    """
    response = web.StreamResponse(headers={"Content-Type": content_type, "Content-Length": str(len(body))})
    response.force_close()
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
