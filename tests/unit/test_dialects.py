"""What does the scheduler read from an MLS that cuts, refuses or ignores parts of a query? All that the MLS has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.reso.feed_reader import FeedReader
from shared.reso.odata import MlsFailure
from tests.dialects import Dialect, DialectMls, a_market

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
IN_FAILS = {failure: Dialect(in_failure=failure) for failure in (MlsFailure.BAD_QUERY, MlsFailure.MLS_ERROR)}
DIALECTS = {
    "standard": Dialect(),
    "links": Dialect(max_top=25, has_links=True),
    "cut at 25": Dialect(max_top=25),
    "cut at 100": Dialect(max_top=100),
    "over 100 refused": Dialect(max_top=100, refuses_top=True),
    "over 10 refused": Dialect(max_top=10, refuses_top=True),
    "no in": IN_FAILS[MlsFailure.BAD_QUERY],
    "no in, 500": IN_FAILS[MlsFailure.MLS_ERROR],
    "no in, five or": Dialect(in_failure=MlsFailure.BAD_QUERY, max_or=5),
    "no in, no or": Dialect(in_failure=MlsFailure.BAD_QUERY, max_or=0),
    "no or": Dialect(max_or=0),
    "no orderby": Dialect(sorts=False),
    "orderby ignored": Dialect(ignores_order=True, max_top=25),
    "no orderby, cut": Dialect(sorts=False, max_top=25),
    "numbers": Dialect(has_numeric_keys=True),
    "numbers, no in, cut": Dialect(has_numeric_keys=True, in_failure=MlsFailure.BAD_QUERY, max_top=25),
    "no expand": Dialect(expands=False),
    "no expand, cut": Dialect(expands=False, max_top=25),
    "no expand, no in, no or, no orderby, over 50 refused": Dialect(
        expands=False, in_failure=MlsFailure.BAD_QUERY, max_or=0, sorts=False, max_top=50, refuses_top=True
    ),
    "expanded rows cut": Dialect(max_expanded=1),
    "expanded rows cut, rows cut": Dialect(max_expanded=1, max_top=25),
    "compact statuses": Dialect(spaces=False),
    "encoded statuses": Dialect(spaces=False, statuses_are_encoded=True),
    "no select": Dialect(selects=False),
    "conditions after in ignored": Dialect(expands=False, ignores_after_in=True, max_top=25),
}


@pytest.fixture(params=DIALECTS, ids=str)
def mls(request: pytest.FixtureRequest) -> DialectMls:
    dialect = DIALECTS[request.param]
    return DialectMls(a_market(130, photos=3, numeric=dialect.has_numeric_keys), dialect)


def as_read(records: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the MediaKeys of records by ListingKey."""
    return {key: sorted(row["MediaKey"] for row in record["Media"]) for key, record in records.items()}


async def market_of(reader: FeedReader) -> set[str]:
    return {str(row["ListingKey"]) for rows in [page async for page in reader.market()] for row in rows}


async def test_the_whole_market_is_read(mls: DialectMls) -> None:
    assert await market_of(mls.reader()) == set(mls.records)


async def test_all_changes_are_read_with_all_photos(mls: DialectMls) -> None:
    reader, found, reached = mls.reader(), dict[str, Any](), LONG_AGO
    await reader.timestamp_fields()
    async for changes in reader.changes("ModificationTimestamp", LONG_AGO):
        found |= {str(record["ListingKey"]): record for record in changes.records}
        assert changes.reached >= reached
        reached = changes.reached
    assert as_read(found) == as_read(mls.records)
    assert reached == datetime(2026, 11, 20, 15, 2, 33, tzinfo=UTC)


async def test_records_are_read_by_key_and_those_that_the_mls_lacks_are_named(mls: DialectMls) -> None:
    reader, wanted = mls.reader(), list(mls.records)[30:75]
    await reader.timestamp_fields()
    found = await reader.records([*wanted, "999999"])
    assert as_read(found.records) == as_read({key: mls.records[key] for key in wanted})
    assert found.absent == {"999999"}


