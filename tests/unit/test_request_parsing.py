"""Parameters of a request: read as the models say, and refused with the right status otherwise."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.resolver import request_parsing
from services.resolver.models import (
    MAX_FEED_CHARACTERS,
    MAX_PARAMETER_CHARACTERS,
    Context,
    ListingQuery,
    ServeQuery,
    UrlQuery,
)
from services.resolver.request_parsing import Model
from shared.http_api.answers import ProblemFound

LONGEST, TOO_LONG = "x" * MAX_PARAMETER_CHARACTERS, "x" * (MAX_PARAMETER_CHARACTERS + 1)


def a_request(query: str, key: str = "") -> web.Request:
    return make_mocked_request("GET", f"/path{query}", match_info={"key": key})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ListingQuery()),
        ("?", ListingQuery()),
        ("?feed=a&context=search", ListingQuery(feed="a", context=Context.SEARCH)),
        ("?feed=&context=", ListingQuery()),
        ("?feed=a%20b%26%C3%A9&other=1&other=2", ListingQuery(feed="a b&é")),
        (f"?feed={'x' * MAX_FEED_CHARACTERS}", ListingQuery(feed="x" * MAX_FEED_CHARACTERS)),
        (f"?url={LONGEST}", UrlQuery(url=LONGEST)),
        ("?url=u&listing=L", UrlQuery(url="u", listing="L")),
        ("?id=i&variant=thumb&url=", ServeQuery(id="i", variant="thumb")),
        ("?url=u&listing=L", ServeQuery(url="u", listing="L")),
    ],
)
def test_parameters_are_read_as_the_model_says_and_others_are_ignored(query: str, expected: Model) -> None:
    assert request_parsing.query(a_request(query), type(expected)) == expected


@pytest.mark.parametrize(
    ("model", "query", "status", "detail"),
    [
        (ListingQuery, "?feed=a&feed=b", 400, "feed is given twice"),
        (ListingQuery, "?feed=a&feed=", 400, "feed is given twice"),
        (ListingQuery, f"?feed={'x' * (MAX_FEED_CHARACTERS + 1)}", 413, "feed is too long"),
        (ListingQuery, "?context=other", 422, "context must be one of view, search"),
        (UrlQuery, "", 400, "url is missing"),
        (UrlQuery, "?url=", 400, "url is missing"),
        (UrlQuery, f"?url=u&listing={TOO_LONG}", 413, "listing is too long"),
        (ServeQuery, "", 400, "name the image by either ?id= or ?url="),
        (ServeQuery, "?id=i&url=u", 400, "name the image by either ?id= or ?url="),
        (ServeQuery, f"?id=i&variant={TOO_LONG}", 413, "variant is too long"),
    ],
)
def test_invalid_parameters_are_refused_with_status_and_detail(
    model: type[Model], query: str, status: int, detail: str
) -> None:
    with pytest.raises(ProblemFound) as refused:
        request_parsing.query(a_request(query), model)
    assert (refused.value.status, refused.value.detail) == (status, detail)


@pytest.mark.parametrize(
    ("key", "status", "detail"), [(TOO_LONG, 413, "the key is too long"), ("\udcff", 400, "the key is not UTF-8")]
)
def test_a_listing_key_that_no_listing_can_have_is_refused(key: str, status: int, detail: str) -> None:
    assert request_parsing.listing_key(a_request("", LONGEST)) == LONGEST
    with pytest.raises(ProblemFound) as refused:
        request_parsing.listing_key(a_request("", key))
    assert (refused.value.status, refused.value.detail) == (status, detail)
