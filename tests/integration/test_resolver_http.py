"""Test the resolver's HTTP: caching headers, batch calls, HEAD, errors, CORS and the API's description."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from local.sandbox import Sandbox
from tests.system import System


def record_of(mls: Sandbox, key: str) -> Mapping[str, Any]:
    return mls.market.property(mls.market.listing(key))


@pytest.fixture(scope="module")
async def downloaded_key(whole: System, mls: Sandbox, several_keys: Iterator[str]) -> str:
    """Return the key of a listing whose photos are downloaded."""
    key = str(next(several_keys))
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    return key


@pytest.mark.parametrize("kind", ["listing", "page of results", "url"])
async def test_an_answer_has_an_etag_and_a_short_max_age(
    whole: System, mls: Sandbox, downloaded_key: str, kind: str
) -> None:
    async def ask(**headers: str) -> httpx.Response:
        match kind:
            case "listing":
                return await whole.http.get(f"/api/listings/{downloaded_key}/images", headers=headers)
            case "url":
                url = record_of(mls, downloaded_key)["Media"][0]["MediaURL"]
                return await whole.http.get("/api/images/resolve", params={"url": url}, headers=headers)
            case _:
                return await whole.http.post(
                    "/api/images/resolve", json={"listing_keys": [downloaded_key]}, headers=headers
                )

    answer = await ask()
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=2"
    etag = answer.headers["ETag"]
    assert (await ask(**{"If-None-Match": etag})).status_code == 304
    assert (await ask(**{"If-None-Match": f'"other", W/{etag}'})).status_code == 304
    assert (await ask(**{"If-None-Match": '"other"'})).status_code == 200


async def test_a_page_of_search_results_is_answered_by_one_call(whole: System, downloaded_key: str) -> None:
    body = {"listing_keys": [downloaded_key, "nowhere", downloaded_key], "photos_per_listing": 2}
    answer = (await whole.http.post("/api/images/resolve", json=body)).json()
    assert answer["unknown"] == ["nowhere"]
    assert answer["ambiguous"] == []
    assert list(answer["listings"]) == [downloaded_key]
    assert answer["listings"][downloaded_key]["feed"] == "sandbox"
    assert [image["order"] for image in answer["listings"][downloaded_key]["images"]] == [0, 1]


async def test_head_is_answered_like_get_without_a_body(whole: System, downloaded_key: str) -> None:
    answer = await whole.http.head(f"/api/listings/{downloaded_key}/images")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/listings/nowhere/images", None, 404),
        ("GET", "/api/listings/nowhere/images?context=hover", None, 422),
        ("GET", "/api/listings/nowhere/images?feed=a&feed=b", None, 400),
        ("GET", f"/api/listings/{'x' * 7000}/images", None, 404),
        ("GET", "/api/listings/%FF%FE/images", None, 404),
        ("GET", "/api/listings/%00/images", None, 404),
        ("GET", "/api/nothing", None, 404),
        ("GET", "/", None, 404),
        ("DELETE", "/api/images/resolve", None, 405),
        ("GET", "/api/images/resolve", None, 400),
        ("GET", "/api/images/resolve?url=http://nowhere/1.jpg", None, 404),
        ("POST", "/api/images/resolve", b"", 400),
        ("POST", "/api/images/resolve", b"{", 400),
        ("POST", "/api/images/resolve", b"\xff", 400),
        ("POST", "/api/images/resolve", b"[]", 422),
        ("POST", "/api/images/resolve", b"{}", 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":[]}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":"C1"}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":[1]}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":["a"],"photos_per_listing":0}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":["a"],"photos_per_listing":1e99}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":["a"],"photos_per_listing":true}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":["a"],"photos_per_listing":"2"}', 422),
        ("POST", "/api/images/resolve", b'{"listing_keys":["a"],"context":"x"}', 422),
        ("POST", "/api/images/resolve", b"[" * 100_000, 400),
        ("POST", "/api/images/resolve", json.dumps({"listing_keys": ["a"] * 201}).encode(), 413),
        ("POST", "/api/images/resolve", b" " * 2_000_000, 413),
    ],
)
async def test_invalid_requests_get_problem_json(
    whole: System, method: str, path: str, body: bytes | None, status: int
) -> None:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    answer = await whole.http.request(method, path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    problem = answer.json()
    assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (status, True, True)
    assert isinstance(problem["type"], str)


async def test_pages_of_any_site_may_call_the_api(whole: System, downloaded_key: str) -> None:
    answer = await whole.http.get(f"/api/listings/{downloaded_key}/images", headers={"Origin": "https://example.com"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    preflight = await whole.http.request("OPTIONS", "/api/images/resolve", headers=headers)
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_api_has_an_openapi_description_and_docs(whole: System, downloaded_key: str) -> None:
    document = (await whole.http.get("/api/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/api/listings/{ListingKey}/images",
        "/api/images/resolve",
        "/api/images/serve",
    }
    page = await whole.http.get("/api/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert all(path in page.text for path in document["paths"])
    assert "src=" not in page.text  # the page loads no script of another host
    image = (await whole.images(downloaded_key))[0]
    assert set(image) == set(document["components"]["schemas"]["Image"]["properties"])
