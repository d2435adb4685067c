"""The pool of children that decode and encode, one photo each at a time; a child that dies is replaced."""

import asyncio
import heapq
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from services.downloader import encoder
from services.downloader.memory import KEPT_BYTES
from services.downloader.picture import Encoded
from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

MEMORY = 450_000_000
"""Bytes that all children together may take, of the 600 MB that the contract gives a downloader with its children:
the service itself takes 110 MB, and estimates are a few per cent off."""
IDLE_CHILD = 30_000_000
"""Bytes that a child takes before it has a photo, and again after it (measured)."""
MOST_CHILDREN = 4
"""More would leave each too little for an ordinary photo; a machine with more cores runs more downloaders."""
DEADLINE_SECONDS = 90.0
"""From the job to the answer, by the clock: beyond it the child hangs, or the machine is far too busy."""
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
}
"""Keeps an ordinary photo's memory for the next one; to fetch it anew took 24 of 150 ms of computing a photo."""
_LONGEST_LINE = 1_000_000

_logger = log.get(__name__)


class Encoders:
    """The children of one downloader, each with an equal share of the memory.

    A photo that needs more gets twice as much, and so on; at last it is done alone, with all memory.
    """

    def __init__(self, children: int | None = None, memory: int = MEMORY, deadline: float = DEADLINE_SECONDS) -> None:
        self._size = children or min(os.cpu_count() or 1, MOST_CHILDREN)
        self._memory = memory
        self._deadline = deadline
        self._shares = _Shares(self._size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> Self:
        self._idle = list(await asyncio.gather(*(self._start() for _ in range(self._size))))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(self._end(child) for child in tuple(self._all)))

    async def encode(
        self, source: Path, into: Path, specs: Sequence[VariantSpec], max_pixels: int, *, urgent: bool = False
    ) -> Encoded | Failure:
        """Make the variants of the photo in `source` in the folder `into`; an urgent photo goes before the others.

        Whatever the bytes do is a Failure: a child that they kill or hang is replaced.
        """
        shares = 1
        while True:
            made = await self._encode(source, into, tuple(specs), max_pixels, shares=shares, urgent=urgent)
            lacks_memory = isinstance(made, Failure) and made.reason is Reason.TOO_MUCH_MEMORY
            if not lacks_memory or shares == self._size:
                return made
            shares = min(2 * shares, self._size)

    async def _encode(
        self, source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, *, shares: int, urgent: bool
    ) -> Encoded | Failure:
        alone = shares == self._size
        memory = self._memory * shares // self._size - IDLE_CHILD * (1 if alone else shares)
        job = encoder.request(source, into, specs, max_pixels, memory)
        async with self._shares.hold(shares, urgent=urgent):
            child = await self._take()
            answered = False
            try:
                if alone:
                    await self._end_idle()
                async with asyncio.timeout(self._deadline):
                    made = await _ask(child, job)
                answered = True
            except TimeoutError:
                return Failure(Reason.ENCODER_KILLED, f"no result within {self._deadline:g} s")
            except (OSError, ValueError, KeyError):
                return Failure(Reason.ENCODER_KILLED, "the process that decoded the picture died of it")
            finally:
                if answered:
                    self._idle.append(child)
                else:
                    _logger.warning("encoder-replaced", pid=child.pid, returncode=child.returncode)
                    await self._end(child)
        return made

    async def _take(self) -> asyncio.subprocess.Process:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            self._all.discard(child)  # it was killed while it had nothing to do: no photo pays for that
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.downloader.encoder",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env={"PATH": os.environ.get("PATH", ""), **_MALLOC},  # neither the settings nor a token
            cwd=Path(__file__).parents[2],
        )
        self._all.add(child)
        return child

    async def _end_idle(self) -> None:
        """Make room: whoever has all the memory has that of idle children too."""
        while self._idle:
            await self._end(self._idle.pop())

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        self._all.discard(child)


async def _ask(child: asyncio.subprocess.Process, job: bytes) -> Encoded | Failure:
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    child.stdin.write(job)
    answer = await child.stdout.readline()
    if not answer:
        await child.wait()  # so that the log says what it died of
    return encoder.read_answer(answer)


class _Shares:
    """Equal shares of something; who is urgent goes first, and nobody overtakes one who waits for many."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._arrivals = count()
        self._waiting: list[tuple[bool, int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, shares: int, *, urgent: bool) -> AsyncIterator[None]:
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not urgent, next(self._arrivals), shares, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(shares)
            self._serve()
            raise
        try:
            yield
        finally:
            self._give_back(shares)

    def _give_back(self, shares: int) -> None:
        self._free += shares
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            _, _, shares, turn = self._waiting[0]
            if turn.cancelled():
                heapq.heappop(self._waiting)
                continue
            if shares > self._free:
                return
            heapq.heappop(self._waiting)
            self._free -= shares
            turn.set_result(None)
