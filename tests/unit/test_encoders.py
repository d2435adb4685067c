"""Tests a real pool of children: one that is killed, hangs, or needs too much memory must not affect the others."""

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
    """Gives photos to a pool of children."""

    def __init__(self, pool: Encoders, folder: Path) -> None:
        self.pool = pool
        self._folder = folder
        self._names = count()

    def start(
        self, name: str, content: bytes = SMALL, *, urgent: bool = False, done: list[str] | None = None
    ) -> asyncio.Task[Encoded | Failure]:
        """Start to encode a photo; its name is appended to `done` when it is encoded."""
        into = self._folder / name
        into.mkdir()
        source = pictures.written(into, content)

        async def encode() -> Encoded | Failure:
            encoded = await self.pool.encode(source, into, SPECS, MANY, urgent=urgent)
            if done is not None:
                done.append(name)
            return encoded

        return asyncio.create_task(encode(), name=name)

    async def check_intact(self, size: int) -> None:
        """Check that the pool still encodes photos, in at most `size` children."""
        results = await asyncio.gather(*(self.start(f"whole-{next(self._names)}") for _ in range(2 * size)))
        assert all(isinstance(result, Encoded) for result in results), results
        assert len(children()) <= size


def children() -> list[psutil.Process]:
    """Return the child processes of this one that are encoders."""
    found = []
    for child in psutil.Process().children():
        try:
            if "services.downloader.encoder" in child.cmdline():
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true; the test's own timeout ends it."""
    while not condition():  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.005)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds of the process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def busy(number: int, before: dict[psutil.Process, float]) -> list[psutil.Process]:
    """Wait until at least `number` children have used 0.1 s of CPU since `before`, and return them."""

    def found() -> list[psutil.Process]:
        return [child for child, seconds in before.items() if cpu_seconds(child) > seconds + 0.1]

    await until(lambda: len(found()) >= number)
    return found()


def cpu_seconds_of_children() -> dict[psutil.Process, float]:
    """Return the CPU seconds of each child so far."""
    return {child: cpu_seconds(child) for child in children()}


@pytest.fixture
async def single(tmp_path: Path) -> AsyncIterator[Work]:
    """A pool of one child that has started."""
    async with Encoders(1, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.check_intact(1)
        yield work


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Work]:
    """A pool of two children that have started."""
    async with Encoders(2, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.check_intact(2)
        yield work


def failure(encoded: Encoded | Failure) -> Reason | None:
    return encoded.reason if isinstance(encoded, Failure) else None


async def test_photos_are_encoded_concurrently_and_each_gets_its_own_answer(pair: Work, tmp_path: Path) -> None:
    results = await asyncio.gather(*(pair.start(str(number)) for number in range(6)), pair.start("broken", b"<html>"))
    assert failure(results.pop()) is Reason.NOT_AN_IMAGE
    for at, each in enumerate(results):
        assert isinstance(each, Encoded)
        assert {variant.path.parent for variant in each.variants} == {tmp_path / str(at)}
        assert all(variant.path.stat().st_size == variant.file_size for variant in each.variants)
    assert len(children()) == 2


async def test_an_urgent_photo_goes_before_those_that_wait(single: Work, slow: bytes) -> None:
    done: list[str] = []
    before = cpu_seconds_of_children()
    running = single.start("running", slow, done=done)
    await busy(1, before)
    waiting = [single.start(name, done=done) for name in ("first", "second")]
    await asyncio.sleep(0)
    waiting += [single.start(name, urgent=True, done=done) for name in ("urgent", "urgent too")]
    await asyncio.gather(running, *waiting)
    assert done == ["running", "urgent", "urgent too", "first", "second"]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
async def test_a_killed_child_fails_only_its_own_photo(pair: Work, slow: bytes, signal_number: signal.Signals) -> None:
    before = cpu_seconds_of_children()
    job = pair.start("killed", slow)
    (victim,) = await busy(1, before)
    others = [pair.start(f"other-{at}") for at in range(3)]
    victim.send_signal(signal_number)
    assert failure(await job) is Reason.ENCODER_KILLED
    assert all(isinstance(result, Encoded) for result in await asyncio.gather(*others))
    await pair.check_intact(2)
    assert victim not in children()


async def test_an_idle_child_that_dies_fails_no_photo(pair: Work) -> None:
    for process in pair.pool._all:
        os.kill(process.pid, signal.SIGKILL)
    await asyncio.gather(*(process.wait() for process in pair.pool._all))
    await pair.check_intact(2)


async def test_a_pool_does_not_start_with_children_that_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"ended at its start with code 1; .*uv.lock"):
        async with Encoders(1):
            pass


