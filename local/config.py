"""The configuration of the local stack: all settings, the port of each server and service, and the servers to start."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from local import ports, servers
from local.processes import LocalError, Process
from local.servers import mongod, s3
from shared.domain.feed_file import FeedsInvalid
from shared.secret_values import SecretUnreadable, secret_in_file
from shared.settings import Settings, may_be_in_file, read_feeds

PROJECT = Path(__file__).parents[1]
SERVICES = ("scheduler", "downloader", "resolver", "janitor", "ingest", "desk")
_TOKENS = ("IMAGES_DESK_TOKEN", "IMAGES_INGEST_TOKEN")
"""The variables of the tokens that let operators and clients in. The stack makes a random token if none is given."""
SERVER_VARIABLES = {"IMAGES_KAFKA": "kafka", "IMAGES_MONGO": "mongod", "IMAGES_S3_ENDPOINT": "s3"}
"""The servers of the stack, by the variable that names another server in place of the stack's own."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """The configuration of one start of the stack, as `prepare` chose it or as `saved` read it back from the files."""

    settings: Mapping[str, str]
    """Every IMAGES_* variable with its value: a given one, one chosen by the stack, or the default."""
    ports: Mapping[str, int]
    """The ports that were chosen, by the name of the server's or service's port."""
    servers: tuple[str, ...]
    """The names of the servers to start: those that no given variable replaces."""


def prepare(home: Path, given: Mapping[str, str], *, with_services: bool) -> StackConfig:
    """Choose the settings, ports and servers of the stack, save them in the directory `home`, and return them.

    `given` are environment variables. Only IMAGES_* variables with a value count; they win over chosen values.
    Ports of the last start are kept where possible. The feeds file is read and checked only if `with_services` is True.

    Raises:
        LocalError: another program listens on a given port, or settings or feeds are invalid; the message names
            every fault. Nothing is saved then.
    """
    given = {name: value for name, value in given.items() if name.startswith("IMAGES_") and value}
    given |= _given_in_files(given)
    given = {name: value for name, value in given.items() if not _names_own_server(home, name, value)}
    given_ports = _given_ports(home, given)
    chosen = _choose_ports(home, given_ports)
    addresses = _addresses(chosen) | {port_variable(name): str(port) for name, port in (chosen | given_ports).items()}
    settings = with_defaults(addresses | {name: _token(home, name) for name in _TOKENS} | given)
    _check(settings)
    if with_services:
        _check_feeds(settings)
    _save(home, chosen, settings)
    ours = tuple(name for variable, name in SERVER_VARIABLES.items() if variable not in given)
    return StackConfig(settings, chosen, ours)


