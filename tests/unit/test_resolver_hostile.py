"""What can a client learn from the resolver that knows no listing, or that sends malicious requests?"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.answering import Resolver, a_resolver
from tests.builders import FEED, KEY, a_downloaded_photo, a_listing, a_photo

HERE, ELSEWHERE, BOTH = "zq7-here", "zq7-elsewhere", "zq7-both"
MARK = "zq7<script>"
"""A part of everything that is sent, to recognise it in answers."""
MISSING = a_photo("b")
LISTING = a_listing(a_downloaded_photo("a"), MISSING)
UNKNOWN_ID = "0" * 32
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
async def resolver() -> AsyncIterator[Resolver]:
    """A resolver that does not wait for downloads, with listings in several feeds."""
    in_feeds = [
        a_listing(a_downloaded_photo(key=key, feed=feed), key=key, feed=feed)
        for feed, key in ((HERE, "A"), (ELSEWHERE, "B"), (HERE, BOTH), (ELSEWHERE, BOTH))
    ]
    async with a_resolver(LISTING, *in_feeds, serve_wait_seconds=0) as running:
        yield running


async def test_the_placeholder_is_small_and_has_its_text_for_eyes_and_screen_readers(resolver: Resolver) -> None:
    answer = await resolver.http.get(f"/api/images/serve?id={MISSING.id}")
    body = await answer.read()
    assert (answer.status, answer.headers["Content-Type"], len(body) < 2_000) == (503, "image/svg+xml", True)
    picture = ElementTree.fromstring(body)  # noqa: S314 - the picture is ours, and the test is whether it can be parsed
    assert (picture.tag, picture.get("role"), picture[0].tag) == (f"{SVG}svg", "img", f"{SVG}title")
    assert [picture.findtext(f"{SVG}{tag}") for tag in ("title", "text")] == ["Photo on its way"] * 2
    assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b""), "nothing is loaded"


# Feeds

PATHS_OF_UNKNOWN = [
    "/api/listings/nobody/images?feed={}", "/api/images/resolve?url=http://nobody/&feed={}&listing=nobody",
    f"/api/images/serve?id={UNKNOWN_ID}&feed={{}}", f"/api/images/serve?id={UNKNOWN_ID}&variant={{}}",
    "/{}", "/assets/{}",
]  # fmt: skip


async def answer_with(resolver: Resolver, path: str, feed: str) -> tuple[object, ...]:
    """Return status, headers and body of the answer to a path with a feed in it, without its request id and date."""
    if path == "/api/images/resolve":
        request = resolver.http.post(path, json={"listing_keys": ["nobody"], "feed": feed})
    else:
        request = resolver.http.get(path.format(feed))
    answer = await request
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in ("x-request-id", "date")}
    return answer.status, headers, await answer.read()


@pytest.mark.parametrize("path", [*PATHS_OF_UNKNOWN, "/api/images/resolve"])
async def test_a_feed_that_exists_is_answered_like_one_that_does_not(resolver: Resolver, path: str) -> None:
    of_unknown = await answer_with(resolver, path, "zq7-nothing")
    for feed in (HERE, ELSEWHERE, FEED):
        assert await answer_with(resolver, path, feed) == of_unknown


async def test_no_route_names_a_feed_to_a_client_that_knows_no_listing_of_it(resolver: Resolver) -> None:
    for key in ("A", "B"):  # so that metrics by feed, if there were any, would name the feed
        assert (await resolver.http.get(f"/api/listings/{key}/images")).status == 200
    routes = [route for route in resolver.app.router.routes() if route.method in ("GET", "POST")]
    assert len(routes) >= 10
    for route in routes:
        path = re.sub("{.*?}", "nobody", route.resource.canonical if route.resource else "/")
        body = {"listing_keys": ["nobody", BOTH]} if route.method == "POST" else None
        answer = await resolver.http.request(route.method, path, json=body, headers={"Accept-Encoding": "identity"})
        text = (await answer.text()).replace(BOTH, "")
        assert "zq7" not in text + str(answer.headers), path
    ambiguous = await resolver.http.get(f"/api/listings/{BOTH}/images")
    assert (ambiguous.status, "zq7" in await ambiguous.text()) == (409, False)


# What requests contain

MARKED_REQUESTS = [
    ("GET", "/{}"), ("GET", "/api/{}"), ("GET", "/assets/{}"), ("GET", "/metrics/{}"),
    ("GET", "/api/listings/{}/images"), ("GET", "/api/listings/{}/images?context=view"),
    *(("GET", f"/api/listings/{KEY}/images?{query}") for query in ("context={}", "feed={}", "feed=a&feed={}")),
    *(("GET", f"/api/images/resolve?{query}") for query in ("url={}", "{}={}")),
    *(("GET", f"/api/images/serve?{query}") for query in ("id={}", "url={}&listing={}")),
    *(("GET", f"/api/images/serve?id={MISSING.id}&{query}") for query in ("variant={}", "{}={}")),
    ("DELETE", "/api/images/{}"), ("PUT", "/api/images/serve?{}"), ("POST", "/api/images/resolve?{}={}"),
]  # fmt: skip
BODIES = [
    MARK, json.dumps(MARK), json.dumps({MARK: MARK}), json.dumps({"listing_keys": MARK}),
    f'{{"listing_keys": ["{MARK}"', json.dumps({"listing_keys": [{MARK: MARK}]}),
    json.dumps({"listing_keys": ["a"], "context": MARK}),
    json.dumps({"listing_keys": ["a"], "photos_per_listing": MARK}), json.dumps({"listing_keys": [MARK] * 201}),
]  # fmt: skip
HEADERS = dict.fromkeys(
    [
        "Accept", "Accept-Language", "Content-Type", "Cookie", "Forwarded", "If-None-Match", "Origin", "Range",
        "Referer", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Original-URL", "X-Request-Id",
    ],
    MARK,
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), MARKED_REQUESTS)
async def test_an_error_or_placeholder_repeats_nothing_of_path_query_or_headers(
    resolver: Resolver, method: str, path: str
) -> None:
    marks = (quote(MARK, safe=""), MARK.removesuffix("<script>"))
    for mark, headers in itertools.product(marks, (HEADERS, HEADERS | {"Expect": MARK})):
        answer = await resolver.http.request(method, path.replace("{}", mark), headers=headers)
        assert answer.status >= 400
        assert "zq7" not in await answer.text() + str(answer.headers)


@pytest.mark.parametrize("body", BODIES)
async def test_an_error_repeats_nothing_of_a_body(resolver: Resolver, body: str) -> None:
    answer = await resolver.http.post("/api/images/resolve", data=body, headers=HEADERS)
    assert answer.status in (400, 413, 422)
    assert "zq7" not in await answer.text() + str(answer.headers)


# Addresses and heads that could be parsed in two ways

INJECTIONS = [
    "%0d%0aX-Evil:%201", "%0D%0A%0D%0A<script>", "%0a", "%00", "..", "../..", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f",
    "%2e%2e/%2e%2e/metrics", "..%5c..%5c", "%c0%ae%c0%ae/", "%E5%98%8D%E5%98%8AX-Evil:1", "//evil.example.com/",
    "a" * 9_000, "%0d%0a" * 2_000,
]  # fmt: skip
TARGETS = [
    "/{}", "/api/listings/{}/images", "/assets/{}", "/api/images/serve?id={}", "/api/images/serve?url={}",
    f"/api/images/serve?id={MISSING.id}&variant={{}}", f"/api/listings/{KEY}/images?feed={{}}",
    "/api/images/resolve?url={}&listing={}",
]  # fmt: skip


async def exchanged(port: int, sent: bytes) -> list[tuple[int, bytes, bytes]]:
    """Send bytes over a connection of their own; return status, head and body of each answer until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()
    answers = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        answers.append((int(head[9:12]), head, rest[:length]))
        rest = rest[length:]
    return answers


