"""The queries that read a feed's MLS, written in the MLS's dialect. No I/O."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Protocol

from shared.domain.freshness import parse_timestamp
from shared.reso.dialect import Dialect, StatusSpelling
from shared.reso.odata import PropertyRecord, Row

Options = Mapping[str, str]
"""OData query options by name, such as `$filter`."""
_RECORD_PAGE_SIZE, _ROW_PAGE_SIZE = 100, 1_000
"""Rows in a page of property records with photos, and in a page of rows without photos."""
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
_DIGITS = re.compile(r"-?\d+")


class PagedQuery(Protocol):
    """A query for many rows, which are read page by page: each page begins after the last row of the page before."""

    @property
    def resource(self) -> str:
        """The RESO resource that is asked for, such as Property."""

    def options(self, dialect: Dialect, last: Row | None, read: int) -> Options:
        """Return the OData query options that ask for the rows after `last`, in the given dialect.

        `last` is the row that was read last, None for the first page. `read` is how many rows have been read: they are
        skipped by number if the dialect cannot ask for the rows after a key.
        """

    def row_id(self, row: Row) -> str:
        """Return a text that identifies a row, so that a row that comes on two pages is used only once."""

    def in_order(self, rows: Sequence[Row]) -> bool:
        """Return True if the rows of a page are in the order that the query asked for, as far as can be told.

        If not, the rows after the last one are not all the rows that are left: the next query then skips rows by
        number.
        """


@dataclass(frozen=True, slots=True)
class MarketQuery:
    """Asks for the fields `select` of all listings in the given statuses, without photos, sorted by ListingKey.

    If the dialect joins fewer statuses than are given, only the first ones are asked for (`statuses_of`).
    """

    statuses: Sequence[str]
    select: Sequence[str]
    resource: str = "Property"

    def statuses_of(self, dialect: Dialect) -> Sequence[str]:
        """Return the statuses that one query asks for: the first ones, as many as the dialect joins."""
        return self.statuses[: dialect.max_statuses]

    def options(self, dialect: Dialect, last: Row | None, read: int) -> Options:
        """Return the OData query options for the listings after `last`, the row read last; None means the first page.

        `read` is how many rows have been read: they are skipped by number if the dialect cannot ask for ListingKeys
        after one.
        """
        names = [_text(spelled(status, dialect.statuses)) for status in self.statuses_of(dialect)]
        conditions = [" or ".join(f"StandardStatus eq {name}" for name in names)]
        after = last and dialect.pages_by_key and key_of(last)
        if after:
            conditions = [f"({conditions[0]})", f"ListingKey gt {literal(after, is_quoted=dialect.quotes_keys)}"]
        return {
            **({"$select": ",".join(self.select)} if dialect.selects else {}),
            "$filter": " and ".join(conditions),
            **({"$orderby": "ListingKey"} if dialect.sorts else {}),
            **_page(dialect, _ROW_PAGE_SIZE, 0 if after else read),
        }

    def row_id(self, row: Row) -> str:
        """Return the row's ListingKey, so that a listing that comes on two pages is used only once."""
        return key_of(row)

    def in_order(self, rows: Sequence[Row]) -> bool:
        """Return True for any page: how a server sorts texts is not known.

        A listing that is not read is later asked for by its key.
        """
        return True


@dataclass(frozen=True, slots=True)
class ChangesQuery:
    """Asks for all property records whose timestamp `field` is not before `since`, with photos, oldest first.

    If `until` is not None, only records whose timestamp is before `until` are asked for.
    """

    field: str
    since: datetime
    until: datetime | None = None
    resource: str = "Property"

    def options(self, dialect: Dialect, last: Row | None, read: int) -> Options:
        """Return the OData query options for the records after `last`, the row read last; None means the first page.

        `read` is how many rows have been read: they are skipped by number if there is an `until`, or if the dialect
        cannot ask for records after a timestamp and ListingKey.
        """
        after = last and dialect.pages_by_key and _timestamp_text(last, self.field)
        condition = f"{self.field} ge {utc_text(self.since)}"
        if self.until:
            condition, after = f"{condition} and {self.field} lt {utc_text(self.until)}", None
        elif after and dialect.max_terms > 1:
            key = literal(key_of(last or {}), is_quoted=dialect.quotes_keys)
            condition = f"{self.field} gt {after} or ({self.field} eq {after} and ListingKey gt {key})"
        return {
            "$filter": condition,
            **({"$orderby": f"{self.field},ListingKey"} if dialect.sorts else {}),
            **_page(dialect, _RECORD_PAGE_SIZE, 0 if after and dialect.max_terms > 1 else read),
            **_expand(dialect),
        }

    def row_id(self, row: Row) -> str:
        """Return ListingKey and timestamp: if the record changes between two pages, both readings are used."""
        return f"{key_of(row)} {row.get(self.field)}"

    def in_order(self, rows: Sequence[Row]) -> bool:
        """Return True if no timestamp on the page is earlier than the timestamp before it."""
        moments = [moment for row in rows if (moment := timestamp_of(row, self.field))]
        return all(first <= second for first, second in pairwise(moments))


