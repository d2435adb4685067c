"""Queries an MLS's RESO Web API (OData) over HTTP, one request at a time, with limits of rate, time and size.

Only httpx's transport is used, not its client, which would keep cookies, follow redirects, use proxies and log URLs.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import orjson
import stamina

from shared import repaired_json
from shared.clock import Clock, utc_now
from shared.domain import quota_headers
from shared.domain.feed import Feed
from shared.domain.reso_profiles import SUSPENSION_SECONDS
from shared.domain.retry import parse_retry_after
from shared.reso.authorisation import Authorisation, Authorised
from shared.reso.errors import MlsFailure, MlsUnavailable, TokenRefused
from shared.reso.next_links import next_url
from shared.reso.quota import FixedPause, PacedRequest, Pacing
from shared.reso.tokens import TokenIssuer

__all__ = ["MlsClient", "MlsFailure", "MlsUnavailable", "ODataPage", "PropertyRecord", "Row"]

Row = dict[str, Any]
"""One row of an OData answer: its values by the names of fields."""
PropertyRecord = Row
"""A row of the resource Property."""

_PAUSE_SECONDS = 0.5
"""The pause between two requests: the strictest known MLS, MLS Grid, allows two a second."""
_REQUEST_SECONDS = 60.0
_ATTEMPTS = 4
_MAX_WAIT_SECONDS = 60.0
"""If the MLS asks to wait for longer, the request fails; the sweep is tried again later."""
_MAX_BYTES = 64 * 1024 * 1024
"""The limit of one answer, decompressed: 50 listings of 100 photos in four sizes have a quarter of it."""
_MAX_LINKS = 100


_RETRIED = frozenset(
    {MlsFailure.THROTTLED, MlsFailure.MLS_ERROR, MlsFailure.UNREACHABLE, MlsFailure.TIMEOUT, MlsFailure.BAD_ANSWER}
)
_BY_STATUS = {
    400: MlsFailure.BAD_QUERY,
    413: MlsFailure.BAD_QUERY,
    414: MlsFailure.BAD_QUERY,
    501: MlsFailure.BAD_QUERY,
    404: MlsFailure.NO_RESOURCE,
    401: MlsFailure.REFUSED,
    403: MlsFailure.REFUSED,
    429: MlsFailure.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class ODataPage:
    """Holds one page of an OData answer: its rows, and the URL of the next page, None on the last page."""

    rows: list[Row]
    next_link: httpx.URL | None


class MlsClient:
    """Queries the RESO Web API of one feed's MLS, one request at a time; `aclose` must be called at the end.

    With a quota that counts requests in a ledger, each method that sends a request also raises StoreUnavailable if the
    database does not answer, and Contention if other workers keep changing the ledger.
    """

    def __init__(
        self,
        feed: Feed,
        token: str | TokenIssuer,
        *,
        quota: Pacing | None = None,
        clock: Clock = utc_now,
        pause_seconds: float = _PAUSE_SECONDS,
        max_bytes: int = _MAX_BYTES,
        request_seconds: float = _REQUEST_SECONDS,
    ) -> None:
        """Make a client that has sent no request yet.

        `token` is the value of the variable that `reso_token_env` names, "" for none. If the feed's tokens come from a
        token endpoint, `token` is the TokenIssuer that requests them. `quota` decides when requests are sent; without
        it, two requests are at least `pause_seconds` apart. A failed request is tried again after at least twice
        `pause_seconds`. An answer has at most `max_bytes`, decompressed, and must be complete within `request_seconds`.
        Tests set the last three arguments.
        """
        self._root = httpx.URL(feed.reso_url.rstrip("/") + "/")
        self._access = feed.reso
        self._authorisation = Authorisation(feed, token)
        self._quota = quota or FixedPause(pause_seconds)
        self._clock = clock
        self._pause = pause_seconds
        self._max_bytes = max_bytes
        self._request_seconds = request_seconds
        limits = httpx.Limits(max_connections=1)
        self._transport = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        self._agent = f"listing-images/{version('listing-images')}"

    async def aclose(self) -> None:
        """Close all connections to the MLS; the client must not be used afterwards."""
        await self._transport.aclose()

    async def page(self, resource: str, options: Mapping[str, str]) -> ODataPage:
        """Request and return the first page of a RESO resource, such as Property.

        `options` are OData query options by name, such as `$filter`. A request that fails for a reason that may pass is
        sent up to four times. Raises MlsUnavailable if there is no usable answer then.
        """
        query = _encoded({**self._with_filter(options), **self._access.query})
        return await self._request_with_retries(self._root.join(f"{resource}?{query}"))

    def _with_filter(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """Return the query options, with the feed's own condition `reso_filter` in front of the one in `$filter`.

        Some servers ignore a condition that follows `in (…)`.
        """
        conditions = [condition for condition in (self._access.filter, options.get("$filter")) if condition]
        if len(conditions) > 1:
            conditions = [f"({each})" if " or " in each else each for each in conditions]
        return {**options, "$filter": " and ".join(conditions)} if conditions else options

    async def following(self, page: ODataPage) -> AsyncIterator[ODataPage]:
        """Yield the given page, then request and yield the pages that its next links lead to, at most 101 in all.

        A caller that needs more rows sends another query, for the rows after the last one: a server may implement next
        links by `$skip`, which ends at 100,000 rows. Raises MlsUnavailable.
        """
        yield page
        for _ in range(_MAX_LINKS):
            if page.next_link is None:
                return
            page = await self._request_with_retries(page.next_link)
            yield page

    async def _request_with_retries(self, url: httpx.URL) -> ODataPage:
        """Request and return the page at a URL; after a failure that may pass, try again, up to four times in all.

        Before a retry, wait with exponential backoff, or as long as the MLS asks. Raises MlsUnavailable.
        """
        attempts = stamina.retry_context(
            on=_should_retry,
            attempts=_ATTEMPTS,
            timeout=_MAX_WAIT_SECONDS * 3,
            wait_initial=self._pause * 2,
            wait_jitter=self._pause,
            wait_max=_MAX_WAIT_SECONDS / 2,
        )
        async for attempt in attempts:
            with attempt:
                return await self._request(url)
        raise AssertionError("stamina tries at least once")

    async def _request(self, url: httpx.URL) -> ODataPage:
        """Request and return the page at a URL; if the MLS rejects an issued token, try once more with a new token.

        An issued token comes from the MLS's token endpoint. A fixed token of the settings cannot be renewed. Raises
        MlsUnavailable if the MLS gives no usable answer.
        """
        authorised = await self._authorisation.authorise()
        try:
            return await self._send(url, authorised)
        except TokenRefused:
            if not await self._authorisation.renew(authorised.token):
                raise
        return await self._send(url, await self._authorisation.authorise())

    async def _send(self, url: httpx.URL, authorised: Authorised) -> ODataPage:
        url = _with_parameters(url, {**self._access.query, **authorised.parameters})
        async with self._quota.request() as paced:
            try:
                async with asyncio.timeout(self._request_seconds):
                    body, link = await self._body(url, authorised, paced)
            except TimeoutError:
                detail = f"no complete answer within {self._request_seconds:g} s"
                raise MlsUnavailable(MlsFailure.TIMEOUT, detail) from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
                # Without their messages: some quote headers or URLs.
                is_broken = isinstance(error, httpx.RemoteProtocolError)
                failure = MlsFailure.BAD_ANSWER if is_broken else MlsFailure.UNREACHABLE
                raise MlsUnavailable(failure, type(error).__name__) from None
        return self._page(body, link, url)

    async def _body(self, url: httpx.URL, authorised: Authorised, paced: PacedRequest) -> tuple[bytes, str | None]:
        """Request a URL once; return the body of the answer, and the URL of the next page that its header Link names.

        The second value is None if no header names a next page. Before the request is written, `paced` checks that it
        is on time. Raises MlsUnavailable if the status is not 200 or the body cannot be read.
        """

        async def trace(event: str, _: object) -> None:
            if event == "http11.send_request_headers.started":
                await paced.confirm()

        headers = {"User-Agent": self._agent, "Accept": "application/json", "Accept-Encoding": "gzip"}
        request = httpx.Request("GET", url, headers={**headers, **authorised.headers}, extensions={"trace": trace})
        async with aclosing(await self._transport.handle_async_request(request)) as response:
            if response.status_code != 200:
                raise self._failure_of(response)
            paced.read(response.headers)
            body = await _read_body(response, self._max_bytes, paced)
            return body, response.links.get("next", {}).get("url")

    def _failure_of(self, response: httpx.Response) -> MlsUnavailable:
        status, wait = response.status_code, None
        if status in {429, 503}:
            wait = parse_retry_after(response.headers.get("Retry-After", ""), self._clock())
        if status == 429 and wait is None:
            reported = quota_headers.read(response.headers, self._clock()).wait_seconds
            wait = reported or SUSPENSION_SECONDS.get(self._access.profile)
        if status == 401:
            return TokenRefused(MlsFailure.REFUSED, "the MLS answered 401")
        return MlsUnavailable(_BY_STATUS.get(status, MlsFailure.MLS_ERROR), f"the MLS answered {status}", wait)

    def _page(self, body: bytes, link_in_header: str | None, url: httpx.URL) -> ODataPage:
        try:
            answer = repaired_json.loads(body)
        except orjson.JSONDecodeError:
            raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the answer is not JSON") from None
        rows = answer.get("value") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or "error" in answer or not all(isinstance(row, dict) for row in rows):
            raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the answer is no page of records")
        link = answer.get("@odata.nextLink") or link_in_header
        following = next_url(str(self._root), str(url), str(link)) if link else None
        return ODataPage(rows, httpx.URL(following) if following else None)


def _should_retry(error: Exception) -> bool | float:
    """Return if, and when, a request that failed with `error` is sent again; called after each failed attempt.

    A number is how many seconds to wait, as the MLS's Retry-After says. True means to wait with exponential backoff.
    False means never: another attempt would fail too, or Retry-After is more than 60 seconds.
    """
    if not isinstance(error, MlsUnavailable) or error.failure not in _RETRIED:
        return False
    if error.wait_seconds is None:
        return True
    return max(error.wait_seconds, 0.05) if error.wait_seconds <= _MAX_WAIT_SECONDS else False


def _encoded(options: Mapping[str, str]) -> str:
    return urlencode(options, quote_via=quote, safe="$,()'")


def _with_parameters(url: httpx.URL, parameters: Mapping[str, str]) -> httpx.URL:
    """Return the URL with the `parameters` added that its query lacks; the rest of the query stays as it is.

    `parameters` are the query parameters of every request to the MLS, by name. An MLS may leave them out of its next
    links.
    """
    given = {name.casefold() for name in url.params}
    missing = {name: value for name, value in parameters.items() if name.casefold() not in given}
    if not missing:
        return url
    return url.copy_with(query=b"&".join(filter(None, (url.query, _encoded(missing).encode()))))


async def _read_body(response: httpx.Response, limit: int, paced: PacedRequest) -> bytes:
    """Read and return the decompressed body of an answer, at most `limit` bytes; count the received bytes in `paced`.

    The body is read piece by piece, because few compressed bytes may inflate to gigabytes. Raises MlsUnavailable if the
    body is damaged or in an encoding that was not asked for, or as soon as it has more than `limit` bytes.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the body is encoded in a way that was not asked for")
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    body = bytearray()
    try:
        async for raw in response.aiter_raw():
            paced.receive(len(raw))
            body += inflate.decompress(raw, limit + 1 - len(body)) if inflate else raw
            if len(body) > limit:
                raise MlsUnavailable(MlsFailure.TOO_LARGE, f"the answer is over {limit:,} bytes")
    except zlib.error:
        raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the compressed body is damaged") from None
    if inflate and not inflate.eof:
        raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the compressed body ended early")
    return bytes(body)
