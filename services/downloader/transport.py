"""The httpx transport of one feed: it connects only to addresses that were checked.

httpx's own transport accepts no network backend of ours, so this transport has its own pool of httpcore.
"""

import ssl
from collections.abc import AsyncIterator

import httpcore
import httpx

from services.downloader.backend import CheckedBackend

_KEEP_ALIVE_SECONDS = 4.0
"""Longer than the pause between batches. Many servers close an idle connection after 5 seconds, perhaps as a request is
sent."""


class CheckedTransport(httpx.AsyncBaseTransport):
    """Sends the requests of one feed through a pool of connections that a CheckedBackend makes."""

    def __init__(self, backend: CheckedBackend, tls: ssl.SSLContext, max_connections: int) -> None:
        """`backend` makes the connections, and `tls` verifies servers.

        There are at most `max_connections` connections. While all are in use, a further request waits.
        """
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request without a body, and return the response with its body unread; the caller closes the response.

        The request's extensions are the extensions that httpcore knows, such as "timeout" and "trace". This method, and
        later the reading of the body, raise AddressRefused and httpcore's exceptions, and none of httpx; `http_errors`
        maps all of them.
        """
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close all connections of the pool, when the feed's photos are no longer fetched."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response, which is received while it is read. Reading raises the exceptions of httpcore."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._response.aiter_stream()

    async def aclose(self) -> None:
        await self._response.aclose()
