"""How do we get one photo's bytes from its origin, whatever the origin does? The one door to httpx.

A transport is used without httpx's client: no cookie jar, redirects, proxies, logging of URLs or headers to switch off.
"""

import asyncio
import hashlib
import re
import socket
import ssl
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore
import httpx

from services.downloader import addresses
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed

Permit = Callable[[], Awaitable[bool]]
"""Asked before each redirect is followed, as every request counts against the feed's budget."""
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host's name and port to its IP addresses, best first; OSError where the name is not known."""

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REASONS_BY_STATUS = {
    401: Reason.FORBIDDEN,
    403: Reason.FORBIDDEN,
    404: Reason.GONE,
    410: Reason.GONE,
    429: Reason.THROTTLED,
}
_LONGEST_RETRY_AFTER = 86_400.0
# Names no format: a CDN that sees image/webp or image/avif here re-encodes the original.
_ACCEPT = "image/*, */*;q=0.5"
_KEEP_ALIVE_SECONDS = 15.0  # outlasts the pause between batches
_DRAIN_BYTES = 65_536
_DRAIN_SECONDS = 0.25
_PIECE_BYTES = 262_144
_VALIDATOR = re.compile(r"[\x20-\x7e]{1,1000}")


@dataclass(frozen=True, slots=True)
class Validators:
    """What the origin said of the copy that we hold, to be asked only for something newer."""

    etag: str | None
    last_modified: str | None

    def as_headers(self) -> dict[str, str]:
        """The headers of a conditional request; none where there is nothing to compare by."""
        given = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in given.items() if value and _VALIDATOR.fullmatch(value)}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole body in a file that is now the caller's; size in bytes, hash in hex."""

    path: Path
    file_size: int
    sha256: str
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The copy that we hold is still the origin's, by these validators."""

    etag: str | None
    last_modified: str | None


Answer = Fetched | NotModified | Failure


async def always() -> bool:
    """Permit every redirect."""
    return True


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name, once."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def user_agent() -> str:
    """Return the name by which origins see us unless a feed's `headers` say otherwise."""
    return f"listing-images/{version('listing-images')} (keeps local copies of listing photos)"


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def certificate_rules() -> ssl.SSLContext:
    """Return the rules for TLS: certificates are verified, against certifi's authorities."""
    return httpx.create_ssl_context(trust_env=False)


