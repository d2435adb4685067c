"""Test the part of OData that the sandbox MLS supports."""

import pytest

from local.sandbox.odata import BadQuery, page, parse_filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("StandardStatus eq 'Active'", "ac"),
        ("StandardStatus ne 'Active' and ListPrice gt 5", "b"),
        ("ListPrice ge 10 or StandardStatus in ('Active','x') and City eq 'O''Hara'", "bc"),
        ("(ListPrice ge 10 or StandardStatus eq 'Active') and City eq null", "ab"),
        ("not (ListPrice lt 10)", "bc"),
        ("At ge 2026-11-23T10:00:00+01:00", "bc"),
        ("At lt 2026-11-23T09:00:00Z", "a"),
    ],
)
def test_a_filter_selects_records(text: str, expected: str) -> None:
    records = [
        {"k": "a", "StandardStatus": "Active", "ListPrice": 1, "City": None, "At": "2026-11-23T08:59:59.999Z"},
        {"k": "b", "StandardStatus": "Pending", "ListPrice": 10, "City": None, "At": "2026-11-23T09:00:00.000Z"},
        {"k": "c", "StandardStatus": "Active", "ListPrice": 10, "City": "O'Hara", "At": "2026-11-23T09:00:00.001Z"},
    ]
    assert "".join(str(record["k"]) for record in records if parse_filter(text).test(record)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"$filter": "ListingKey"}, {"$filter": "ListingKey like 'a'"}, {"$filter": "(A eq 1"}, {"$filter": "A eq 1 B"},
        {"$filter": "A eq #"}, {"$filter": "A eq 2026-99-99T00:00:00Z"}, {"$top": "1001"}, {"$skip": "100001"},
        {"$top": "-1"}, {"$orderby": "A sideways"},
    ],
)  # fmt: skip
def test_an_invalid_query_option_is_an_error(options: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        page([{"A": 1}], options)
