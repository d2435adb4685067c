"""How is a dump stored? Lines of canonical Extended JSON, compressed: small, exact, and readable with `zcat`."""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import json_util

Line = dict[str, Any]

DUMPS = Path(__file__).parent
GROUPS = ("scheduler", "janitor", "downloader")
"""The consumer groups, by the names of their services."""
CONTENT_TYPES = {".webp": "image/webp", ".jpg": "image/jpeg"}


@dataclass(frozen=True)
class Dump:
    """One dump: a folder with a file for each kind of data."""

    folder: Path

    def write(self, name: str, lines: Iterable[Line]) -> None:
        """Write the lines to `<name>.ndjson.gz`; the same lines give the same bytes."""
        text = "".join(f"{json_util.dumps(line, json_options=json_util.CANONICAL_JSON_OPTIONS)}\n" for line in lines)
        (self.folder / f"{name}.ndjson.gz").write_bytes(gzip.compress(text.encode(), mtime=0))

    def read(self, name: str) -> Iterator[Line]:
        """Read the lines of `<name>.ndjson.gz`."""
        options = json_util.JSONOptions(tz_aware=True)
        for line in gzip.decompress((self.folder / f"{name}.ndjson.gz").read_bytes()).decode().splitlines():
            yield json_util.loads(line, json_options=options)

    @property
    def feeds(self) -> str:
        """The text of its `feeds.toml`."""
        return (self.folder / "feeds.toml").read_text()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of its services that the stored data depends on, by their short names."""
        return next(self.read("settings"))
