"""Runs child processes that decode and encode photos, and replaces those that die. A child has one photo at a time."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from services.downloader import encoder
from services.downloader.memory import KEPT_BYTES
from services.downloader.picture import Encoded
from services.downloader.shares import Shares
from shared import log
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec

MEMORY_BYTES = 450_000_000
"""How many bytes all children together may take. The contract gives a downloader with its children 600 MB: the service
itself takes 110 MB, and estimates are a few per cent off."""
IDLE_CHILD_BYTES = 30_000_000
"""How many bytes a child takes before its first photo, and again after each photo (measured)."""
MAX_CHILDREN = 4
"""More children would leave each too little memory for an ordinary photo. A machine with more cores can run more
downloaders."""
DEADLINE_SECONDS = 90.0
"""The longest time from a job to its answer. A child that takes longer hangs, or the machine is far too busy."""
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
}
"""Settings of glibc that keep an ordinary photo's memory for the next one. Without them, getting it from the system
again took 24 of the 150 ms of computing a photo."""
_MAX_ANSWER_BYTES = 1_000_000

_logger = log.get(__name__)


class Encoders:
    """The child processes of one downloader that decode and encode photos; a context manager that starts and ends them.

    Each child may take an equal share of the memory. If a photo needs more memory, it is encoded again with twice as
    many shares, and at last with all shares.
    """

    def __init__(
        self, children: int | None = None, memory: int = MEMORY_BYTES, deadline: float = DEADLINE_SECONDS
    ) -> None:
        """`children` is the number of child processes: by default one for each core, at most MAX_CHILDREN.

        `memory` is how many bytes all children together may take, and `deadline` how many seconds one photo may take.
        """
        self._size = children or min(os.cpu_count() or 1, MAX_CHILDREN)
        self._memory = memory
        self._deadline = deadline
        self._shares = Shares(self._size)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> Self:
        self._idle = list(await asyncio.gather(*(self._start() for _ in range(self._size))))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(self._kill(child) for child in tuple(self._all)))

    async def encode(
        self, source: Path, into: Path, specs: Sequence[VariantSpec], max_pixels: int, *, urgent: bool = False
    ) -> Encoded | Failure:
        """Write the variants of the photo in the file `source` to files in the folder `into`, in a child process.

        Wait for a free child; an urgent photo goes before photos that are not urgent. `specs` are the variants to make,
        and `max_pixels` is how many pixels the photo may have. Return what `picture.encode` returned in the child. If
        the bytes kill the child, or the child takes too long, return a Failure (ENCODER_KILLED); another child then
        takes its place.
        """
        shares = 1
        while True:
            encoded = await self._encode(source, into, tuple(specs), max_pixels, shares=shares, urgent=urgent)
            lacks_memory = isinstance(encoded, Failure) and encoded.reason is Reason.TOO_MUCH_MEMORY
            if not lacks_memory or shares == self._size:
                return encoded
            shares = min(2 * shares, self._size)

    async def _encode(
        self, source: Path, into: Path, specs: tuple[VariantSpec, ...], max_pixels: int, *, shares: int, urgent: bool
    ) -> Encoded | Failure:
        is_alone = shares == self._size
        memory_limit = self._memory * shares // self._size - IDLE_CHILD_BYTES * (1 if is_alone else shares)
        job = encoder.to_line(source, into, specs, max_pixels, memory_limit)
        async with self._shares.hold(shares, urgent=urgent):
            child = await self._take()
            is_answered = False
            try:
                if is_alone:
                    await self._kill_idle()
                async with asyncio.timeout(self._deadline):
                    encoded = await _ask(child, job)
                encoder.check_answer(encoded, into, specs)
                is_answered = True
            except TimeoutError:
                return Failure(Reason.ENCODER_KILLED, f"no result within {self._deadline:g} s")
            except (OSError, ValueError, KeyError):
                return Failure(Reason.ENCODER_KILLED, "the process that decoded the picture died of it")
            finally:
                if is_answered:
                    self._idle.append(child)
                else:
                    _logger.warning("encoder-replaced", pid=child.pid, returncode=child.returncode)
                    await self._kill(child)
        return encoded

    async def _take(self) -> asyncio.subprocess.Process:
        """Take a living child from the idle children and return it; start a child if none is idle.

        Idle children that have died are dropped. The caller returns the child to the idle ones, or kills it.
        """
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            self._all.discard(child)  # it was killed while it was idle, which must not fail this photo
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        """Start a child and return it once it is ready to encode.

        Raises RuntimeError if the child ends before it is ready: another child would end in the same way.
        """
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.downloader.encoder",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_ANSWER_BYTES,
            env={"PATH": os.environ.get("PATH", ""), **_MALLOC},  # neither settings nor tokens
            cwd=Path(__file__).parents[2],
        )
        self._all.add(child)
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        if (line := await child.stdout.readline()) != encoder.READY:
            if not line:
                await child.wait()  # so that the error can say which signal or exit code ended it
            await self._kill(child)
            raise RuntimeError(
                f"a child process that encodes photos ended at its start with code {child.returncode}; if there is no "
                "error above, cykooz-resizer does not fit Pillow: install the versions of uv.lock, or uninstall it"
            )
        return child

    async def _kill_idle(self) -> None:
        """Kill the idle children, so that their memory is free for a photo that needs all of it."""
        while self._idle:
            await self._kill(self._idle.pop())

    async def _kill(self, child: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        self._all.discard(child)


async def _ask(child: asyncio.subprocess.Process, job: bytes) -> Encoded | Failure:
    """Send a job to a child and return its answer: the encoded photo, or the Failure of a photo that cannot be encoded.

    Raises OSError, ValueError or KeyError if the child died or sent no valid answer.
    """
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    child.stdin.write(job)
    answer = await child.stdout.readline()
    if not answer:
        await child.wait()  # so that the log can say which signal or exit code ended it
    return encoder.read_answer(answer)
