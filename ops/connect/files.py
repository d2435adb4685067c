"""Writes a feed's table into feeds.toml, and its secrets into .env, and changes nothing else in them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from shared.domain.feed_file import parse_feeds

_PLAIN = re.compile(r"[A-Za-z0-9._~+/=:@%-]+")
_ONLY_OWNER = 0o600


def append_table(path: Path, table: str) -> None:
    """Append a feed's table to the feeds.toml at `path`, and keep its content. A missing file is created.

    Raises FeedsInvalid if the file with the table would not be valid, and OSError if the file cannot be read or
    written. The file is unchanged if an error is raised.
    """
    before = path.read_bytes() if path.exists() else b""
    gap = b"" if not before else b"\n" if before.endswith(b"\n") else b"\n\n"
    after = before + gap + table.encode()
    parse_feeds(after.decode("utf-8"))
    _replace(path, after, path.stat().st_mode & 0o777 if before else 0o644)


def put_secrets(path: Path, secrets: Mapping[str, str]) -> list[str]:
    """Set variables in the `.env` at `path`, and return the names of the variables that are new or have a new value.

    `secrets` maps the names of the variables to their values. Lines that give a variable another value are replaced.
    Afterwards only the file's owner can read the file. Raises ValueError if a value has a line break, and OSError if
    the file cannot be read or written.
    """
    present = dotenv_values(path) if path.exists() else {}
    missing = {name: value for name, value in secrets.items() if present.get(name) != value}
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    for name, value in missing.items():
        lines = [line for line in lines if not re.match(rf"\s*(export\s+)?{re.escape(name)}\s*=", line)]
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(f"{name}={_quoted(value)}\n")
    _replace(path, "".join(lines).encode(), _ONLY_OWNER)
    return list(missing)


def _quoted(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("a secret with a line break cannot be written to .env; put it in a file, and set NAME_FILE")
    if _PLAIN.fullmatch(value):
        return value
    # python-dotenv expands ${X} in quotes too; the empty name has no value, so its default "$" stands.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "${:-$}{")
    return f"'{escaped}'"


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step, so that no reader sees half of it. `mode` has its permission bits, such as 0o600."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)
