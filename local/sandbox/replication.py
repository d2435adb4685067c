"""The ways in which vendors let a client read all listings without `$skip`: by cursors, or by skip tokens."""

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
    """A client's walk, page by page, over the rows that existed when the walk began.

    `page` is the number of rows of a page, `position` the index of the next row in `rows`, `used_at` the time of the
    last request.
    """

    rows: list[Record]
    page: int
    used_at: datetime
    position: int = 0


@dataclass(slots=True)
class Cursors:
    """Clients' walks over all listings: `start` returns the id of a new walk, and `next` the next page for this id."""

    rules: Replication
    clock: Clock
    _open: dict[str, _Cursor] = field(default_factory=dict)

    def start(self, rows: list[Record], query: Mapping[str, str]) -> tuple[list[Record], str]:
        """Begin a walk over `rows`, and return its first page and its id, which the client sends with later requests.

        `query` has the query options of the client's request. Raises BadQuery for an option that a walk does not allow.
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
        """Return the next page of the walk with the id `name`; the page is empty if no row is left.

        Raises BadQuery if there is no such walk, or its last request was too long ago.
        """
        cursor, now = self._open.get(name), self.clock()
        idle = timedelta(seconds=self.rules.cursor_seconds)
        if cursor is None or (self.rules.cursor_seconds and now - cursor.used_at > idle):
            raise BadQuery("the cursor does not exist any more", rule="cursor")
        cursor.used_at = now
        begin, cursor.position = cursor.position, cursor.position + cursor.page
        return cursor.rows[begin : cursor.position]

    def has_more(self, name: str) -> bool:
        """Return True if the walk with the id `name` has rows after the page that `next` returned last."""
        cursor = self._open[name]
        return cursor.position < len(cursor.rows)


def by_skip_token(rows: list[Record], query: Mapping[str, str], size: int) -> tuple[list[Record], str | None]:
    """Return the page of `rows` after the ListingKey in the query's `$skiptoken`, and the token of the next page.

    Rows are ordered by ListingKey; a page has up to `size` rows. The token is None if this page is the last. `query`
    has the query options by name. Raises BadQuery for an option that is not allowed beside `$skiptoken`.
    """
    for name in _NOT_BESIDE_TOKEN:
        if name in query:
            raise BadQuery(f"{name} is not supported beside $skiptoken", rule="filter")
    left = sorted(
        (row for row in rows if str(row["ListingKey"]) > query["$skiptoken"]), key=lambda row: str(row["ListingKey"])
    )
    chosen = left[:size]
    return chosen, str(chosen[-1]["ListingKey"]) if len(left) > len(chosen) else None
