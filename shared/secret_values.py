"""Reads secrets: from an environment variable, a line of `.env`, or the file that a variable NAME_FILE names."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

_FILE = "_FILE"
_MAX_BYTES = 64 * 1024


class SecretUnreadable(ValueError):
    """Raised if the file of a secret cannot be used; the message says why, without the secret."""


def read_secret(name: str) -> str:
    """Return the value of the secret whose variable is `name`; "" if it is not set.

    The environment is searched first, then `.env`. In each, the variable `name`_FILE names a file that holds the value,
    or else the variable `name` holds the value. Raises SecretUnreadable if the file cannot be used.
    """
    from_file = read_secret_file(name)
    return from_file if from_file is not None else os.environ.get(name) or dotenv_values(".env").get(name) or ""


def read_secret_file(name: str) -> str | None:
    """Return the value of the secret whose variable is `name`, if it is in a file; else None.

    The variable `name`_FILE names the file. The environment is searched first. If the environment holds the value
    itself, in the variable `name`, `.env` is not searched. Raises SecretUnreadable if the file cannot be used.
    """
    for variables in (os.environ, dotenv_values(".env")):
        if (found := secret_in_file(name, variables)) is not None:
            return found
        if variables.get(name):
            return None
    return None


def secret_in_file(name: str, variables: Mapping[str, str | None]) -> str | None:
    """Return the content of the file that the variable `name`_FILE names, without spaces and line breaks at its ends.

    `variables` has values by the names of variables. Return None if the variable is missing or empty there. Raises
    SecretUnreadable if the file cannot be used.
    """
    path = variables.get(name + _FILE)
    return _content(name + _FILE, Path(path)) if path else None


def _content(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode().strip()
    except OSError as error:
        raise SecretUnreadable(f"{variable}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretUnreadable(f"{variable}: {path} is not a text in UTF-8") from None
    if not text:
        raise SecretUnreadable(f"{variable}: {path} is empty; write the secret into it")
    return text
