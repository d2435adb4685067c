"""Origins for tests: real servers on loopback that answer with any bytes, and a fake resolver and dialer."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpcore

from services.downloader.answers import Answer, Validators
from services.downloader.fetch import Fetcher
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed

PHOTO = bytes(range(256)) * 1000
PUBLIC = "93.184.216.34"

Permission = Callable[[], Coroutine[None, None, Failure | None]]
Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Origin:
    """A server that answers each path with the reply in `replies`.

    It counts connections, and keeps each request's head. `closed` is set when a connection has ended.
    """

    replies: dict[str, Reply] = field(default_factory=lambda: {"/photo.jpg": answer(PHOTO)})
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/photo.jpg") -> str:
        return f"http://{self.host}{path}"

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
    """Serve the origin on a free port of loopback during the context, with TLS if `tls` is given; yield it."""
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


def answer(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Return the bytes of a whole HTTP answer. `length`, if given, is sent as a wrong Content-Length.

    In the names of `headers`, underscores stand for hyphens.
    """
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """Return the bytes of an HTTP answer that redirects to the location."""
    return answer(b"moved", status, Location=location)


def then_close(reply: bytes) -> Reply:
    """Return a reply of an origin that sends these bytes and closes the connection."""

    async def reply_and_close(writer: asyncio.StreamWriter) -> None:
        await write(writer, reply)
        writer.close()

    return reply_and_close


def endlessly(piece: bytes, first: bytes = b"", pause: float = 0.0) -> Reply:
    """Return a reply of an origin: `first`, then `piece` every `pause` seconds for as long as the connection lives."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        await write(writer, first)
        while not writer.is_closing():
            await write(writer, piece)
            await asyncio.sleep(pause)

    return drip


async def silence(writer: asyncio.StreamWriter) -> None:
    """Send nothing, for ever: the reply of an origin that does not answer."""
    await asyncio.Event().wait()


def a_sandbox(
    *hosts: str, private: bool = True, seconds: float = 20.0, max_bytes: int = 1_000_000, **rules: object
) -> Feed:
    """Return the feed `sandbox` with these image hosts; `seconds` is the timeout of a request.

    `private` allows connections to loopback, `max_bytes` is the largest file, `rules` are other settings of the feed.
    """
    defaults = {
        "name": "sandbox",
        "image_hosts": hosts,
        "allow_private_addresses": private,
        "request_timeout_seconds": seconds,
        "max_file_bytes": max_bytes,
    }
    return Feed(**(defaults | rules))  # type: ignore[arg-type]


async def always() -> None:
    """Permit the request, by returning None."""


@dataclass
class FakePermit:
    """A permit for one download. It keeps the sizes and the answers that are reported to it.

    `wait_for_request` and `confirm_request` return None to permit the request, or the failure that refuses it.
    """

    wait_for_request: Permission = always
    confirm_request: Permission = always
    received: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def count_received(self, size: int) -> None:
        self.received.append(size)

    async def report_answer(self, answer: Answer) -> None:
        self.answers.append(answer)


@dataclass
class PhotoFetch:
    """Calls a fetcher with defaults for the arguments that most tests leave out, and returns its answer.

    Photos are saved in the folder `into`; `received` has the sizes of the pieces that were counted.
    """

    fetcher: Fetcher
    into: Path
    received: list[int] = field(default_factory=list)

    async def __call__(
        self,
        url: str,
        feed: Feed,
        validators: Validators | None = None,
        wait: Permission = always,
        confirm: Permission = always,
    ) -> Answer:
        return await self.fetcher.fetch(url, feed, self.into, validators, FakePermit(wait, confirm, self.received))


def failed(answer: Answer, reason: Reason) -> Failure:
    """Return the fetcher's answer as a failure. Fail if it is none, or has another reason."""
    assert isinstance(answer, Failure), answer
    assert answer.reason is reason, answer
    return answer


@dataclass
class FakeResolver:
    """A DNS resolver that gives any name the addresses in `answers`: each once, in order, and the last one for ever.

    `hosts` has the names that were looked up.
    """

    answers: list[Sequence[str]]
    hosts: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.hosts.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@dataclass
class FakeDialer(httpcore.AsyncNetworkBackend):
    """Connects to `origin` in place of any address, except for addresses in `refusing`, which it refuses.

    Attempts to connect to addresses in `swallowing` never end. `dialled` has "address port" of each attempt; `by_port`
    has other origins for some ports.
    """

    origin: Origin
    refusing: frozenset[str] = frozenset()
    swallowing: frozenset[str] = frozenset()
    by_port: dict[int, Origin] = field(default_factory=dict)
    dialled: list[str] = field(default_factory=list)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(f"{host} {port}")
        if host in self.refusing:
            raise httpcore.ConnectError
        if host in self.swallowing:
            await asyncio.Event().wait()
        target = self.by_port.get(port, self.origin)
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", target.port, timeout)


def certified(folder: Path, certificate: str | None = None) -> ssl.SSLContext:
    """Return the TLS context of a server with the certificate of photos.example.com, written to a file in `folder`.

    `certificate` is the certificate with its key in PEM, by default `PEM`.
    """
    pem = folder / "origin.pem"
    pem.write_text(certificate or PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def trusting(certificate: str | None = None) -> ssl.SSLContext:
    """Return the TLS context of a client that trusts the certificate, by default that of `certified`, and no other."""
    pem = certificate or PEM
    return ssl.create_default_context(cadata=pem[pem.index("-----BEGIN CERT") :])


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

EXPIRED = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFH+ekJC2i5ZofgkP
QT4pt3kFxOlFpw8bm1VGOp8StfWhRANCAARc4TbE8N2S9hQka+cqFoMaSEcJHYvI
k4r647Pc3ucIeIOwgpDy+0/8koN+ZV6kXhzu1VLlhXUQLaR/OqJxhbfS
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBeTCCASCgAwIBAgIBATAKBggqhkjOPQQDAjAdMRswGQYDVQQDDBJwaG90b3Mu
ZXhhbXBsZS5jb20wHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAdMRsw
GQYDVQQDDBJwaG90b3MuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAARc4TbE8N2S9hQka+cqFoMaSEcJHYvIk4r647Pc3ucIeIOwgpDy+0/8koN+
ZV6kXhzu1VLlhXUQLaR/OqJxhbfSo1EwTzAPBgNVHRMBAf8EBTADAQH/MB0GA1Ud
EQQWMBSCEnBob3Rvcy5leGFtcGxlLmNvbTAdBgNVHQ4EFgQUk1rlU/Ewz8EBI4zk
zbko2PzrrUYwCgYIKoZIzj0EAwIDRwAwRAIgaXm5z/m7tvvZ9KECerunqsjKW4A7
4O9hNT8nw7Qj/1oCIDkovdqSFZ/6EprFE2YvH1DDAJnRVWdP1BagEEhb5lgs
-----END CERTIFICATE-----
"""  # a certificate for photos.example.com made for these tests, good for the year 2020
