"""Connects httpcore to origins: resolves a name once, checks its addresses, and connects only to these addresses."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import httpcore

from services.downloader.addresses import is_refused_address
from shared.domain.hosts import is_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a host name and a port; returns IP addresses, the preferred one first. Raises OSError for an unknown name."""

Dialer = httpcore.AsyncNetworkBackend
"""An object that makes connections to IP addresses."""

ANYIO_DIALER: Dialer = httpcore.AnyIOBackend()
"""Makes connections with anyio. Keeps no state, so all feeds share it."""


class AddressRefused(Exception):
    """The host's name resolves to a private or reserved address."""


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Return the IP addresses that the system's resolver finds for a host name, in its order of preference, each once.

    Raises OSError if the name is unknown.
    """
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in results))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Makes connections for httpcore: resolves a host name, checks all its addresses, and connects to one of them.

    The name is not resolved a second time for connecting: by then it could have another address.
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
        """Connect to the first address of `host`, a name or an IP address, that accepts; return the connection.

        `timeout` in seconds is divided equally among the addresses; None sets no limit. Raises AddressRefused if any
        address is private or reserved and such addresses are not allowed, httpcore.ConnectError if the name is not
        known, and ConnectError or ConnectTimeout if no address accepts.
        """
        addresses = await self._checked_addresses(host, port)
        share = timeout / len(addresses) if timeout else None  # so that one silent address leaves time for the next
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return _Connection(await self._dial.connect_tcp(address, port, share, local_address, socket_options))
        return _Connection(await self._dial.connect_tcp(addresses[-1], port, share, local_address, socket_options))

    async def _checked_addresses(self, host: str, port: int) -> Sequence[str]:
        addresses = [host] if is_address(host) else await self._look_up(host, port)
        if not self._allow_private and any(map(is_refused_address, addresses)):
            raise AddressRefused
        return addresses

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name is not known") from error
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        return addresses


class _Connection(httpcore.AsyncNetworkStream):
    """A connection that closes itself if its TLS handshake is cancelled; httpcore 1.0.9 would leave it open."""

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
