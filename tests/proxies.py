"""A TCP proxy that can interrupt connections: a test takes a server away from one system only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards TCP connections to a server.

    It can fall silent, as a dead machine does, or refuse, as a stopped server does. `address` is where the proxy
    listens; `target` is the server's `host:port`.
    """

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._forwarding = asyncio.Event()
        self._forwarding.set()
        self._refuses = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    def fall_silent(self) -> None:
        """Forward no byte from now on, on open and new connections, all of which stay open."""
        self._forwarding.clear()

    def refuse(self) -> None:
        """Close every open connection now, and each new one as soon as it is opened."""
        self._refuses = True
        for task in self.tasks:
            task.cancel()

    def restore(self) -> None:
        """Forward again: new connections, and on open ones also the bytes that arrived in the meantime."""
        self._refuses = False
        self._forwarding.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions until it ends."""
        try:
            await self._forwarding.wait()
            if not self._refuses:
                with suppress(OSError):
                    server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
                    await asyncio.gather(self._forward(reader, server_writer), self._forward(server_reader, writer))
        finally:
            writer.close()

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65_536):
                await self._forwarding.wait()
                sink.write(chunk)
                await sink.drain()
        finally:
            sink.close()


@asynccontextmanager
async def proxy_to(target: str) -> AsyncIterator[Proxy]:
    """Run a proxy to the server at `target`, host:port, on a free port of loopback during the context; yield it."""
    proxy = Proxy(target)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.accept(reader, writer))
        proxy.tasks.add(task)
        task.add_done_callback(proxy.tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        tasks = list(proxy.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
