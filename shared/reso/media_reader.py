"""Completes property records with their Media rows, which an MLS may leave out, cut, or keep in another resource."""

from collections.abc import Collection, Iterator, Sequence

from shared.reso.dialect import MAX_KEYS
from shared.reso.dialect_client import DialectClient
from shared.reso.odata import MlsFailure, MlsUnavailable, PropertyRecord, Row
from shared.reso.queries import MediaQuery, key_of, text_of

_MAX_KEY_CHARACTERS = 1_500
"""The total length of the keys in one request: some servers refuse URLs of more than 2,000 or 4,000 characters."""
_NEXT_LINK = "Media@odata.nextLink"


class MediaReader:
    """Adds missing Media rows to property records; it reads the rows from the resource Media of one feed's MLS."""

    def __init__(self, client: DialectClient) -> None:
        self._client = client
        self._has_resource = True

    async def complete(self, records: Sequence[PropertyRecord]) -> list[PropertyRecord]:
        """Return the records in the same order, each with all its Media rows.

        Rows are requested for a record that came without rows, or with fewer than its PhotosCount. If the MLS does not
        return the rows to their end, the record gets no field Media, so that nobody concludes that it has no more
        photos. If the MLS has no resource Media, a record keeps the rows that it came with. Raises MlsUnavailable if
        the MLS does not answer, or refuses the rows and sends none with its records either.
        """
        lacking = [record for record in records if key_of(record) and lacks_media(record)]
        if not lacking:
            return list(records)
        media = await self._media_beside(lacking)
        return [
            _joined(record, (media or {}).get(key_of(record)))
            if lacks_media(record) and (media is not None or not _came_with_rows(record))
            else record
            for record in records
        ]

    async def _media_beside(self, lacking: Sequence[PropertyRecord]) -> dict[str, list[Row]] | None:
        """Request Media rows from the resource Media, and return them by ListingKey.

        `lacking` are the records that came without all their rows. The result is None if the MLS has no resource Media
        but sends rows with its records (as DDF does), and empty if it refuses the resource but sends rows with its
        records. Raises MlsUnavailable.
        """
        if not self._has_resource:
            return None
        try:
            return await self._media(lacking)
        except MlsUnavailable as error:
            sends_rows = any(isinstance(record.get("Media"), list) for record in lacking)
            if not sends_rows or error.failure not in _UNREADABLE:
                raise
            self._has_resource = error.failure is not MlsFailure.NO_RESOURCE
            return {} if self._has_resource else None

    async def _media(self, records: Sequence[PropertyRecord]) -> dict[str, list[Row]]:
        """Request the Media rows of records, and return them by ListingKey.

        A listing that gets no rows, or fewer than came with its record, is asked for again alone. If no listing has a
        row, the result is empty: that is more likely an error of the MLS than a group of listings without photos.
        """
        found: dict[str, list[Row]] = {}
        for keys in key_groups([key_of(record) for record in records]):
            found |= await self._groups(keys)
        for record in records:
            key = key_of(record)
            if len(records) > 1 and len(found.get(key, ())) < max(len(_rows(record)), 1) and photos_count(record) != 0:
                found.pop(key, None)
                found |= await self._group([key]) or {}
        return found if any(found.values()) else {}

    async def _groups(self, keys: Sequence[str]) -> dict[str, list[Row]]:
        """Return the Media rows of listings by ListingKey, asked for in as many requests as the MLS's dialect needs."""
        found: dict[str, list[Row]] = {}
        while keys:
            rows = await self._group(keys)
            found |= rows or {}
            keys = keys[self._client.dialect.max_terms :]
        return found

    async def _group(self, keys: Sequence[str]) -> dict[str, list[Row]] | None:
        """Request the Media rows of the first of `keys`, as many as one query may list; return the rows by ListingKey.

        A listing without rows has an empty list. The result is None if the rows could not be read to the end, or if the
        MLS ignores the filter.
        """
        found: dict[str, list[Row]] = {}
        query = MediaQuery(keys)
        try:
            async for page in self._client.all_pages(query):
                found = found or {key: [] for key in keys[: self._client.dialect.max_terms]}
                owned = [row for row in page if _owner(row) in found]
                if page and not owned:
                    return None  # the MLS ignores the filter
                for row in owned:
                    if row.get("ResourceName") in (None, "Property"):
                        found[_owner(row)].append(row)
        except MlsUnavailable as error:
            if error.failure is not MlsFailure.INCOMPLETE:
                raise
            return None
        return found


_UNREADABLE = frozenset({MlsFailure.NO_RESOURCE, MlsFailure.REFUSED, MlsFailure.BAD_QUERY})


def key_groups(keys: Collection[str]) -> Iterator[Sequence[str]]:
    """Yield ListingKeys in groups, in the given order; each group fits into one request to the MLS."""
    group: list[str] = []
    for key in keys:
        if group and (len(group) == MAX_KEYS or sum(map(len, group)) + len(key) > _MAX_KEY_CHARACTERS):
            yield group
            group = []
        group.append(key)
    if group:
        yield group


def lacks_media(record: PropertyRecord) -> bool:
    """Return True if the record may have more Media rows than it came with, so that they must be requested.

    An MLS may leave out the field Media, send only the first rows and a next link, or leave out rows without saying so.
    """
    if not isinstance(record.get("Media"), (list, dict)) or _NEXT_LINK in record:
        return True
    return len(_rows(record)) < (photos_count(record) or 0)


def photos_count(record: PropertyRecord) -> int | None:
    """Return the PhotosCount of a property record, also if it is a text of digits; None if the record has none."""
    count = record.get("PhotosCount")
    if isinstance(count, str) and count.strip().isdecimal():
        return int(count)
    return int(count) if isinstance(count, (int, float)) and not isinstance(count, bool) else None


def _rows(record: PropertyRecord) -> list[Row]:
    media = record.get("Media")
    return media if isinstance(media, list) else [media] if isinstance(media, dict) else []


def _came_with_rows(record: PropertyRecord) -> bool:
    return bool(_rows(record)) and _NEXT_LINK not in record


def _owner(row: Row) -> str:
    return text_of(row.get("ResourceRecordKey"))


def _joined(record: PropertyRecord, beside: Sequence[Row] | None) -> PropertyRecord:
    """Return a copy of a record that came without all its Media rows, with the rows in `beside` as its Media.

    `beside` are the record's rows from the resource Media; None if they were not read, or not to their end. If more
    rows came with the record than `beside` has, the rows that `beside` lacks are added. If `beside` is None, the copy
    has no field Media; but if PhotosCount is 0, it keeps the rows that came with the record. If there are no rows
    although PhotosCount is more than 0, the copy has no field Media either. If there are fewer rows than PhotosCount
    says, the copy has no PhotosCount: otherwise the record would seem to be cut, and could withdraw no photo.
    """
    came = _rows(record)
    if beside is None:
        rows = None if photos_count(record) != 0 else came
    elif len(beside) >= len(came):
        rows = list(beside)
    else:
        known = {text_of(row.get("MediaKey")) for row in beside}
        rows = [*beside, *(row for row in came if text_of(row.get("MediaKey")) not in known)]
    bare = {name: value for name, value in record.items() if name not in {"Media", _NEXT_LINK}}
    if rows is None or (not rows and photos_count(record)):
        return bare
    if beside is not None and len(rows) < (photos_count(record) or 0):
        bare.pop("PhotosCount")
    return {**bare, "Media": rows}
