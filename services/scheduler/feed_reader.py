"""What does an MLS say of its listings? Reads what changed, which are on the market, and single records with photos."""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.scheduler.odata import Kind, MlsClient, MlsUnavailable, Page, Record
from shared.domain.feed import Feed
from shared.domain.freshness import parse_timestamp

MODIFIED = "ModificationTimestamp"
_MEDIA_CLOCKS = ("MediaChangeTimestamp", "PhotosChangeTimestamp")
"""AMPRE's own, which moves without ModificationTimestamp moving; else plain RESO's."""
_FULL_RECORDS, _BARE_ROWS = 100, 1_000
AT_ONCE = 50
"""Records that are asked for by their keys in one request."""
_LONGEST_LIST = 1_500
"""Characters of keys in one request: some servers refuse URLs of more than 2,000 or 4,000."""
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)")
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Changes:
    """One page of what changed: the records with their photos, and the MLS's time up to which that is all."""

    records: Sequence[Record]
    reached: datetime


class FeedReader:
    """Reads one feed's MLS. Every call raises MlsUnavailable; what was read half concludes nothing."""

    def __init__(self, feed: Feed, client: MlsClient) -> None:
        self._client = client
        self._statuses = feed.displayed_statuses
        self._can_expand = True
        self._clocks: tuple[str, ...] = ()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def clocks(self) -> tuple[str, ...]:
        """Return the timestamps that changes are told by: the record's, and the photos' where the MLS has one."""
        if not self._clocks:
            media = await self._media_clock()
            self._clocks = (MODIFIED, media) if media else (MODIFIED,)
        return self._clocks

    async def _media_clock(self) -> str | None:
        for name in _MEDIA_CLOCKS:
            try:
                options = {"$select": f"ListingKey,{name}", "$top": "1", **_since(name, _LONG_AGO)}
                page = await self._client.page("Property", options)
            except MlsUnavailable as fault:
                if fault.kind is not Kind.BAD_QUERY:
                    raise
            else:
                if any(name in row for row in page.rows):
                    return name
        return None

    async def changes(self, clock: str, since: datetime) -> AsyncIterator[Changes]:
        """Yield every record whose timestamp of that name is not before `since`, oldest first."""
        options, last, read = _since(clock, since), None, _FULL_RECORDS
        while read >= _FULL_RECORDS:
            read, before = 0, last
            async for records in self._with_media({**options, "$top": str(_FULL_RECORDS)}):
                read += len(records)
                for place in filter(None, (_place(record, clock) for record in records)):
                    last, since = place, max(since, place.moment)
                yield Changes(records, since)
            if last is None or last == before:
                return
            options = _after(clock, last)

    async def on_the_market(self) -> AsyncIterator[Sequence[Record]]:
        """Yield every listing in a displayed status, with its timestamps only."""
        last, read = "", _BARE_ROWS
        while read >= _BARE_ROWS:
            read, before = 0, last
            async for page in self._client.following(await self._first_after(last)):
                read += len(page.rows)
                last = next((key for row in reversed(page.rows) if (key := key_of(row))), last)
                yield page.rows
            if last == before:
                return

    async def _first_after(self, last: str) -> Page:
        try:
            return await self._client.page("Property", await self._on_the_market_after(last))
        except MlsUnavailable as fault:
            compact = tuple("".join(status.split()) for status in self._statuses)
            if fault.kind is not Kind.BAD_QUERY or compact == self._statuses:
                raise
            self._statuses = compact  # the names as identifiers, as some servers have them
            return await self._client.page("Property", await self._on_the_market_after(last))

    async def _on_the_market_after(self, last: str) -> Mapping[str, str]:
        displayed = " or ".join(f"StandardStatus eq {_literal(status)}" for status in self._statuses)
        return {
            "$select": ",".join(("ListingKey", "StandardStatus", *await self.clocks())),
            "$filter": f"({displayed}) and ListingKey gt {_literal(last)}" if last else displayed,
            "$orderby": "ListingKey",
            "$top": str(_BARE_ROWS),
        }

    async def records(self, keys: Collection[str]) -> Mapping[str, Record]:
        """Return those of the listings, at most AT_ONCE, that the MLS knows, whatever their status, with photos."""
        options = {"$filter": f"ListingKey in {_list(keys)}", "$top": str(len(keys))}
        pages = [records async for records in self._with_media(options)]
        return {key: record for records in pages for record in records if (key := key_of(record)) in keys}

    async def _with_media(self, options: Mapping[str, str]) -> AsyncIterator[Sequence[Record]]:
        """Yield pages of records with their photos: expanded, or read beside them where the MLS expands none."""
        async for page in self._client.following(await self._first_expanded(options)):
            bare = [key for record in page.rows if not _has_media(record) and (key := key_of(record))]
            media: dict[str, list[Record]] = {}
            for keys in in_groups(bare):
                media |= await self._media(keys)
            yield [_consistent(record if _has_media(record) else _joined(record, media)) for record in page.rows]

    async def _first_expanded(self, options: Mapping[str, str]) -> Page:
        if self._can_expand:
            try:
                return await self._client.page("Property", {**options, "$expand": "Media"})
            except MlsUnavailable as fault:
                if fault.kind is not Kind.BAD_QUERY:
                    raise
        page = await self._client.page("Property", options)
        self._can_expand = False  # the same query is understood without it
        return page

    async def _media(self, keys: Collection[str]) -> dict[str, list[Record]]:
        """Return the rows of each listing's photos. No row for any of them says nothing, rather than: no photos."""
        found: dict[str, list[Record]] = {key: [] for key in keys}
        last, read = "", _BARE_ROWS
        while read >= _BARE_ROWS:
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


