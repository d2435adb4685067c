"""The resolver's connections: malformed requests, heads and bodies that do not end, and clients that do not read."""

import asyncio
import inspect
import json
import logging
import re
import socket
from contextlib import suppress

import pytest
from aiohttp import web

from services.resolver import http_server, request_parsing
from tests.answering import a_resolver
from tests.builders import KEY, a_downloaded_photo, a_listing
from tests.system import until

LISTING = f"/api/listings/{KEY}/images"
FULL = a_listing(*(a_downloaded_photo(f"p{number}") for number in range(25)))


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("handle_error", ["self", "request", "status", "exc", "message"]),
        ("finish_response", ["self", "request", "resp", "start_time"]),
        ("log_exception", ["self", "args", "kw"]),
        ("pause_writing", ["self"]),
        ("resume_writing", ["self"]),
        ("connection_lost", ["self", "exc"]),
    ],
)
def test_aiohttp_has_the_methods_that_our_connection_overrides(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(web.RequestHandler, method)).parameters) == parameters
    assert method in vars(http_server._Connection)


def test_aiohttp_has_the_options_that_our_server_passes_on() -> None:
    options = inspect.signature(web.RequestHandler).parameters
    assert {"manager", "loop", "access_log", "max_line_size", "keepalive_timeout"} <= set(options)


async def send_bytes(port: int, *sent: bytes) -> bytes:
    """Send bytes over a connection of their own; return all that is received until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"<script>\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /<script> HTTP/1.1\r\nHost: a\r\nBad Header: <script>\r\n\r\n",
        b"POST /api/images/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_get_a_problem_that_repeats_none_of_them(sent: bytes) -> None:
    async with a_resolver() as resolver:
        answer = await send_bytes(resolver.port, sent)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
        assert b"application/problem+json" in head
        assert b"Content-Security-Policy: default-src 'none'" in head
        assert re.search(rb"X-Request-Id: [0-9a-f]{16}\r", head)
        assert b"script" not in body
        assert json.loads(body)["status"] == 400


@pytest.mark.parametrize("path", [b"/healthz", b"/nothing"])
@pytest.mark.parametrize("expected", [b"<script>", b"\xff", b"100-continue, <script>"])
async def test_an_unknown_expect_header_gets_a_problem_that_ends_the_connection(path: bytes, expected: bytes) -> None:
    async with a_resolver() as resolver:
        sent = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nExpect: " + expected + b"\r\n\r\n"
        head, _, body = (await send_bytes(resolver.port, sent)).partition(b"\r\n\r\n")
        assert (head.split()[1], json.loads(body)["status"]) == (b"417", 417)
        for line in (b"application/problem+json", b"nosniff", b"Server: listing-images", b"Connection: close"):
            assert line in head
        assert re.search(rb"X-Request-Id: [0-9a-f]{16}\r", head)
        assert b"script" not in head + body


async def test_a_client_that_expects_100_continue_gets_it_and_then_the_answer() -> None:
    async with a_resolver(FULL) as resolver:
        body = json.dumps({"listing_keys": [KEY]}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        writer.write(b"POST /api/images/resolve HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body))
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /api/images/resolve?url=" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /api/listings/" + b"x" * 100_000 + b"/images HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_an_address_or_header_that_is_too_long_gets_413(sent: bytes) -> None:
    async with a_resolver() as resolver:
        head, _, body = (await send_bytes(resolver.port, sent)).partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert (head.split()[1], json.loads(body)["status"]) == (b"413", 413)


@pytest.mark.parametrize(("path", "status"), [(b"/api/images/resolve", b"400"), (b"/nothing", b"404")])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Encoding: gzip\r\nContent-Length: 9\r\n", b"not-gzip!"),
        (b"Content-Encoding: gzip\r\nContent-Length: 99\r\n", b"not-gzip!"),
        (b"Content-Encoding: br\r\nContent-Length: 9\r\n", b"not-br!!!"),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\nnot a chunk\r\n"),
    ],
)
async def test_a_body_that_its_headers_describe_wrongly_ends_the_connection_and_logs_no_error(
    headers: bytes, body: bytes, path: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_resolver() as resolver:
        start = b"POST " + path + b" HTTP/1.1\r\nHost: a\r\n"
        answer = await send_bytes(resolver.port, start, headers, b"\r\n", body)
        assert answer.split()[1] in (b"400", status)
        assert b"application/problem+json" in answer
        assert b"\r\nConnection: close\r\n" in answer or answer.startswith(b"HTTP/1.0 ")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_that_turns_out_malformed_after_the_answer_logs_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_resolver() as resolver:
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")
            writer.write(b"not-gzip!")
            await reader.read()
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_that_does_not_end_in_time_gets_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_parsing, "BODY_TIMEOUT_SECONDS", 0.1)
    async with a_resolver() as resolver:
        start = b"POST /api/images/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        writer.write(start)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 2" in answer


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_that_does_not_read_is_disconnected_after_the_write_timeout(
    monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    monkeypatch.setattr(http_server, "WRITE_TIMEOUT_SECONDS", 0.5)
    requests = 200
    async with a_resolver(a_listing(*(a_downloaded_photo(f"p{number}") for number in range(400)))) as resolver:
        length = int((await resolver.http.head(LISTING)).headers["Content-Length"])
        client = socket.create_connection(("127.0.0.1", resolver.port))
        client.setblocking(False)
        loop, received = asyncio.get_running_loop(), 0
        with client:
            await loop.sock_sendall(client, f"GET {LISTING} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * requests)
            await asyncio.sleep(0.0 if reads else 2.0)
            with suppress(ConnectionResetError):
                async with asyncio.timeout(30):
                    while received < requests * length and (data := await loop.sock_recv(client, 1_000_000)):
                        received += len(data)
    assert (received >= requests * length) is reads


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A"])
@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_a_connection_without_a_whole_head_ends_after_the_idle_timeout(
    monkeypatch: pytest.MonkeyPatch, before: bytes, sent: bytes
) -> None:
    monkeypatch.setattr(http_server, "IDLE_TIMEOUT_SECONDS", 0.2)
    async with a_resolver() as resolver:
        answer = await send_bytes(resolver.port, before, sent)
        assert answer.count(b"HTTP/1.1 ") == bool(before)


async def test_a_head_that_comes_byte_by_byte_does_not_extend_the_idle_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "IDLE_TIMEOUT_SECONDS", 0.2)
    async with a_resolver() as resolver:
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nX-A: ")
        ended = asyncio.create_task(reader.read())

        async def has_ended() -> bool:
            writer.write(b"a")
            return ended.done()

        await until(has_ended, "the connection to end", seconds=30)
        with suppress(ConnectionError):  # what was written last came too late
            assert await ended == b""
        writer.close()
