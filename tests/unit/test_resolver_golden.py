"""The resolver's HTTP answers stay as they are: status, headers and body of each route, in every case."""

import gzip
import json
from typing import Any

import aiohttp
from yarl import URL

from services.resolver.operations import API
from shared.domain.failures import Failure, Reason
from shared.http_api.description import openapi
from tests import examples, golden_files
from tests.answering import Resolver, a_resolver
from tests.builders import KEY, NOW, a_downloaded_photo, a_listing, a_photo

SHOWN = examples.shown()
IDS = {photo.caption or photo.url.split("/")[-1].removesuffix(".jpg"): photo.id for photo in SHOWN.photos}
GONE = a_photo("gone-at-origin", key="gone", failure=Failure(Reason.GONE), attempts=1, attempted_at=NOW)
LISTINGS = [
    SHOWN,
    a_listing(GONE, key="gone"),
    a_listing(key="no photos"),
    a_listing(a_downloaded_photo(key="both"), key="both"),
    a_listing(a_downloaded_photo(key="both", feed="other feed"), key="both", feed="other feed"),
    *(listing for name, listing in examples.listings().items() if name in {"hidden", "blocked"}),
]
LISTING = f"/api/listings/{KEY}/images"
POST = "POST /api/images/resolve"
URL_OF_A_COPY = "https%3A%2F%2Fphotos.example.com%2Fdownloaded.jpg"
UNKNOWN = "0" * 32
OF_EACH_TEXT = {"date", "content-length", "etag"}
"""Headers that differ with every change of a text, and with time."""

QUESTIONS: dict[str, dict[str, Any]] = {
    f"GET {LISTING}": {},
    f"GET {LISTING}?context=search&feed=proptx-idx": {},
    f"GET {LISTING}?feed=nobody": {},
    f"GET {LISTING}?context=other": {},
    f"GET {LISTING}?feed=a&feed=b": {},
    f"GET {LISTING}?feed=%FF": {},
    f"HEAD {LISTING}": {},
    f"OPTIONS {LISTING}": {"headers": {"Origin": "https://site.example.com", "Access-Control-Request-Method": "GET"}},
    f"DELETE {LISTING}": {},
    "GET /api/listings/both/images": {},
    "GET /api/listings/both/images?feed=other%20feed": {},
    "GET /api/listings/hidden/images": {},
    "GET /api/listings/blocked/images": {},
    "GET /api/listings/no%20photos/images": {},
    "GET /api/listings/unknown/images": {},
    f"{POST} (several)": {"json": {"listing_keys": [KEY, "gone", "both", "hidden", "unknown", KEY]}},
    f"{POST} (in one feed)": {
        "json": {"listing_keys": ["both"], "feed": "other feed", "photos_per_listing": 2, "context": "view"}
    },
    f"{POST} (no keys)": {"json": {"listing_keys": []}},
    f"{POST} (201 keys)": {"json": {"listing_keys": [str(number) for number in range(201)]}},
    f"{POST} (no JSON)": {"data": b"no JSON"},
    f"{POST} (too large)": {"data": b"x" * 1_000_001},
    f"{POST} (unknown field)": {"json": {"listing_keys": [KEY], "other": 1}},
    f"{POST} (wrong values)": {"json": {"listing_keys": 1, "photos_per_listing": "a", "context": "other", "feed": 2}},
    f"GET /api/images/resolve?url={URL_OF_A_COPY}": {},
    f"GET /api/images/resolve?url={URL_OF_A_COPY}&listing={KEY}": {},
    f"GET /api/images/resolve?url={URL_OF_A_COPY}&listing=other": {},
    "GET /api/images/resolve?url=https%3A%2F%2Fphotos.example.com%2Fsmall.jpg": {},
    "GET /api/images/resolve?url=unknown": {},
    "GET /api/images/resolve": {},
    f"GET /api/images/resolve?url={'x' * 8_001}": {},
    "PUT /api/images/resolve": {},
    f"GET /api/images/serve?id={IDS['downloaded']}": {},
    f"GET /api/images/serve?id={IDS['downloaded']}&variant=thumb": {},
    f"GET /api/images/serve?id={IDS['downloaded']}&variant=card": {},
    f"GET /api/images/serve?id={IDS['downloaded']}&variant=other": {},
    f"GET /api/images/serve?url={URL_OF_A_COPY}": {},
    f"GET /api/images/serve?id={IDS['outdated']}": {},
    f"GET /api/images/serve?id={IDS['released']}": {},
    f"GET /api/images/serve?id={IDS['released']}&variant=other": {},
    f"GET /api/images/serve?id={IDS['failed']}": {},
    f"GET /api/images/serve?id={IDS['spent']}": {},
    f"GET /api/images/serve?id={GONE.id}": {},
    f"GET /api/images/serve?id={GONE.id}&variant=other": {},
    f"GET /api/images/serve?id={UNKNOWN}": {},
    "GET /api/images/serve?url=unknown": {},
    "GET /api/images/serve": {},
    f"GET /api/images/serve?id={UNKNOWN}&url=unknown": {},
    "GET /healthz": {},
    "GET /readyz": {},
    "GET /nothing": {},
    "GET /assets/nothing": {},
}
LONG_TEXTS = [
    "/api/docs", "/api/openapi.json", "/metrics", "/assets/listing-photos.js", "/assets/listing-photos.d.ts",
    "/assets/listing-images-client.js", "/assets/thumbhash.js",
]  # fmt: skip


