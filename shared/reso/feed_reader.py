"""Reads property records from an MLS: changed records with photos, the market without photos, and listings by key."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from shared import log
from shared.domain.feed import Feed
from shared.reso.dialect_client import DialectClient
from shared.reso.media_reader import MediaReader
from shared.reso.odata import MlsClient, MlsFailure, MlsUnavailable, PropertyRecord, Row
from shared.reso.queries import ChangesQuery, MarketQuery, key_of, owners_query, text_of, timestamp_of, utc_text
from shared.reso.record_reader import KeyedRecords, RecordReader

MODIFIED = "ModificationTimestamp"
_MEDIA_TIMESTAMPS = ("MediaChangeTimestamp", "PhotosChangeTimestamp")
"""The time of a change of photos: AMPRE's field, which changes without ModificationTimestamp, or else RESO's."""
_FLAGS = ("MlgCanView", "InternetEntireListingDisplayYN")
"""The fields that hide a listing of any status. An MLS that lacks one may refuse a query for it."""
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_logger = log.get(__name__)


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
        self._feed = feed
        self._raw = client
        self._client = DialectClient(feed.name, client)
        self._media = MediaReader(self._client)
        self._records = RecordReader(self._client, self._media)
        self._timestamp_fields: tuple[str, ...] = ()
        self._flags: tuple[str, ...] = ()
        self._knows_keys = False
        self.filters_keys = True
        """False once the MLS has refused every query for listings by ListingKey."""

    async def aclose(self) -> None:
        """Close all connections to the MLS; the reader must not be used afterwards."""
        await self._client.aclose()

    async def timestamp_fields(self) -> tuple[str, ...]:
        """Return the names of the timestamp fields of the MLS's property records.

        The first field is the time of a record's last change. The second is the time of the last change of its photos,
        and is absent if the MLS has no such field. The MLS is asked at the first call only. Raises MlsUnavailable.
        """
        if not self._timestamp_fields:
            media = await self._media_timestamp_field()
            self._timestamp_fields = (MODIFIED, media) if media else (MODIFIED,)
        return self._timestamp_fields

    async def _media_timestamp_field(self) -> str | None:
        for name in _MEDIA_TIMESTAMPS:
            try:
                page = await self._raw.page("Property", {"$filter": f"{name} ge {utc_text(_LONG_AGO)}", "$top": "1"})
            except MlsUnavailable as error:
                if error.failure is not MlsFailure.BAD_QUERY:
                    raise
            else:
                self._learn_from(page.rows)
                if any(name in row for row in page.rows):
                    return name
        return None

    def _learn_from(self, rows: Sequence[Row]) -> None:
        """Note whether ListingKeys are numbers, and which of `_FLAGS` the MLS has.

        `rows` are property records with all their fields. Queries write keys that are numbers without quotes.
        """
        if len(self._flags) < len(_FLAGS):
            self._flags = tuple(flag for flag in _FLAGS if flag in self._flags or any(flag in row for row in rows))
        if not self._knows_keys and any(isinstance(row.get("ListingKey"), int) for row in rows):
            self._client.dialect = replace(self._client.dialect, quotes_keys=False, quotes_owners=False)
        self._knows_keys = self._knows_keys or bool(rows)

    async def changes(self, field: str, since: datetime) -> AsyncIterator[Changes]:
        """Yield, page by page, every property record whose timestamp `field` is not before `since`, oldest first.

        `field` is one of `timestamp_fields`. The records have their photos. If the MLS does not sort the records,
        `reached` is `since` until all are read; a last page without records then has the newest timestamp. If the MLS
        gives the same rows again and again, the reading ends with a warning in the log. Raises MlsUnavailable.
        """
        query, newest, is_sorted = ChangesQuery(field, since), since, True
        async for rows in self._until_repeated(self._client.all_pages(query)):
            self._learn_from(rows)
            moments = [moment for row in rows if (moment := timestamp_of(row, field))]
            is_sorted = is_sorted and query.in_order(rows) and newest <= min(moments, default=newest)
            newest = max(newest, *moments) if moments else newest
            yield Changes(await self._media.complete(rows), newest if is_sorted else since)
        if not is_sorted:
            yield Changes([], newest)

    async def market(self) -> AsyncIterator[Sequence[PropertyRecord]]:
        """Yield, page by page, the records of all listings that the MLS has in the statuses that the feed displays.

        Only ListingKey, StandardStatus, timestamps and, where the MLS has them, the fields of `_FLAGS` are asked for. A
        listing that is not among the records may be on the market all the same: `records` asks for it by its key.
        Raises MlsUnavailable.
        """
        fields = await self.timestamp_fields()
        select = ("ListingKey", "StandardStatus", *fields, *self._flags)
        statuses: Sequence[str] = self._feed.displayed_statuses
        has_read = False
        while statuses:
            query = MarketQuery(statuses, select)
            try:
                async for rows in self._until_repeated(self._client.all_pages(query)):
                    yield rows
                has_read = True
            except MlsUnavailable as error:
                asked = query.statuses_of(self._client.dialect)
                if error.failure is not MlsFailure.BAD_QUERY or len(asked) > 1 or not has_read:
                    raise
                _logger.warning("mls-status-refused", feed=self._feed.name, status=asked[0])
            statuses = statuses[len(query.statuses_of(self._client.dialect)) :]

    async def _until_repeated(self, pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[Sequence[Row]]:
        """Yield the pages that have rows; if the MLS gives the same rows again and again, log a warning and end."""
        try:
            async for rows in pages:
                if rows:
                    yield rows
        except MlsUnavailable as error:
            if error.failure is not MlsFailure.INCOMPLETE:
                raise
            _logger.warning("mls-reading-incomplete", feed=self._feed.name, error=str(error))

    async def records(self, keys: Collection[str]) -> KeyedRecords:
        """Return the property records of listings by ListingKey, with photos, whatever their status.

        The result also names the listings that the MLS has no record of. Raises MlsUnavailable; if the MLS filters by
        no ListingKey, its `failure` is BAD_QUERY, and `filters_keys` is False from then on.
        """
        if not self.filters_keys:
            raise MlsUnavailable(MlsFailure.BAD_QUERY, "the MLS filters by no ListingKey")
        try:
            return await self._records.read(keys)
        except MlsUnavailable as error:
            self.filters_keys = error.failure is not MlsFailure.BAD_QUERY
            raise

    async def owners(self, media_keys: Sequence[str]) -> Sequence[str]:
        """Return the ListingKeys of the listings that own the photos with these MediaKeys, each once.

        A photo that the MLS has no row of is left out. If the MLS has no resource Media, the result is empty. Raises
        MlsUnavailable.
        """
        owners = dict[str, None]()
        while media_keys:
            try:
                page = await self._client.first_page("Media", partial(owners_query, media_keys))
            except MlsUnavailable as error:
                if error.failure is not MlsFailure.NO_RESOURCE:
                    raise
                break
            rows = [row for row in page.rows if row.get("ResourceName") in (None, "Property")]
            owners |= {owner: None for row in rows if (owner := text_of(row.get("ResourceRecordKey")))}
            media_keys = media_keys[max(1, self._client.dialect.max_terms) :]
        return list(owners)

    async def records_at(self, times: Mapping[str, datetime]) -> KeyedRecords:
        """Ask the MLS for the records of listings by ModificationTimestamp; return the records, with photos.

        This is for an MLS that filters by no ListingKey. `times` has the ModificationTimestamp of each listing by
        ListingKey. For each listing, the MLS is asked for all records of the second of its timestamp. A listing without
        a record in this second is in `absent` of the result; if the answer is incomplete, the listing is in neither
        field. Raises MlsUnavailable.
        """
        found, absent = dict[str, PropertyRecord](), set[str]()
        for key, moment in times.items():
            second = moment.replace(microsecond=0)
            query = ChangesQuery(MODIFIED, second, second + timedelta(seconds=1))
            try:
                rows = [row async for page in self._client.all_pages(query) for row in page]
            except MlsUnavailable as error:
                if error.failure is not MlsFailure.INCOMPLETE:
                    raise
                continue
            records = await self._media.complete([row for row in rows if key_of(row) == key])
            if records:
                found[key] = records[-1]
            else:
                absent.add(key)
        return KeyedRecords(found, frozenset(absent))
