"""The API's description is true: each status that it names occurs, with the described headers and body."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest

from local.sandbox import Sandbox
from services.resolver import models
from services.resolver.operations import API
from shared.http_api import operations
from shared.http_api.description import openapi
from tests.system import System, until

PAGE: Mapping[str, Any] = {"listing_keys": ["{key}"]}
TOO_LONG = "x" * 8_001
QUESTIONS: Mapping[tuple[str, int], Mapping[str, Any]] = {
    ("listListingImages", 200): {"url": "/api/listings/{key}/images"},
    ("listListingImages", 304): {"url": "/api/listings/{key}/images", "held": "*"},
    ("listListingImages", 400): {"url": "/api/listings/{key}/images?feed=a&feed=b"},
    ("listListingImages", 404): {"url": "/api/listings/nowhere/images"},
    ("listListingImages", 409): {"url": "/api/listings/{twice}/images"},
    ("listListingImages", 413): {"url": f"/api/listings/{{key}}/images?feed={TOO_LONG}"},
    ("listListingImages", 422): {"url": "/api/listings/{key}/images?context=hover"},
    ("resolveListings", 200): {"json": PAGE},
    ("resolveListings", 304): {"json": PAGE, "held": "*"},
    ("resolveListings", 400): {"content": b"{"},
    ("resolveListings", 413): {"json": {"listing_keys": ["a"] * 201}},
    ("resolveListings", 422): {"json": {}},
    ("resolveImageUrl", 200): {"url": "/api/images/resolve?url={announced}"},
    ("resolveImageUrl", 304): {"url": "/api/images/resolve?url={announced}", "held": "*"},
    ("resolveImageUrl", 400): {"url": "/api/images/resolve"},
    ("resolveImageUrl", 404): {"url": "/api/images/resolve?url=http://nowhere/1.jpg"},
    ("resolveImageUrl", 413): {"url": f"/api/images/resolve?url={TOO_LONG}"},
    ("serveImage", 302): {"url": "/api/images/serve?id={image}"},
    ("serveImage", 304): {"url": "/api/images/serve?id={image}", "held": "*"},
    ("serveImage", 400): {"url": "/api/images/serve"},
    ("serveImage", 404): {"url": "/api/images/serve?id=nothing"},
    ("serveImage", 413): {"url": f"/api/images/serve?url={TOO_LONG}"},
    ("serveImage", 503): {"url": "/api/images/serve?id={slow}"},
}
"""Without the database's own 503, which the tests of outages ask for."""
DESCRIBED: Mapping[tuple[str, int], tuple[str, str, Mapping[str, Any]]] = {
    (operation["operationId"], int(status)): (method, path, answer)
    for path, methods in openapi(API)["paths"].items()
    for method, operation in methods.items()
    for status, answer in operation["responses"].items()
}


def test_every_status_that_is_described_is_asked_for() -> None:
    away = {(operation, 503) for operation, _ in DESCRIBED} - {("serveImage", 503)}
    assert set(QUESTIONS) == set(DESCRIBED) - away


@pytest.fixture(scope="module")
async def names(whole: System, mls: Sandbox, several_keys: Iterator[str]) -> AsyncIterator[Mapping[str, str]]:
    """A listing with photos, one in two feeds, and one whose photos are slow for as long as they are needed."""
    records: dict[str, Any] = {
        name: mls.market.property(mls.market.listing(next(several_keys))) for name in ("key", "twice", "slow")
    }
    keys = {name: str(record["ListingKey"]) for name, record in records.items()}
    mls.misbehave(kind="slow", listing=keys["slow"], delay_seconds=30)
    await whole.publish_listings(*records.values())
    await whole.publish_listings(records["twice"], feed="other")
    images = await whole.wait_until_downloaded(keys["key"], 4)
    for name, feed in (("twice", "sandbox"), ("twice", "other"), ("slow", "sandbox")):
        await until(lambda name=name, feed=feed: whole.images(keys[name], feed=feed, context="search"), name)  # type: ignore[misc]
    announced = str(httpx.QueryParams({"url": records["key"]["Media"][0]["MediaURL"]}))[4:]
    slow = (await whole.images(keys["slow"], context="search"))[0]["id"]
    yield {**keys, "announced": announced, "image": images[0]["id"], "slow": slow}
    mls.behave()


@pytest.mark.parametrize(("operation", "status"), QUESTIONS)
async def test_an_answer_is_as_described(whole: System, names: Mapping[str, str], operation: str, status: int) -> None:
    method, path, described = DESCRIBED[operation, status]
    question = QUESTIONS[operation, status]
    body = {name: question[name] for name in ("json", "content") if name in question}
    if "json" in body:
        body["json"] = {name: [text.format(**names) for text in value] for name, value in body["json"].items()}
    headers = {"If-None-Match": question["held"]} if "held" in question else {}
    answer = await whole.http.request(method, question.get("url", path).format(**names), headers=headers, **body)

    assert answer.status_code == status, answer.text
    assert set(described.get("headers", {})) <= {name.title().replace("Etag", "ETag") for name in answer.headers}
    content = described.get("content")
    if content is None:
        assert answer.content == b""
        return
    schema = content[answer.headers["Content-Type"].split(";")[0]]["schema"]
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        model = operations.Problem if name == "Problem" else getattr(models, name)
        assert (
            answer.json() == model.model_validate(answer.json(), strict=False).model_dump(mode="json") | answer.json()
        )
    else:
        assert answer.text.startswith("<svg")
