"""A way to a server that can be cut, so that a test takes it from one system and from nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes TCP connections on, unless told to be silent, as a dead machine is, or to refuse, as a dead server."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._through = asyncio.Event()
        self._through.set()
        self._refuses = False
        self.tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    def fall_silent(self) -> None:
        """Take connections and let nothing through."""
        self._through.clear()

    def refuse(self) -> None:
        """Break every connection, and each new one."""
        self._refuses = True
        for task in self.tasks:
            task.cancel()

    def mend(self) -> None:
        """Let everything through again, what waited too."""
        self._refuses = False
        self._through.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            await self._through.wait()
            if not self._refuses:
                with suppress(OSError):
                    there, back = await asyncio.open_connection(self._host, self._port)
                    await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        finally:
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65_536):
                await self._through.wait()
                sink.write(piece)
                await sink.drain()
        finally:
            sink.close()


@asynccontextmanager
async def through(target: str) -> AsyncIterator[Proxy]:
    """Listen on a free port of loopback, for `host:port`, as long as the context lasts."""
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