class Fetcher:
    """Fetches photos for all feeds of a service. Holds one connection pool a feed, which `aclose` closes."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        agent: str | None = None,
        resolve: Resolve = resolve_name,
        now: Callable[[], datetime] = utc_now,
        dial: httpcore.AsyncNetworkBackend | None = None,
        tls: Callable[[], ssl.SSLContext] = certificate_rules,
    ) -> None:
        """Take the variables that `token_env` may name; the rest is for tests and unusual networks.

        `dial` makes the connections, only ever to addresses that were checked.
        """
        self._environ = environ
        self._agent = agent or user_agent()
        self._resolve = resolve
        self._now = now
        self._dial = dial or httpcore.AnyIOBackend()
        self._tls = cache(tls)  # 20 ms and some memory: once, when first needed
        self._transports: dict[tuple[str, bool], _PinnedTransport] = {}

    async def __aenter__(self) -> Self:
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
        self, url: str, feed: Feed, into: Path, validators: Validators | None = None, permit: Permit = always
    ) -> Answer:
        """Fetch the URL within the feed's rules, the body into a new file in the directory `into`.

        Whatever origin, network or URL do is a Failure. Raises only what is no fault of theirs: a full disk, a
        `permit` that raises, being cancelled; no file is left then either.
        """
        try:
            async with asyncio.timeout(feed.request_timeout_seconds) as deadline:
                return await self._follow(url, feed, into, validators, permit)
        except TimeoutError:
            if not deadline.expired():
                raise
            return Failure(Reason.TIMEOUT, f"no complete answer within {feed.request_timeout_seconds:g} s")

    async def _follow(self, url: str, feed: Feed, into: Path, validators: Validators | None, permit: Permit) -> Answer:
        conditions = validators.as_headers() if validators else {}
        place = addresses.place(url, feed.image_hosts)
        for hop in range(_MAX_REDIRECTS + 1):
            if isinstance(place, Failure):
                return place
            if hop and not await permit():
                return Failure(Reason.THROTTLED, "the feed's budget leaves no request for a redirect")
            answer = await self._ask(place, feed, into, conditions)
            if not isinstance(answer, _Redirect):
                return answer
            place = addresses.redirected(place, answer.location, feed.image_hosts)
        return Failure(Reason.TOO_MANY_REDIRECTS, f"more than {_MAX_REDIRECTS} redirects")

    async def _ask(
        self, place: addresses.Place, feed: Feed, into: Path, conditions: Mapping[str, str]
    ) -> "Answer | _Redirect":
        try:
            async with aclosing(await self._send(place, feed, conditions)) as response:
                if response.status_code in {200, 203}:
                    return await _keep_body(response, into, feed.max_file_bytes)
                await _drain(response)
                return self._read_status(response, place.host, conditions)
        except _GivenUp as given_up:
            return given_up.failure
        except FOREIGN as error:
            return failure_of(error, place.host)

    async def _send(self, place: addresses.Place, feed: Feed, conditions: Mapping[str, str]) -> httpx.Response:
        headers = self._headers(place, feed, conditions)
        # The whole attempt has its deadline already; this one is shared among the addresses of a name.
        timeouts = {"connect": feed.request_timeout_seconds}
        request = httpx.Request("GET", place.url, headers=headers, extensions={"timeout": timeouts})
        return await self._transport(feed).handle_async_request(request)

    def _headers(self, place: addresses.Place, feed: Feed, conditions: Mapping[str, str]) -> httpx.Headers:
        headers = httpx.Headers(
            {"User-Agent": self._agent, "Accept": _ACCEPT, "Accept-Encoding": "identity"}, encoding="utf-8"
        )
        for name, value in (*feed.headers.items(), *conditions.items()):
            headers[name] = value
        headers.pop("Host", None)  # always the name that was checked
        if place.scheme != "https" and not feed.allow_private_addresses:
            headers.pop("Authorization", None)
        elif feed.token_env:
            headers["Authorization"] = f"Bearer {self._token(feed)}"
        return headers

    def _token(self, feed: Feed) -> str:
        token = self._environ.get(feed.token_env, "").strip()
        if not token:
            raise _GivenUp(Reason.FORBIDDEN, f"the variable {feed.token_env} that token_env names is not set")
        return token

    def _transport(self, feed: Feed) -> "_PinnedTransport":
        # One pool a feed: a connection that a sandbox feed may have must not be found by another.
        key = (feed.name, feed.allow_private_addresses)
        if key not in self._transports:
            backend = _PinnedBackend(self._resolve, self._dial, feed.allow_private_addresses)
            self._transports[key] = _PinnedTransport(backend, self._tls(), feed.concurrency)
        return self._transports[key]

    def _read_status(
        self, response: httpx.Response, host: str, conditions: Mapping[str, str]
    ) -> "NotModified | Failure | _Redirect":
        status = response.status_code
        if status == 304 and conditions:
            return NotModified(
                _validator(response, "ETag") or conditions.get("If-None-Match"),
                _validator(response, "Last-Modified") or conditions.get("If-Modified-Since"),
            )
        if status in _REDIRECTS and "Location" in response.headers:
            return _Redirect(response.headers["Location"])
        wait = retry_after(response.headers.get("Retry-After", ""), self._now()) if status in {429, 503} else None
        return Failure(_REASONS_BY_STATUS.get(status, Reason.ORIGIN_ERROR), f"{host} answered {status}", wait)


def retry_after(value: str, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now, at most a day; None where it says nothing."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,100}", value):
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds >= 0 else None


FOREIGN = (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError)
"""What httpx lets out when a URL, the network or an origin is at fault; its other exceptions would be our bugs."""

_REASONS: tuple[tuple[type[Exception], Reason, str], ...] = (
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


def failure_of(error: Exception, host: str) -> Failure:
    """Turn one of the FOREIGN exceptions into a Failure. Their own texts are left out: some quote headers or URLs."""
    reason, words = next((reason, words) for kind, reason, words in _REASONS if isinstance(error, kind))
    return Failure(reason, f"{host}: {words} ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class _Redirect:
    location: str


class _GivenUp(Exception):  # noqa: N818 - carries a result through httpx; ends in _ask
    """Nothing more will come of this request."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)


