"""Background processes of the stack: start, check and stop them, with a pid file and a log for each.

Run as a script, this file is the launcher: it writes the pid file of a new process before the program runs, so that
no process is without a pid file. The pid file contains the start time too, so that a later process with the same pid is
not taken for the process of the pid file.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

POLL_SECONDS = 0.1
STOP_SECONDS = 15.0
"""The seconds that a process has to end after SIGTERM, before it is killed."""
KILL_SECONDS = 5.0
"""How many seconds to wait until a killed process has ended. That takes long only if a disk hangs."""

Report = Callable[[str], None]
"""A function that gets a line of text for each step while processes start or stop, such as `print`."""


class LocalError(Exception):
    """Raised if the local stack cannot run. The message says why, and what the person at the terminal can do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that the stack runs in the background: how it is started, and how to ask whether it is ready."""

    name: str
    command: Sequence[str]
    answers: Callable[[], bool]
    """Returns True if the program is ready for requests."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables in addition to those of this process."""
    prepare: Callable[[], None] = lambda: None
    """Called before the program starts, to make the files that it needs."""
    depends: str = ""
    """The text of the files that the program reads at its start. If the text changes, the program is restarted."""
    address: str = ""

    @property
    def fingerprint(self) -> str:
        """Return a short hash of the program's command, environment variables and `depends`.

        A process that was started with another fingerprint is outdated, and `ensure` restarts it.
        """
        facts = [list(self.command), sorted(self.environment.items()), self.depends]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The content of a pid file. Its first line is the pid alone, so that `kill` can read it."""

    pid: int
    started: float
    """Seconds from the boot of the machine to the start of the process."""
    fingerprint: str
    """The fingerprint of the program."""

    def write(self, path: Path) -> None:
        """Write this record to the pid file at `path` in one step, so that no reader sees half of it."""
        draft = path.with_suffix(".new")
        draft.write_text(f"{self.pid}\nstarted={self.started}\nfingerprint={self.fingerprint}\n")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> "ProcessRecord | None":
        """Return the content of a pid file; None if the file does not exist or is not in this format."""
        try:
            pid, started, fingerprint = path.read_text().splitlines()
            return cls(int(pid), float(started.removeprefix("started=")), fingerprint.removeprefix("fingerprint="))
        except (FileNotFoundError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Process:
    """A background process by its name, whether it runs or not. `home` is the directory of the pid file and the log."""

    name: str
    home: Path

    @property
    def pid_file(self) -> Path:
        return self.home / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.home / "logs" / f"{self.name}.log"

    def running(self) -> psutil.Process | None:
        """Return the operating system's process if it runs.

        Otherwise return None: there is no pid file, the process has ended, or its pid now belongs to another process.
        """
        record = ProcessRecord.read(self.pid_file)
        try:
            if record is None or abs(_started(record.pid) - record.started) > 0.05:
                return None
            process = psutil.Process(record.pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def is_running(self, program: Program) -> bool:
        """Return True if the process runs, and was started with the command, environment and files of `program`."""
        record = ProcessRecord.read(self.pid_file)
        return self.running() is not None and record is not None and record.fingerprint == program.fingerprint

    def start(self, program: Program, directory: Path) -> None:
        """Start a program in the background, with `directory` as its working directory, and write its pid file.

        What the program prints is appended to the log. The call returns before the program is ready.

        Raises:
            LocalError: the program cannot be executed.
        """
        for path in (self.pid_file, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        position = self.log_size()
        launcher = [sys.executable, "-P", __file__, str(self.pid_file), program.fingerprint, *program.command]
        with self.log.open("ab") as log:
            done = subprocess.run(
                launcher,
                env={**os.environ, **program.environment},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
        if done.returncode:
            raise LocalError(f"{self.name} cannot be started:\n{self.tail(since=position)}")

    def log_size(self) -> int:
        """Return the size of the process's log in bytes, 0 if there is no log."""
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 30, since: int = 0) -> str:
        """Return the last `lines` lines of the process's log as one indented text, or a note that there is none.

        Only the part of the log after byte `since` is read, and at most its last 64 kB.
        """
        if not self.log.exists():
            return "  (no log)"
        with self.log.open("rb") as log:
            log.seek(max(since, self.log_size() - 64_000))
            text = log.read().decode(errors="replace")
        last = text.splitlines()[-lines:] or ["(the log is empty)"]
        return "\n".join(f"  {line}" for line in last)


@contextlib.contextmanager
def lock(home: Path, report: Report) -> Iterator[None]:
    """Lock the directory `home` during the context, so that only one command starts or stops the directory's processes.

    If another command has locked it, call `report` with a message, and wait for the lock without a time limit.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting: the stack is being started or stopped by another command")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def try_lock(home: Path) -> Iterator[bool]:
    """Lock the directory `home` during the context, and yield True; yield False if a command has locked it already."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def recorded(home: Path) -> list[Process]:
    """Return every process that has a pid file in the directory `home`, sorted by name, whether it runs or not."""
    return [Process(path.stem, home) for path in sorted((home / "run").glob("*.pid"))]


