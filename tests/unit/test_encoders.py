"""A real pool of children: what happens to the others when one is killed, hangs, or wants too much?"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path

import psutil
import pytest
from PIL import Image

from services.downloader import encoder, encoders
from services.downloader.encoders import Encoders
from services.downloader.picture import Encoded
from services.downloader.shares import Shares
from shared.domain.failures import Failure, Reason
from shared.domain.variants import VariantSpec
from tests import pictures

pytestmark = pytest.mark.slow

SPECS = (VariantSpec("full", 1600, "webp", 80), VariantSpec("thumb", 16, "jpeg", 80))
SMALL = pictures.encoded(pictures.corners(), "PNG")
MANY = 60_000_000
DEADLINE = 30.0


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Return a photo that takes a child about a second."""
    return pictures.encoded(pictures.grain(3000, 4000), "PNG", compress_level=1)


class Work:
    """A pool, and photos for it."""

    def __init__(self, pool: Encoders, folder: Path) -> None:
        self.pool = pool
        self._folder = folder
        self._names = count()

    def start(
        self, name: str, content: bytes = SMALL, *, urgent: bool = False, done: list[str] | None = None
    ) -> asyncio.Task[Encoded | Failure]:
        """Give the pool a photo; its name is put into `done` when it is."""
        into = self._folder / name
        into.mkdir()
        source = pictures.written(into, content)

        async def encode() -> Encoded | Failure:
            made = await self.pool.encode(source, into, SPECS, MANY, urgent=urgent)
            if done is not None:
                done.append(name)
            return made

        return asyncio.create_task(encode(), name=name)

    async def is_whole(self, size: int) -> None:
        """Check that as many photos as there are children are done at a time."""
        made = await asyncio.gather(*(self.start(f"whole-{next(self._names)}") for _ in range(2 * size)))
        assert all(isinstance(one, Encoded) for one in made), made
        assert len(children()) <= size


def children() -> list[psutil.Process]:
    """Return our children that decode pictures."""
    found = []
    for child in psutil.Process().children():
        try:
            if "services.downloader.encoder" in child.cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own time limit ends it."""
    while not true():  # noqa: ASYNC110 - nobody tells us what another process does
        await asyncio.sleep(0.005)


def spent(process: psutil.Process) -> float:
    """Return for how many seconds the process has computed."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def at_work(number: int, before: dict[psutil.Process, float]) -> list[psutil.Process]:
    """Wait until so many have computed for a while longer than before, and return them."""

    def found() -> list[psutil.Process]:
        return [child for child, seconds in before.items() if spent(child) > seconds + 0.1]

    await until(lambda: len(found()) >= number)
    return found()


