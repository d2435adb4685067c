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
from services.downloader.picture import Encoded
from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

MEMORY = 280_000_000
"""Bytes that all decoding together may take: the contract gives a downloader and its children 600 MB (measured:
100 MB the service, 45 MB each idle child)."""
MOST_CHILDREN = 4
"""More would not fit into 600 MB; a machine with more cores runs more downloaders."""
DEADLINE_SECONDS = 90.0
"""From the job to the answer, by the clock: beyond it the child hangs, or the machine is far too busy."""
_LONGEST_LINE = 1_000_000

_logger = log.get(__name__)


class Encoders:
    """The children of one downloader. Each has an equal share of the memory; a photo that needs more is done alone."""

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
        made = await self._encode(source, into, tuple(specs), max_pixels, shares=1, urgent=urgent)
        if self._size > 1 and isinstance(made, Failure) and made.reason is Reason.TOO_MUCH_MEMORY:
            return await self._encode(source, into, tuple(specs), max_pixels, shares=self._size, urgent=urgent)
        return made

    async def _encode(
        self, source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, *, shares: int, urgent: bool
    ) -> Encoded | Failure:
        job = encoder.request(source, into, specs, max_pixels, self._memory * shares // self._size)
        async with self._shares.hold(shares, urgent=urgent):
            child = self._idle.pop() if self._idle else await self._start()
            answered = False
            try:
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

    async def _start(self) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.downloader.encoder",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            # Neither the settings nor a token; arenas of their own for threads that a child does not have cost memory.
            env={"PATH": os.environ.get("PATH", ""), "MALLOC_ARENA_MAX": "1"},
            cwd=Path(__file__).parents[2],
        )
        self._all.add(child)
        return child

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        self._all.discard(child)


async def _ask(child: asyncio.subprocess.Process, job: bytes) -> Encoded | Failure:
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    child.stdin.write(job)
    return encoder.read_answer(await child.stdout.readline())


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
