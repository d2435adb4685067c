"""How do we get one photo's bytes from its origin, whatever the origin does? The one door to httpx.

A transport is used without httpx's client: no cookie jar, redirects, proxies, logging of URLs or headers to switch off.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore
import httpx
from anyio.lowlevel import checkpoint

from services.downloader import addresses, answers, body
from services.downloader.answers import Answer, Fetched, Redirect, Validators
from services.downloader.backend import AddressRefused, CheckedBackend, Resolve, resolve_name
from shared.clock import Clock, utc_now
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed

Permit = Callable[[], Awaitable[Failure | None]]
"""Asked before every request, redirects too, as the feed's budget counts them all; a Failure is why it may not go."""
Received = Callable[[int], None]
"""Told of every piece of a body how many bytes came over the network: the feed's budget counts them all, whatever
becomes of the body."""

_MAX_REDIRECTS = 3
_KEEP_ALIVE_SECONDS = 4.0  # outlasts the pause between batches; many servers close after 5, perhaps as we ask
_BODY_GRACE_SECONDS = 20.0  # request_timeout_seconds alone decides, unless a feed has more than the usual
_SLOWEST_BYTES_A_SECOND = 1_000
"""After the grace, a body's average at the least. At less, not even a photo of 300 kB comes within the longest timeout
that a feed may have (300 s): it only holds a slot. Kestrel guards its bodies alike."""
_DRAIN_BYTES = 65_536
_DRAIN_SECONDS = 0.25


class Fetcher:
    """Fetches photos for all feeds of a service. Holds one connection pool a feed, which `aclose` closes."""

    def __init__(
        self,
        tokens: Mapping[str, str],
        *,
        resolve: Resolve = resolve_name,
        dial: httpcore.AsyncNetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
    ) -> None:
        """Take the bearer tokens by the names that feeds have in `token_env`; the rest is for tests.

        `dial` makes the connections, only ever to addresses that were checked; `tls` verifies against certifi's
        authorities unless given.
        """
        self._tokens = tokens
        self._resolve = resolve
        self._dial = dial or httpcore.AnyIOBackend()
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._clock = clock
        self._agent = f"listing-images/{version('listing-images')}"
        self._transports: dict[str, _CheckedTransport] = {}

    async def __aenter__(self) -> Self:
        # anyio loads its backend when first used, in a third of a second: too late for a request that has its moment.
        await checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._transports.values():
            await transport.aclose()
        self._transports.clear()

    async def fetch(
        self,
        url: str,
        feed: Feed,
        into: Path,
        validators: Validators | None,
        permit: Permit,
        received: Received,
        in_time: Permit,
    ) -> Answer:
        """Fetch the URL within the feed's rules, the body into a new file in the directory `into`.

        Whatever origin, network or URL do is a Failure. Raises only what is no fault of theirs: a full disk, a
        `permit` that raises, being cancelled; no file is left then either. The feed's deadline starts when the first
        request is permitted, and stands still while a redirect's waits for its permit. `in_time` is asked once more
        where the connection stands and the request is about to be written: to connect may take longer than the moment
        lasts that was permitted.
        """
        place = addresses.place(url, feed.image_hosts)
        if isinstance(place, Failure):
            return place
        if feed.token_env and not self._tokens.get(feed.token_env):
            return Failure(Reason.FORBIDDEN, f"there is no value for {feed.token_env}, which token_env names")
        if refused := await permit():
            return refused
        try:
            async with asyncio.timeout(feed.request_timeout_seconds) as deadline:
                conditions = validators.as_headers() if validators else {}
                timeless = _timeless(permit, deadline), _timeless(in_time, deadline)
                return await self._follow(place, feed, into, conditions, *timeless, received)
        except TimeoutError:
            if not deadline.expired():
                raise
            return Failure(Reason.TIMEOUT, f"no complete answer within {feed.request_timeout_seconds:g} s")

    async def _follow(
        self,
        place: addresses.Place,
        feed: Feed,
        into: Path,
        conditions: Mapping[str, str],
        permit: Permit,
        in_time: Permit,
        received: Received,
    ) -> Answer:
        for _ in range(_MAX_REDIRECTS):
            answer = await self._ask(place, feed, into, conditions, in_time, received)
            if not isinstance(answer, Redirect):
                return answer
            target = addresses.redirected(place, answer.location, feed.image_hosts)
            if isinstance(target, Failure):
                return target
            if refused := await permit():
                return refused
            place = target
        answer = await self._ask(place, feed, into, conditions, in_time, received)
        if isinstance(answer, Redirect):
            return Failure(Reason.TOO_MANY_REDIRECTS, f"more than {_MAX_REDIRECTS} redirects")
        return answer

    async def _ask(
        self,
        place: addresses.Place,
        feed: Feed,
        into: Path,
        conditions: Mapping[str, str],
        in_time: Permit,
        received: Received,
    ) -> Answer | Redirect:
        try:
            async with aclosing(await self._send(place, feed, conditions, in_time)) as response:
                if response.status_code in {200, 203}:
                    return await _keep(response, into, feed.max_file_bytes, received)
                await _drain(response, received)
                return answers.read(response.status_code, response.headers, place.host, conditions, self._clock())
        except body.BadBody as bad:
            return bad.failure
        except _TooLate as late:
            return late.failure
        except FOREIGN as error:
            return failure_of(error, place.host)

    async def _send(
        self, place: addresses.Place, feed: Feed, conditions: Mapping[str, str], in_time: Permit
    ) -> httpx.Response:
        async def trace(event: str, _: object) -> None:
            if event == "http11.send_request_headers.started" and (refused := await in_time()):
                raise _TooLate(refused)

        headers = self._headers(place, feed, conditions)
        # The whole attempt has its deadline already; this one is shared among the addresses of a name.
        extensions = {"timeout": {"connect": feed.request_timeout_seconds}, "trace": trace}
        request = httpx.Request("GET", place.url, headers=headers, extensions=extensions)
        return await self._transport(feed).handle_async_request(request)

    def _headers(self, place: addresses.Place, feed: Feed, conditions: Mapping[str, str]) -> httpx.Headers:
        headers = httpx.Headers(
            {
                "User-Agent": self._agent,
                "Accept": "image/*, */*;q=0.5",  # no format by name: a CDN would re-encode the original to it
                "Accept-Encoding": "identity",
            },
            encoding="utf-8",
        )
        for name, value in (*feed.headers.items(), *conditions.items()):
            headers[name] = value
        headers["Host"] = place.authority  # always the name that was checked
        if place.scheme != "https" and not feed.allow_private_addresses:
            headers.pop("Authorization", None)
        elif feed.token_env:
            headers["Authorization"] = f"Bearer {self._tokens[feed.token_env]}"
        return headers

    def _transport(self, feed: Feed) -> "_CheckedTransport":
        # One pool a feed: a connection that a sandbox feed may have must not be found by another.
        if feed.name not in self._transports:
            backend = CheckedBackend(self._resolve, self._dial, feed.allow_private_addresses)
            self._transports[feed.name] = _CheckedTransport(backend, self._tls, feed.concurrency)
        return self._transports[feed.name]