@pytest.mark.parametrize("target", TARGETS)
async def test_no_part_of_an_address_becomes_a_header_or_another_address(resolver: Resolver, target: str) -> None:
    for injected in INJECTIONS:
        path = target.replace("{}", injected).encode()
        sent = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\r\nConnection: close\r\n\r\n"
        ((status, head, body),) = await exchanged(resolver.port, sent)
        assert status in (400, 404, 413), (injected, head)
        assert b"application/problem+json" in head
        assert b"evil" not in (head + body).lower()
        assert b"script" not in body


START = b"GET /api/images/serve?id=x HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /api/images/resolve HTTP/1.1\r\nHost: a\r\n"
SECOND = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a\rX-Evil: 1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        START + b"X-Request-Id: a\rX-Evil: 1\r\n\r\n",
        START + b"X-Request-Id: a\x00b\r\n\r\n",
        START + b"X-Request-Id: a\r\n X-Evil: folded\r\n\r\n",
        START + b"Origin : https://evil.example.com\r\n\r\n",
        POST + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\n" + SECOND,
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND,
        POST + b"Content-Length: -1\r\n\r\n" + SECOND,
        POST + b"Content-Length: +1\r\n\r\n" + SECOND,
    ],
)
async def test_a_head_that_could_be_parsed_in_two_ways_gets_400(resolver: Resolver, sent: bytes) -> None:
    ((status, head, body),) = await exchanged(resolver.port, sent)
    assert (status, json.loads(body)["status"]) == (400, 400)
    assert b"evil" not in (head + body).lower()
