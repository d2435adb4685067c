"""The whole system in the background on one machine: `python -m local.stack up|down|status|logs`."""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from local import config, servers, supervisor
from local.config import PROJECT, SERVICES, StackConfig
from local.ports import http_status
from local.processes import LocalError, Process, Program, Report, ensure, lock, recorded, stop

HOME = Path(os.environ.get("LOCAL_DIR") or PROJECT / ".local").absolute()
"""The default directory of data, logs, pid files and stack.env."""


@dataclass(frozen=True, slots=True)
class System:
    """The commands that `up` runs once the servers are ready; without commands, only the servers are started."""

    init: Sequence[str]
    """The command that creates topics, buckets and indexes."""
    services: Mapping[str, Sequence[str]]
    """The command of each service, by its name."""
    is_supervised: bool = False
    """True if services that end by themselves are started again."""


EVERYTHING = System(
    init=(sys.executable, "-m", "ops.imagectl", "init"),
    services={name: (sys.executable, "-m", f"services.{name}") for name in SERVICES},
    is_supervised=True,
)
SERVERS_ONLY = System(init=(), services={})


def up(
    home: Path = HOME,
    given: Mapping[str, str] | None = None,
    report: Report = print,
    system: System = EVERYTHING,
) -> Mapping[str, str]:
    """Start the servers and services that do not run, wait until all are ready, and return the settings in force.

    The result holds every IMAGES_* variable with its value. `given` are environment variables: the IMAGES_* variables
    win over the values that the stack chooses, and the others are passed on to the services. `home` is the directory of
    data and logs. `report` is called with a line of text for each step.

    Raises:
        LocalError: a program cannot start, or a setting is wrong; the message says what to do. The next call starts
            the programs that do not run yet.
    """
    given, began = dict(given or {}), time.monotonic()
    with lock(home, report):
        stack = config.prepare(home, given, with_services=bool(system.services))
        _stop_unwanted(home, stack, report)
        started = ensure(_servers(home, stack), home, PROJECT, report)
        services = _services(stack.settings, given, system)
        if services and (started or not all(Process(service.name, home).is_running(service) for service in services)):
            stop([Process(supervisor.NAME, home)])
            # The services start at the same time; each waits until its topics, buckets and indexes exist.
            with _preparing(system.init, stack.settings, given, home, services):
                started += ensure(services, home, PROJECT, report)
        ensure(services, home, PROJECT, report)  # the supervisor may have just started some of them again
        if system.is_supervised:
            ensure([supervisor.program(home, services)], home, PROJECT, lambda _: None)
    seconds = time.monotonic() - began
    report(
        f"ready in {seconds:.1f} s; settings in {home / 'stack.env'}" if started else "everything is running already"
    )
    return stack.settings


def down(home: Path = HOME, report: Report = print) -> None:
    """Stop all programs with a pid file in `home`. All data stays.

    The supervisor is stopped first, then all other programs but the servers, then the servers.
    """
    with lock(home, report):
        stopped = stop([Process(supervisor.NAME, home)])
        processes = recorded(home)
        stopped += stop(process for process in processes if process.name not in servers.PORTS)
        stopped += stop(process for process in processes if process.name in servers.PORTS)
    report(f"stopped: {', '.join(stopped)}; the data stays in {home / 'data'}" if stopped else "nothing was running")


def given_settings() -> dict[str, str]:
    """Return the variables of the project's file `.env`, and the IMAGES_* variables of this process's environment.

    The environment's value wins for a variable that `.env` has too. Variables that are empty in `.env` do not count.
    """
    from_file = {name: value for name, value in dotenv_values(PROJECT / ".env").items() if value}
    return from_file | {
        name: value for name, value in os.environ.items() if name.startswith("IMAGES_") or name in from_file
    }


def status(home: Path = HOME) -> list[tuple[str, str, str, str]]:
    """Return (name, state, pid, address) of each server and service; pid and address may be empty.

    The state is `ready`, `not ready` or `stopped`; a server that a setting names in place of the stack's own is
    `elsewhere`. Other running programs with a pid file in `home`, such as the demo's, have the state `running`. The
    list is empty before the first `up`.
    """
    stack = config.saved(home)
    if stack is None:
        return []
    elsewhere = [
        (name, "elsewhere", "", stack.settings[variable])
        for variable, name in config.SERVER_VARIABLES.items()
        if name not in stack.servers
    ]
    programs = _servers(home, stack) + _services(stack.settings, {}, EVERYTHING)
    listed = elsewhere + [_state(home, program) for program in programs]
    others = [process for process in recorded(home) if process.name not in {name for name, *_ in listed}]
    return listed + [(other.name, "running", str(found.pid), "") for other in others if (found := other.running())]


def _state(home: Path, program: Program) -> tuple[str, str, str, str]:
    found = Process(program.name, home).running()
    if not found:
        return program.name, "stopped", "", program.address
    return program.name, "ready" if program.answers() else "not ready", str(found.pid), program.address


def _servers(home: Path, stack: StackConfig) -> list[Program]:
    keys = stack.settings["IMAGES_S3_ACCESS_KEY"], stack.settings["IMAGES_S3_SECRET_KEY"]
    return servers.programs(stack.servers, home, stack.ports, *keys)


