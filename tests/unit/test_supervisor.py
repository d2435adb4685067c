"""Which services does the supervisor start again, and when?"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import stack, supervisor
from local.processes import Process, Program, ensure, lock, recorded, stop
from local.supervisor import Restarts, Supervisor
from tests.integration.test_stack import ELSEWHERE, FAKE, pids

SLEEPER = Program("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], lambda: True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory in which the sleeper runs, and stop its processes at the end of the test."""
    ensure([SLEEPER], tmp_path, tmp_path, lambda _: None)
    yield tmp_path
    stack.down(tmp_path)


def kill(name: str, home: Path) -> int:
    """Kill a process and wait for its end; return its pid."""
    process = Process(name, home).running()
    assert process is not None
    process.kill()
    process.wait(10)
    return process.pid


def await_restart(name: str, home: Path, dead: int) -> None:
    """Wait up to 30 s until a process of this name with another pid than `dead` runs."""
    deadline = time.monotonic() + 30
    while pids(home, name).get(name, dead) == dead:
        assert time.monotonic() < deadline, f"{name} was not started again"
        time.sleep(0.05)


def test_a_process_that_ended_by_itself_is_started_again(home: Path) -> None:
    supervised = Supervisor([SLEEPER], home)
    assert supervised.look() == []
    dead = kill("sleeper", home)
    assert supervised.look() == ["sleeper"]
    found = Process("sleeper", home).running()
    assert found is not None
    assert found.pid != dead
    assert Process("sleeper", home).is_running(SLEEPER), "the next `up` need not start it again"


def test_a_stopped_process_is_not_started_again(home: Path) -> None:
    supervised = Supervisor([SLEEPER], home)
    stop([Process("sleeper", home)], seconds=0)
    assert supervised.look() == []
    assert recorded(home) == []


def test_nothing_is_started_while_another_command_starts_or_stops_processes(home: Path) -> None:
    supervised = Supervisor([SLEEPER], home)
    kill("sleeper", home)
    with lock(home, print):
        assert supervised.look() == []
    assert supervised.look() == ["sleeper"]


def test_a_service_that_ends_again_and_again_is_started_less_and_less_often() -> None:
    restarts, now, pauses = Restarts(started_at=-100.0), 0.0, []
    for _ in range(8):
        restarts = restarts.started(now)
        pauses.append(restarts.next_at() - now)
        now = restarts.next_at()
    assert pauses == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert restarts.started(now + 10.0).pause_seconds == 0.0


@pytest.mark.slow
def test_the_supervisor_of_a_stack_names_no_service_and_ends_first(tmp_path: Path) -> None:
    services = {name: (sys.executable, "-c", FAKE, name) for name in ("resolver", "janitor")}
    system = stack.System((sys.executable, "-c", "pass"), services, is_supervised=True)
    try:
        stack.up(tmp_path, ELSEWHERE, system=system)
        found = Process(supervisor.NAME, tmp_path).running()
        assert found is not None
        assert not any(name in " ".join(found.cmdline()) for name in ("services.", "resolver", "janitor"))
        assert (tmp_path / "run" / "supervised.json").stat().st_mode & 0o077 == 0, "it holds secrets"
        before = kill("janitor", tmp_path)
        await_restart("janitor", tmp_path, before)
        printed: list[str] = []
        stack.up(tmp_path, ELSEWHERE, printed.append, system)
        # The supervisor may hold the stack's lock for a moment still.
        assert printed[-1:] == ["everything is running already"]
    finally:
        printed = []
        stack.down(tmp_path, printed.append)
    assert printed[0].startswith("stopped: supervisor, ")
    assert pids(tmp_path, supervisor.NAME, *services) == {}
