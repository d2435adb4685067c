"""How do we ask an MLS? A RESO Web API (OData) over HTTP, one request at a time, within bounds. A door to httpx.

A transport is used without httpx's client: no cookie jar, redirects, proxies, logging of URLs or headers to switch off.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from time import monotonic
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson
import stamina

from shared.clock import Clock, utc_now
from shared.domain.feed import Feed
from shared.domain.retry import retry_after

Record = dict[str, Any]

_PAUSE_SECONDS = 0.5
"""Between two requests: the strictest MLS known, MLS Grid, allows two a second."""
_REQUEST_SECONDS = 60.0
_ATTEMPTS = 4
_LONGEST_WAIT = 60.0
"""What is asked to wait longer comes back another time instead."""
_MOST_BYTES = 64 * 1024 * 1024
"""Of one answer, decompressed: 50 listings of 100 photos in four sizes are a quarter of it."""
_MOST_LINKS = 100


class Kind(StrEnum):
    """Why there is no usable answer."""

    BAD_QUERY = "bad-query"
    REFUSED = "refused"
    THROTTLED = "throttled"
    MLS_ERROR = "mls-error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad-answer"
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"


_PASSING = frozenset({Kind.THROTTLED, Kind.MLS_ERROR, Kind.UNREACHABLE, Kind.TIMEOUT, Kind.BAD_ANSWER})
_KINDS = {400: Kind.BAD_QUERY, 501: Kind.BAD_QUERY, 401: Kind.REFUSED, 403: Kind.REFUSED, 429: Kind.THROTTLED}


class MlsUnavailable(Exception):
    """The MLS gave no usable answer. `wait_seconds` is what its Retry-After asked for. Holds no URL and no token."""

    def __init__(self, kind: Kind, detail: str, wait_seconds: float | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its rows, and where the next ones are."""

    rows: list[Record]
    next_link: httpx.URL | None


