"""Tests fetches from origins that stall, drip, break off or speak no HTTP, and of names without an address."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import anyio
import httpcore
import httpx
import pytest

from services.downloader import fetch, http_errors
from services.downloader.answers import Fetched
from services.downloader.backend import AddressRefused, CheckedBackend
from services.downloader.fetch import Fetcher
from shared.domain.failures import Failure, Reason
from tests.origins import (
    PUBLIC,
    FakeDialer,
    FakeResolver,
    Origin,
    PhotoFetch,
    Reply,
    a_sandbox,
    answer,
    endlessly,
    failed,
    redirect,
    running,
    silence,
    then_close,
    write,
)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running(Origin()) as started:
        yield started


@pytest.fixture
async def fetch_photo(tmp_path: Path) -> AsyncIterator[PhotoFetch]:
    async with Fetcher({}) as fetcher:
        yield PhotoFetch(fetcher, tmp_path)


def files_in(fetch_photo: PhotoFetch) -> list[Path]:
    return list(fetch_photo.into.iterdir())


# Time


SLOW: dict[str, Reply] = {
    "no answer": silence,
    "headers drip": endlessly(b"X-Drip: 1\r\n", b"HTTP/1.1 200 OK\r\n", pause=0.02),
    "hints for ever": endlessly(b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.02),
    "body drips": endlessly(b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", pause=0.02),
    "empty chunks of gzip": endlessly(
        b"5\r\n\x00\x00\x00\xff\xff\r\n",
        CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\na\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\r\n",
        pause=0.02,
    ),
}


@pytest.mark.parametrize("reply", SLOW.values(), ids=SLOW.keys())
async def test_the_timeout_covers_everything_from_connect_to_last_byte(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    async with asyncio.timeout(20):
        failed(await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=0.3)), Reason.TIMEOUT)
    assert files_in(fetch_photo) == []


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_BODY_GRACE_SECONDS", 0.3)


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("piece", [b"x", b""], ids=["drips", "stalls"])
async def test_a_body_below_the_minimum_rate_fails_long_before_the_timeout(
    origin: Origin, fetch_photo: PhotoFetch, piece: bytes
) -> None:
    origin.replies["/photo.jpg"] = endlessly(piece, answer(b"x" * 10, length=5_000), pause=0.02)
    failure = failed(await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=4)), Reason.TIMEOUT)
    assert failure.detail == "the body drips: under 1000 bytes a second"
    assert files_in(fetch_photo) == []


@pytest.mark.usefixtures("short_grace")
async def test_a_body_above_the_minimum_rate_may_take_until_the_timeout(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await write(writer, answer(length=40_000))
        for _ in range(20):  # for 0.8 s at least; each piece allows 2 s more
            await write(writer, b"x" * 2_000)
            await asyncio.sleep(0.04)

    origin.replies["/photo.jpg"] = slowly
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=30))
    assert isinstance(outcome, Fetched), outcome
    assert outcome.file_size == 40_000


@pytest.mark.slow
async def test_a_body_may_pause_for_longer_than_the_usual_read_timeout(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def resting(writer: asyncio.StreamWriter) -> None:
        await write(writer, answer(b"x" * 100, length=200))
        await asyncio.sleep(6)
        await write(writer, b"x" * 100)

    origin.replies["/photo.jpg"] = resting
    assert isinstance(await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=20)), Fetched)


async def test_the_timeout_covers_all_redirects_together(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def later(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)  # the origin's time; each request alone is within the timeout
        await write(writer, redirect("/photo.jpg"))

    origin.replies["/photo.jpg"] = later
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=0.4)), Reason.TIMEOUT)
    assert len(origin.requests) > 1


async def test_waiting_for_a_permit_does_not_count_towards_the_timeout(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.6)

    origin.replies["/1"] = redirect("/photo.jpg")
    assert isinstance(await fetch_photo(origin.url("/1"), a_sandbox(origin.host, seconds=0.5), wait=slow), Fetched)


async def test_the_timeout_continues_after_a_permit_where_it_stood_before(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.2)

    origin.replies |= {"/1": redirect("/2"), "/2": silence}
    async with asyncio.timeout(20):
        failed(await fetch_photo(origin.url("/1"), a_sandbox(origin.host, seconds=0.3), wait=slow), Reason.TIMEOUT)


async def test_the_timeout_covers_name_resolution(tmp_path: Path) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with Fetcher({}, resolve=never) as fetcher:
        feed = a_sandbox("photos.example.com", seconds=0.2)
        failed(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/", feed), Reason.TIMEOUT)


async def test_a_stalled_tls_handshake_times_out_and_its_connection_is_closed(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    # the origin has no TLS: it takes the handshake for a request that never ends
    failed(await fetch_photo(f"https://{origin.host}/", a_sandbox(origin.host, seconds=0.3)), Reason.TIMEOUT)
    await asyncio.wait_for(origin.closed.wait(), 20)


async def test_a_timeout_error_of_the_permit_is_raised_and_not_blamed_on_the_origin(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    calls = 0

    async def stalled() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise TimeoutError("the budget's store")

    origin.replies["/1"] = redirect("/photo.jpg")
    with pytest.raises(TimeoutError, match="store"):
        await fetch_photo(origin.url("/1"), a_sandbox(origin.host), wait=stalled)


async def test_a_cancelled_fetch_raises_and_leaves_no_file_and_no_connection(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies["/photo.jpg"] = endlessly(b"x", b"HTTP/1.1 200 OK\r\n\r\n", pause=0.01)
    task = asyncio.create_task(fetch_photo(origin.url(), a_sandbox(origin.host)))
    async with asyncio.timeout(20):
        while not files_in(fetch_photo):  # noqa: ASYNC110 - a new file sets no event
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_in(fetch_photo) == []
    await asyncio.wait_for(origin.closed.wait(), 20)


# Network


NO_HTTP: dict[str, Reply] = {
    "garbage": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "closed at once": then_close(b""),
    "huge headers": endlessly(b"X-Long: " + b"x" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\n"),
    "lengths that differ": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
    "endless length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nab",
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}


@pytest.mark.parametrize("reply", NO_HTTP.values(), ids=NO_HTTP.keys())
async def test_an_answer_that_is_not_http_is_an_origin_error(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.ORIGIN_ERROR)


async def test_a_reset_connection_is_a_failure(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    origin.replies["/photo.jpg"] = reset
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host))
    assert isinstance(outcome, Failure)
    assert outcome.reason in {
        Reason.UNREACHABLE,
        Reason.ORIGIN_ERROR,
    }  # by what the kernel reports


async def test_a_refused_connection_is_unreachable(fetch_photo: PhotoFetch) -> None:
    async with running(Origin()) as origin:
        pass
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.UNREACHABLE)


async def test_a_server_without_tls_is_unreachable_over_https(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await write(writer, answer(b"plain http only", "400 Bad Request"))
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        failed(await fetch_photo(f"https://{host}/", a_sandbox(host)), Reason.UNREACHABLE)


@pytest.mark.parametrize("error", [OSError("no such name"), TimeoutError(), UnicodeError(), None])
async def test_a_name_without_an_address_is_unreachable(tmp_path: Path, error: Exception | None) -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        if error:
            raise error
        return []

    async with Fetcher({}, resolve=unknown) as fetcher:
        feed = a_sandbox("photos.example.com")
        failed(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/", feed), Reason.UNREACHABLE)


async def test_names_are_resolved_by_the_system_by_default(origin: Origin, fetch_photo: PhotoFetch) -> None:
    host = f"localhost:{origin.port}"
    assert isinstance(await fetch_photo(f"http://{host}/photo.jpg", a_sandbox(host)), Fetched)
    assert f"Host: {host}\r\n" in origin.requests[0]


async def test_the_next_address_is_tried_if_the_first_refuses(origin: Origin, tmp_path: Path) -> None:
    dial = FakeDialer(origin, refusing=frozenset({"2606:4700::1"}))
    async with Fetcher({}, resolve=FakeResolver([["2606:4700::1", PUBLIC]]), dial=dial) as fetcher:
        feed = a_sandbox("photos.example.com", private=False)
        assert isinstance(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/photo.jpg", feed), Fetched)
    assert dial.dialled == ["2606:4700::1 80", f"{PUBLIC} 80"]


@pytest.mark.parametrize("addresses", [["2606:4700::1", "2606:4700::2", PUBLIC], [PUBLIC, "2606:4700::1"]])
async def test_an_address_that_swallows_packets_does_not_delay_the_other_kind(
    origin: Origin, tmp_path: Path, addresses: list[str]
) -> None:
    silent = frozenset({address for address in addresses if (":" in address) is (":" in addresses[0])})
    dial = FakeDialer(origin, swallowing=silent)
    async with Fetcher({}, resolve=FakeResolver([addresses]), dial=dial) as fetcher:
        feed = a_sandbox("photos.example.com", private=False, seconds=30)
        assert isinstance(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/photo.jpg", feed), Fetched)
    assert dial.dialled == [f"{addresses[0]} 80", f"{addresses[-1]} 80"]  # no third attempt: the second was at once


async def test_the_connections_of_attempts_that_lost_are_closed(origin: Origin) -> None:
    class SlowDialer(FakeDialer):
        async def connect_tcp(self, host: str, *more: Any, **options: Any) -> httpcore.AsyncNetworkStream:
            connection = await super().connect_tcp(host, *more, **options)
            with anyio.CancelScope(shield=True):  # an attempt that ends however it is cancelled
                await asyncio.sleep(0.4 if host == PUBLIC else 0.1)
            return connection

    backend = CheckedBackend(FakeResolver([[PUBLIC, "2606:4700::1"]]), SlowDialer(origin), allow_private=False)
    connection = await backend.connect_tcp("photos.example.com", 80, 5)
    async with asyncio.timeout(20):
        await origin.closed.wait()  # the slower one, which connected first
    await connection.aclose()
    assert origin.connections == 2


async def test_without_an_address_that_accepts_the_last_error_is_raised(origin: Origin, tmp_path: Path) -> None:
    dial = FakeDialer(origin, refusing=frozenset({"2606:4700::1", PUBLIC}))
    async with Fetcher({}, resolve=FakeResolver([["2606:4700::1", PUBLIC]]), dial=dial) as fetcher:
        feed = a_sandbox("photos.example.com", private=False)
        failed(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/photo.jpg", feed), Reason.UNREACHABLE)
    assert len(dial.dialled) == 2


async def test_proxies_of_the_environment_are_not_used(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Fetcher({}) as fetcher:
        assert isinstance(await PhotoFetch(fetcher, tmp_path)(origin.url(), a_sandbox(origin.host)), Fetched)


# Exceptions


def exceptions_of(library: object) -> set[type[Exception]]:
    return {kind for kind in vars(library).values() if isinstance(kind, type) and issubclass(kind, Exception)}


def test_every_exception_of_httpx_is_mapped_or_raised_only_by_its_client() -> None:
    raised_by_client = {
        kind
        for kind in exceptions_of(httpx)
        if issubclass(kind, (httpx.HTTPError, httpx.StreamError, httpx.CookieConflict))
    }
    assert exceptions_of(httpx) - raised_by_client - set(http_errors.HTTP_ERRORS) == set()


HTTPCORE = exceptions_of(httpcore) - {httpcore.ConnectionNotAvailable}  # never leaves the pool


def test_every_exception_of_httpcore_is_mapped() -> None:
    assert {kind for kind in HTTPCORE if not issubclass(kind, http_errors.HTTP_ERRORS)} == set()


@pytest.mark.parametrize("kind", sorted(HTTPCORE | {ssl.SSLError}, key=str), ids=lambda kind: kind.__name__)
async def test_every_exception_of_httpcore_becomes_a_failure(tmp_path: Path, kind: type[Exception]) -> None:
    class Failing(httpcore.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
            local_address: str | None = None,
            socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
        ) -> httpcore.AsyncNetworkStream:
            raise kind("https://photos.example.com/?signature=secret")

    async with Fetcher({}, resolve=FakeResolver([[PUBLIC]]), dial=Failing()) as fetcher:
        feed = a_sandbox("photos.example.com", private=False)
        outcome = await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/", feed)
    assert isinstance(outcome, Failure)
    assert "secret" not in outcome.detail


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (
            [httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout],
            Reason.TIMEOUT,
        ),
        ([httpcore.ConnectError, httpcore.ReadError, httpcore.WriteError], Reason.UNREACHABLE),
        ([httpcore.ProxyError, ssl.SSLError, ssl.SSLCertVerificationError], Reason.UNREACHABLE),
        ([httpcore.UnsupportedProtocol, httpx.InvalidURL], Reason.BAD_URL),
        ([httpcore.LocalProtocolError, httpcore.RemoteProtocolError], Reason.ORIGIN_ERROR),
        ([AddressRefused], Reason.REFUSED_ADDRESS),
    ],
)
def test_each_exception_has_its_reason_and_its_own_text_is_left_out(
    kinds: list[type[Exception]], reason: Reason
) -> None:
    for kind in kinds:
        error = kind.__new__(kind)
        error.args = ("https://photos.example.com/?signature=secret",)
        failure = http_errors.failure_of(error, "photos.example.com")
        assert failure.reason is reason
        assert "secret" not in failure.detail
