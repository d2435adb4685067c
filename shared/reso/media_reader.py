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
    """Completes the Media of property records from the resource Media of one feed's MLS."""

    def __init__(self, client: DialectClient) -> None:
        self._client = client
        self._has_resource = True

    async def complete(self, records: Sequence[PropertyRecord]) -> list[PropertyRecord]:
        """Return the records in the same order, each with all its Media rows.

        The rows are requested for records that came without them, or with fewer than their PhotosCount. A record whose
        rows the MLS did not return to their end has no field Media: nobody may conclude that it has no more photos.
        Where the MLS has no resource Media, a record keeps the rows that it came with. Raises MlsUnavailable if the
        rows cannot be read, and the MLS sends none with its records either.
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
        """Request the Media rows of records from the resource Media; return the rows by ListingKey.

        The result is None if the MLS has no such resource but sends rows with its records (DDF), and empty if it
        refuses the resource but sends rows with its records.
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
        """Return the Media rows of the records by ListingKey.

        A listing whose rows did not come, or fewer than came with its record, is asked for again alone. If no listing
        has a row, return an empty dict: that is more likely an error of the MLS than a group without photos.
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
        """Return the rows of listings by ListingKey, asked for in as many requests as the MLS's dialect needs."""
        found: dict[str, list[Row]] = {}
        while keys:
            rows = await self._group(keys)
            found |= rows or {}
            keys = keys[self._client.dialect.max_terms :]
        return found

    async def _group(self, keys: Sequence[str]) -> dict[str, list[Row]] | None:
        """Return the rows of the first of the given listings, as many as the dialect takes, by ListingKey.

        A listing without rows has an empty list. The result is None if the rows could not be read to the end.
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
    """Yield `keys`, which are ListingKeys, in groups that fit into one request to the MLS each, in their order."""
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

    An MLS may leave the field Media out, send the first rows and a next link, or cut the rows in silence.
    """
    if not isinstance(record.get("Media"), (list, dict)) or _NEXT_LINK in record:
        return True
    return len(_rows(record)) < (photos_count(record) or 0)


def photos_count(record: PropertyRecord) -> int | None:
    """Return the PhotosCount of a property record, a number or a text of digits; None if it has none."""
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
    """Return a copy of a record that lacks Media rows, with the rows that were read beside it.

    `beside` is None if none were read, or not to their end. Where more rows came with the record, those that lack are
    added. The copy has no field Media if none were read, unless the record counts no photos, nor if it counts photos
    but has no rows. It has no PhotosCount if that counts more photos than the MLS has rows, because a record that seems
    to be cut may withdraw no photo.
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