def in_groups(keys: Collection[str]) -> Iterator[Sequence[str]]:
    """Yield the keys in groups that fit into one request each."""
    group: list[str] = []
    for key in keys:
        if group and (len(group) == AT_ONCE or sum(map(len, group)) + len(key) > _LONGEST_LIST):
            yield group
            group = []
        group.append(key)
    if group:
        yield group


def key_of(record: Record) -> str:
    """Return the ListingKey, empty where there is none."""
    key = record.get("ListingKey")
    return key if isinstance(key, str) else ""


@dataclass(frozen=True, slots=True)
class _Place:
    """A record's place in an order by time and key; `text` is the time as the MLS wrote it."""

    moment: datetime
    text: str
    key: str


def _place(record: Record, clock: str) -> _Place | None:
    try:
        moment = parse_timestamp(record.get(clock))
    except ValueError:
        return None
    if moment is None:
        return None
    text = str(record[clock])
    return _Place(moment, text if _TIMESTAMP.fullmatch(text) else moment.isoformat(), key_of(record))


def _since(clock: str, moment: datetime) -> dict[str, str]:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"$filter": f"{clock} ge {text}", "$orderby": f"{clock},ListingKey"}


def _after(clock: str, last: _Place) -> dict[str, str]:
    later = f"{clock} gt {last.text} or ({clock} eq {last.text} and ListingKey gt {_literal(last.key)})"
    return {"$filter": later, "$orderby": f"{clock},ListingKey"}


def _media_query(keys: Collection[str], last: str) -> Mapping[str, str]:
    of_these = f"ResourceRecordKey in {_list(keys)}"
    later = f" and MediaKey gt {_literal(last)}" if last else ""
    return {"$filter": of_these + later, "$orderby": "MediaKey", "$top": str(_BARE_ROWS)}


def _list(keys: Collection[str]) -> str:
    return f"({','.join(map(_literal, keys))})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _has_media(record: Record) -> bool:
    """Whether all photos came with the record: a server may leave them out, or give the first ones only."""
    return isinstance(record.get("Media"), list) and "Media@odata.nextLink" not in record


def _joined(record: Record, media: Mapping[str, list[Record]]) -> Record:
    """Return the record with the photos read beside it; without a word on photos where none were read."""
    bare = {name: value for name, value in record.items() if name not in {"Media", "Media@odata.nextLink"}}
    key = key_of(record)
    return {**bare, "Media": media[key]} if key in media else bare


def _consistent(record: Record) -> Record:
    """An MLS that counts photos and gives none is in error, which is never "no photos"."""
    count = record.get("PhotosCount")
    if record.get("Media") == [] and isinstance(count, int) and count > 0:
        return {name: value for name, value in record.items() if name != "Media"}
    return record
