"""Reads property records from an MLS: changed ones with photos, the market without photos, and any by ListingKeys."""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.scheduler.odata import MlsClient, MlsFailure, MlsUnavailable, ODataPage, PropertyRecord, Row
from shared.domain.feed import Feed
from shared.domain.freshness import parse_timestamp

MODIFIED = "ModificationTimestamp"
_MEDIA_TIMESTAMPS = ("MediaChangeTimestamp", "PhotosChangeTimestamp")
"""AMPRE's own field, which changes without a change of ModificationTimestamp, or else RESO's."""
_RECORD_PAGE_SIZE, _ROW_PAGE_SIZE = 100, 1_000
"""Rows in a page of property records with photos, and in a page of rows without photos."""
MAX_KEYS = 50
"""How many records are requested by their ListingKeys at once."""
_MAX_KEY_CHARACTERS = 1_500
"""The total length of the keys in one request: some servers refuse URLs of more than 2,000 or 4,000 characters."""
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Changes:
    """Holds one page of changed property records, with photos.

    `reached` is the time, by the MLS's clock, up to which all changes are in this page or an earlier one.
    """

    records: Sequence[PropertyRecord]
    reached: datetime


class FeedReader:
    """Reads property records from one feed's MLS.

    Each method raises MlsUnavailable if it cannot return the whole answer. `aclose` must be called at the end.
    """

    def __init__(self, feed: Feed, client: MlsClient) -> None:
        self._client = client
        self._statuses = feed.displayed_statuses
        self._can_expand = True
        self._timestamp_fields: tuple[str, ...] = ()

    async def aclose(self) -> None:
        """Close all connections to the MLS; the reader must not be used afterwards."""
        await self._client.aclose()

    async def timestamp_fields(self) -> tuple[str, ...]:
        """Return the names of the timestamp fields of the MLS's property records.

        The first is that of the record itself, the second, if the MLS has it, that of the record's photos. The MLS is
        asked at the first call only.
        """
        if not self._timestamp_fields:
            media = await self._media_timestamp_field()
            self._timestamp_fields = (MODIFIED, media) if media else (MODIFIED,)
        return self._timestamp_fields

    async def _media_timestamp_field(self) -> str | None:
        for name in _MEDIA_TIMESTAMPS:
            try:
                options = {"$select": f"ListingKey,{name}", "$top": "1", **_since(name, _LONG_AGO)}
                page = await self._client.page("Property", options)
            except MlsUnavailable as error:
                if error.failure is not MlsFailure.BAD_QUERY:
                    raise
            else:
                if any(name in row for row in page.rows):
                    return name
        return None

    async def changes(self, field: str, since: datetime) -> AsyncIterator[Changes]:
        """Yield, page by page, every property record whose timestamp `field` is not before `since`, oldest first.

        `field` is one of `timestamp_fields`. The records have their photos.
        """
        options, last, read = _since(field, since), None, _RECORD_PAGE_SIZE
        while read >= _RECORD_PAGE_SIZE:
            read, before = 0, last
            async for records in self._with_media({**options, "$top": str(_RECORD_PAGE_SIZE)}):
                read += len(records)
                for cursor in filter(None, (_cursor(record, field) for record in records)):
                    last, since = cursor, max(since, cursor.changed_at)
                yield Changes(records, since)
            if last is None or last == before:
                return
            options = _after(field, last)

    async def market(self) -> AsyncIterator[Sequence[PropertyRecord]]:
        """Yield, page by page, the records of all listings that the MLS has in the statuses that the feed displays.

        The records are in the order of their ListingKeys, and have only ListingKey, StandardStatus and timestamps.
        """
        last, read = "", _ROW_PAGE_SIZE
        while read >= _ROW_PAGE_SIZE:
            read, before = 0, last
            async for page in self._client.following(await self._first_after(last)):
                read += len(page.rows)
                last = next((key for row in reversed(page.rows) if (key := key_of(row))), last)
                yield page.rows
            if last == before:
                return

    async def _first_after(self, last: str) -> ODataPage:
        try:
            return await self._client.page("Property", await self._market_after(last))
        except MlsUnavailable as error:
            compact = tuple("".join(status.split()) for status in self._statuses)
            if error.failure is not MlsFailure.BAD_QUERY or compact == self._statuses:
                raise
            self._statuses = compact  # some servers know a status by its name without spaces
            return await self._client.page("Property", await self._market_after(last))

    async def _market_after(self, last: str) -> Mapping[str, str]:
        displayed = " or ".join(f"StandardStatus eq {_literal(status)}" for status in self._statuses)
        return {
            "$select": ",".join(("ListingKey", "StandardStatus", *await self.timestamp_fields())),
            "$filter": f"({displayed}) and ListingKey gt {_literal(last)}" if last else displayed,
            "$orderby": "ListingKey",
            "$top": str(_ROW_PAGE_SIZE),
        }

    async def records(self, keys: Collection[str]) -> Mapping[str, PropertyRecord]:
        """Return the property records of at most MAX_KEYS listings by ListingKey, with photos, whatever their status.

        A ListingKey of which the MLS has no record is absent from the result.
        """
        options = {"$filter": f"ListingKey in {_list(keys)}", "$top": str(len(keys))}
        pages = [records async for records in self._with_media(options)]
        return {key: record for records in pages for record in records if (key := key_of(record)) in keys}

    async def _with_media(self, options: Mapping[str, str]) -> AsyncIterator[Sequence[PropertyRecord]]:
        """Query property records of the MLS, and yield them page by page, each record with its Media rows.

        `options` are the OData query options of the first page, by name. The rows are requested with the records
        (`$expand`); for records that come without them, in requests of their own. A record whose rows the MLS did not
        return has no field Media. Raises MlsUnavailable.
        """
        async for page in self._client.following(await self._first_expanded(options)):
            bare = [key for record in page.rows if not _has_media(record) and (key := key_of(record))]
            media: dict[str, list[Row]] = {}
            for keys in key_groups(bare):
                media |= await self._media(keys)
            yield [
                _without_doubtful_media(record if _has_media(record) else _joined(record, media))
                for record in page.rows
            ]

    async def _first_expanded(self, options: Mapping[str, str]) -> ODataPage:
        if self._can_expand:
            try:
                return await self._client.page("Property", {**options, "$expand": "Media"})
            except MlsUnavailable as error:
                if error.failure is not MlsFailure.BAD_QUERY:
                    raise
        page = await self._client.page("Property", options)
        self._can_expand = False  # the MLS answers the same query without $expand
        return page

    async def _media(self, keys: Collection[str]) -> dict[str, list[Row]]:
        """Request the Media rows of listings from the MLS, and return the rows by ListingKey.

        A listing without rows has an empty list. If no listing has a row, return an empty dict: that is more likely an
        error of the MLS than a group of listings without photos, so the caller must not conclude that there are none.
        """
        found: dict[str, list[Row]] = {key: [] for key in keys}
        last, read = "", _ROW_PAGE_SIZE
        while read >= _ROW_PAGE_SIZE:
            read, before = 0, last
            async for page in self._client.following(await self._client.page("Media", _media_query(keys, last))):
                read += len(page.rows)
                for row in page.rows:
                    last = str(row.get("MediaKey") or last)
                    if row.get("ResourceName") in (None, "Property"):
                        found.get(str(row.get("ResourceRecordKey")), []).append(row)
            if last == before:
                break
        return found if any(found.values()) else {}