class MlsClient:
    """Asks one feed's MLS, at most one request at a time. `aclose` closes its connections."""

    def __init__(
        self,
        feed: Feed,
        token: str,
        *,
        clock: Clock = utc_now,
        pause_seconds: float = _PAUSE_SECONDS,
        most_bytes: int = _MOST_BYTES,
        request_seconds: float = _REQUEST_SECONDS,
    ) -> None:
        """Take the bearer token that `reso_token_env` names, empty for none; the rest is for tests.

        `pause_seconds` lies between two requests; twice that is the first wait before a failed one is tried again.
        """
        self._root = httpx.URL(feed.reso_url.rstrip("/") + "/")
        self._token, self._token_env = token, feed.reso_token_env
        self._is_safe = self._root.scheme == "https" or feed.allow_private_addresses
        self._clock = clock
        self._pause = pause_seconds
        self._most_bytes = most_bytes
        self._request_seconds = request_seconds
        self._not_before = 0.0
        limits = httpx.Limits(max_connections=1)
        self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        self._agent = f"listing-images/{version('listing-images')}"

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def page(self, resource: str, options: Mapping[str, str]) -> Page:
        """Ask for the rows of a resource, such as Property, by query options. Raises MlsUnavailable."""
        query = urlencode(options, quote_via=quote, safe="$,()'")
        return await self._tried(self._root.join(f"{resource}?{query}"))

    async def following(self, page: Page) -> AsyncIterator[Page]:
        """Yield the page and those that its next links lead to, some hundred at most. Raises MlsUnavailable.

        Whoever wants more asks for what comes after the last row: links may count on `$skip`, which ends at 100,000.
        """
        yield page
        for _ in range(_MOST_LINKS):
            if page.next_link is None:
                return
            page = await self._tried(page.next_link)
            yield page

    async def _tried(self, url: httpx.URL) -> Page:
        """Ask, and again where that may help: what passes by itself, and a pause that the MLS asks for."""
        attempts = stamina.retry_context(
            on=_worth_another,
            attempts=_ATTEMPTS,
            timeout=_LONGEST_WAIT * 3,
            wait_initial=self._pause * 2,
            wait_jitter=self._pause,
            wait_max=_LONGEST_WAIT / 2,
        )
        async for attempt in attempts:
            with attempt:
                return await self._asked(url)
        raise AssertionError("stamina tries at least once")

    async def _asked(self, url: httpx.URL) -> Page:
        await asyncio.sleep(self._not_before - monotonic())
        try:
            async with asyncio.timeout(self._request_seconds):
                body = await self._body(url)
        except TimeoutError:
            raise MlsUnavailable(Kind.TIMEOUT, f"no complete answer within {self._request_seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as fault:
            # Their own texts are left out: some quote headers or URLs.
            kind = Kind.BAD_ANSWER if isinstance(fault, httpx.RemoteProtocolError) else Kind.UNREACHABLE
            raise MlsUnavailable(kind, type(fault).__name__) from None
        finally:
            self._not_before = monotonic() + self._pause
        return self._page(body, url)

    async def _body(self, url: httpx.URL) -> bytes:
        request = httpx.Request("GET", url, headers=self._headers())
        async with aclosing(await self._transport.handle_async_request(request)) as response:
            if response.status_code != 200:
                raise self._refusal(response)
            return await _inflated(response, self._most_bytes)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": self._agent, "Accept": "application/json", "Accept-Encoding": "gzip"}
        if not self._token_env:
            return headers
        if not self._token:
            raise MlsUnavailable(
                Kind.REFUSED, f"there is no value for {self._token_env}, which reso_token_env names; set it"
            )
        if not self._is_safe:
            raise MlsUnavailable(Kind.REFUSED, "a token goes over https only; make reso_url an https URL")
        return headers | {"Authorization": f"Bearer {self._token}"}

    def _refusal(self, response: httpx.Response) -> MlsUnavailable:
        status = response.status_code
        wait = retry_after(response.headers.get("Retry-After", ""), self._clock()) if status in {429, 503} else None
        return MlsUnavailable(_KINDS.get(status, Kind.MLS_ERROR), f"the MLS answered {status}", wait)

    def _page(self, body: bytes, url: httpx.URL) -> Page:
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise MlsUnavailable(Kind.BAD_ANSWER, "the answer is not JSON") from None
        rows = answer.get("value") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or "error" in answer or not all(isinstance(row, dict) for row in rows):
            raise MlsUnavailable(Kind.BAD_ANSWER, "the answer is no page of records")
        link = answer.get("@odata.nextLink")
        return Page(rows, None if link is None else self._same_origin(url, link))

    def _same_origin(self, url: httpx.URL, link: object) -> httpx.URL:
        """Return where a next link leads: never elsewhere than to the MLS, which alone gets the token."""
        try:
            target = url.join(str(link))
        except httpx.InvalidURL:
            raise MlsUnavailable(Kind.BAD_ANSWER, "the next link is no URL") from None
        if (target.scheme, target.host, target.port, target.userinfo) != (
            *(self._root.scheme, self._root.host, self._root.port, self._root.userinfo),
        ):
            raise MlsUnavailable(Kind.BAD_ANSWER, "the next link leads to another host")
        return target


def _worth_another(fault: Exception) -> bool | float:
    """Say whether to try again at once, or after how many seconds."""
    if not isinstance(fault, MlsUnavailable) or fault.kind not in _PASSING:
        return False
    if fault.wait_seconds is None:
        return True
    return max(fault.wait_seconds, 0.05) if fault.wait_seconds <= _LONGEST_WAIT else False


async def _inflated(response: httpx.Response, limit: int) -> bytes:
    """Read a body piece by piece, decompressed, and stop where it is over the limit: it may be a bomb."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise MlsUnavailable(Kind.BAD_ANSWER, "the body is encoded in a way that was not asked for")
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    body = bytearray()
    try:
        async for raw in response.aiter_raw():
            body += inflate.decompress(raw, limit + 1 - len(body)) if inflate else raw
            if len(body) > limit:
                raise MlsUnavailable(Kind.TOO_LARGE, f"the answer is over {limit:,} bytes")
    except zlib.error:
        raise MlsUnavailable(Kind.BAD_ANSWER, "the compressed body is damaged") from None
    if inflate and not inflate.eof:
        raise MlsUnavailable(Kind.BAD_ANSWER, "the compressed body ended early")
    return bytes(body)
