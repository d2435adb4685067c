"""Fetches the bytes of a photo from its origin within the feed's rules, and turns the origin's faults into failures.

Requests go straight to the feed's transport: httpx's client would keep cookies, follow redirects, use proxies and log
URLs.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from anyio.lowlevel import checkpoint

from services.downloader import addresses, answers, body
from services.downloader.addresses import FetchTarget
from services.downloader.answers import Answer, Fetched, Redirect, Validators
from services.downloader.backend import ANYIO_DIALER, CheckedBackend, Dialer, Resolve, resolve_name
from services.downloader.http_errors import BODY_CUT_SHORT, HTTP_ERRORS, failure_of
from services.downloader.permit import Permit
from services.downloader.transport import CheckedTransport
from shared.clock import Clock, utc_now
from shared.domain.failures import Failure, Reason
from shared.domain.feed import EnvironmentVariable, Feed

_MAX_REDIRECTS = 3
_BODY_GRACE_SECONDS = 20.0
"""How long a body may take whatever its rate. Equals the default of request_timeout_seconds, so that the rate limit
below matters only to feeds with a longer timeout."""
_MIN_BYTES_PER_SECOND = 1_000
"""The lowest average rate of a body after the grace period. At a lower rate not even a photo of 300 kB arrives within
the longest timeout that a feed may have (300 s), and the download only occupies a slot. Kestrel has the same guard."""
_NO_BODY = httpx.ByteStream(b"")
"""With a stream given, httpx adds no headers of its own to a request."""
_DRAIN_BYTES = 65_536
_DRAIN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The data that all requests of one fetch share. A fetch has one request, and one more for each redirect.

    `first` is the URL of the first request: the feed's token and headers are sent only to the host of this URL. `into`
    is the directory for the body's file. `conditions` are the conditional headers, empty for none.
    """

    feed: Feed
    first: FetchTarget
    into: Path
    conditions: Mapping[str, str]
    permit: Permit
    deadline: asyncio.Timeout

    async def permitted(self, refusal: Awaitable[Failure | None]) -> Failure | None:
        """Await `refusal`, a call of a method of the permit, and move the fetch's deadline later by the time it took.

        The deadline moves because the budget caused that wait, and not the origin. Return what the call returned: None
        if the request may be sent, or the failure with which to end the fetch.
        """
        loop = asyncio.get_running_loop()
        began, when = loop.time(), self.deadline.when()
        self.deadline.reschedule(None)
        refused = await refusal
        self.deadline.reschedule(when and when + loop.time() - began)
        return refused


