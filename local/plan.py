"""What an `up` shall have running: every setting in force, the port of each part, and which servers are ours."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from local import ports, servers
from local.processes import LocalError, Process
from local.servers import mongod, s3
from shared.domain.feed import FeedsInvalid
from shared.settings import Settings, read_feeds

PROJECT = Path(__file__).parents[1]
SERVICES = ("scheduler", "downloader", "resolver", "janitor", "desk")
ELSEWHERE = {"IMAGES_KAFKA": "kafka", "IMAGES_MONGO": "mongod", "IMAGES_S3_ENDPOINT": "s3"}
"""Who gives one of these has that server; ours is not started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`settings` has every IMAGES_* in force, `ports` those of the servers, `servers` the names of those to start."""

    settings: Mapping[str, str]
    ports: Mapping[str, int]
    servers: tuple[str, ...]


def make(home: Path, given: Mapping[str, str], *, with_services: bool) -> Plan:
    """Plan for the directory and the IMAGES_* given; ports are kept from the last time.

    Raises LocalError where a given port is taken by a stranger, or with every fault of the settings, or of the feeds
    that services would read; then nothing is remembered.
    """
    given = {name: value for name, value in given.items() if name.startswith("IMAGES_") and value}
    given = {name: value for name, value in given.items() if not _is_own(home, name, value)}
    wanted = _given_ports(home, given)
    chosen = _choose_ports(home, wanted)
    addresses = _addresses(chosen) | {port_variable(name): str(port) for name, port in (chosen | wanted).items()}
    settings = in_force(addresses | {"IMAGES_DESK_TOKEN": _desk_token(home)} | given)
    _check(settings)
    if with_services:
        _check_feeds(settings)
    _remember(home, chosen, settings)
    ours = tuple(name for variable, name in ELSEWHERE.items() if variable not in given)
    return Plan(settings, chosen, ours)


def in_force(known: Mapping[str, str]) -> dict[str, str]:
    """Every setting by its variable's name: those known, and the defaults of the rest."""
    settings = {_variable(name): _text(field.default) for name, field in Settings.model_fields.items()}
    settings["IMAGES_FEEDS"] = str(_default_feeds())
    settings |= {name: value for name, value in known.items() if name in settings}
    settings["IMAGES_FEEDS"] = str(PROJECT / settings["IMAGES_FEEDS"])  # for readers in other directories
    settings["IMAGES_PUBLIC_URL"] = settings["IMAGES_PUBLIC_URL"] or (
        f"{settings['IMAGES_S3_ENDPOINT'].rstrip('/')}/{settings['IMAGES_BUCKET']}"
    )
    return settings


def last(home: Path) -> dict[str, str]:
    """The settings of the last `up`, empty before the first."""
    file = home / "stack.env"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


def last_ports(home: Path) -> dict[str, int]:
    """The ports that were chosen at the last `up`, by the name of what listens there."""
    try:
        return dict(json.loads((home / "ports.json").read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def recall(home: Path) -> Plan | None:
    """The plan of the last `up`, None before the first."""
    settings, chosen = last(home), last_ports(home)
    if not settings or not chosen:
        return None
    settings = in_force(settings)  # an older version wrote down fewer
    own = _addresses(chosen)
    return Plan(
        settings, chosen, tuple(name for variable, name in ELSEWHERE.items() if settings[variable] == own[variable])
    )


def _desk_token(home: Path) -> str:
    """The one of the last time, else a new one: operators can sign in without being asked to think of one."""
    return last(home).get("IMAGES_DESK_TOKEN") or secrets.token_urlsafe(18)


def port_variable(service: str) -> str:
    """The variable that holds the port of a service."""
    return f"IMAGES_{service.upper()}_PORT"


def _variable(field: str) -> str:
    return f"IMAGES_{field.upper()}"


def _text(default: object) -> str:
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


def _default_feeds() -> Path:
    own = PROJECT / "feeds.toml"
    return own if own.exists() else PROJECT / "feeds.example.toml"


def _addresses(chosen: Mapping[str, int]) -> dict[str, str]:
    return {
        "IMAGES_KAFKA": f"127.0.0.1:{chosen['kafka']}",
        "IMAGES_MONGO": mongod.uri(chosen["mongod"]),
        "IMAGES_S3_ENDPOINT": s3.endpoint(chosen["s3.port"]),
    }


def _is_own(home: Path, name: str, value: str) -> bool:
    """Whether it names our own server, as in the environment of someone who sourced stack.env."""
    kept = last_ports(home)
    return name in ELSEWHERE and bool(kept) and value == _addresses(kept)[name]


def _given_ports(home: Path, given: Mapping[str, str]) -> dict[str, int]:
    """The ports given for services, each free or held by one of our services."""
    wanted = {name: int(value) for name in SERVICES if _is_port(value := given.get(port_variable(name), ""))}
    for name, port in wanted.items():
        if port not in _held_by_services(home) and not ports.is_free(port):
            raise LocalError(
                f"{port_variable(name)} is {port}, but another program listens on port {port}. "
                f"Stop that program, or give another port in {port_variable(name)}"
            )
        if list(wanted.values()).count(port) > 1:
            raise LocalError(f"{port_variable(name)} is {port}, which is given to another service too")
    return wanted


def _is_port(text: str) -> bool:
    """Anything else is left to the check of all settings, which names it."""
    return text.isdecimal() and 0 < int(text) < 65_536


def _choose_ports(home: Path, wanted: Mapping[str, int]) -> dict[str, int]:
    names = [port for group in servers.PORTS.values() for port in group]
    names += [name for name in SERVICES if name not in wanted]
    kept = last_ports(home)
    ours = _held_by_services(home) | {
        kept[port]
        for server, group in servers.PORTS.items()
        if Process(server, home).running()
        for port in group
        if port in kept
    }
    defaults = {name: int(Settings.model_fields[f"{name}_port"].default) for name in SERVICES}
    return ports.assign(names, kept, ours, defaults, wanted.values())


def _held_by_services(home: Path) -> set[int]:
    before = last(home)
    return {int(before[port_variable(name)]) for name in SERVICES if before and Process(name, home).running()}


def _check_feeds(settings: Mapping[str, str]) -> None:
    try:
        read_feeds(Path(settings["IMAGES_FEEDS"]))
    except FeedsInvalid as invalid:
        raise LocalError("\n".join(invalid.errors)) from None


def _check(settings: Mapping[str, str]) -> None:
    try:
        Settings.model_validate({name.removeprefix("IMAGES_").lower(): value for name, value in settings.items()})
    except ValidationError as fault:
        faults = [
            f"{_variable('_'.join(map(str, one['loc'])))}: {one['msg'].removeprefix('Value error, ')}"
            for one in fault.errors()
        ]
        raise LocalError("\n".join(faults)) from None


def _remember(home: Path, chosen: Mapping[str, int], settings: Mapping[str, str]) -> None:
    _replace(home / "ports.json", json.dumps(chosen, indent=2))
    _replace(home / "stack.env", "".join(f"{name}={value}\n" for name, value in settings.items()))


def _replace(file: Path, text: str) -> None:
    """Write it in one step, for its owner only: it may hold credentials."""
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)
