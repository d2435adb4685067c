"""Programs that outlive the one that starts them: pid files that cannot mistake a stranger for ours, logs, stopping.

Run as a script this is the launcher: it records the new process before the program begins; nothing starts unrecorded.
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
"""How long a process has to end by itself before it is killed."""
KILL_SECONDS = 5.0
"""How long a killed process may take to vanish; only a stuck disk makes it last."""

Say = Callable[[str], None]
"""Told the news, one line each, while something starts or stops."""


class LocalError(Exception):
    """What keeps the local stack from running, said for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: the command, its environment beside ours, how to prepare for it, how to tell that it answers."""

    name: str
    command: Sequence[str]
    answers: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    depends: str = ""
    """Text of the files it reads at its start: where that changes it is another program."""
    address: str = ""

    @property
    def fingerprint(self) -> str:
        """A short hash; a running process of another fingerprint is out of date."""
        facts = [list(self.command), sorted(self.environment.items()), self.depends]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Record:
    """A pid file: line 1 is the pid alone, for `kill`; then when it started and what of."""

    pid: int
    started: float
    fingerprint: str

    def write(self, path: Path) -> None:
        """Store it in one step; a reader never sees half a record."""
        draft = path.with_suffix(".new")
        draft.write_text(f"{self.pid}\nstarted={self.started}\nfingerprint={self.fingerprint}\n")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """None where there is no readable record."""
        try:
            pid, started, fingerprint = path.read_text().splitlines()
            return cls(int(pid), float(started.removeprefix("started=")), fingerprint.removeprefix("fingerprint="))
        except (FileNotFoundError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Process:
    """One named process of the stack that lives in the directory `home`."""

    name: str
    home: Path

    @property
    def pid_file(self) -> Path:
        return self.home / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.home / "logs" / f"{self.name}.log"

    def running(self) -> psutil.Process | None:
        """The live process, or None: nothing recorded, ended, or the pid is somebody else's by now."""
        record = Record.read(self.pid_file)
        try:
            if record is None or abs(_started(record.pid) - record.started) > 0.05:
                return None
            process = psutil.Process(record.pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def is_running(self, program: Program) -> bool:
        """Whether exactly this program runs: the same command, environment and files."""
        record = Record.read(self.pid_file)
        return self.running() is not None and record is not None and record.fingerprint == program.fingerprint

    def start(self, program: Program, directory: Path) -> None:
        """Start it in the background with its output in the log. Raises LocalError if it cannot be executed."""
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
        """Bytes in the log, 0 where there is none."""
        return self.log.stat().st_size if self.log.exists() else 0

    def tail(self, lines: int = 30, since: int = 0) -> str:
        """The last lines of the log, indented; of what was written after the position `since`, if given."""
        if not self.log.exists():
            return "  (no log)"
        with self.log.open("rb") as log:
            log.seek(max(since, self.log_size() - 64_000))
            text = log.read().decode(errors="replace")
        last = text.splitlines()[-lines:] or ["(the log is empty)"]
        return "\n".join(f"  {line}" for line in last)


@contextlib.contextmanager
def lock(home: Path, say: Say) -> Iterator[None]:
    """Let only one at a time change what runs in the directory; the others wait for it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting: the stack is being started or stopped by another command")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def recorded(home: Path) -> list[Process]:
    """Every process that was ever started here, whether it runs or not."""
    return [Process(path.stem, home) for path in sorted((home / "run").glob("*.pid"))]


def ensure(programs: Iterable[Program], home: Path, directory: Path, say: Say, seconds: float = 60.0) -> list[str]:
    """Have the programs running and answering, all at once; those that already do are left alone.

    Returns the names of those started. Raises LocalError with the end of the log of one that ended or never answered.
    """
    programs = list(programs)
    began = time.monotonic()
    logs: dict[str, int] = {}
    for name in _stop_changed(programs, home):  # all of them first: they may want each other's ports
        say(f"{name}: restarting, its settings changed")
    for program in programs:
        process = Process(program.name, home)
        if process.running():
            continue
        program.prepare()
        logs[program.name] = process.log_size()
        process.start(program, directory)
    _await_answers(programs, home, logs, began, seconds, say)
    return list(logs)


def _stop_changed(programs: Iterable[Program], home: Path) -> list[str]:
    return stop(process for one in programs if not (process := Process(one.name, home)).is_running(one))


def _await_answers(
    programs: Sequence[Program], home: Path, logs: Mapping[str, int], began: float, seconds: float, say: Say
) -> None:
    waiting = list(programs)
    reminder = 5.0
    while waiting:
        passed = time.monotonic() - began
        for program in list(waiting):
            if _answers(program, home, logs, overdue=passed > seconds):
                waiting.remove(program)
                if program.name in logs:
                    say(f"{program.name}: ready in {passed:.1f} s, {program.address}")
        if waiting and passed > reminder:
            say(f"{', '.join(program.name for program in waiting)}: not ready yet, {passed:.0f} s")
            reminder += 5.0
        if waiting:
            time.sleep(POLL_SECONDS)
    for program in programs:  # what took a port in the meantime may have answered for one that has ended since
        _answers(program, home, logs, overdue=False)


def _answers(program: Program, home: Path, logs: Mapping[str, int], *, overdue: bool) -> bool:
    process = Process(program.name, home)
    alive = process.running() is not None
    if alive and program.answers():
        return True
    if alive and not overdue:
        return False
    what = "does not answer in time" if alive else "ended by itself while it was starting"
    tail = process.tail(since=logs.get(program.name, 0))
    raise LocalError(
        f"{program.name} {what}. The end of {process.log}:\n{tail}\n"
        "Put that right and run `up` again, which goes on from here; `down` and then `up` begin afresh"
    )


def stop(processes: Iterable[Process], seconds: float = STOP_SECONDS) -> list[str]:
    """Ask them to end, all at once; kill what is left after so many seconds. Returns the names of those that ran."""
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
    """Kill it with its children: the launcher made it the head of its own group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _await_end(running: Iterable[tuple[Process, psutil.Process]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.running() for process, _ in running) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _started(pid: int) -> float:
    """Seconds from the machine's boot to the process's start: unlike the time of day it never moves."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def _launch(pid_file: str, fingerprint: str, *command: str) -> None:
    def record() -> None:
        Record(os.getpid(), _started(os.getpid()), fingerprint).write(Path(pid_file))

    subprocess.Popen(command, start_new_session=True, preexec_fn=record)  # noqa: PLW1509 - one thread only


if __name__ == "__main__":
    try:
        _launch(*sys.argv[1:])
    except OSError as fault:
        sys.exit(str(fault))