def ensure(
    programs: Iterable[Program], home: Path, directory: Path, report: Report, seconds: float = 60.0
) -> list[str]:
    """Start the programs that do not run, wait until all of them are ready, and return the names of those started.

    A process that was started with another command, other settings or other files than its program has now is
    restarted. `home` is the directory of pid files and logs, `directory` the working directory of the programs.
    `report` is called with a line of text for each step. All programs must be ready within `seconds`. If all run
    already, the result is empty.

    Raises:
        LocalError: a program ended or is not ready in time; the message holds the end of its log.
    """
    programs = list(programs)
    began = time.monotonic()
    logs: dict[str, int] = {}
    for name in _stop_changed(programs, home):  # all are stopped before any starts, because they may swap ports
        report(f"{name}: restarting, its settings changed")
    for program in programs:
        process = Process(program.name, home)
        if process.running():
            continue
        program.prepare()
        logs[program.name] = process.log_size()
        process.start(program, directory)
    _await_answers(programs, home, logs, began, seconds, report)
    return list(logs)


def _stop_changed(programs: Iterable[Program], home: Path) -> list[str]:
    processes = [(program, Process(program.name, home)) for program in programs]
    return stop(process for program, process in processes if not process.is_running(program))


def _await_answers(
    programs: Sequence[Program], home: Path, logs: Mapping[str, int], began: float, seconds: float, report: Report
) -> None:
    """Wait until all programs are ready, and report each of them that was just started when it is ready.

    `logs` maps the name of each program that was just started to the size of its log before the start. `home` is the
    directory of the logs. `began` is when the start began, by the monotonic clock. `report` is called with a line of
    text for each program that becomes ready, and every 5 s with the names of those that are not ready yet. Raises
    LocalError if a program ends, or is not ready `seconds` after `began`.
    """
    waiting = list(programs)
    reminder = 5.0
    while waiting:
        passed = time.monotonic() - began
        for program in list(waiting):
            if _answers(program, home, logs, overdue=passed > seconds):
                waiting.remove(program)
                if program.name in logs:
                    report(f"{program.name}: ready in {passed:.1f} s, {program.address}")
        if waiting and passed > reminder:
            report(f"{', '.join(program.name for program in waiting)}: not ready yet, {passed:.0f} s")
            reminder += 5.0
        if waiting:
            time.sleep(POLL_SECONDS)
    for program in programs:  # another program may have taken the port of an ended process, and answered in its place
        _answers(program, home, logs, overdue=False)


def _answers(program: Program, home: Path, logs: Mapping[str, int], *, overdue: bool) -> bool:
    """Return True if a program runs and is ready for requests, False if it is still starting.

    `logs` maps the name of each program that was just started to the size of its log before the start: the error's
    message quotes only later lines. `home` is the directory of the logs. `overdue` is True once the program has had its
    full time to start.

    Raises:
        LocalError: the program has ended, or is not ready although it is `overdue`.
    """
    process = Process(program.name, home)
    alive = process.running() is not None
    if alive and program.answers():
        return True
    if alive and not overdue:
        return False
    problem = "does not answer in time" if alive else "ended by itself while it was starting"
    tail = process.tail(since=logs.get(program.name, 0))
    raise LocalError(
        f"{program.name} {problem}. The end of {process.log}:\n{tail}\n"
        "Correct the cause and run `up` again, which starts only what is missing"
    )


def stop(processes: Iterable[Process], seconds: float = STOP_SECONDS) -> list[str]:
    """Stop the processes, all at the same time, and return the names of those that ran.

    Each gets SIGTERM; those that still run after `seconds` are killed. The pid files of those that ran are deleted.
    """
    running = [(process, found) for process in processes if (found := process.running())]
    for _, found in running:
        _signal(found, signal.SIGTERM)
    _await_end(running, seconds)
    for process, found in running:
        if process.running():
            _kill_group(found)
    _await_end(running, KILL_SECONDS)
    for process, _ in running:
        process.pid_file.unlink(missing_ok=True)
    return [process.name for process, _ in running]


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _kill_group(process: psutil.Process) -> None:
    """Kill a process and its children.

    The process and its children are one process group, because `Process.start` made the process the group's leader.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _await_end(running: Iterable[tuple[Process, psutil.Process]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.running() for process, _ in running) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _started(pid: int) -> float:
    """Return the seconds from the machine's boot to the start of process `pid`.

    These seconds stay the same if somebody sets the machine's clock.
    """
    return psutil.Process(pid).create_time() - psutil.boot_time()


def _launch(pid_file: str, fingerprint: str, *command: str) -> None:
    def record() -> None:
        ProcessRecord(os.getpid(), _started(os.getpid()), fingerprint).write(Path(pid_file))

    subprocess.Popen(command, start_new_session=True, preexec_fn=record)  # noqa: PLW1509 - one thread only


if __name__ == "__main__":
    try:
        _launch(*sys.argv[1:])
    except OSError as error:
        sys.exit(str(error))