async def test_what_the_mls_refuses_is_asked_for_once(mls: DialectMls) -> None:
    reader = mls.reader()
    await market_of(reader)
    await reader.records(list(mls.records)[:45])
    learned = mls.queries.copy()
    mls.queries.clear()
    await market_of(reader)
    await reader.records(list(mls.records)[:45])
    mls.queries, repeated = [], mls.queries.copy()
    for resource, options in repeated:
        await mls.page(resource, options)  # raises if the MLS refuses the query
    assert len(repeated) <= len(learned)


async def test_an_mls_of_many_refusals_is_understood_within_sixty_queries() -> None:
    mls = DialectMls(a_market(3), DIALECTS["no expand, no in, no or, no orderby, over 50 refused"])
    await market_of(mls.reader())
    assert len(mls.queries) <= 60


# What an answer lacks


class Lacking(DialectMls):
    """An MLS whose answers with more than one row, or to more than one key, lack the listing `hidden`."""

    hidden: str

    def _page(self, resource: str, options: Mapping[str, str]) -> Any:
        found = super()._page(resource, options)
        if options.get("$filter") != f"ListingKey eq '{self.hidden}'":
            found.rows[:] = [row for row in found.rows if row.get("ListingKey") != self.hidden]
        return found


async def test_a_listing_that_comes_only_when_asked_for_alone_is_found() -> None:
    mls = Lacking(a_market(9))
    mls.hidden = "X0004"
    found = await mls.reader().records(list(mls.records))
    assert (set(found.records), found.absent) == (set(mls.records), frozenset())


async def test_an_answer_of_other_listings_is_no_proof_of_absence() -> None:
    class IgnoresFilters(DialectMls):
        def _page(self, resource: str, options: Mapping[str, str]) -> Any:
            return super()._page(resource, {name: text for name, text in options.items() if name != "$filter"})

    found = await IgnoresFilters(a_market(9)).reader().records(["unknown"])
    assert (found.records, found.absent) == ({}, frozenset())


@pytest.mark.parametrize("count", [3, "3", " 3 ", 3.0])
async def test_a_count_of_photos_without_rows_says_nothing_of_photos(count: object) -> None:
    mls = DialectMls(a_market(2))
    mls.records["X0000"] |= {"PhotosCount": count, "Media": []}
    found = (await mls.reader().records(list(mls.records))).records
    assert ("Media" in found["X0000"], len(found["X0001"]["Media"])) == (False, 2)


@pytest.mark.parametrize("count", [0, "0", None])
async def test_a_listing_without_photos_is_read_as_such(count: object) -> None:
    mls = DialectMls(a_market(2), Dialect(expands=False))
    mls.records["X0000"] |= {"PhotosCount": count, "Media": []}
    found = (await mls.reader().records(list(mls.records))).records
    assert (found["X0000"]["Media"], len(found["X0001"]["Media"])) == ([], 2)


async def test_rows_that_came_with_a_record_are_kept_if_the_mls_has_no_resource_for_them() -> None:
    mls = DialectMls(a_market(3, photos=3), Dialect(max_expanded=2, has_media=False))
    found = (await mls.reader().records(list(mls.records))).records
    assert {len(record["Media"]) for record in found.values()} == {2}
    assert sum(resource == "Media" for resource, _ in mls.queries) == 1


async def test_a_count_that_both_ways_of_reading_contradict_is_left_out() -> None:
    mls = DialectMls(a_market(2, photos=3))
    mls.records["X0000"] |= {"PhotosCount": 5}
    found = (await mls.reader().records(list(mls.records))).records
    assert ("PhotosCount" in found["X0000"], len(found["X0000"]["Media"])) == (False, 3)
    assert found["X0001"] == mls.records["X0001"]


async def test_rows_without_a_media_key_are_all_read() -> None:
    mls = DialectMls(a_market(3, photos=30), Dialect(expands=False, max_top=25))
    for record in mls.records.values():
        record["Media"] = [
            {name: value for name, value in row.items() if name != "MediaKey"} for row in record["Media"]
        ]
    found = (await mls.reader().records(list(mls.records))).records
    assert {len(record["Media"]) for record in found.values()} == {30}


async def test_an_mls_that_never_gives_the_rest_is_left_after_a_few_queries() -> None:
    mls = DialectMls(a_market(60), Dialect(filters=frozenset({"StandardStatus"}), ignores_skip=True, max_top=25))
    assert len(await market_of(mls.reader())) == 25
    assert len(mls.queries) < 60