@dataclass(frozen=True, slots=True)
class MediaQuery:
    """Asks for the Media rows of listings by their ListingKeys, in the order of the MediaKeys.

    If the dialect lists fewer keys than are given, only the first `dialect.max_terms` are asked for.
    """

    keys: Sequence[str]
    resource: str = "Media"

    def options(self, dialect: Dialect, last: Row | None, read: int) -> Options:
        """Return the OData query options for the Media rows after `last`, the row read last; None means the first page.

        `read` is how many rows have been read: they are skipped by number if the dialect cannot ask for MediaKeys after
        one.
        """
        conditions = [_any_of("ResourceRecordKey", self.keys, dialect, is_quoted=dialect.quotes_owners)]
        after = last and dialect.pages_by_key and text_of(last.get("MediaKey"))
        if last and after:
            # In front: some servers ignore a condition that follows `in (…)`.
            is_number = isinstance(last.get("MediaKey"), int)
            conditions = [f"MediaKey gt {after if is_number else _text(after)}", f"({conditions[0]})"]
        return {
            "$filter": " and ".join(conditions),
            **({"$orderby": "MediaKey"} if dialect.sorts else {}),
            **_page(dialect, _ROW_PAGE_SIZE, 0 if after else read),
        }

    def row_id(self, row: Row) -> str:
        """Return the row's MediaKey, so that a row that comes on two pages is used only once.

        For a row without a MediaKey, return the text of all its fields.
        """
        return text_of(row.get("MediaKey")) or repr(sorted(row.items()))

    def in_order(self, rows: Sequence[Row]) -> bool:
        """Return True if the MediaKeys on the page are sorted, as far as can be told.

        They may be sorted as numbers, or as texts with or without regard to case.
        """
        keys = [text_of(row.get("MediaKey")) for row in rows]
        numbers = [int(key) for key in keys if _DIGITS.fullmatch(key)]
        return (
            (len(numbers) == len(keys) and numbers == sorted(numbers))
            or keys == sorted(keys)
            or (keys == sorted(keys, key=str.casefold))
        )


def records_query(keys: Sequence[str], dialect: Dialect) -> Options:
    """Return the OData query options that ask for the property records of listings by ListingKey, with photos.

    Only the first `dialect.max_terms` of `keys` are asked for.
    """
    rows = str(min(len(keys), dialect.max_terms, dialect.max_rows))
    return {
        "$filter": _any_of("ListingKey", keys, dialect, is_quoted=dialect.quotes_keys),
        "$top": rows,
        **_expand(dialect),
    }


def owners_query(media_keys: Sequence[str], dialect: Dialect) -> Options:
    """Return the OData query options that ask which listings own the photos with these MediaKeys.

    Only the first `dialect.max_terms` of `media_keys` are asked for.
    """
    return {
        "$filter": _any_of("MediaKey", media_keys, dialect, is_quoted=dialect.quotes_owners),
        "$top": str(min(len(media_keys), dialect.max_terms, dialect.max_rows)),
    }


def spelled(status: str, spelling: StatusSpelling) -> str:
    """Return a StandardStatus as the MLS writes it in a query."""
    if spelling is StatusSpelling.COMPACT:
        return "".join(status.split())
    if spelling is StatusSpelling.ENCODED and " " in status:
        return "b__" + base64.urlsafe_b64encode(status.encode()).decode().rstrip("=")
    return status


def key_of(row: Row) -> str:
    """Return the ListingKey of a row of Property as text, a number as its digits; "" if the row has none."""
    return text_of(row.get("ListingKey"))


def text_of(value: object) -> str:
    """Return a key as text: a text as it is, a whole number as its digits; "" for any other value."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def timestamp_of(record: PropertyRecord, field: str) -> datetime | None:
    """Return the timestamp `field` of a property record; None if it is missing or unreadable."""
    try:
        return parse_timestamp(record.get(field))
    except ValueError:
        return None


def utc_text(moment: datetime) -> str:
    """Return a time as it is written in an OData query: in UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def literal(key: str, *, is_quoted: bool) -> str:
    """Return a key as it is written in an OData query: in quotes, or as bare digits.

    Digits are bare if `is_quoted` is False and the key is a whole number.
    """
    return _text(key) if is_quoted or not _DIGITS.fullmatch(key) else key


def _timestamp_text(record: PropertyRecord, field: str) -> str:
    moment = timestamp_of(record, field)
    if moment is None:
        return ""
    text = str(record[field])
    return text if _TIMESTAMP.fullmatch(text) else moment.isoformat()


def _any_of(field: str, keys: Sequence[str], dialect: Dialect, *, is_quoted: bool) -> str:
    literals = [literal(key, is_quoted=is_quoted) for key in keys[: dialect.max_terms]]
    if dialect.has_in and len(literals) > 1:
        return f"{field} in ({','.join(literals)})"
    return " or ".join(f"{field} eq {each}" for each in literals)


def _page(dialect: Dialect, size: int, skip: int) -> Options:
    top = {"$top": str(min(size, dialect.max_rows))}
    return {**top, "$skip": str(skip)} if skip else top


def _expand(dialect: Dialect) -> Options:
    return {"$expand": "Media"} if dialect.expands else {}


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