def effort() -> dict[psutil.Process, float]:
    """Return for how many seconds each child has computed."""
    return {child: spent(child) for child in children()}


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Work]:
    """A pool of one child that has started."""
    async with Encoders(1, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.is_whole(1)
        yield work


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Work]:
    """A pool of two children that have started."""
    async with Encoders(2, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.is_whole(2)
        yield work


def failure(made: Encoded | Failure) -> Reason | None:
    return made.reason if isinstance(made, Failure) else None


async def test_photos_are_encoded_concurrently_and_each_gets_its_own_answer(two: Work, tmp_path: Path) -> None:
    made = await asyncio.gather(*(two.start(str(at)) for at in range(6)), two.start("broken", b"<html>"))
    assert failure(made.pop()) is Reason.NOT_AN_IMAGE
    for at, each in enumerate(made):
        assert isinstance(each, Encoded)
        assert {one.path.parent for one in each.variants} == {tmp_path / str(at)}
        assert all(one.path.stat().st_size == one.file_size for one in each.variants)
    assert len(children()) == 2


async def test_an_urgent_photo_goes_before_those_that_wait(one: Work, slow: bytes) -> None:
    done: list[str] = []
    before = effort()
    running = one.start("running", slow, done=done)
    await at_work(1, before)
    waiting = [one.start(name, done=done) for name in ("first", "second")]
    await asyncio.sleep(0)
    waiting += [one.start(name, urgent=True, done=done) for name in ("urgent", "urgent too")]
    await asyncio.gather(running, *waiting)
    assert done == ["running", "urgent", "urgent too", "first", "second"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
async def test_a_killed_child_fails_only_its_own_photo(two: Work, slow: bytes, how: signal.Signals) -> None:
    before = effort()
    job = two.start("killed", slow)
    (victim,) = await at_work(1, before)
    others = [two.start(f"other-{at}") for at in range(3)]
    victim.send_signal(how)
    assert failure(await job) is Reason.ENCODER_KILLED
    assert all(isinstance(made, Encoded) for made in await asyncio.gather(*others))
    await two.is_whole(2)
    assert victim not in children()


async def test_an_idle_child_that_dies_fails_no_photo(two: Work) -> None:
    for process in two.pool._all:
        os.kill(process.pid, signal.SIGKILL)
    await asyncio.gather(*(process.wait() for process in two.pool._all))
    await two.is_whole(2)


async def test_a_child_that_hangs_is_replaced_at_its_deadline(tmp_path: Path) -> None:
    async with Encoders(1, deadline=3.0) as pool:
        work = Work(pool, tmp_path)
        (hung,) = children()
        hung.suspend()
        made = await work.start("hung")
        assert made == Failure(Reason.ENCODER_KILLED, "no result within 3 s")
        assert not psutil.pid_exists(hung.pid)
        assert not children()
        await work.is_whole(1)


HOSTILE = """#!{python}
import os, sys, time
sys.path.insert(0, os.getcwd())
from services.downloader import encoder, memory, picture

def encode(source, *rest):
    end = time.process_time() + float(source.read_bytes().partition(b"spin for ")[2] or 0)
    while time.process_time() < end:
        pass
    return really_encode(source, *rest)

really_encode, picture.encode = picture.encode, encode
encoder.CPU_SECONDS = 2
memory.needed = lambda *_: 0
encoder.main()
"""


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that have 2 s for a photo, compute as long as its bytes say, and take every photo for a small one."""
    child = tmp_path / "hostile"
    child.write_text(HOSTILE.format(python=sys.executable))
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))


@pytest.mark.usefixtures("hostile")
async def test_a_child_that_computes_for_too_long_is_ended_and_replaced(tmp_path: Path) -> None:
    async with Encoders(1, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        (child,) = children()
        for at in range(4):  # 3.2 s in all: each photo has a time of its own
            assert failure(await work.start(f"slow-{at}", b"spin for 0.8")) is Reason.NOT_AN_IMAGE
        assert children() == [child]
        made = await work.start("spins", b"spin for 3600")
        assert made == Failure(Reason.ENCODER_KILLED, "the process that decoded the picture died of it")
        await work.is_whole(1)
        assert child not in children()


@pytest.mark.usefixtures("hostile")
async def test_a_photo_that_takes_more_memory_than_was_estimated_fails_and_its_child_goes_on(tmp_path: Path) -> None:
    async with Encoders(1, memory=encoders.IDLE_CHILD_BYTES + 25_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        before = children()
        assert failure(await work.start("large", large())) is Reason.TOO_MUCH_MEMORY
        await work.is_whole(1)
        assert children() == before


async def test_a_child_that_crashes_over_a_file_it_cannot_read_is_replaced(two: Work, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    made = await two.pool.encode(gone / "missing", gone, SPECS, MANY)
    assert failure(made) is Reason.ENCODER_KILLED
    await two.is_whole(2)


def large(form: str = "PNG") -> bytes:
    """Return a photo whose decoding takes about 100 MB."""
    return pictures.encoded(Image.new("RGB", (5000, 4000), pictures.RED), form)


async def test_a_photo_that_needs_more_than_one_share_gets_several(tmp_path: Path) -> None:
    async with Encoders(4, memory=4 * 60_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        small = [work.start(str(at)) for at in range(4)]
        made = await work.start("large", large())
        assert isinstance(made, Encoded)
        assert all(isinstance(one, Encoded) for one in await asyncio.gather(*small))
        await work.is_whole(4)


async def test_a_photo_that_needs_all_the_memory_is_encoded_alone(tmp_path: Path) -> None:
    async with Encoders(2, memory=170_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        before = set(children())
        assert isinstance(await work.start("large", large()), Encoded)
        assert len(children()) == 1
        assert set(children()) < before
        await work.is_whole(2)


async def test_a_photo_that_needs_more_than_all_the_memory_fails_alone(tmp_path: Path) -> None:
    async with Encoders(2, memory=120_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        assert failure(await work.start("large", large())) is Reason.TOO_MUCH_MEMORY
        await work.is_whole(2)


async def test_the_memory_limit_holds_if_the_header_understates_the_sides(tmp_path: Path) -> None:
    photo = bytearray(large("AVIF"))
    at = photo.index(b"ispe") + 8
    photo[at : at + 8] = bytes([0, 0, 0, 64, 0, 0, 0, 48])
    async with Encoders(1, memory=encoders.IDLE_CHILD_BYTES + 25_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        (child,) = children()
        assert failure(await work.start("liar", bytes(photo))) in (Reason.BROKEN_IMAGE, Reason.TOO_MUCH_MEMORY)
        assert child.memory_info().rss < 80_000_000
        await work.is_whole(1)


async def test_a_waiting_photo_that_is_cancelled_leaves_the_pool_whole(one: Work, slow: bytes) -> None:
    running = one.start("running", slow)
    waiting = one.start("waiting")
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert isinstance(await running, Encoded)
    await one.is_whole(1)


async def test_a_photo_that_is_cancelled_while_a_child_works_leaves_the_pool_whole(two: Work, slow: bytes) -> None:
    before = effort()
    jobs = [two.start(name, slow) for name in ("one", "other")]
    await at_work(2, before)
    for job in jobs:
        job.cancel()
    await asyncio.wait(jobs)
    assert all(job.cancelled() for job in jobs)
    await two.is_whole(2)


async def test_a_share_given_to_a_cancelled_caller_goes_to_the_next() -> None:
    shares = Shares(1)
    done: list[str] = []

    async def take(name: str) -> None:
        async with shares.hold(1, urgent=False):
            done.append(name)

    async with shares.hold(1, urgent=False):
        cancelled, other = (asyncio.create_task(take(name)) for name in ("cancelled", "other"))
        await asyncio.sleep(0)
    cancelled.cancel()  # it has its turn already, and has not heard of it
    await asyncio.wait([cancelled, other])
    assert done == ["other"]


async def test_no_caller_overtakes_one_that_waits_for_several_shares() -> None:
    shares = Shares(2)
    done: list[str] = []

    async def take(name: str, number: int) -> None:
        async with shares.hold(number, urgent=False):
            done.append(name)

    async with shares.hold(1, urgent=False):
        tasks = [asyncio.create_task(take(name, number)) for name, number in (("many", 2), ("one", 1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not done
    await asyncio.gather(*tasks)
    assert done == ["many", "one"]


async def test_closing_kills_all_children_even_busy_ones(tmp_path: Path, slow: bytes) -> None:
    async with Encoders(2, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.is_whole(2)
        before = effort()
        job = work.start("cut off", slow)
        await at_work(1, before)
        for child in before:
            child.suspend()
    assert not any(psutil.pid_exists(child.pid) for child in before)
    assert failure(await job) is Reason.ENCODER_KILLED
    assert not children()


async def test_a_child_ends_when_its_stdin_closes(one: Work) -> None:
    (child,) = children()
    process = next(iter(one.pool._all))
    assert process.stdin is not None
    process.stdin.close()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_children_have_neither_settings_nor_tokens_in_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("MLS_TOKEN", "hunter2")
    async with Encoders(1) as pool:
        await Work(pool, tmp_path).is_whole(1)
        (child,) = children()
        known = child.environ()
    assert "hunter2" not in known.values()
    assert not [name for name in known if name.startswith("IMAGES_")]
    assert {"PATH"} < set(known) <= {"PATH", "LC_CTYPE", *encoders._MALLOC}


def test_a_child_whose_parent_was_killed_ends_silently(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "services.downloader.encoder"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin
    assert child.stdout
    child.stdout.close()
    job = encoder.to_line(pictures.written(tmp_path, SMALL), tmp_path, SPECS, MANY, encoders.MEMORY_BYTES)
    _, said = child.communicate(job, timeout=30)
    assert (child.returncode, said) == (-signal.SIGPIPE, b"")
