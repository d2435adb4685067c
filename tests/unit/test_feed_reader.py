"""How are listings read from an MLS? In pages, each with all of its photos; what is in doubt is not said."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import pytest

from local.sandbox import Sandbox
from services.scheduler.feed_reader import FeedReader, key_groups
from services.scheduler.odata import MlsClient, MlsUnavailable
from shared.domain.feed import parse_feeds
from tests.builders import after

LONG_AGO = after(-400 * 86_400)


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=7, photos=2, widest=320, token="t", cache=tmp_path) as running:
        yield running


@pytest.fixture
async def reader(mls: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FeedReader]:
    """A reader with small pages."""
    monkeypatch.setattr("services.scheduler.feed_reader._RECORD_PAGE_SIZE", 3)
    monkeypatch.setattr("services.scheduler.feed_reader._ROW_PAGE_SIZE", 5)
    feed = parse_feeds(mls.feeds_toml(reso_url=mls.web_api, reso_token_env="T"))["sandbox"]
    found = FeedReader(feed, MlsClient(feed, "t", pause_seconds=0.0))
    yield found
    await found.aclose()


def all_of(mls: Sandbox) -> dict[str, Any]:
    return by_key(mls.properties())


def by_key(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the records by key, their photos in one order: where they are read beside the record it is theirs."""
    return {
        record["ListingKey"]: {**record, "Media": sorted(record["Media"], key=lambda row: str(row["MediaKey"]))}
        for record in records
    }


async def changed(reader: FeedReader, field: str = "ModificationTimestamp", since: Any = LONG_AGO) -> list[Any]:
    return [record async for changes in reader.changes(field, since) for record in changes.records]


# With photos


@pytest.mark.parametrize("expands", [True, False])
async def test_records_come_whole_with_photos_expanded_or_beside_them(
    mls: Sandbox, reader: FeedReader, expands: bool
) -> None:
    mls.allow_expand(expands)
    wanted = list(all_of(mls))[2:5]
    found = await reader.records([*wanted, "nobody's"])
    assert by_key(found.values()) == {key: all_of(mls)[key] for key in wanted}


@pytest.mark.parametrize("expands", [True, False])
async def test_every_change_is_read_oldest_first_over_pages_and_links(
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
    assert [one["ListingKey"] for one in await changed(reader, "MediaChangeTimestamp", reached)][-1] == key
    assert key not in {one["ListingKey"] for one in await changed(reader, since=reached)}


async def test_many_changes_at_one_moment_are_all_read(mls: Sandbox, reader: FeedReader) -> None:
    for listing in mls.market.listings.values():
        listing.modified_at = "2026-11-23T09:00:00.123Z"
    assert {one["ListingKey"] for one in await changed(reader)} == set(all_of(mls))


@pytest.mark.parametrize("status", [400, 501])
async def test_expand_is_tried_once_where_it_is_refused(
    mls: Sandbox, reader: FeedReader, status: Literal[400, 501], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scheduler.feed_reader._ROW_PAGE_SIZE", 1_000)
    mls.allow_expand(False, status)
    for _ in range(3):
        await reader.records(list(all_of(mls))[:2])
    assert mls.requests["/odata/Property"] == 4
    assert mls.requests["/odata/Media"] == 3, "one for all the listings of a group"


async def test_a_refusal_that_is_not_about_expand_is_passed_on(mls: Sandbox, reader: FeedReader) -> None:
    with pytest.raises(MlsUnavailable, match="400"):
        await changed(reader, field="Not a field")
    mls.requests.clear()
    await reader.records(list(all_of(mls))[:2])
    assert mls.requests["/odata/Media"] == 0


# What is in doubt


class Scripted:
    """A client that gives rows by resource, whatever the query, and takes note of it."""

    def __init__(self, reader: FeedReader, monkeypatch: pytest.MonkeyPatch, **rows: list[dict[str, Any]]) -> None:
        self.asked: list[dict[str, str]] = []

        async def asked(url: Any) -> Any:
            from services.scheduler.odata import ODataPage

            resource = url.path.rpartition("/")[2]
            self.asked.append({"": resource, **dict(parse_qsl(url.query.decode()))})
            return ODataPage(rows.get(resource, []), None)

        monkeypatch.setattr(reader._client, "_request", asked)


async def test_rows_of_others_are_left_out(reader: FeedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    of_office = {"MediaKey": "o", "ResourceRecordKey": "A", "ResourceName": "Office"}
    mine, theirs = ({"MediaKey": key, "ResourceRecordKey": key, "ResourceName": "Property"} for key in "AB")
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A"}, {"ListingKey": "B"}], Media=[mine, theirs, of_office])
    assert await reader.records(["A"]) == {"A": {"ListingKey": "A", "Media": [mine]}}


@pytest.mark.parametrize(
    ("record", "says_no_photos"),
    [
        ({"ListingKey": "A", "Media": []}, True),
        ({"ListingKey": "A", "Media": [], "PhotosCount": 0}, True),
        ({"ListingKey": "A", "Media": [], "PhotosCount": 4}, False),
        ({"ListingKey": "A"}, False),
        ({"ListingKey": "A", "Media": None}, False),
        ({"ListingKey": "A", "Media": [{"MediaKey": "a"}], "Media@odata.nextLink": "x"}, False),
    ],
)
async def test_only_an_mls_that_is_sure_says_that_there_are_no_photos(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], says_no_photos: bool
) -> None:
    Scripted(reader, monkeypatch, Property=[record], Media=[])
    found = (await reader.records(["A"]))["A"]
    assert ("Media" in found, found.get("Media")) == ((True, []) if says_no_photos else (False, None))


# Which are on the market


async def test_the_market_is_read_by_key_with_timestamps_only(mls: Sandbox, reader: FeedReader) -> None:
    mls.withdraw(next(iter(all_of(mls))))
    rows = [row async for page in reader.market() for row in page]
    assert {row["ListingKey"] for row in rows} == set(list(all_of(mls))[1:])
    assert set(rows[0]) == {"ListingKey", "StandardStatus", "ModificationTimestamp", "MediaChangeTimestamp"}


async def test_no_query_ever_skips(reader: FeedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"ListingKey": key, "ModificationTimestamp": "2026-11-23T09:00:00Z", "Media": []} for key in "ABCDE"]
    script = Scripted(reader, monkeypatch, Property=rows)
    await changed(reader)
    async for _ in reader.market():
        pass
    assert len(script.asked) > 4
    assert not [asked for asked in script.asked if "$skip" in asked]
    assert all(int(asked["$top"]) <= 5 for asked in script.asked)


async def test_plain_resos_photo_clock_is_taken_where_ampres_is_missing(
    reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A", "PhotosChangeTimestamp": None}])
    assert await reader.timestamp_fields() == ("ModificationTimestamp", "PhotosChangeTimestamp")


async def test_an_mls_without_a_photo_clock_has_one_clock(reader: FeedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted(reader, monkeypatch, Property=[{"ListingKey": "A"}])
    assert await reader.timestamp_fields() == ("ModificationTimestamp",)


def test_groups_fit_into_a_request() -> None:
    keys = [f"{number:010}" for number in range(120)]
    assert [len(group) for group in key_groups(keys)] == [50, 50, 20]
    assert [len(group) for group in key_groups(["x" * 700] * 5)] == [2, 2, 1]
    assert [len(group) for group in key_groups(["x" * 5_000, "y"])] == [1, 1]
    assert list(key_groups([])) == []
