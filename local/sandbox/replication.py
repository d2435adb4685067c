"""The second ways to read all listings of a vendor: cursors in the body, Link headers, skip tokens and key lists."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from local.sandbox.odata import BadQuery, Record
from local.sandbox.vendors.rules import Replication
from shared.clock import Clock

_NOT_IN_REPLICATION = ("$skip", "$orderby", "$count")
_NOT_BESIDE_TOKEN = ("$filter", "$orderby", "$skip")


@dataclass(slots=True)
class _Cursor:
    """A walk over the keys that existed at its start. `position` is the next one, `used_at` the last use."""

    rows: list[Record]
    page: int
    used_at: datetime
    position: int = 0


@dataclass(slots=True)
class Cursors:
    """The open walks over all listings, by their id."""

    rules: Replication
    clock: Clock
    _open: dict[str, _Cursor] = field(default_factory=dict)

    def start(self, rows: list[Record], query: Mapping[str, str]) -> tuple[list[Record], str]:
        """Begin a walk over `rows`, and return its first page and the id of its cursor.

        Raises BadQuery for an option that is not allowed here.
        """
        for name in _NOT_IN_REPLICATION:
            if name in query:
                raise BadQuery(f"{name} is not supported here", rule="replication")
        top = query.get("$top", str(self.rules.most))
        if not top.isdecimal() or int(top) > self.rules.most:
            raise BadQuery(f"$top is {top!r}; it must be a whole number up to {self.rules.most}", rule="top")
        name = f"{len(self._open) + 1}-{secrets.token_hex(8)}"
        self._open[name] = _Cursor(rows, int(top), self.clock())
        return self.next(name), name

    def next(self, name: str) -> list[Record]:
        """Return the next page of a walk: empty after its last row.

        Raises BadQuery if there is no such cursor, or it was not used for too long.
        """
        cursor, now = self._open.get(name), self.clock()
        idle = timedelta(seconds=self.rules.cursor_seconds)
        if cursor is None or (self.rules.cursor_seconds and now - cursor.used_at > idle):
            raise BadQuery("the cursor does not exist any more", rule="cursor")
        cursor.used_at = now
        begin, cursor.position = cursor.position, cursor.position + cursor.page
        return cursor.rows[begin : cursor.position]

    def has_more(self, name: str) -> bool:
        """Return True if rows are left after the last page."""
        cursor = self._open[name]
        return cursor.position < len(cursor.rows)


def by_skip_token(rows: list[Record], query: Mapping[str, str], size: int) -> tuple[list[Record], str | None]:
    """Return the page of `rows` after the ListingKey in `$skiptoken`, and the next token, None after the last page.

    A page has `size` rows. Raises BadQuery for an option that is not allowed beside `$skiptoken`.
    """
    for name in _NOT_BESIDE_TOKEN:
        if name in query:
            raise BadQuery(f"{name} is not supported beside $skiptoken", rule="filter")
    left = sorted(
        (row for row in rows if str(row["ListingKey"]) > query["$skiptoken"]), key=lambda row: str(row["ListingKey"])
    )
    chosen = left[:size]
    return chosen, str(chosen[-1]["ListingKey"]) if len(left) > len(chosen) else None
