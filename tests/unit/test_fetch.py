"""Does a fetch survive any origin? httpx against a real server on loopback that answers with whatever bytes it likes."""

import asyncio
import gzip
import hashlib
import logging
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpcore
import httpx
import pytest

from services.downloader import fetch
from services.downloader.fetch import Answer, Fetched, Fetcher, NotModified, Validators
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TOKEN = "s3cret-t0ken"
PHOTO = bytes(range(256)) * 1000

Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Origin:
    """A server that answers each path with given bytes and remembers every connection and request."""

    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/photo.jpg") -> str:
        return f"http://{self.host()}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(request.decode("latin-1"))
                reply = self.replies[request.split()[1].decode()]
                await (write(writer, reply) if isinstance(reply, bytes) else reply(writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            writer.close()


async def write(writer: asyncio.StreamWriter, reply: bytes) -> None:
    writer.write(reply)
    await writer.drain()


@asynccontextmanager
async def running(origin: Origin, tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(origin.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running(Origin(replies={"/photo.jpg": answer(PHOTO)})) as started:
        yield started


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher({"PHOTO_TOKEN": TOKEN}, now=lambda: NOW) as made:
        yield made


def answer(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"moved", status, Location=location)


def then_close(reply: bytes) -> Reply:
    async def reply_and_close(writer: asyncio.StreamWriter) -> None:
        await write(writer, reply)
        writer.close()

    return reply_and_close


def endlessly(piece: bytes, first: bytes = b"", pause: float = 0.0) -> Reply:
    async def drip(writer: asyncio.StreamWriter) -> None:
        await write(writer, first)
        while not writer.is_closing():
            await write(writer, piece)
            await asyncio.sleep(pause)

    return drip


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def sandbox(
    *origins: Origin,
    hosts: Iterable[str] = (),
    name: str = "sandbox",
    private: bool = True,
    seconds: float = 5.0,
    most: int = 1_000_000,
    headers: Mapping[str, str] | None = None,
    token_env: str = "",
) -> Feed:
    return Feed(
        name=name,
        image_hosts=(*hosts, *(origin.host() for origin in origins)),
        allow_private_addresses=private,
        request_timeout_seconds=seconds,
        max_file_bytes=most,
        headers=headers or {},
        token_env=token_env,
    )


def failed(outcome: Answer, reason: Reason) -> Failure:
    assert isinstance(outcome, Failure), outcome
    assert outcome.reason is reason, outcome
    return outcome


@dataclass
class Names:
    """A name service for tests; remembers what it was asked. Takes each answer once, the last one for good."""

    answers: list[Sequence[str]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class Detour(httpcore.AsyncNetworkBackend):
    """Connects to the test's origin in place of the address asked for, which it remembers; `dead` ones refuse."""

    origin: Origin
    dead: frozenset[str] = frozenset()
    dialled: list[str] = field(default_factory=list)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(f"{host} {port}")
        if host in self.dead:
            raise httpcore.ConnectError
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.origin.port, timeout)


# Bodies


async def test_a_photo_ends_in_a_new_file_with_its_size_hash_and_validators(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, ETag='"v1"', Last_Modified="Sun, 22 Nov 2026 09:00:00 GMT")
    outcome = await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    assert isinstance(outcome, Fetched)
    assert outcome.path.read_bytes() == PHOTO
    assert list(tmp_path.iterdir()) == [outcome.path]
    assert (outcome.file_size, outcome.sha256) == (len(PHOTO), hashlib.sha256(PHOTO).hexdigest())
    assert (outcome.etag, outcome.last_modified) == ('"v1"', "Sun, 22 Nov 2026 09:00:00 GMT")


GOOD_BODIES: dict[str, Reply] = {
    "203": answer(PHOTO, "203 Non-Authoritative Information"),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PHOTO), PHOTO),
    "until closed": then_close(b"HTTP/1.0 200 OK\r\n\r\n" + PHOTO),
    "gzip unasked": answer(gzip.compress(PHOTO), Content_Encoding="gzip"),
    "deflate unasked": answer(zlib.compress(PHOTO), Content_Encoding="Deflate"),
    "gzip and then more": answer(gzip.compress(PHOTO) + b"\0" * 100_000, Content_Encoding="gzip"),
    "after hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(PHOTO),
}


@pytest.mark.parametrize("reply", GOOD_BODIES.values(), ids=GOOD_BODIES.keys())
async def test_a_body_is_taken_however_it_is_sent(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    outcome = await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    assert isinstance(outcome, Fetched), outcome
    assert outcome.path.read_bytes() == PHOTO


BOMB = gzip.compress(b"\0" * 50_000_000)
BAD_BODIES: dict[str, tuple[Reply, Reason]] = {
    "empty": (answer(), Reason.BROKEN_BODY),
    "shorter than announced": (then_close(answer(PHOTO, length=len(PHOTO) + 1)), Reason.BROKEN_BODY),
    "chunks cut": (
        then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"),
        Reason.BROKEN_BODY,
    ),
    "chunks of garbage": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n\r\n", Reason.BROKEN_BODY),
    "gzip cut": (answer(gzip.compress(PHOTO)[:-50], Content_Encoding="gzip"), Reason.BROKEN_BODY),
    "gzip of garbage": (answer(PHOTO, Content_Encoding="gzip"), Reason.BROKEN_BODY),
    "gzip of nothing": (answer(gzip.compress(b""), Content_Encoding="gzip"), Reason.BROKEN_BODY),
    "brotli": (answer(PHOTO, Content_Encoding="br"), Reason.BROKEN_BODY),
    "gzip twice": (answer(PHOTO, Content_Encoding="gzip, gzip"), Reason.BROKEN_BODY),
    "announced too large": (answer(length=1_000_001), Reason.TOO_LARGE),
    "endless": (endlessly(PHOTO, b"HTTP/1.1 200 OK\r\n\r\n"), Reason.TOO_LARGE),
    "endless chunks": (
        endlessly(b"4\r\nabcd\r\n" * 1000, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Reason.TOO_LARGE,
    ),
    "gzip bomb": (answer(BOMB, Content_Encoding="gzip"), Reason.TOO_LARGE),
}


@pytest.mark.parametrize(("reply", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_is_a_failure_and_leaves_no_file(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, reply: Reply, reason: Reason
) -> None:
    origin.replies["/photo.jpg"] = reply
    failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), reason)
    assert list(tmp_path.iterdir()) == []
    await asyncio.wait_for(origin.closed.wait(), 2) if reason is Reason.TOO_LARGE else None


async def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies["/photo.jpg"] = then_close(b"HTTP/1.1 200 OK\r\n\r\n" + PHOTO)
    assert isinstance(await fetcher.fetch(origin.url(), sandbox(origin, most=len(PHOTO)), tmp_path), Fetched)
    failed(await fetcher.fetch(origin.url(), sandbox(origin, most=len(PHOTO) - 1), tmp_path), Reason.TOO_LARGE)


# Time


SLOW: dict[str, Reply] = {
    "no answer": silence,
    "headers drip": endlessly(b"X-Drip: 1\r\n", b"HTTP/1.1 200 OK\r\n", pause=0.02),
    "hints for ever": endlessly(b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.02),
    "body drips": endlessly(b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", pause=0.02),
    "empty chunks of gzip": endlessly(
        b"5\r\n\x00\x00\x00\xff\xff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
        b"a\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\r\n",
        pause=0.02,
    ),
}


@pytest.mark.parametrize("reply", SLOW.values(), ids=SLOW.keys())
async def test_the_deadline_holds_from_connect_to_last_byte(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    async with asyncio.timeout(2):
        failed(await fetcher.fetch(origin.url(), sandbox(origin, seconds=0.3), tmp_path), Reason.TIMEOUT)
    assert list(tmp_path.iterdir()) == []


async def test_the_deadline_holds_over_redirects_together(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    async def later(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await write(writer, redirect("/photo.jpg"))

    origin.replies["/photo.jpg"] = later
    failed(await fetcher.fetch(origin.url(), sandbox(origin, seconds=0.5), tmp_path), Reason.TIMEOUT)


async def test_the_deadline_holds_for_the_name_service(tmp_path: Path) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with Fetcher({}, resolve=never) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], seconds=0.2)
        failed(await fetcher.fetch("http://photos.example.com/", feed, tmp_path), Reason.TIMEOUT)


async def test_a_stalled_tls_handshake_is_given_up_and_its_connection_closed(tmp_path: Path, fetcher: Fetcher) -> None:
    async with running(Origin()) as origin:  # reads the handshake as a request that never ends
        url = f"https://{origin.host()}/"
        failed(await fetcher.fetch(url, sandbox(origin, seconds=0.3), tmp_path), Reason.TIMEOUT)
        await asyncio.wait_for(origin.closed.wait(), 2)


async def test_a_cancelled_fetch_raises_and_leaves_nothing(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    origin.replies["/photo.jpg"] = endlessly(b"x", b"HTTP/1.1 200 OK\r\n\r\n", pause=0.01)
    task = asyncio.create_task(fetcher.fetch(origin.url(), sandbox(origin), tmp_path))
    async with asyncio.timeout(2):
        while not list(tmp_path.iterdir()):
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    await asyncio.wait_for(origin.closed.wait(), 2)


# Answers without a body


STATUSES: dict[str, tuple[str, Reason, float | None]] = {
    "201 Created": ("", Reason.ORIGIN_ERROR, None),
    "204 No Content": ("", Reason.ORIGIN_ERROR, None),
    "206 Partial Content": ("", Reason.ORIGIN_ERROR, None),
    "300 Multiple Choices": ("", Reason.ORIGIN_ERROR, None),
    "301 Moved To Nowhere": ("", Reason.ORIGIN_ERROR, None),
    "304 Not Modified": ("", Reason.ORIGIN_ERROR, None),
    "400 Bad Request": ("", Reason.ORIGIN_ERROR, None),
    "401 Unauthorized": ("", Reason.FORBIDDEN, None),
    "403 Forbidden": ("60", Reason.FORBIDDEN, None),
    "404 Not Found": ("60", Reason.GONE, None),
    "408 Request Timeout": ("", Reason.ORIGIN_ERROR, None),
    "410 Gone": ("", Reason.GONE, None),
    "418 Teapot": ("", Reason.ORIGIN_ERROR, None),
    "425 Too Early": ("", Reason.ORIGIN_ERROR, None),
    "429 Too Many Requests": ("120", Reason.THROTTLED, 120.0),
    "429 Without Header": ("", Reason.THROTTLED, None),
    "500 Internal Server Error": ("60", Reason.ORIGIN_ERROR, None),
    "502 Bad Gateway": ("", Reason.ORIGIN_ERROR, None),
    "503 Service Unavailable": ("Mon, 23 Nov 2026 09:00:30 GMT", Reason.ORIGIN_ERROR, 30.0),
    "503 Without Header": ("", Reason.ORIGIN_ERROR, None),
    "999 Whatever": ("", Reason.ORIGIN_ERROR, None),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_has_its_reason(origin: Origin, fetcher: Fetcher, tmp_path: Path, status: str) -> None:
    retry_after, reason, wait = STATUSES[status]
    body = b"" if status[:3] in {"204", "304"} else b"a page for people"
    headers = {"Retry-After": retry_after} if retry_after else {}
    origin.replies["/photo.jpg"] = then_close(answer(body, status, **headers))
    failure = failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), reason)
    assert failure.wait_seconds == wait
    assert failure.detail == f"127.0.0.1 answered {status[:3]}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("999999999999999999999", 86_400.0),
        ("9" * 5000, None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 09:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 10:01:00 +0100", 60.0),
        ("Mon, 23 Nov 2026 09:01:00 -0000", 60.0),
        ("Monday, 23-Nov-26 09:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 08:59:59 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Mon, 99 Nov 2026 09:01:00 GMT", None),
        ("Mon, 23 Nov 2026 09:01:00 +9999", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_within_a_day(value: str, seconds: float | None) -> None:
    assert fetch.retry_after(value, NOW) == seconds


async def test_a_held_copy_is_asked_for_conditionally(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    origin.replies["/photo.jpg"] = answer(status="304 Not Modified", ETag='"v2"')
    held = Validators('"v1"', "Sun, 22 Nov 2026 09:00:00 GMT")
    outcome = await fetcher.fetch(origin.url(), sandbox(origin), tmp_path, held)
    assert outcome == NotModified('"v2"', "Sun, 22 Nov 2026 09:00:00 GMT")
    assert 'If-None-Match: "v1"\r\n' in origin.requests[0]
    assert "If-Modified-Since: Sun, 22 Nov 2026 09:00:00 GMT\r\n" in origin.requests[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("etag", ["", "é", "a\r\nX-Evil: 1", "x" * 1001])
async def test_a_validator_that_no_header_can_hold_is_left_out(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, etag: str
) -> None:
    assert isinstance(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path, Validators(etag, None)), Fetched)
    assert "If-None-Match" not in origin.requests[0]


async def test_an_etag_that_cannot_be_sent_back_is_not_kept(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, ETag='"é"')
    outcome = await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    assert isinstance(outcome, Fetched)
    assert outcome.etag is None


# Network


BROKEN: dict[str, tuple[Reply, Reason]] = {
    "garbage": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Reason.ORIGIN_ERROR),
    "closed at once": (then_close(b""), Reason.ORIGIN_ERROR),
    "huge headers": (endlessly(b"X-Long: " + b"x" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"), Reason.ORIGIN_ERROR),
    "lengths that differ": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        Reason.ORIGIN_ERROR,
    ),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", Reason.ORIGIN_ERROR),
    "switching protocols": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Reason.ORIGIN_ERROR),
}


@pytest.mark.parametrize(("reply", "reason"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_not_http_is_an_origin_error(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, reply: Reply, reason: Reason
) -> None:
    origin.replies["/photo.jpg"] = reply
    failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), reason)


async def test_a_reset_connection_is_unreachable(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    origin.replies["/photo.jpg"] = reset
    outcome = await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    assert isinstance(outcome, Failure)
    assert outcome.reason in {Reason.UNREACHABLE, Reason.ORIGIN_ERROR}  # the kernel may report a plain end


async def test_a_refused_connection_is_unreachable(fetcher: Fetcher, tmp_path: Path) -> None:
    async with running(Origin()) as origin:
        pass
    failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), Reason.UNREACHABLE)


@pytest.mark.parametrize("error", [OSError("no such name"), TimeoutError(), UnicodeError()])
async def test_an_unknown_name_is_unreachable(tmp_path: Path, error: Exception) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise error

    async with Fetcher({}, resolve=unknown) as fetcher:
        feed = sandbox(hosts=["photos.example.com"])
        failed(await fetcher.fetch("http://photos.example.com/", feed, tmp_path), Reason.UNREACHABLE)


async def test_a_name_without_addresses_is_unreachable(tmp_path: Path) -> None:
    async with Fetcher({}, resolve=Names([[]])) as fetcher:
        feed = sandbox(hosts=["photos.example.com"])
        failed(await fetcher.fetch("http://photos.example.com/", feed, tmp_path), Reason.UNREACHABLE)


async def test_the_systems_names_are_resolved(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    host = f"localhost:{origin.port}"
    assert isinstance(await fetcher.fetch(f"http://{host}/photo.jpg", sandbox(hosts=[host]), tmp_path), Fetched)
    assert f"Host: {host}\r\n" in origin.requests[0]


def tree(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


def test_every_exception_of_httpx_is_mapped_or_known_as_a_bug() -> None:
    ours = {httpx.StreamError, *tree(httpx.StreamError), httpx.CookieConflict}  # wrong use of httpx, no one's answer
    theirs = {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {kind for kind in theirs - ours if not issubclass(kind, fetch.FOREIGN)} == set()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (httpx.ConnectTimeout, Reason.TIMEOUT),
        (httpx.PoolTimeout, Reason.TIMEOUT),
        (httpx.ReadTimeout, Reason.TIMEOUT),
        (httpx.WriteTimeout, Reason.TIMEOUT),
        (httpx.ConnectError, Reason.UNREACHABLE),
        (httpx.ReadError, Reason.UNREACHABLE),
        (httpx.WriteError, Reason.UNREACHABLE),
        (httpx.CloseError, Reason.UNREACHABLE),
        (httpx.ProxyError, Reason.UNREACHABLE),
        (ssl.SSLError, Reason.UNREACHABLE),
        (httpx.UnsupportedProtocol, Reason.BAD_URL),
        (httpx.InvalidURL, Reason.BAD_URL),
        (httpx.LocalProtocolError, Reason.ORIGIN_ERROR),
        (httpx.RemoteProtocolError, Reason.ORIGIN_ERROR),
        (httpx.TooManyRedirects, Reason.TOO_MANY_REDIRECTS),
        (httpx.DecodingError, Reason.BROKEN_BODY),
        (httpx.HTTPStatusError, Reason.ORIGIN_ERROR),
    ],
)
def test_a_foreign_exception_has_its_reason_and_its_text_stays_behind(kind: type[Exception], reason: Reason) -> None:
    error = kind.__new__(kind)
    error.args = ("https://photos.example.com/?signature=secret",)
    failure = fetch.failure_of(error, "photos.example.com")
    assert failure.reason is reason
    assert "secret" not in failure.detail


# Addresses


REFUSED_URLS = [
    # not a URL that two readers would read alike
    *[
        ("", Reason.BAD_URL),
        ("photo.jpg", Reason.BAD_URL),
        ("//{trap}/", Reason.BAD_URL),
        ("http:///a", Reason.BAD_URL),
    ],
    *[
        (f"{scheme}://{{trap}}/", Reason.BAD_URL)
        for scheme in ("ftp", "file", "gopher", "ws", "httpss", "http+unix", "")
    ],
    *[("http:/{trap}/", Reason.BAD_URL), ("http:{trap}", Reason.BAD_URL), ("javascript:alert(1)", Reason.BAD_URL)],
    *[
        ("data:image/png;base64,AAAA", Reason.BAD_URL),
        ("https://", Reason.BAD_URL),
        ("http://:{port}/", Reason.BAD_URL),
    ],
    *[("http://user@{trap}/", Reason.BAD_URL), ("http://user:secret@{trap}/", Reason.BAD_URL)],
    *[("http://photos.example.com:{port}@{trap}/", Reason.BAD_URL), ("http://@{trap}/", Reason.BAD_URL)],
    *[("http://{trap}\\@photos.example.com/", Reason.BAD_URL), ("http:\\\\{trap}\\", Reason.BAD_URL)],
    *[
        ("http://photos.example.com\\.evil.org/", Reason.BAD_URL),
        ("http://photos.example.com:{port}\\a", Reason.BAD_URL),
    ],
    *[(" http://{trap}/", Reason.BAD_URL), ("http://{trap}/ ", Reason.BAD_URL), ("http://{trap}/a b", Reason.BAD_URL)],
    *[("ht\ttp://{trap}/", Reason.BAD_URL), ("http://{trap}/\r\nX-Evil: 1", Reason.BAD_URL)],
    *[
        ("http://{trap}/\x00", Reason.BAD_URL),
        ("http://{trap}/\x7f", Reason.BAD_URL),
        ("http://{trap}\n/", Reason.BAD_URL),
    ],
    *[("http://{trap}/\u2028", Reason.BAD_URL), ("http://{trap}/\u200b", Reason.BAD_URL)],
    *[("http://{trap}/\ud800", Reason.BAD_URL), ("http://{trap}/" + "a" * 9000, Reason.BAD_URL)],
    *[("http://127.0.0.1:99999/", Reason.BAD_URL), ("http://127.0.0.1:0/", Reason.BAD_URL)],
    *[("http://127.0.0.1:{port}x/", Reason.BAD_URL), ("http://127.0.0.1:+{port}/", Reason.BAD_URL)],
    *[("http://127.0.0.1:{port}:80/", Reason.BAD_URL), ("http://127.0.0.1:000{port}/", Reason.BAD_URL)],
    # loopback in disguise
    *[(f"http://{host}:{{port}}/", Reason.BAD_URL) for host in ("127.1", "127.0.1", "2130706433", "017700000001")],
    *[
        (f"http://{host}:{{port}}/", Reason.BAD_URL)
        for host in ("0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01")
    ],
    *[
        (f"http://{host}:{{port}}/", Reason.BAD_URL)
        for host in ("①②⑦.0.0.1", "127。0。0。1", "%31%32%37.0.0.1", "127.0.0.1%00")
    ],
    *[
        (f"http://{host}:{{port}}/", Reason.BAD_URL)
        for host in ("[::1%25lo]", "[::1%lo]", "::1", "[::1", "[127.0.0.1]")
    ],
    *[("http://[::1]evil.org:{port}/", Reason.BAD_URL), ("http://loc\u00adalhost:{port}/", Reason.BAD_URL)],
    *[("http://ⓛocalhost:{port}/", Reason.BAD_URL), ("http://localhost..:{port}/", Reason.BAD_URL)],
    # hosts and ports that are not listed
    *[
        (f"http://{host}:{{port}}/", Reason.REFUSED_HOST)
        for host in ("0.0.0.0", "127.0.0.2", "[::]", "[::ffff:127.0.0.1]")
    ],
    *[
        (f"http://{host}:{{port}}/", Reason.REFUSED_HOST)
        for host in ("evil.org", "example.com", "photos.example.com.evil.org")
    ],
    *[("http://127.0.0.1/", Reason.REFUSED_HOST), ("https://127.0.0.1/", Reason.REFUSED_HOST)],
    *[("http://photos.example.com:8080/", Reason.REFUSED_HOST), ("http://localhost/", Reason.REFUSED_HOST)],
    *[
        ("http://169.254.169.254/latest/meta-data/", Reason.REFUSED_HOST),
        ("http://[fd00:ec2::254]/", Reason.REFUSED_HOST),
    ],
    # listed, but leading to an address that is not public
    *[("http://{trap}/photo.jpg", Reason.REFUSED_ADDRESS), ("https://{trap}/photo.jpg", Reason.REFUSED_ADDRESS)],
    *[("HTTP://127.0.0.1.:{port}/", Reason.REFUSED_ADDRESS), ("http://[::1]:{port}/", Reason.REFUSED_ADDRESS)],
    *[
        ("http://[0:0:0:0:0:0:0:1]:{port}/", Reason.REFUSED_ADDRESS),
        ("http://localhost:{port}/", Reason.REFUSED_ADDRESS),
    ],
    *[
        ("http://LOCALHOST.:{port}/", Reason.REFUSED_ADDRESS),
        ("http://photos.example.com:{port}/", Reason.REFUSED_ADDRESS),
    ],
    *[
        ("http://a.b.example.com:{port}/", Reason.REFUSED_ADDRESS),
        ("http://xn--bcher-kva.example:{port}/", Reason.REFUSED_ADDRESS),
    ],
    *[
        ("http://bücher.example:{port}/#@evil.org", Reason.REFUSED_ADDRESS),
        ("http://xn--zzzzzz99.example.com:{port}/", Reason.REFUSED_ADDRESS),
    ],
]
LISTED = ("127.0.0.1", "[::1]", "localhost", "photos.example.com", "*.example.com", "xn--bcher-kva.example")


@pytest.mark.parametrize(("url", "reason"), REFUSED_URLS)
async def test_a_server_on_loopback_is_never_seen_from_a_feed_that_may_not(
    origin: Origin, tmp_path: Path, url: str, reason: Reason
) -> None:
    url = url.replace("{trap}", origin.host()).replace("{port}", str(origin.port))
    async with Fetcher({}, resolve=Names([["127.0.0.1"]])) as fetcher:
        feed = sandbox(hosts=[f"{host}:{origin.port}" for host in LISTED], private=False)
        failure = failed(await fetcher.fetch(url, feed, tmp_path), reason)
    assert origin.connections == 0
    assert "secret" not in failure.detail


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "photos.example.com", "a.b.example.com", "bücher.example", "xn--zz99.example.com"]
)
async def test_the_same_server_is_seen_by_a_sandbox_feed(origin: Origin, tmp_path: Path, host: str) -> None:
    async with Fetcher({}, resolve=Names([["127.0.0.1"]])) as fetcher:
        feed = sandbox(hosts=[f"{host}:{origin.port}" for host in LISTED])
        assert isinstance(await fetcher.fetch(f"http://{host}:{origin.port}/photo.jpg", feed, tmp_path), Fetched)
    assert origin.connections == 1


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["64:ff9b::7f00:1"]],
)
async def test_one_refused_address_refuses_the_whole_name(origin: Origin, tmp_path: Path, found: list[str]) -> None:
    dial = Detour(origin)
    async with Fetcher({}, resolve=Names([found]), dial=dial) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False)
        failed(await fetcher.fetch("http://photos.example.com/photo.jpg", feed, tmp_path), Reason.REFUSED_ADDRESS)
    assert dial.dialled == []


async def test_a_name_that_changes_its_answer_gets_only_the_address_that_was_checked(
    origin: Origin, tmp_path: Path
) -> None:
    names, dial = Names([["93.184.216.34"], ["127.0.0.1"]]), Detour(origin)
    origin.replies["/photo.jpg"] = then_close(answer(PHOTO, Connection="close"))
    feed = sandbox(hosts=["photos.example.com"], private=False)
    async with Fetcher({}, resolve=names, dial=dial) as fetcher:
        url = "http://photos.example.com/photo.jpg"
        assert isinstance(await fetcher.fetch(url, feed, tmp_path), Fetched)
        assert (names.asked, dial.dialled) == (["photos.example.com"], ["93.184.216.34 80"])
        failed(await fetcher.fetch(url, feed, tmp_path), Reason.REFUSED_ADDRESS)
    assert dial.dialled == ["93.184.216.34 80"]
    assert "Host: photos.example.com\r\n" in origin.requests[0]


async def test_the_next_address_is_tried_where_the_first_is_dead(origin: Origin, tmp_path: Path) -> None:
    names = Names([["2606:4700::1", "93.184.216.34"]])
    dial = Detour(origin, dead=frozenset({"2606:4700::1"}))
    async with Fetcher({}, resolve=names, dial=dial) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False)
        assert isinstance(await fetcher.fetch("http://photos.example.com/photo.jpg", feed, tmp_path), Fetched)
    assert dial.dialled == ["2606:4700::1 80", "93.184.216.34 80"]


async def test_proxies_of_the_environment_are_not_used(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Fetcher({}) as fetcher:
        assert isinstance(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), Fetched)


# Connections


async def test_a_connection_is_used_again_after_a_photo_a_redirect_and_an_error(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies |= {"/moved": redirect("/photo.jpg"), "/gone": answer(b"no such photo", "404 Not Found")}
    for path in ("/photo.jpg", "/moved", "/gone", "/photo.jpg"):
        await fetcher.fetch(origin.url(path), sandbox(origin), tmp_path)
    assert (len(origin.requests), origin.connections) == (5, 1)


async def test_a_feed_never_gets_the_connection_of_another(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    strict = sandbox(origin, name="strict", private=False)
    failed(await fetcher.fetch(origin.url(), strict, tmp_path), Reason.REFUSED_ADDRESS)
    failed(await fetcher.fetch(origin.url(), sandbox(origin, private=False), tmp_path), Reason.REFUSED_ADDRESS)
    await fetcher.fetch(origin.url(), sandbox(origin, name="other"), tmp_path)
    assert (len(origin.requests), origin.connections) == (2, 2)


async def test_an_error_page_that_never_ends_costs_neither_its_meaning_nor_the_deadline(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies["/photo.jpg"] = endlessly(b"x", b"HTTP/1.1 404 Not Found\r\n\r\n", pause=0.02)
    failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), Reason.GONE)
    await asyncio.wait_for(origin.closed.wait(), 2)


async def test_closing_the_fetcher_closes_its_connections(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher({}) as fetcher:
        await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
        assert not origin.closed.is_set()
    await asyncio.wait_for(origin.closed.wait(), 2)


# Redirects


async def test_three_redirects_are_followed_and_each_asks_for_a_permit(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies |= {"/1": redirect("/2", "301 Moved"), "/2": redirect("?3", "303 See Other")}
    origin.replies |= {"/2?3": redirect(origin.url(), "308 Permanent Redirect")}
    asked = 0

    async def permit() -> bool:
        nonlocal asked
        asked += 1
        return True

    assert isinstance(await fetcher.fetch(origin.url("/1"), sandbox(origin), tmp_path, permit=permit), Fetched)
    assert asked == 3
    assert not any(line in request.lower() for request in origin.requests for line in ("referer:", "cookie:"))


async def test_a_redirect_without_a_permit_is_not_followed(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    async def refused() -> bool:
        return False

    origin.replies["/1"] = redirect("/photo.jpg", "307 Temporary Redirect")
    outcome = await fetcher.fetch(origin.url("/1"), sandbox(origin), tmp_path, permit=refused)
    assert "budget" in failed(outcome, Reason.THROTTLED).detail
    assert len(origin.requests) == 1


async def test_a_loop_of_redirects_ends(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    origin.replies["/1"] = redirect("/1")
    failed(await fetcher.fetch(origin.url("/1"), sandbox(origin), tmp_path), Reason.TOO_MANY_REDIRECTS)
    assert len(origin.requests) == 4


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://{trap}/", Reason.REFUSED_HOST),
        ("//{trap}/", Reason.REFUSED_HOST),
        ("http://localhost:{port}/", Reason.REFUSED_HOST),
        ("http://photos.example.com@{trap}/", Reason.BAD_URL),
        ("http://{trap}\\.photos.example.com/", Reason.BAD_URL),
        ("file:///etc/passwd", Reason.BAD_URL),
        ("http://inside.example.com/", Reason.REFUSED_ADDRESS),
    ],
)
async def test_a_redirect_leads_nowhere_that_a_first_url_may_not(
    origin: Origin, tmp_path: Path, location: str, reason: Reason
) -> None:
    async with running(Origin()) as trap:
        location = location.replace("{trap}", trap.host()).replace("{port}", str(trap.port))
        origin.replies["/1"] = redirect(location)
        names = Names([["93.184.216.34"], ["127.0.0.1"]])
        async with Fetcher({}, resolve=names, dial=Detour(origin)) as fetcher:
            feed = sandbox(hosts=["photos.example.com", "inside.example.com"], private=False)
            failed(await fetcher.fetch("http://photos.example.com/1", feed, tmp_path), reason)
        assert (len(origin.requests), trap.connections) == (1, 0)


# Headers, tokens, TLS


async def test_a_request_names_this_software_and_carries_nothing_of_others(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, Set_Cookie="session=1; Path=/")
    for _ in range(2):
        await fetcher.fetch(origin.url(), sandbox(origin), tmp_path)
    lines = origin.requests[1].lower().split("\r\n")
    names = sorted(line.partition(":")[0] for line in lines[1:] if line)
    assert names == ["accept", "accept-encoding", "host", "user-agent"]
    assert "accept-encoding: identity" in lines
    assert any(line.startswith("user-agent: listing-images/") for line in lines)


async def test_a_feeds_headers_are_sent_but_do_not_move_the_host(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    feed = sandbox(origin, headers={"user-agent": "agreed name", "X-Key": "schlüssel", "host": "evil.org"})
    assert isinstance(await fetcher.fetch(origin.url(), feed, tmp_path), Fetched)
    assert "user-agent: agreed name\r\n" in origin.requests[0].replace("User-Agent", "user-agent")
    assert "listing-images" not in origin.requests[0]
    assert "schlüssel" in origin.requests[0].encode("latin-1").decode()
    assert f"host: {origin.host()}\r\n" in origin.requests[0].lower()


async def test_a_header_that_cannot_be_sent_is_a_failure_that_does_not_show_it(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    feed = sandbox(origin, headers={"X-Key": f"a\r\n{TOKEN}"})
    assert TOKEN not in failed(await fetcher.fetch(origin.url(), feed, tmp_path), Reason.ORIGIN_ERROR).detail


async def test_a_url_arrives_as_it_was_given(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    path = "/sig:AbC_-~!$&'()*+,;=@/rs:fit:3840/plain//L3Ry.jpg%2Fx%20y?a=b%26c&d=[e]|"
    origin.replies[path] = answer(PHOTO)
    assert isinstance(await fetcher.fetch(origin.url(path) + "#part", sandbox(origin), tmp_path), Fetched)


PEM = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmIQFygT/mz6J3ry6
6XqBRY1HPnhOufCq59IILMUuhvehRANCAATHvB61lzS7fH9QCMG9pPbnJu9xTu0d
8R7/UijeBqXHO20QLpqOUmPGIxRs5zNN1ZS7m6dCyZ6UmgGQEiBI0Nty
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBsTCCAVagAwIBAgIUe30CVms6XPRcdrDAlJtnL8Cu2XIwCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwScGhvdG9zLmV4YW1wbGUuY29tMCAXDTI2MTEyMzE0MzEwN1oY
DzIxMjYxMDMwMTQzMTA3WjAdMRswGQYDVQQDDBJwaG90b3MuZXhhbXBsZS5jb20w
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATHvB61lzS7fH9QCMG9pPbnJu9xTu0d
8R7/UijeBqXHO20QLpqOUmPGIxRs5zNN1ZS7m6dCyZ6UmgGQEiBI0Ntyo3IwcDAd
BgNVHQ4EFgQUX+IZDyYTihsUd9xe3M9MfE95xJswHwYDVR0jBBgwFoAUX+IZDyYT
ihsUd9xe3M9MfE95xJswDwYDVR0TAQH/BAUwAwEB/zAdBgNVHREEFjAUghJwaG90
b3MuZXhhbXBsZS5jb20wCgYIKoZIzj0EAwIDSQAwRgIhALiER3fVnrI/QekkILuP
7jo7GlHctuW8leu/UQG4HNj0AiEA28jE87xKDlHTJfpO5DJYVC0J2xx6fEgtK4xM
rRSNHMw=
-----END CERTIFICATE-----
"""  # a certificate for photos.example.com made for these tests, good for a hundred years


def trusting_the_test() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=PEM[PEM.index("-----BEGIN CERT") :])


@pytest.fixture
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Origin]:
    pem = tmp_path_factory.mktemp("tls") / "origin.pem"
    pem.write_text(PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with running(Origin(replies={"/photo.jpg": answer(PHOTO)}), context) as started:
        yield started


async def test_tls_is_by_name_to_the_checked_address_and_carries_the_token(secure: Origin, tmp_path: Path) -> None:
    dial = Detour(secure)
    public = Names([["93.184.216.34"]])
    async with Fetcher({"PHOTO_TOKEN": TOKEN}, resolve=public, dial=dial, tls=trusting_the_test) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False, token_env="PHOTO_TOKEN")
        assert isinstance(await fetcher.fetch("https://photos.example.com/photo.jpg", feed, tmp_path), Fetched)
    assert dial.dialled == ["93.184.216.34 443"]
    assert "Host: photos.example.com\r\n" in secure.requests[0]
    assert f"Authorization: Bearer {TOKEN}\r\n" in secure.requests[0]


@pytest.mark.parametrize("url", ["https://other.example.com/photo.jpg", "https://93.184.216.34/photo.jpg"])
async def test_a_certificate_for_another_name_is_unreachable(secure: Origin, tmp_path: Path, url: str) -> None:
    public = Names([["93.184.216.34"]])
    async with Fetcher({}, resolve=public, dial=Detour(secure), tls=trusting_the_test) as fetcher:
        feed = sandbox(hosts=["other.example.com", "93.184.216.34"], private=False)
        failed(await fetcher.fetch(url, feed, tmp_path), Reason.UNREACHABLE)
    assert secure.requests == []


async def test_a_certificate_that_no_authority_signed_is_unreachable(secure: Origin, tmp_path: Path) -> None:
    async with Fetcher({}, resolve=Names([["93.184.216.34"]]), dial=Detour(secure)) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False)
        failed(await fetcher.fetch("https://photos.example.com/photo.jpg", feed, tmp_path), Reason.UNREACHABLE)
    assert secure.requests == []


@pytest.mark.parametrize("headers", [{}, {"authorization": f"Bearer {TOKEN}"}])
async def test_a_token_never_goes_over_plain_http(origin: Origin, tmp_path: Path, headers: dict[str, str]) -> None:
    public = Names([["93.184.216.34"]])
    async with Fetcher({"PHOTO_TOKEN": TOKEN}, resolve=public, dial=Detour(origin)) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False, token_env="PHOTO_TOKEN", headers=headers)
        assert isinstance(await fetcher.fetch("http://photos.example.com/photo.jpg", feed, tmp_path), Fetched)
    assert TOKEN not in origin.requests[0]


async def test_a_token_is_dropped_where_a_redirect_leaves_https(origin: Origin, secure: Origin, tmp_path: Path) -> None:
    class ByPort(Detour):
        async def connect_tcp(self, host: str, port: int, *rest: object) -> httpcore.AsyncNetworkStream:
            target = secure if port == 443 else origin
            return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", target.port)

    secure.replies["/photo.jpg"] = redirect("http://photos.example.com/photo.jpg")
    public = Names([["93.184.216.34"]])
    async with Fetcher({"PHOTO_TOKEN": TOKEN}, resolve=public, dial=ByPort(origin), tls=trusting_the_test) as fetcher:
        feed = sandbox(hosts=["photos.example.com"], private=False, token_env="PHOTO_TOKEN")
        assert isinstance(await fetcher.fetch("https://photos.example.com/photo.jpg", feed, tmp_path), Fetched)
    assert TOKEN in secure.requests[0]
    assert TOKEN not in origin.requests[0]


async def test_a_sandbox_gets_the_token_over_plain_http(origin: Origin, fetcher: Fetcher, tmp_path: Path) -> None:
    await fetcher.fetch(origin.url(), sandbox(origin, token_env="PHOTO_TOKEN"), tmp_path)
    assert f"Authorization: Bearer {TOKEN}\r\n" in origin.requests[0]


async def test_a_token_that_is_not_set_is_told_without_a_request(
    origin: Origin, fetcher: Fetcher, tmp_path: Path
) -> None:
    outcome = await fetcher.fetch(origin.url(), sandbox(origin, token_env="MISSING_TOKEN"), tmp_path)
    assert "MISSING_TOKEN" in failed(outcome, Reason.FORBIDDEN).detail
    assert origin.connections == 0


async def test_neither_token_nor_url_is_logged_or_shown(
    origin: Origin, fetcher: Fetcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    origin.replies |= {"/secret": redirect("/secret?2"), "/secret?2": answer(b"", "403 Forbidden")}
    outcome = await fetcher.fetch(origin.url("/secret"), sandbox(origin, token_env="PHOTO_TOKEN"), tmp_path)
    shown = f"{outcome!r} {fetcher!r} {vars(fetcher)['_transports']!r} {caplog.text}"
    assert failed(outcome, Reason.FORBIDDEN)
    assert TOKEN not in shown
    assert "secret" not in shown


async def test_a_full_hour_of_waiting_is_read_by_the_injected_clock(origin: Origin, tmp_path: Path) -> None:
    origin.replies["/photo.jpg"] = answer(b"", "429 Slow Down", Retry_After="Mon, 23 Nov 2026 10:00:00 GMT")
    async with Fetcher({}, now=lambda: NOW - timedelta(minutes=30)) as fetcher:
        failure = failed(await fetcher.fetch(origin.url(), sandbox(origin), tmp_path), Reason.THROTTLED)
    assert failure.wait_seconds == 5400.0