class _TooLate(Exception):
    """The request missed its moment while its connection was made, and got no other; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class _CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a pool that connects only through our backend."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext, connections: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=backend,
        )


def _timeless(permit: Permit, deadline: asyncio.Timeout) -> Permit:
    """Return the permit, without what waiting for it takes of the deadline: that is our own budget, not the origin."""

    async def permitted() -> Failure | None:
        began, when = asyncio.get_running_loop().time(), deadline.when()
        deadline.reschedule(None)
        refused = await permit()
        deadline.reschedule(when and when + asyncio.get_running_loop().time() - began)
        return refused

    return permitted


async def _keep(response: httpx.Response, into: Path, limit: int, received: Received) -> Fetched:
    if int(response.headers.get("Content-Length", 0)) > limit:
        raise body.BadBody(Reason.TOO_LARGE, f"the file is announced as over {limit} bytes")
    encoding = response.headers.get("Content-Encoding", "")
    try:
        async with asyncio.timeout(_BODY_GRACE_SECONDS) as slowest:
            kept = await body.keep(_pieces(response, slowest, received), encoding, into, limit)
    except TimeoutError as error:
        if not slowest.expired():
            raise
        raise body.BadBody(Reason.TIMEOUT, f"the body drips: under {_SLOWEST_BYTES_A_SECOND} bytes a second") from error
    return Fetched(kept.path, kept.file_size, kept.sha256, *answers.validators(response.headers))


async def _pieces(response: httpx.Response, slowest: asyncio.Timeout, received: Received) -> AsyncIterator[bytes]:
    """Yield the body as it comes; each byte gives the rest of it more time."""
    latest = asyncio.get_running_loop().time() + _BODY_GRACE_SECONDS
    try:
        async for piece in response.aiter_raw():
            received(len(piece))
            latest += len(piece) / _SLOWEST_BYTES_A_SECOND
            slowest.reschedule(latest)
            yield piece
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise body.BadBody(Reason.BROKEN_BODY, "the body ended early") from error


async def _drain(response: httpx.Response, received: Received) -> None:
    """Read what is left of a short answer, so that its connection can be used again; one that dawdles is dropped."""
    size = 0
    with suppress(TimeoutError, *FOREIGN):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in response.aiter_raw():
                received(len(piece))
                size += len(piece)
                if size > _DRAIN_BYTES:
                    return


_REASONS: tuple[tuple[type[Exception], Reason, str], ...] = (
    (AddressRefused, Reason.REFUSED_ADDRESS, "leads to a private or reserved address"),
    (httpx.TimeoutException, Reason.TIMEOUT, "no answer in time"),
    (httpx.NetworkError, Reason.UNREACHABLE, "no connection, or it broke"),
    (httpx.ProxyError, Reason.UNREACHABLE, "a proxy failed"),
    (ssl.SSLError, Reason.UNREACHABLE, "TLS failed"),
    (httpx.UnsupportedProtocol, Reason.BAD_URL, "not http or https"),
    (httpx.InvalidURL, Reason.BAD_URL, "not a URL"),
    (httpx.LocalProtocolError, Reason.ORIGIN_ERROR, "the request cannot be sent; look at the feed's headers and token"),
    (httpx.ProtocolError, Reason.ORIGIN_ERROR, "the answer is not HTTP"),
    (httpx.TooManyRedirects, Reason.TOO_MANY_REDIRECTS, "too many redirects"),
    (httpx.DecodingError, Reason.BROKEN_BODY, "the body cannot be decoded"),
    (httpx.HTTPError, Reason.ORIGIN_ERROR, "an HTTP error"),
)
FOREIGN = tuple(kind for kind, *_ in _REASONS)
"""What comes out of httpx when a URL, the network or an origin is at fault; its other exceptions would be our bugs."""


def failure_of(error: Exception, host: str) -> Failure:
    """Turn one of the FOREIGN exceptions into a Failure. Their own texts are left out: some quote headers or URLs."""
    reason, words = next((reason, words) for kind, reason, words in _REASONS if isinstance(error, kind))
    return Failure(reason, f"{host}: {words} ({type(error).__name__})")