def key_groups(keys: Collection[str]) -> Iterator[Sequence[str]]:
    """Yield `keys`, which are ListingKeys, in groups that fit into one request to the MLS each, in their order."""
    group: list[str] = []
    for key in keys:
        if group and (len(group) == MAX_KEYS or sum(map(len, group)) + len(key) > _MAX_KEY_CHARACTERS):
            yield group
            group = []
        group.append(key)
    if group:
        yield group


def key_of(record: PropertyRecord) -> str:
    """Return the ListingKey of a property record; "" if the record has none that is text."""
    key = record.get("ListingKey")
    return key if isinstance(key, str) else ""


@dataclass(frozen=True, slots=True)
class _PageCursor:
    """Holds the position of a record in the order by timestamp and ListingKey; the next page begins after it.

    `changed_at` is the timestamp, and `text` the timestamp as the MLS wrote it.
    """

    changed_at: datetime
    text: str
    key: str


def _cursor(record: PropertyRecord, field: str) -> _PageCursor | None:
    try:
        changed_at = parse_timestamp(record.get(field))
    except ValueError:
        return None
    if changed_at is None:
        return None
    text = str(record[field])
    return _PageCursor(changed_at, text if _TIMESTAMP.fullmatch(text) else changed_at.isoformat(), key_of(record))


def _since(field: str, moment: datetime) -> dict[str, str]:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"$filter": f"{field} ge {text}", "$orderby": f"{field},ListingKey"}


def _after(field: str, last: _PageCursor) -> dict[str, str]:
    later = f"{field} gt {last.text} or ({field} eq {last.text} and ListingKey gt {_literal(last.key)})"
    return {"$filter": later, "$orderby": f"{field},ListingKey"}


def _media_query(keys: Collection[str], last: str) -> Mapping[str, str]:
    of_listings = f"ResourceRecordKey in {_list(keys)}"
    after_last = f" and MediaKey gt {_literal(last)}" if last else ""
    return {"$filter": of_listings + after_last, "$orderby": "MediaKey", "$top": str(_ROW_PAGE_SIZE)}


def _list(keys: Collection[str]) -> str:
    return f"({','.join(map(_literal, keys))})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _has_media(record: PropertyRecord) -> bool:
    """Return True if the record has all its Media rows, also if these are none; False if they must be requested.

    An MLS may leave the field Media out, or send only the first rows and a next link.
    """
    return isinstance(record.get("Media"), list) and "Media@odata.nextLink" not in record


def _joined(record: PropertyRecord, media: Mapping[str, list[Row]]) -> PropertyRecord:
    """Return a copy of the record whose Media rows are those of its ListingKey in `media`, in place of any others.

    `media` holds Media rows by ListingKey. If it lacks the record's ListingKey, the copy has no field Media.
    """
    bare = {name: value for name, value in record.items() if name not in {"Media", "Media@odata.nextLink"}}
    key = key_of(record)
    return {**bare, "Media": media[key]} if key in media else bare


def _without_doubtful_media(record: PropertyRecord) -> PropertyRecord:
    """Return the record; if its Media is empty although its PhotosCount is above 0, a copy without the field Media.

    The MLS contradicts itself then, and without the field nobody takes the listing for one without photos.
    """
    count = record.get("PhotosCount")
    if record.get("Media") == [] and isinstance(count, int) and count > 0:
        return {name: value for name, value in record.items() if name != "Media"}
    return record