class Fetcher:
    """Fetches photos of all feeds from their origins.

    A Fetcher has one transport for each feed, and `aclose` closes all of them. Used as an async context manager, it
    closes them itself.
    """

    def __init__(
        self,
        secrets: Mapping[str, str],
        *,
        resolve: Resolve = resolve_name,
        dial: Dialer = ANYIO_DIALER,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """`secrets` maps the environment variables that feeds name in `token_env` and `headers` to their values.

        The other arguments are for tests. `resolve` looks up names, `dial` makes connections to checked addresses, and
        `tls` verifies servers (by default with certifi's authorities). `clock` gives the time with which dates in
        `Retry-After` are compared.
        """
        self._secrets = secrets
        self._resolve = resolve
        self._dial = dial
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._clock = clock
        self._agent = f"listing-images/{version('listing-images')}"
        self._transports: dict[str, CheckedTransport] = {}

    async def __aenter__(self) -> Self:
        # anyio takes a third of a second to load its backend on first use: too long for a request with a planned time.
        await checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close this Fetcher's connections to the origins of all feeds."""
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()

    async def fetch(self, url: str, feed: Feed, into: Path, validators: Validators | None, permit: Permit) -> Answer:
        """Fetch the URL within the feed's rules, and write the body to a new file in the directory `into`.

        Return Fetched with that file, or NotModified if the origin answers that `validators` still match. If
        `validators` is None, the request is unconditional. Return a Failure if the URL, the network or the origin is at
        fault, or if `permit` refuses a request. Raises OSError if the disk is full, CancelledError, and what `permit`
        raises; no file is left then.

        The feed's timeout starts when the first request is permitted. The timeout covers all redirects, but not the
        time that their requests wait for the permit.
        """
        target = addresses.fetch_target(url, feed.image_hosts)
        if isinstance(target, Failure):
            return target
        for key, name in feed.image_secret_names.items():
            if not self._secrets.get(name):
                return Failure(Reason.FORBIDDEN, f"there is no value for {name}, which {key} names")
        if refused := await permit.wait_for_request():
            return refused
        conditions = validators.as_headers() if validators else {}
        try:
            async with asyncio.timeout(feed.request_timeout_seconds) as deadline:
                return await self._follow(target, _Fetch(feed, target, into, conditions, permit, deadline))
        except TimeoutError:
            if not deadline.expired():
                raise
            return Failure(Reason.TIMEOUT, f"no complete answer within {feed.request_timeout_seconds:g} s")

    async def _follow(self, target: FetchTarget, fetch: _Fetch) -> Answer:
        for _ in range(_MAX_REDIRECTS):
            answer = await self._request(target, fetch)
            if not isinstance(answer, Redirect):
                return answer
            redirected = addresses.redirect_target(target, answer.location, fetch.feed.image_hosts)
            if isinstance(redirected, Failure):
                return redirected
            if refused := await fetch.permitted(fetch.permit.wait_for_request()):
                return refused
            target = redirected
        answer = await self._request(target, fetch)
        if isinstance(answer, Redirect):
            return Failure(Reason.TOO_MANY_REDIRECTS, f"more than {_MAX_REDIRECTS} redirects")
        return answer

    async def _request(self, target: FetchTarget, fetch: _Fetch) -> Answer | Redirect:
        try:
            async with aclosing(await self._send(target, fetch)) as response:
                if response.status_code in {200, 203}:
                    return await _save(response, fetch)
                await _drain(response, fetch.permit)
                return answers.read(
                    response.status_code, response.headers, target.host, fetch.conditions, self._clock()
                )
        except (body.BadBody, _NotPermitted) as error:
            return error.failure
        except HTTP_ERRORS as error:
            return failure_of(error, target.host)

    async def _send(self, target: FetchTarget, fetch: _Fetch) -> httpx.Response:
        async def trace(event: str, _: object) -> None:
            if event == "http11.send_request_headers.started" and (
                refused := await fetch.permitted(fetch.permit.confirm_request())
            ):
                raise _NotPermitted(refused)

        request = httpx.Request(
            "GET",
            target.url,
            headers=self._headers(target, fetch),
            stream=_NO_BODY,
            # The fetch as a whole has its deadline. This timeout is divided among the addresses of a name.
            extensions={"timeout": {"connect": fetch.feed.request_timeout_seconds}, "trace": trace},
        )
        return await self._transport(fetch.feed).handle_async_request(request)

    def _headers(self, target: FetchTarget, fetch: _Fetch) -> httpx.Headers:
        headers = httpx.Headers(
            {
                "User-Agent": self._agent,
                "Accept": "image/*, */*;q=0.5",  # names no format, else a CDN would convert the original to it
                "Accept-Encoding": "identity",
            },
            encoding="utf-8",
        )
        feed = fetch.feed
        is_first_host = addresses.is_same_site(target, fetch.first)
        is_safe = target.scheme == "https" or feed.allow_private_addresses
        for name, value in (*(feed.headers.items() if is_first_host else ()), *fetch.conditions.items()):
            if not isinstance(value, EnvironmentVariable):
                headers[name] = value
            elif is_safe:
                headers[name] = self._secrets[value.name]
        headers["Host"] = target.authority  # always the host that was checked, whatever the feed's headers say
        if not is_safe:
            headers.pop("Authorization", None)
        elif feed.token_env and is_first_host:
            headers["Authorization"] = f"Bearer {self._secrets[feed.token_env]}"
        return headers

    def _transport(self, feed: Feed) -> CheckedTransport:
        # No feed may reuse a connection to a private address that only a sandbox feed may have.
        if feed.name not in self._transports:
            backend = CheckedBackend(self._resolve, self._dial, feed.allow_private_addresses)
            self._transports[feed.name] = CheckedTransport(backend, self._tls, feed.concurrency)
        return self._transports[feed.name]


class _NotPermitted(Exception):
    """The permit refused the request after its connection was made. `failure` ends the fetch."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


async def _save(response: httpx.Response, fetch: _Fetch) -> Fetched:
    headers = response.headers
    limit = fetch.feed.max_file_bytes
    encoding = headers.get("Content-Encoding", "")
    try:
        body.check_announced(int(headers.get("Content-Length", 0)), limit)
        async with asyncio.timeout(_BODY_GRACE_SECONDS) as slowest:
            saved = await body.save(_pieces(response, slowest, fetch.permit), encoding, fetch.into, limit)
    except TimeoutError as error:
        if not slowest.expired():
            raise
        raise body.BadBody(Reason.TIMEOUT, f"the body drips: under {_MIN_BYTES_PER_SECOND} bytes a second") from error
    except body.BadBody as error:
        error.failure = answers.with_validators(error.failure, *answers.validators(headers))
        raise
    return Fetched(saved.path, saved.file_size, saved.sha256, *answers.validators(headers))


async def _pieces(response: httpx.Response, slowest: asyncio.Timeout, permit: Permit) -> AsyncIterator[bytes]:
    """Yield the body of a response as received, piece by piece, and report the size of each piece to the permit.

    `slowest` is the running timeout that ends a body that arrives too slowly. Each piece moves this timeout later, by
    the time that the piece may take at the lowest allowed rate. Raises BadBody if the body ends early.
    """
    latest = asyncio.get_running_loop().time() + _BODY_GRACE_SECONDS
    try:
        async for piece in response.aiter_raw():
            permit.count_received(len(piece))
            latest += len(piece) / _MIN_BYTES_PER_SECOND
            slowest.reschedule(latest)
            yield piece
    except BODY_CUT_SHORT as error:
        raise body.BadBody(Reason.BROKEN_BODY, "the body ended early") from error


async def _drain(response: httpx.Response, permit: Permit) -> None:
    """Read and drop the body of an answer without a photo, so that its connection can be reused.

    Stop without an error if the body is long or slow, or breaks off. When the caller then closes the response, the
    connection closes too.
    """
    size = 0
    with suppress(TimeoutError, *HTTP_ERRORS):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in response.aiter_raw():
                permit.count_received(len(piece))
                size += len(piece)
                if size > _DRAIN_BYTES:
                    return