async def test_a_child_that_hangs_is_replaced_at_its_deadline(tmp_path: Path) -> None:
    async with Encoders(1, deadline=3.0) as pool:
        work = Work(pool, tmp_path)
        (hung,) = children()
        hung.suspend()
        encoded = await work.start("hung")
        assert encoded == Failure(Reason.ENCODER_KILLED, "no result within 3 s")
        assert not psutil.pid_exists(hung.pid)
        assert not children()
        await work.check_intact(1)


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
    """Let children have 2 s of CPU for a photo, compute for as long as its bytes say, and estimate no memory."""
    child = tmp_path / "hostile"
    child.write_text(HOSTILE.format(python=sys.executable))
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))


@pytest.mark.usefixtures("hostile")
async def test_a_child_that_computes_for_too_long_is_ended_and_replaced(tmp_path: Path) -> None:
    async with Encoders(1, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        (child,) = children()
        for at in range(4):  # 3.2 s in all: the limit is for each photo
            assert failure(await work.start(f"slow-{at}", b"spin for 0.8")) is Reason.NOT_AN_IMAGE
        assert children() == [child]
        encoded = await work.start("spins", b"spin for 3600")
        assert encoded == Failure(Reason.ENCODER_KILLED, "the process that decoded the picture died of it")
        await work.check_intact(1)
        assert child not in children()


@pytest.mark.usefixtures("hostile")
async def test_a_photo_that_takes_more_memory_than_was_estimated_fails_and_its_child_goes_on(tmp_path: Path) -> None:
    async with Encoders(1, memory=encoders.IDLE_CHILD_BYTES + 25_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        before = children()
        assert failure(await work.start("large", large())) is Reason.TOO_MUCH_MEMORY
        await work.check_intact(1)
        assert children() == before


async def test_a_child_that_crashes_over_a_file_it_cannot_read_is_replaced(pair: Work, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    encoded = await pair.pool.encode(missing / "missing", missing, SPECS, MANY)
    assert failure(encoded) is Reason.ENCODER_KILLED
    await pair.check_intact(2)


def large(form: str = "PNG") -> bytes:
    """Return a photo whose decoding takes about 100 MB."""
    return pictures.encoded(Image.new("RGB", (5000, 4000), pictures.RED), form)


async def test_a_photo_that_needs_more_than_one_share_gets_several(tmp_path: Path) -> None:
    async with Encoders(4, memory=4 * 60_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        small = [work.start(str(at)) for at in range(4)]
        encoded = await work.start("large", large())
        assert isinstance(encoded, Encoded)
        assert all(isinstance(result, Encoded) for result in await asyncio.gather(*small))
        await work.check_intact(4)


async def test_a_photo_that_needs_all_the_memory_is_encoded_alone(tmp_path: Path) -> None:
    async with Encoders(2, memory=170_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        before = set(children())
        assert isinstance(await work.start("large", large()), Encoded)
        assert len(children()) == 1
        assert set(children()) < before
        await work.check_intact(2)


async def test_a_photo_that_needs_more_than_all_the_memory_fails_alone(tmp_path: Path) -> None:
    async with Encoders(2, memory=120_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        assert failure(await work.start("large", large())) is Reason.TOO_MUCH_MEMORY
        await work.check_intact(2)


async def test_the_memory_limit_holds_if_the_header_understates_the_sides(tmp_path: Path) -> None:
    photo = bytearray(large("AVIF"))
    at = photo.index(b"ispe") + 8
    photo[at : at + 8] = bytes([0, 0, 0, 64, 0, 0, 0, 48])
    async with Encoders(1, memory=encoders.IDLE_CHILD_BYTES + 25_000_000, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        (child,) = children()
        assert failure(await work.start("liar", bytes(photo))) in (Reason.BROKEN_IMAGE, Reason.TOO_MUCH_MEMORY)
        assert child.memory_info().rss < 80_000_000
        await work.check_intact(1)


async def test_a_waiting_photo_that_is_cancelled_leaves_the_pool_whole(single: Work, slow: bytes) -> None:
    running = single.start("running", slow)
    waiting = single.start("waiting")
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert isinstance(await running, Encoded)
    await single.check_intact(1)


async def test_a_photo_that_is_cancelled_while_a_child_works_leaves_the_pool_whole(pair: Work, slow: bytes) -> None:
    before = cpu_seconds_of_children()
    jobs = [pair.start(name, slow) for name in ("one", "other")]
    await busy(2, before)
    for job in jobs:
        job.cancel()
    await asyncio.wait(jobs)
    assert all(job.cancelled() for job in jobs)
    await pair.check_intact(2)


async def test_a_share_given_to_a_cancelled_caller_goes_to_the_next() -> None:
    shares = Shares(1)
    done: list[str] = []

    async def take(name: str) -> None:
        async with shares.hold(1, urgent=False):
            done.append(name)

    async with shares.hold(1, urgent=False):
        cancelled, other = (asyncio.create_task(take(name)) for name in ("cancelled", "other"))
        await asyncio.sleep(0)
    cancelled.cancel()  # it has its share already, but did not run since
    await asyncio.wait([cancelled, other])
    assert done == ["other"]


async def test_no_caller_overtakes_one_that_waits_for_several_shares() -> None:
    shares = Shares(2)
    done: list[str] = []

    async def take(name: str, number: int) -> None:
        async with shares.hold(number, urgent=False):
            done.append(name)

    async with shares.hold(1, urgent=False):
        tasks = [asyncio.create_task(take(name, number)) for name, number in (("several", 2), ("single", 1))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not done
    await asyncio.gather(*tasks)
    assert done == ["several", "single"]


async def test_closing_kills_all_children_even_busy_ones(tmp_path: Path, slow: bytes) -> None:
    async with Encoders(2, deadline=DEADLINE) as pool:
        work = Work(pool, tmp_path)
        await work.check_intact(2)
        before = cpu_seconds_of_children()
        job = work.start("cut off", slow)
        await busy(1, before)
        for child in before:
            child.suspend()
    assert not any(psutil.pid_exists(child.pid) for child in before)
    assert failure(await job) is Reason.ENCODER_KILLED
    assert not children()


async def test_a_child_ends_when_its_stdin_closes(single: Work) -> None:
    (child,) = children()
    process = next(iter(single.pool._all))
    assert process.stdin is not None
    process.stdin.close()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


async def test_children_have_neither_settings_nor_tokens_in_their_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES_S3_SECRET_KEY", "hunter2")
    monkeypatch.setenv("MLS_TOKEN", "hunter2")
    async with Encoders(1) as pool:
        await Work(pool, tmp_path).check_intact(1)
        (child,) = children()
        environment = child.environ()
    assert "hunter2" not in environment.values()
    assert not [name for name in environment if name.startswith("IMAGES_")]
    assert {"PATH"} < set(environment) <= {"PATH", "LC_CTYPE", *encoders._MALLOC}


def test_a_child_whose_parent_was_killed_ends_silently(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "services.downloader.encoder"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin
    assert child.stdout
    child.stdout.close()
    job = encoder.to_line(pictures.written(tmp_path, SMALL), tmp_path, SPECS, MANY, encoders.MEMORY_BYTES)
    _, errors = child.communicate(job, timeout=30)
    assert (child.returncode, errors) == (-signal.SIGPIPE, b"")