def _services(settings: Mapping[str, str], given: Mapping[str, str], system: System) -> list[Program]:
    return [_service(name, command, settings, given) for name, command in system.services.items()]


def _service(name: str, command: Sequence[str], settings: Mapping[str, str], given: Mapping[str, str]) -> Program:
    # A service is not restarted because the port of another one changed.
    others = {config.port_variable(other) for other in SERVICES if other != name}
    host = settings["IMAGES_HOST"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - where to ask, not where to listen
    port, feeds = int(settings[config.port_variable(name)]), Path(settings["IMAGES_FEEDS"])
    return Program(
        name=name,
        command=command,
        environment={name: value for name, value in {**given, **settings}.items() if name not in others},
        answers=lambda: http_status(port, "/readyz", host) == 200,
        depends=feeds.read_text() if feeds.is_file() else "",
        address=f"http://{host}:{port}",
    )


def _stop_unwanted(home: Path, stack: StackConfig, report: Report) -> None:
    """Stop each server of the stack that runs although a setting now names another server in its place."""
    unwanted = (Process(name, home) for name in servers.PORTS if name not in stack.servers)
    for name in stop(unwanted):
        report(f"{name}: stopped, a setting names another server")


@contextlib.contextmanager
def _preparing(
    command: Sequence[str],
    settings: Mapping[str, str],
    given: Mapping[str, str],
    home: Path,
    services: Sequence[Program],
) -> Iterator[None]:
    """Run `command`, which creates topics, buckets and indexes, during the context, and wait for its end at the exit.

    The command gets the environment of this process with the variables `given` and `settings`; `settings` win over the
    others. `services` are the programs that the caller starts in the context; their pid files are in `home`.

    Raises:
        LocalError: the command failed, even if an error was raised in the context. The services are stopped then, so
            that the next `up` runs the command again.
    """
    environment = {**os.environ, **given, **settings}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=output, stderr=output)
        try:
            yield
        finally:
            if process.wait():
                stop(Process(service.name, home) for service in services)
                output.seek(0)
                printed = output.read().rstrip()
                raise LocalError(f"topics, buckets and indexes cannot be made ready:\n{printed}") from None


def _print_status(home: Path) -> int:
    """Print a table of all servers and services. Return the exit code: 0 if all are running and ready, else 1.

    Servers that run elsewhere count as ready.
    """
    rows = status(home)
    if not rows:
        print(f"nothing was ever started in {home}; `up` starts it")
        return 1
    for row in [("NAME", "STATE", "PID", "ADDRESS"), *rows]:
        print("{:<12}{:<11}{:<9}{}".format(*row))
    return 0 if all(state in ("ready", "elsewhere", "running") for _, state, _, _ in rows) else 1


def _show_logs(home: Path, names: Sequence[str], *, follow: bool) -> int:
    """Print the last 50 lines of the logs of these programs; of all programs if `names` is empty.

    Return the exit code of `tail`. With `follow`, print new lines too until interrupted, and return 0.

    Raises:
        LocalError: one of `names` has no log, or there are no logs yet.
    """
    logs = {path.stem: path for path in sorted((home / "logs").glob("*.log"))}
    if unlogs := [name for name in names if name not in logs]:
        raise LocalError(f"no log of {', '.join(unlogs)}; there is {', '.join(logs) or 'none yet'}")
    if not logs:
        raise LocalError(f"no logs in {home / 'logs'} yet; `up` starts what writes them")
    files = [str(logs[name]) for name in names or logs]
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(["tail", "-n", "50", *(["-F"] if follow else []), *files], check=False).returncode
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.stack",
        description="Kafka, MongoDB, an S3 server and all services as background processes. Each IMAGES_* "
        "variable that is set wins; those in force are written to .local/stack.env.",
        epilog="example: IMAGES_RESOLVER_PORT=9000 python -m local.stack up && python -m local.stack logs -f resolver",
    )
    parser.add_argument(
        "--home", type=Path, default=HOME, help="directory of data, logs and pids (LOCAL_DIR, else .local)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything that does not run yet, and return when all is ready")
    start.add_argument("--servers-only", action="store_true", help="start Kafka, MongoDB and the S3 server only")
    commands.add_parser("down", help="stop everything; the data stays")
    commands.add_parser("status", help="list what runs, and where; exit code 1 unless all is ready")
    show = commands.add_parser("logs", help="the end of the logs")
    show.add_argument("-f", "--follow", action="store_true", help="print new lines until interrupted")
    show.add_argument("names", nargs="*", metavar="NAME", help="services or servers; all if none is named")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, such as `up`, and return the exit code: 0 if it worked, 1 if not, 130 if interrupted.

    `arguments` are the words of the command line, by default those of this process. The exit code of the command
    `status` is 0 only if all programs are running and ready.
    """
    options = _arguments().parse_args(arguments)
    home: Path = options.home.absolute()
    try:
        if options.command == "up":
            up(home, given_settings(), system=SERVERS_ONLY if options.servers_only else EVERYTHING)
        elif options.command == "down":
            down(home)
        elif options.command == "status":
            return _print_status(home)
        else:
            return _show_logs(home, options.names, follow=options.follow)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "interrupted; programs that were started go on: `up` starts the others, `down` stops all", file=sys.stderr
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