def _given_in_files(given: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the settings that are given in files, by the settings' variables.

    `given` are environment variables; IMAGES_MONGO_FILE, for example, names the file with the value of IMAGES_MONGO.
    Raises LocalError if a file cannot be read.
    """
    names = [_variable(name) for name in Settings.model_fields if may_be_in_file(name)]
    try:
        found = {name: secret_in_file(name, given) for name in names}
    except SecretUnreadable as error:
        raise LocalError(str(error)) from None
    return {name: value for name, value in found.items() if value is not None}


def with_defaults(given: Mapping[str, str]) -> dict[str, str]:
    """Return every IMAGES_* variable with its given value, else its default. Variables of other names are left out."""
    settings = {_variable(name): _text(field.default) for name, field in Settings.model_fields.items()}
    settings["IMAGES_FEEDS"] = str(_default_feeds())
    settings |= {name: value for name, value in given.items() if name in settings}
    # The path must be absolute, because programs in other directories use it.
    settings["IMAGES_FEEDS"] = str(PROJECT / settings["IMAGES_FEEDS"])
    settings["IMAGES_PUBLIC_URL"] = settings["IMAGES_PUBLIC_URL"] or (
        f"{settings['IMAGES_S3_ENDPOINT'].rstrip('/')}/{settings['IMAGES_BUCKET']}"
    )
    return settings


def saved_settings(home: Path) -> dict[str, str]:
    """Return every IMAGES_* variable with its value, as the last `make up` wrote them to `home`/stack.env.

    The result is empty if there was no `make up` yet.
    """
    file = home / "stack.env"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(line.split("=", 1) for line in lines)


def saved_ports(home: Path) -> dict[str, int]:
    """Return the ports that the last `make up` chose and wrote to `home`/ports.json, by the names of the ports.

    The result is empty if the file does not exist or is not JSON.
    """
    try:
        return dict(json.loads((home / "ports.json").read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def saved(home: Path) -> StackConfig | None:
    """Return the configuration of the last `make up` from the files in `home`; None if there was none yet."""
    settings, chosen = saved_settings(home), saved_ports(home)
    if not settings or not chosen:
        return None
    settings = with_defaults(settings)  # an older version of this project saved fewer settings
    own = _addresses(chosen)
    ours = tuple(name for variable, name in SERVER_VARIABLES.items() if settings[variable] == own[variable])
    return StackConfig(settings, chosen, ours)


def _token(home: Path, name: str) -> str:
    """Return the token of the variable `name` that the last `make up` saved in `home`, else a new random token.

    A new token is not saved by this call.
    """
    return saved_settings(home).get(name) or secrets.token_urlsafe(18)


def port_variable(service: str) -> str:
    """Return the name of the environment variable of a service's port: `IMAGES_RESOLVER_PORT` for `resolver`."""
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


def _names_own_server(home: Path, name: str, value: str) -> bool:
    """Return True if the variable `name` names a server, and its value is the address of this stack's own server.

    A shell that has loaded stack.env has such a variable. The variable must not count as given by the operator, or the
    stack would take the server for one that runs elsewhere, and would not start it.
    """
    chosen = saved_ports(home)
    return name in SERVER_VARIABLES and bool(chosen) and value == _addresses(chosen)[name]


def _given_ports(home: Path, given: Mapping[str, str]) -> dict[str, int]:
    """Return the ports that environment variables give to services, by the service's name.

    `given` are the environment variables. A service without a port variable is left out, and so is one whose variable
    is no port number.

    Raises:
        LocalError: another program listens on a given port, or two services have the same port.
    """
    given_ports = {name: int(value) for name in SERVICES if _is_port(value := given.get(port_variable(name), ""))}
    for name, port in given_ports.items():
        if port not in _ports_of_running_services(home) and not ports.is_free(port):
            raise LocalError(
                f"{port_variable(name)} is {port}, but another program listens on port {port}. "
                f"Stop that program, or give another port in {port_variable(name)}"
            )
        if list(given_ports.values()).count(port) > 1:
            raise LocalError(f"{port_variable(name)} is {port}, which is given to another service too")
    return given_ports


def _is_port(text: str) -> bool:
    """Return True if the text is a number from 1 to 65,535. Any other text is reported by `_check`."""
    return text.isdecimal() and 0 < int(text) < 65_536


def _choose_ports(home: Path, given_ports: Mapping[str, int]) -> dict[str, int]:
    """Choose the ports of the servers, and of each service that is not in `given_ports`; return them by name.

    `given_ports` has the ports that the operator gave, by the service's name; they are not chosen for another program.
    Ports of the last start are kept where possible.
    """
    names = [port for group in servers.PORTS.values() for port in group]
    names += [name for name in SERVICES if name not in given_ports]
    previous = saved_ports(home)
    ours = _ports_of_running_services(home) | {
        previous[port]
        for server, group in servers.PORTS.items()
        if Process(server, home).running()
        for port in group
        if port in previous
    }
    defaults = {name: int(Settings.model_fields[f"{name}_port"].default) for name in SERVICES}
    return ports.assign(names, previous, ours, defaults, given_ports.values())


def _ports_of_running_services(home: Path) -> set[int]:
    settings = saved_settings(home)
    return {int(settings[port_variable(name)]) for name in SERVICES if settings and Process(name, home).running()}


def _check_feeds(settings: Mapping[str, str]) -> None:
    try:
        read_feeds(Path(settings["IMAGES_FEEDS"]))
    except FeedsInvalid as invalid:
        raise LocalError("\n".join(invalid.errors)) from None


def _check(settings: Mapping[str, str]) -> None:
    try:
        Settings.model_validate({name.removeprefix("IMAGES_").lower(): value for name, value in settings.items()})
    except ValidationError as invalid:
        faults = [
            f"{_variable('_'.join(map(str, fault['loc'])))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in invalid.errors()
        ]
        raise LocalError("\n".join(faults)) from None


def _save(home: Path, chosen: Mapping[str, int], settings: Mapping[str, str]) -> None:
    _replace(home / "ports.json", json.dumps(chosen, indent=2))
    _replace(home / "stack.env", "".join(f"{name}={value}\n" for name, value in settings.items()))


def _replace(file: Path, text: str) -> None:
    """Write a file in one step, so that no reader sees half of it.

    Only the file's owner can read the file, because the text may hold passwords.
    """
    draft = file.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(file)
