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

from local import config, servers
from local.config import PROJECT, SERVICES, StackConfig
from local.ports import http_status
from local.processes import LocalError, Process, Program, Say, ensure, lock, recorded, stop

HOME = Path(os.environ.get("LOCAL_DIR") or PROJECT / ".local").absolute()
"""Where data, logs, pids and stack.env are, unless a caller names another directory."""


@dataclass(frozen=True, slots=True)
class System:
    """What runs on the servers: the command that prepares them, and the command of each service."""

    init: Sequence[str]
    services: Mapping[str, Sequence[str]]


EVERYTHING = System(
    init=(sys.executable, "-m", "ops.imagectl", "init"),
    services={name: (sys.executable, "-m", f"services.{name}") for name in SERVICES},
)
SERVERS_ONLY = System(init=(), services={})


def up(
    home: Path = HOME,
    given: Mapping[str, str] | None = None,
    say: Say = print,
    system: System = EVERYTHING,
) -> Mapping[str, str]:
    """Have everything running and ready, starting just what is not; return every IMAGES_* in force.

    `given` are the IMAGES_* that win over what the stack would choose; other names in it are passed on to the
    services. Raises LocalError, saying what to do; calling it again goes on from there.
    """
    given, began = dict(given or {}), time.monotonic()
    with lock(home, say):
        stack = config.prepare(home, given, with_services=bool(system.services))
        _stop_unwanted(home, stack, say)
        started = ensure(_servers(home, stack), home, PROJECT, say)
        services = _services(stack.settings, given, system)
        if services and (started or not all(Process(one.name, home).is_running(one) for one in services)):
            # The services start meanwhile; each waits until its topics, buckets and indexes are there.
            with _preparing(system.init, stack.settings, given, home, services):
                started += ensure(services, home, PROJECT, say)
    seconds = time.monotonic() - began
    say(f"ready in {seconds:.1f} s; settings in {home / 'stack.env'}" if started else "everything is running already")
    return stack.settings


def down(home: Path = HOME, say: Say = print) -> None:
    """Stop the services, then the servers; the data stays."""
    with lock(home, say):
        processes = recorded(home)
        stopped = stop(one for one in processes if one.name not in servers.PORTS)
        stopped += stop(one for one in processes if one.name in servers.PORTS)
    say(f"stopped: {', '.join(stopped)}; the data stays in {home / 'data'}" if stopped else "nothing was running")


def given_settings() -> dict[str, str]:
    """What the project's `.env` and the environment say, which wins; of the latter IMAGES_* and what `.env` names."""
    from_file = {name: value for name, value in dotenv_values(PROJECT / ".env").items() if value}
    return from_file | {
        name: value for name, value in os.environ.items() if name.startswith("IMAGES_") or name in from_file
    }


def status(home: Path = HOME) -> list[tuple[str, str, str, str]]:
    """(name, state, pid, address) of each part; the state is `ready`, `not ready`, `stopped` or `elsewhere`.

    What else was started here is `running`, if it is.
    """
    stack = config.saved(home)
    if stack is None:
        return []
    elsewhere = [
        (name, "elsewhere", "", stack.settings[variable])
        for variable, name in config.SERVER_VARIABLES.items()
        if name not in stack.servers
    ]
    parts = [_state(home, one) for one in _servers(home, stack) + _services(stack.settings, {}, EVERYTHING)]
    others = [one for one in recorded(home) if one.name not in {name for name, *_ in elsewhere + parts}]
    return elsewhere + parts + [(one.name, "running", str(found.pid), "") for one in others if (found := one.running())]


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


def _stop_unwanted(home: Path, stack: StackConfig, say: Say) -> None:
    """Stop a server of ours where another was given since."""
    unwanted = (Process(name, home) for name in servers.PORTS if name not in stack.servers)
    for name in stop(unwanted):
        say(f"{name}: stopped, another is given")


@contextlib.contextmanager
def _preparing(
    command: Sequence[str],
    settings: Mapping[str, str],
    given: Mapping[str, str],
    home: Path,
    services: Sequence[Program],
) -> Iterator[None]:
    """Make topics, buckets and indexes ready meanwhile.

    Raises LocalError if that fails, before any other fault; the services are stopped then, so that the next try makes
    them ready again.
    """
    environment = {**os.environ, **given, **settings}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=output, stderr=output)
        try:
            yield
        finally:
            if process.wait():
                stop(Process(one.name, home) for one in services)
                output.seek(0)
                said = output.read().rstrip()
                raise LocalError(f"topics, buckets and indexes cannot be made ready:\n{said}") from None


def _print_status(home: Path) -> int:
    """Print the table; 0 if everything is ready, 1 if not."""
    rows = status(home)
    if not rows:
        print(f"nothing was ever started in {home}; `up` does")
        return 1
    for row in [("NAME", "STATE", "PID", "ADDRESS"), *rows]:
        print("{:<12}{:<11}{:<9}{}".format(*row))
    return 0 if all(state in ("ready", "elsewhere", "running") for _, state, _, _ in rows) else 1


def _show_logs(home: Path, names: Sequence[str], *, follow: bool) -> int:
    """Print the last lines of the logs, all or those named; with `follow` until interrupted."""
    known = {path.stem: path for path in sorted((home / "logs").glob("*.log"))}
    if unknown := [name for name in names if name not in known]:
        raise LocalError(f"no log of {', '.join(unknown)}; there is {', '.join(known) or 'none yet'}")
    if not known:
        raise LocalError(f"no logs in {home / 'logs'} yet; `up` starts what writes them")
    files = [str(known[name]) for name in names or known]
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
    start = commands.add_parser("up", help="start what does not run yet; returns when all of it is ready")
    start.add_argument("--servers-only", action="store_true", help="no services, no topics")
    commands.add_parser("down", help="stop everything; the data stays")
    commands.add_parser("status", help="what runs, and where; exit code 1 unless all of it is ready")
    logs = commands.add_parser("logs", help="the end of the logs")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    logs.add_argument("names", nargs="*", metavar="NAME", help="services or servers; all without")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    asked = _arguments().parse_args(arguments)
    home: Path = asked.home.absolute()
    try:
        if asked.command == "up":
            up(home, given_settings(), system=SERVERS_ONLY if asked.servers_only else EVERYTHING)
        elif asked.command == "down":
            down(home)
        elif asked.command == "status":
            return _print_status(home)
        else:
            return _show_logs(home, asked.names, follow=asked.follow)
    except LocalError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was started goes on running: `up` completes it, `down` stops it", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