class _PinnedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over a pool that connects only through our backend."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext, keep: int) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,  # how many at a time is the budget's to say
            max_keepalive_connections=keep,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=backend,
        )


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a name once, checks every address, and connects to one of those, never to the name again."""

    def __init__(self, resolve: Resolve, dial: httpcore.AsyncNetworkBackend, allow_private: bool) -> None:
        self._resolve = resolve
        self._dial = dial
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await self._addresses(host, port)
        share = timeout / len(found) if timeout else None  # so that one silent address leaves time for the next
        for address in found[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return _Connection(await self._dial.connect_tcp(address, port, share, local_address, socket_options))
        return _Connection(await self._dial.connect_tcp(found[-1], port, share, local_address, socket_options))

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        found = [host] if addresses.is_address(host) else await self._lookup(host, port)
        if not self._allow_private and any(map(addresses.address_refused, found)):
            raise _GivenUp(Reason.REFUSED_ADDRESS, f"{host} leads to a private or reserved address")
        return found

    async def _lookup(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        if not found:
            raise httpcore.ConnectError("the name has no address")
        return found


class _Connection(httpcore.AsyncNetworkStream):
    """A connection that is closed when its TLS handshake is cancelled; httpcore 1.0.9 leaves it open for ever."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


async def _drain(response: httpx.Response) -> None:
    """Read what is left of a short answer, so that its connection can be used again; one that dawdles is dropped."""
    size = 0
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > _DRAIN_BYTES:
                    return


async def _keep_body(response: httpx.Response, into: Path, limit: int) -> Fetched:
    if int(response.headers.get("Content-Length", 0)) > limit:
        raise _GivenUp(Reason.TOO_LARGE, f"announced as over {limit} bytes")
    size, digest = 0, hashlib.sha256()
    with _new_file(into) as file:
        async for piece in _body(response):
            size += len(piece)
            if size > limit:
                raise _GivenUp(Reason.TOO_LARGE, f"over {limit} bytes")
            digest.update(piece)
            file.write(piece)
        if not size:
            raise _GivenUp(Reason.BROKEN_BODY, "the body is empty")
    etag, last_modified = _validator(response, "ETag"), _validator(response, "Last-Modified")
    return Fetched(Path(file.name), size, digest.hexdigest(), etag, last_modified)


@contextmanager
def _new_file(into: Path) -> Iterator["tempfile._TemporaryFileWrapper[bytes]"]:
    """Open a new file in `into`, which is gone again if the block raises."""
    with tempfile.NamedTemporaryFile(dir=into, prefix="fetch-", delete=False) as file:
        try:
            yield file
            file.flush()  # here, where a full disk still removes the file
        except BaseException:
            Path(file.name).unlink()
            raise


def _body(response: httpx.Response) -> AsyncIterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in {"identity", ""}:
        return _as_sent(response)
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _inflated(response)
    raise _GivenUp(Reason.BROKEN_BODY, "the body is encoded in a way that was not asked for")


async def _as_sent(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise _GivenUp(Reason.BROKEN_BODY, "the body ended early") from error


async def _inflated(response: httpx.Response) -> AsyncIterator[bytes]:
    """Inflate a body that came compressed although we asked for none; a piece at a time, as it may be a bomb."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, told by its first bytes
    try:
        async for raw in _as_sent(response):
            rest = raw
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _PIECE_BYTES)
                rest = inflate.unconsumed_tail
            if inflate.eof:
                return  # what follows the end would only fill the memory
    except zlib.error as error:
        raise _GivenUp(Reason.BROKEN_BODY, "the compressed body is damaged") from error
    raise _GivenUp(Reason.BROKEN_BODY, "the compressed body ended early")


def _validator(response: httpx.Response, name: str) -> str | None:
    """Return a header that can be stored and sent back as it is."""
    value = response.headers.get(name, "")
    return value if _VALIDATOR.fullmatch(value) else None
