"""Connects httpcore to origins: resolves a name once, checks its addresses, and connects only to these addresses."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
import httpcore

from services.downloader.addresses import by_turns, is_refused_address
from services.downloader.answer_head import HeadRepair
from shared.domain.hosts import is_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a host name and a port; returns IP addresses, the preferred one first. Raises OSError for an unknown name."""

Dialer = httpcore.AsyncNetworkBackend
"""An object that makes connections to IP addresses."""

ANYIO_DIALER: Dialer = httpcore.AnyIOBackend()
"""Makes connections with anyio. Keeps no state, so all feeds share it."""

_NEXT_ADDRESS_AFTER_SECONDS = 0.25
"""How long a connection attempt may take before the next address is tried beside it (RFC 8305, 5)."""
_MAX_ADDRESSES = 8


class AddressRefused(Exception):
    """The host's name resolves only to private or reserved addresses."""


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Return the IP addresses that the system's resolver finds for a host name, the preferred address first, each once.

    Raises OSError if the name is unknown.
    """
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in results))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Makes connections for httpcore: resolves a host name, and connects to one of its addresses that is allowed.

    A name is resolved only once for each connection: a second lookup could return another address, which was not
    checked.
    """

    def __init__(self, resolve: Resolve, dial: Dialer, allow_private: bool) -> None:
        """`resolve` looks up the addresses of a name, and `dial` makes the connections.

        `allow_private` is True if private and reserved addresses are allowed.
        """
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
        """Connect to the address of `host`, a name or an IP address, that accepts first; return the connection.

        If an address refuses, or has not accepted within a quarter of a second, the next address is tried beside it.
        IPv6 and IPv4 addresses alternate. `timeout` is how many seconds each address may take; None sets no limit.
        `local_address` and `socket_options` are passed to the dialer unchanged.

        Raises AddressRefused if all addresses are private or reserved and this backend does not allow such addresses.
        Raises httpcore.ConnectError if the name is not known, and ConnectError or ConnectTimeout if no address accepts.
        """
        addresses = await self._allowed_addresses(host, port)

        def dial(address: str) -> Awaitable[httpcore.AsyncNetworkStream]:
            return self._dial.connect_tcp(address, port, timeout, local_address, socket_options)

        return _Connection(await _first_to_connect(addresses, dial))

    async def _allowed_addresses(self, host: str, port: int) -> Sequence[str]:
        addresses = [host] if is_address(host) else await self._look_up(host, port)
        if not self._allow_private:
            addresses = [address for address in addresses if not is_refused_address(address)]
        if not addresses:
            raise AddressRefused
        return by_turns(addresses)[:_MAX_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        return addresses


async def _first_to_connect(
    addresses: Sequence[str], dial: Callable[[str], Awaitable[httpcore.AsyncNetworkStream]]
) -> httpcore.AsyncNetworkStream:
    """Dial the addresses in turn; return the first connection that is made, and cancel the other attempts.

    `dial` takes an IP address and connects to it. Each address is dialed a quarter of a second after the address
    before, or as soon as the address before has failed. If all fail, raise the last error. `addresses` must not be
    empty.
    """
    connection: httpcore.AsyncNetworkStream | None = None
    errors: list[Exception] = []

    async def attempt(address: str, ended: asyncio.Event) -> None:
        nonlocal connection
        try:
            made = await dial(address)
        except Exception as error:  # noqa: BLE001 - raised below, if no address accepts
            errors.append(error)
        else:
            if connection is None:
                connection = made
                attempts.cancel_scope.cancel()
            else:
                await made.aclose()
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                ended = asyncio.Event()
                attempts.start_soon(attempt, address, ended)
                with anyio.move_on_after(_NEXT_ADDRESS_AFTER_SECONDS):
                    await ended.wait()
    except BaseException:
        if connection is not None:
            await connection.aclose()
        raise
    if connection is None:
        raise errors[-1]
    return connection


class _Connection(httpcore.AsyncNetworkStream):
    """A connection that repairs the heads of answers, and that closes itself if its TLS handshake is cancelled.

    httpcore 1.0.9 leaves a connection open if its handshake is cancelled.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._heads = HeadRepair()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Connection(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        while True:
            data = await self._stream.read(max_bytes, timeout)
            ready = self._heads.receive(data)
            if ready or not data:
                return ready

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._heads.expect_head()  # only requests are written, and none before the last answer is read
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