def lower_case(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Return an answer's headers, their names in lower case."""
    return {name.lower(): value for name, value in answer.headers.items()}


async def answer_to(resolver: Resolver, question: str, **given: Any) -> dict[str, Any]:
    """Send a request; return the answer's status, headers and body."""
    method, path = question.partition(" (")[0].split(" ", 1)
    headers = {"Accept-Encoding": "identity", "X-Request-Id": "golden", **given.pop("headers", {})}
    answer = await resolver.http.request(
        method, URL(path, encoded=True), allow_redirects=False, headers=headers, **given
    )
    body, found = await answer.read(), lower_case(answer)
    del found["date"]
    if found.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
        del found["content-length"]  # it depends on the version of zlib
    is_json = "json" in found.get("content-type", "") and body
    return {
        "status": answer.status,
        "headers": found,
        "body": json.loads(body) if is_json else body.decode().splitlines(),
    }


def shortened(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the answers with each repeated body replaced by its first request, and common headers listed once."""
    first: dict[str, str] = {}
    for question, answer in found.items():
        text = golden_files.to_json(answer["body"])
        if len(text) > 200 and first.setdefault(text, question) != question:
            answer["body"] = f"as of {first[text]}"
    return golden_files.common_headers_apart(found)


async def test_every_answer_stays() -> None:
    async with a_resolver(*LISTINGS, clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        found = {
            question.replace("x" * 8_001, "x…"): await answer_to(resolver, question, **given)
            for question, given in QUESTIONS.items()
        }
        golden_files.check("resolver/answers", shortened(found))


async def test_answers_to_conditional_requests_stay() -> None:
    async with a_resolver(*LISTINGS, clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        found = {}
        for path in (LISTING, f"/api/images/resolve?url={URL_OF_A_COPY}", f"/api/images/serve?id={IDS['downloaded']}"):
            etag = (await answer_to(resolver, f"GET {path}"))["headers"]["etag"]
            found[path] = await answer_to(resolver, f"GET {path}", headers={"If-None-Match": etag})
            packed = {"Accept-Encoding": "gzip"}
            found[f"{path} (gzip)"] = await answer_to(resolver, f"GET {path}", headers=packed)
        search = {"json": {"listing_keys": ["both", "unknown"]}}
        etag = (await answer_to(resolver, POST, **search))["headers"]["etag"]
        found[POST] = await answer_to(resolver, POST, **search, headers={"If-None-Match": etag})
        for answer in found.values():
            if isinstance(answer["body"], dict):
                answer["body"] = sorted(answer["body"])  # the other golden file has the bodies
        golden_files.check("resolver/conditional-answers", shortened(found))


async def test_answers_while_a_server_is_away_stay() -> None:
    async with a_resolver(*LISTINGS, clock=lambda: NOW, serve_wait_seconds=0, cors_origins="") as resolver:
        await answer_to(resolver, f"GET {LISTING}")
        resolver.parts.cache.invalidate_all()
        resolver.listings.is_unavailable = True
        resolver.health.is_started = True
        found = {
            question: await answer_to(resolver, question, **given)
            for question, given in (
                ("GET /api/listings/both/images", {}),
                (POST, {"json": {"listing_keys": ["both"]}}),
                (f"GET /api/images/resolve?url={URL_OF_A_COPY}", {}),
                (f"GET /api/images/serve?id={IDS['downloaded']}", {}),
                ("GET /readyz", {}),
            )
        }
        resolver.listings.is_unavailable = False
        found["GET /readyz (ready)"] = await answer_to(resolver, "GET /readyz")
        resolver.health.is_draining = True
        found["GET /readyz (draining)"] = await answer_to(resolver, "GET /readyz")
        resolver.health.stuck_topics = lambda: ["listing-seen"]
        found["GET /healthz (stuck)"] = await answer_to(resolver, "GET /healthz")
        golden_files.check("resolver/answers-while-away", shortened(found))


async def test_headers_of_long_texts_stay() -> None:
    async with a_resolver() as resolver:
        found = {}
        for path in LONG_TEXTS:
            headers = {"Accept-Encoding": "identity", "X-Request-Id": "golden"}
            answer = await resolver.http.head(path, headers=headers)
            lasting = {name: text for name, text in lower_case(answer).items() if name not in OF_EACH_TEXT}
            found[path] = {"status": answer.status, "headers": lasting, "body": ""}
        golden_files.check("resolver/long-texts", shortened(found))


async def test_the_routes_stay() -> None:
    async with a_resolver() as resolver:
        routes = {(route.method, route.resource.canonical) for route in resolver.app.router.routes() if route.resource}
        golden_files.check("resolver/routes", sorted(f"{method} {path}" for method, path in routes))


async def test_the_event_of_a_view_stays() -> None:
    async with a_resolver(*LISTINGS, clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        await resolver.begin_waiting(SHOWN.photos[0])
        (event, *_) = resolver.broker.records
        headers = {name: value.decode() for name, value in event.headers}
        golden_files.check(
            "resolver/view", {"topic": event.topic, "key": (event.key or b"").decode(), "headers": headers}
        )


def without_prose(value: Any) -> Any:
    """Return the value without descriptions and summaries, at any depth: people read these, programs do not."""
    if isinstance(value, dict):
        return {
            name: without_prose(part)
            for name, part in value.items()
            if name not in {"description", "summary"} or not isinstance(part, str)
        }
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def test_the_openapi_document_stays_but_for_its_prose() -> None:
    document = without_prose(openapi(API))
    del document["info"]["version"]
    golden_files.check("resolver/openapi", document)
