"""Test background processes: starting, restarting and stopping them, pid files and the lock."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from local.processes import LocalError, Process, ProcessRecord, Program, ensure, lock, recorded, stop

SLEEPER = Program(name="sleeper", command=[sys.executable, "-c", "import time; time.sleep(60)"], answers=lambda: True)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def start(home: Path, program: Program = SLEEPER, seconds: float = 10) -> list[str]:
    return ensure([program], home, home, lambda _: None, seconds)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    """Yield a running process, and kill it at the end of the test if it still runs."""
    start(tmp_path)
    process = Process("sleeper", tmp_path)
    yield process
    stop([process], seconds=0)


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that was not started by the stack."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_running_program_is_not_started_again(sleeper: Process) -> None:
    before = sleeper.running()
    assert start(sleeper.home) == []
    assert sleeper.running() == before


def test_a_process_is_the_leader_of_its_own_session(sleeper: Process) -> None:
    found = sleeper.running()
    assert found is not None
    assert os.getsid(found.pid) == found.pid


def test_a_dead_process_is_started_again_although_it_has_a_pid_file(sleeper: Process) -> None:
    before = sleeper.running()
    assert before is not None
    before.kill()
    before.wait(5)
    assert sleeper.pid_file.exists()
    assert sleeper.running() is None
    assert start(sleeper.home) == ["sleeper"]
    after = sleeper.running()
    assert after is not None
    assert after.pid != before.pid


def test_a_foreign_process_with_the_recorded_pid_does_not_count_as_running_and_is_not_killed(
    sleeper: Process, stranger: "subprocess.Popen[bytes]"
) -> None:
    record = ProcessRecord.read(sleeper.pid_file)
    assert record is not None
    ours = sleeper.running()
    replace(record, pid=stranger.pid, started=record.started - 100).write(sleeper.pid_file)
    assert sleeper.running() is None
    assert stop([sleeper], seconds=0) == []
    assert stranger.poll() is None
    record.write(sleeper.pid_file)
    assert sleeper.running() == ours


@pytest.mark.parametrize("text", ["", "12", "x\nstarted=1\nfingerprint=f\n", "1\n2\n3\n4\n"])
def test_a_damaged_pid_file_means_that_the_process_does_not_run(tmp_path: Path, text: str) -> None:
    process = Process("sleeper", tmp_path)
    process.pid_file.parent.mkdir()
    process.pid_file.write_text(text)
    assert process.running() is None
    assert [process.name for process in recorded(tmp_path)] == ["sleeper"]


def test_a_changed_environment_restarts_a_program(sleeper: Process) -> None:
    before = sleeper.running()
    assert start(sleeper.home, replace(SLEEPER, environment={"IMAGES_BUCKET": "another"})) == ["sleeper"]
    assert sleeper.running() != before


def test_a_changed_file_that_a_program_reads_restarts_it(sleeper: Process) -> None:
    assert start(sleeper.home, replace(SLEEPER, depends="[feeds.demo]")) == ["sleeper"]


def test_a_program_that_ended_is_reported_although_another_process_answers_on_its_port(tmp_path: Path) -> None:
    ending = "import time; time.sleep(1); print('address already in use', flush=True)"
    ended = Program("ended", [sys.executable, "-c", ending], answers=lambda: True)
    late = replace(SLEEPER, answers=lambda: Process("ended", tmp_path).running() is None)
    with pytest.raises(LocalError, match=r"(?s)ended ended by itself.*address already in use"):
        ensure([ended, late], tmp_path, tmp_path, lambda _: None)
    stop(recorded(tmp_path))


def test_stopping_ends_a_process_and_removes_its_pid_file(sleeper: Process) -> None:
    found = sleeper.running()
    assert stop([sleeper]) == ["sleeper"]
    assert found is not None
    assert not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    assert recorded(sleeper.home) == []


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = Process("stubborn", tmp_path)
    program = Program("stubborn", [sys.executable, "-c", STUBBORN], answers=lambda: "up" in process.tail())
    start(tmp_path, program)
    assert stop([process], seconds=0.3) == ["stubborn"]
    assert process.running() is None


def test_the_error_for_a_program_that_ends_at_once_holds_its_log(tmp_path: Path) -> None:
    program = Program("broken", [sys.executable, "-c", "raise SystemExit('no such bucket')"], answers=lambda: False)
    with pytest.raises(LocalError, match=r"(?s)broken ended by itself .*no such bucket"):
        start(tmp_path, program)


def test_the_error_for_a_program_that_is_never_ready_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"(?s)sleeper does not answer in time.*run `up` again"):
        start(tmp_path, replace(SLEEPER, answers=lambda: False), seconds=0.2)
    assert stop(recorded(tmp_path), seconds=0) == ["sleeper"]


def test_the_error_for_a_missing_program_says_that_it_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"(?s)nothing cannot be started.*No such file"):
        start(tmp_path, Program("nothing", [str(tmp_path / "nothing")], answers=lambda: True))


def test_stopping_a_process_ends_its_children(tmp_path: Path) -> None:
    parent = "import subprocess, sys, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + (
        "child = subprocess.Popen(['sleep', '60']); print('child', child.pid, flush=True); child.wait()"
    )
    process = Process("parent", tmp_path)
    start(tmp_path, Program("parent", [sys.executable, "-c", parent], answers=lambda: "child" in process.tail()))
    child = psutil.Process(int(process.tail().split()[-1]))
    stop([process], seconds=0)
    assert psutil.wait_procs([child], timeout=5)[0] or child.status() == psutil.STATUS_ZOMBIE


def test_a_second_command_waits_for_the_lock_and_reports_that(tmp_path: Path) -> None:
    lines: list[str] = []
    reported, entered = threading.Event(), threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        reported.set()

    def other() -> None:
        with lock(tmp_path, report):
            entered.set()

    with lock(tmp_path, report):
        assert lines == []
        waiting = threading.Thread(target=other)
        waiting.start()
        assert reported.wait(5)
        assert "waiting" in lines[0]
        assert not entered.is_set()
    waiting.join(5)
    assert entered.is_set()


def test_the_lock_of_a_killed_command_is_free_again(tmp_path: Path) -> None:
    imports = "import time; from pathlib import Path; from local.processes import lock"
    held = f"{imports}\nwith lock(Path({str(tmp_path)!r}), print):"
    with subprocess.Popen(
        [sys.executable, "-c", f"{held}\n  print('held', flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
    lines: list[str] = []
    with lock(tmp_path, lines.append):
        assert lines == []
