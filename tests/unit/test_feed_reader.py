"""How are listings read from an MLS? In pages, each record with all of its photos, or without Media if in doubt."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import pytest

from local.sandbox import Sandbox
from shared.domain.feed_file import parse_feeds
from shared.reso.feed_reader import FeedReader
from shared.reso.media_reader import key_groups
from shared.reso.odata import MlsClient, MlsUnavailable
from tests.builders import after

LONG_AGO = after(-400 * 86_400)


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=7, photos=2, widest=320, tokens={"odata": "t"}, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def reader(mls: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FeedReader]:
    """A reader with small pages."""
    monkeypatch.setattr("shared.reso.queries._RECORD_PAGE_SIZE", 3)
    monkeypatch.setattr("shared.reso.queries._ROW_PAGE_SIZE", 5)
    feed = parse_feeds(mls.feeds_toml(reso_url=mls.web_api, reso_token_env="T"))["sandbox"]
    small = FeedReader(feed, MlsClient(feed, "t", pause_seconds=0.0))
    yield small
    await small.aclose()


def all_of(mls: Sandbox) -> dict[str, Any]:
    return by_key(mls.properties())


def by_key(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the records by ListingKey, each with its Media rows sorted: the order depends on how they were read."""
    return {
        record["ListingKey"]: {**record, "Media": sorted(record["Media"], key=lambda row: str(row["MediaKey"]))}
        for record in records
    }


async def changed(reader: FeedReader, field: str = "ModificationTimestamp", since: Any = LONG_AGO) -> list[Any]:
    return [record async for changes in reader.changes(field, since) for record in changes.records]


# With photos


@pytest.mark.parametrize("expands", [True, False])
async def test_records_are_read_with_their_photos_even_if_the_mls_cannot_expand_them(
    mls: Sandbox, reader: FeedReader, expands: bool
) -> None:
    mls.allow_expand(expands)
    wanted = list(all_of(mls))[2:5]
    found = await reader.records([*wanted, "unknown"])
    assert by_key(found.records.values()) == {key: all_of(mls)[key] for key in wanted}
    assert found.absent == {"unknown"}


@pytest.mark.parametrize("expands", [True, False])
async def test_every_change_is_read_oldest_first_over_all_pages(
    mls: Sandbox, reader: FeedReader, expands: bool
) -> None:
    mls.allow_expand(expands)
    for key in list(all_of(mls))[:4]:
        mls.touch(key)
    found = await changed(reader)
    assert by_key(found) == all_of(mls)
    stamps = [record["ModificationTimestamp"] for record in found]
    assert stamps == sorted(stamps)


async def test_changes_since_a_time_are_read_up_to_the_newest(mls: Sandbox, reader: FeedReader) -> None:
    since = after(0).replace(year=2020)
    reached = [changes.reached async for changes in reader.changes("ModificationTimestamp", since)][-1]
    key = list(all_of(mls))[3]
    mls.change_photo(key, media_only=True)
    assert [record["ListingKey"] for record in await changed(reader, "MediaChangeTimestamp", reached)][-1] == key
    assert key not in {record["ListingKey"] for record in await changed(reader, since=reached)}


async def test_changes_of_the_same_time_on_several_pages_are_all_read(mls: Sandbox, reader: FeedReader) -> None:
    for listing in mls.market.listings.values():
        listing.modified_at = "2026-11-23T09:00:00.123Z"
    assert {record["ListingKey"] for record in await changed(reader)} == set(all_of(mls))


