"""The supervisor: one process that starts services of the stack again when they ended by themselves.

`make up` runs it as `python -m local.supervisor HOME`. This command line names no service, so that a search for the
processes of a service does not find the supervisor.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from local.config import PROJECT
from local.processes import LocalError, Process, Program, try_lock
from shared import log

NAME = "supervisor"
_LOOK_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 10.0
"""A service that ran for this time is started again at once. The pause before the start of others doubles."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Restarts:
    """Says when a service may be started again: a pause after its last start, which grows if the service ends soon.

    All times are seconds of the monotonic clock.
    """

    started_at: float
    pause_seconds: float = 0.0

    def next_at(self) -> float:
        """Return the time from which the service may be started again, if it has ended."""
        return self.started_at + self.pause_seconds

    def started(self, now: float) -> "Restarts":
        """Return the new value after a start of the service at `now`.

        The pause doubles, from 1 s up to 30 s. If the last start is longer ago than its pause and 10 s together, the
        pause is 0.
        """
        if now - self.started_at - self.pause_seconds >= _STEADY_SECONDS:
            return Restarts(now)
        return replace(self, started_at=now, pause_seconds=min(max(1.0, 2 * self.pause_seconds), _MAX_PAUSE_SECONDS))


class Supervisor:
    """Starts programs again whose process ended by itself.

    A process has ended by itself if its pid file is still there: `down` deletes it. `home` is the directory of pid
    files and logs. `monotonic` returns the time of the monotonic clock in seconds.
    """

    def __init__(
        self, programs: Iterable[Program], home: Path, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._home = home
        self._monotonic = monotonic
        self._programs = list(programs)
        self._restarts = {program.name: Restarts(monotonic() - _STEADY_SECONDS) for program in self._programs}

    def look(self) -> list[str]:
        """Start the programs that have ended by themselves and whose pause is over, and return their names.

        While `up` or `down` starts or stops processes in `home`, nothing is started. A program that cannot be started
        is logged, and is among the names.
        """
        if not any(self._is_due(program) for program in self._programs):
            return []
        with try_lock(self._home) as is_locked:
            due = [program for program in self._programs if is_locked and self._is_due(program)]
            for program in due:
                self._restarts[program.name] = self._restarts[program.name].started(self._monotonic())
                self._start(program)
        return [program.name for program in due]

    def _is_due(self, program: Program) -> bool:
        process = Process(program.name, self._home)
        has_ended = process.pid_file.exists() and process.running() is None
        return has_ended and self._monotonic() >= self._restarts[program.name].next_at()

    def _start(self, program: Program) -> None:
        try:
            Process(program.name, self._home).start(program, PROJECT)
        except LocalError as error:
            _logger.warning("restart-failed", name=program.name, error=str(error))
        else:
            _logger.warning("process-restarted", name=program.name)


def program(home: Path, services: Sequence[Program]) -> Program:
    """Return the program that runs the supervisor of these services, whose pid files and logs are in `home`.

    When the program is prepared, the services are written to a file in `home`, from which the supervisor reads them.
    """
    text = json.dumps(
        [[service.name, service.command, dict(service.environment), service.depends] for service in services]
    )
    return Program(
        name=NAME,
        command=(sys.executable, "-m", "local.supervisor", str(home)),
        answers=lambda: True,
        prepare=partial(_write, _file(home), text),
        depends=text,
    )


def _file(home: Path) -> Path:
    return home / "run" / "supervised.json"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)  # the services' environment holds secrets
    file.write_text(text)


def read(home: Path) -> list[Program]:
    """Return the services to supervise, as the supervisor's program wrote them to a file in `home`."""
    return [
        Program(name, command, lambda: True, environment=environment, depends=depends)
        for name, command, environment, depends in json.loads(_file(home).read_text())
    ]


def main(home: Path) -> None:
    """Supervise the services of the stack in `home`, until this process is stopped."""
    log.configure(NAME, "info", "json")
    supervisor = Supervisor(read(home), home)
    while True:
        supervisor.look()
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
