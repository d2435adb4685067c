"""Reads property records by ListingKey, and tells a listing that the MLS lacks from one that an answer left out."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shared.reso.dialect_client import DialectClient
from shared.reso.media_reader import MediaReader
from shared.reso.odata import PropertyRecord
from shared.reso.queries import key_of, records_query

_MIN_GROUP_SIZE = 5


@dataclass(frozen=True, slots=True)
class KeyedRecords:
    """Holds what an MLS answered for some ListingKeys; a key in neither field got no usable answer.

    `records` are the property records by ListingKey. `absent` are the keys that the MLS has no record of: an answer to
    a query for each of them alone proves that.
    """

    records: Mapping[str, PropertyRecord]
    absent: frozenset[str]


class RecordReader:
    """Reads property records with photos by ListingKey from one feed's MLS."""

    def __init__(self, client: DialectClient, media: MediaReader) -> None:
        self._client = client
        self._media = media
        self._group_size = 1_000
        """How many records the MLS returns at once, as far as it is known."""

    async def read(self, keys: Collection[str]) -> KeyedRecords:
        """Return the records of listings by ListingKey, with photos, whatever their status.

        A key that gets no record is asked for again, at last alone: an MLS may leave out records without saying so.
        Only an empty answer for a key alone says that there is no record. Raises MlsUnavailable.
        """
        found, absent = dict[str, PropertyRecord](), set[str]()
        groups = deque([(list(keys), 0)])
        while groups:
            group, came_before = groups.popleft()
            came, asked, is_empty = await self._ask(group)
            found |= came
            silent = [key for key in asked if key not in came]
            if came_before >= _MIN_GROUP_SIZE and came:
                self._group_size = min(self._group_size, came_before)
            if rest := group[len(asked) :]:
                groups.appendleft((rest, 0))
            if len(asked) > 1:
                groups.extend([(silent, len(came))] if silent and came else [([key], 0) for key in silent])
            elif is_empty:
                absent.update(silent)
        return KeyedRecords(found, frozenset(absent))

    async def _ask(self, group: Sequence[str]) -> tuple[dict[str, PropertyRecord], Sequence[str], bool]:
        """Ask the MLS for the first keys of a group, as many as one query may list and one answer returns.

        Returns the records by ListingKey, the keys that were asked for, and True if the answer had no rows at all.
        """
        keys = group[: self._group_size]
        page = await self._client.first_page("Property", lambda dialect: records_query(keys, dialect))
        asked = keys[: self._client.dialect.max_terms]
        records: list[PropertyRecord] = []
        async for following in self._client.chain(page):
            records += (own := [row for row in following.rows if key_of(row) in asked])
            if not own:
                break
        completed = await self._media.complete(records)
        return {key_of(record): record for record in completed}, asked, not page.rows