@pytest.mark.parametrize("status", [400, 501])
async def test_expand_is_tried_only_once_if_the_mls_refuses_it(
    mls: Sandbox, reader: FeedReader, status: Literal[400, 501], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.reso.queries._ROW_PAGE_SIZE", 1_000)
    mls.allow_expand(False, status)
    for _ in range(3):
        await reader.records(list(all_of(mls))[:2])
    assert mls.requests["/odata/Property"] == 4
    assert mls.requests["/odata/Media"] == 6, "one for all the listings of a group, and one that says it was all"


async def test_a_query_refused_for_another_reason_raises_and_expand_is_still_used(
    mls: Sandbox, reader: FeedReader
) -> None:
    with pytest.raises(MlsUnavailable, match="400"):
        await changed(reader, field="Not a field")
    mls.requests.clear()
    await reader.records(list(all_of(mls))[:2])
    assert mls.requests["/odata/Media"] == 0


# Answers that leave doubts


class Scripted:
    """Makes the reader's client answer with given rows by resource, on one page, and keeps the queries in `queries`."""

    def __init__(self, reader: FeedReader, monkeypatch: pytest.MonkeyPatch, **rows: list[dict[str, Any]]) -> None:
        self.queries: list[dict[str, str]] = []

        async def request(url: Any) -> Any:
            from shared.reso.odata import ODataPage

            resource = url.path.rpartition("/")[2]
            query = {"": resource, **dict(parse_qsl(url.query.decode()))}
            self.queries.append(query)
            return ODataPage([] if " gt " in query["$filter"] else rows.get(resource, []), None)

        monkeypatch.setattr(reader._raw, "_request", request)


async def test_rows_of_other_listings_and_resources_are_left_out(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = {"MediaKey": "o", "ResourceRecordKey": "A", "ResourceName": "Office"}
    listed, other = ({"MediaKey": key, "ResourceRecordKey": key, "ResourceName": "Property"} for key in "AB")
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A"}, {"ListingKey": "B"}], Media=[listed, other, office])
    assert (await reader.records(["A"])).records == {"A": {"ListingKey": "A", "Media": [listed]}}


@pytest.mark.parametrize(
    ("record", "says_no_photos"),
    [
        ({"ListingKey": "A", "Media": []}, True),
        ({"ListingKey": "A", "Media": [], "PhotosCount": 0}, True),
        ({"ListingKey": "A", "Media": [], "PhotosCount": 4}, False),
        ({"ListingKey": "A", "Media": [], "PhotosCount": " 4"}, False),
        ({"ListingKey": "A"}, False),
        ({"ListingKey": "A", "Media": None}, False),
        ({"ListingKey": "A", "Media": [{"MediaKey": "a"}], "Media@odata.nextLink": "x"}, False),
    ],
)
async def test_media_is_empty_only_if_the_mls_counts_no_photos(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], says_no_photos: bool
) -> None:
    Scripted(reader, monkeypatch, Property=[record], Media=[])
    found = (await reader.records(["A"])).records["A"]
    assert ("Media" in found, found.get("Media")) == ((True, []) if says_no_photos else (False, None))


# The market


async def test_the_market_has_displayed_statuses_only_with_keys_timestamps_and_flags(
    mls: Sandbox, reader: FeedReader
) -> None:
    mls.withdraw(next(iter(all_of(mls))))
    rows = [row async for page in reader.market() for row in page]
    assert {row["ListingKey"] for row in rows} == set(list(all_of(mls))[1:])
    fields = {"ListingKey", "StandardStatus", "ModificationTimestamp", "MediaChangeTimestamp"}
    assert set(rows[0]) == fields | {"InternetEntireListingDisplayYN"}


async def test_no_query_ever_skips(reader: FeedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"ListingKey": key, "ModificationTimestamp": "2026-11-23T09:00:00Z", "Media": []} for key in "ABCDE"]
    script = Scripted(reader, monkeypatch, Property=rows)
    await changed(reader)
    async for _ in reader.market():
        pass
    assert len(script.queries) > 4
    assert not [query for query in script.queries if "$skip" in query]
    assert all(int(query["$top"]) <= 5 for query in script.queries)


async def test_the_photos_timestamp_of_reso_is_used_if_the_one_of_ampre_is_missing(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A", "PhotosChangeTimestamp": None}])
    assert await reader.timestamp_fields() == ("ModificationTimestamp", "PhotosChangeTimestamp")


async def test_an_mls_without_a_photos_timestamp_has_one_timestamp_field(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A"}])
    assert await reader.timestamp_fields() == ("ModificationTimestamp",)


def test_groups_of_keys_fit_into_a_request() -> None:
    keys = [f"{number:010}" for number in range(120)]
    assert [len(group) for group in key_groups(keys)] == [50, 50, 20]
    assert [len(group) for group in key_groups(["x" * 700] * 5)] == [2, 2, 1]
    assert [len(group) for group in key_groups(["x" * 5_000, "y"])] == [1, 1]
    assert list(key_groups([])) == []
