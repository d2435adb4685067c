"""How does the client ask an MLS? Within its limits, whatever the MLS answers; no other host gets the token."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import Any

import pytest
from aiohttp import web

from shared.reso.next_links import next_url
from shared.reso.odata import MlsClient, MlsFailure, MlsUnavailable, ODataPage
from tests.builders import a_feed

TOKEN = "s3cret"
NO_TOKEN: Mapping[str, Any] = {"allow_private_addresses": True}
WITH_TOKEN = {**NO_TOKEN, "reso_token_env": "MLS_TOKEN"}
Answer = Callable[[web.Request], web.StreamResponse]


class Mls:
    """An MLS on loopback that gives each request the next of its answers, and the last one to all further requests."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    def client(self, rules: Mapping[str, Any] = NO_TOKEN, token: str = TOKEN, **bounds: Any) -> MlsClient:
        bounds = {"pause_seconds": 0.0, **bounds}
        return MlsClient(a_feed(reso_url=f"{self.url}/odata", **rules), token, **bounds)

    async def ask(self, client: MlsClient | None = None, options: Mapping[str, str] | None = None) -> ODataPage:
        client = client or self.client()
        try:
            return await client.page("Property", options or {})
        finally:
            await client.aclose()

    async def fails(self, client: MlsClient | None = None) -> MlsUnavailable:
        with pytest.raises(MlsUnavailable) as caught:
            await self.ask(client)
        return caught.value


@pytest.fixture
async def mls() -> AsyncIterator[Mls]:
    found = Mls()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def rows(*keys: str, link: str | None = None) -> Answer:
    body = {"value": [{"ListingKey": key} for key in keys], **({"@odata.nextLink": link} if link else {})}
    return lambda _: web.json_response(body)


def status(number: int, **headers: str) -> Answer:
    return lambda _: web.Response(status=number, text="<h1>sorry</h1>", headers=headers)


def body(data: bytes, **headers: str) -> Answer:
    return lambda _: web.Response(body=data, headers=headers)


# Requests


async def test_a_query_is_escaped_and_sent_without_cookies_or_referer(mls: Mls) -> None:
    mls.answers = [rows("C1")]
    page = await mls.ask(options={"$filter": "ListingKey in ('a&b','c''d é')", "$top": "5"})
    (request,) = mls.requests
    assert (request.path, page.rows, page.next_link) == ("/odata/Property", [{"ListingKey": "C1"}], None)
    assert request.query == {"$filter": "ListingKey in ('a&b','c''d é')", "$top": "5"}
    assert request.headers["Accept-Encoding"] == "gzip"
    assert request.headers["User-Agent"].startswith("listing-images/")
    assert not {"Authorization", "Cookie", "Referer"} & set(request.headers)


async def test_two_requests_are_a_pause_apart(mls: Mls) -> None:
    mls.answers = [rows("a", link="?next=1"), rows("b", link="?next=2"), rows("c")]
    client, began = mls.client(pause_seconds=0.1), monotonic()
    pages = [page async for page in client.following(await client.page("Property", {}))]
    await client.aclose()
    assert [row["ListingKey"] for page in pages for row in page.rows] == ["a", "b", "c"]
    assert monotonic() - began >= 0.2


# The token


async def test_the_token_goes_with_every_request_to_the_mls(mls: Mls) -> None:
    mls.answers = [rows("a", link="?next=1"), rows("b")]
    client = mls.client(WITH_TOKEN)
    async for _ in client.following(await client.page("Property", {})):
        pass
    await client.aclose()
    assert [request.headers["Authorization"] for request in mls.requests] == ["Bearer s3cret"] * 2


@pytest.mark.parametrize(
    ("rules", "token", "message"),
    [
        (WITH_TOKEN, "", "there is no value for MLS_TOKEN"),
        ({"reso_token_env": "MLS_TOKEN"}, "s3cret", "a token goes over https only"),
    ],
)
async def test_no_request_is_sent_without_a_token_or_with_one_over_plain_http(
    mls: Mls, rules: Mapping[str, Any], token: str, message: str
) -> None:
    mls.answers = [rows()]
    error = await mls.fails(mls.client(rules, token))
    assert (error.failure, message in str(error), "s3cret" in str(error)) == (MlsFailure.REFUSED, True, False)
    assert mls.requests == []


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example.com/odata/Property?$skiptoken=abc", "//elsewhere.example.com/x?$skiptoken=abc",
        "http://127.0.0.1:1/odata/Property?$skiptoken=abc", "http://me:secret@127.0.0.1/odata?$skiptoken=abc",
        "ftp://127.0.0.1/Property?$skiptoken=abc", "/odata/Property?$skiptoken=abc", "Property?$skiptoken=abc",
    ],
)  # fmt: skip
async def test_the_query_of_any_next_link_is_asked_of_the_feeds_own_mls(mls: Mls, link: str) -> None:
    mls.answers = [rows("a", link=link), rows("b")]
    client = mls.client(WITH_TOKEN)
    pages = [page async for page in client.following(await client.page("Property", {}))]
    await client.aclose()
    assert [row["ListingKey"] for page in pages for row in page.rows] == ["a", "b"]
    assert mls.requests[1].path_qs == "/odata/Property?$skiptoken=abc"
    assert {request.host for request in mls.requests} == {mls.url.removeprefix("http://")}
    assert not {header for request in mls.requests for header in request.headers if header == "Referer"}


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("http://inner:8080/Property/replication?id=1", "/odata/Property/replication?id=1"),
        ("http://inner:8080/api/v3/odata/Property?id=1", "/odata/Property?id=1"),
        ("http://inner:8080/Properties?id=1", "/odata/Property?id=1"),
        ("/odata/Property/replication?id=1", "/odata/Property/replication?id=1"),
    ],
)
def test_a_link_of_a_machine_behind_a_proxy_names_the_resource_below_the_root(link: str, path: str) -> None:
    root = "https://mls.example.com/odata/"
    assert next_url(root, f"{root}Property?$top=5", link) == f"https://mls.example.com{path}"


@pytest.mark.parametrize(
    "link", ["http://[", "http://127.0.0.1:99999/", "Property", "?$top=5", "?a\0b", f"?{'a' * 70_000}"]
)
def test_a_link_that_names_no_other_page_is_none(link: str) -> None:
    root = "https://mls.example.com/odata/"
    assert next_url(root, f"{root}Property?$top=5", link) is None


async def test_the_next_page_may_be_named_by_a_header(mls: Mls) -> None:
    header = '<Property?$skip=1>; rel="next", <https://x.example.com/>; rel="first"'
    mls.answers = [body(b'{"value": [{"ListingKey": "a"}]}', Link=header), rows("b")]
    client = mls.client()
    pages = [page async for page in client.following(await client.page("Property", {}))]
    await client.aclose()
    assert [row["ListingKey"] for page in pages for row in page.rows] == ["a", "b"]
    assert mls.requests[1].query_string == "$skip=1"


async def test_a_redirect_is_not_followed(mls: Mls) -> None:
    mls.answers = [status(302, Location="http://elsewhere.example.com/")]
    assert "answered 302" in str(await mls.fails(mls.client(WITH_TOKEN)))


async def test_next_links_are_followed_a_hundred_times_at_most(mls: Mls) -> None:
    mls.answers = [rows("a", link=f"?again={number % 2}") for number in range(150)]
    client = mls.client()
    pages = [page async for page in client.following(await client.page("Property", {}))]
    await client.aclose()
    assert len(pages) == 101


# Failures


@pytest.mark.parametrize(
    ("answer", "failure", "requests"),
    [
        (status(400), MlsFailure.BAD_QUERY, 1),
        (status(501), MlsFailure.BAD_QUERY, 1),
        (status(401), MlsFailure.REFUSED, 1),
        (status(403), MlsFailure.REFUSED, 1),
        (status(429), MlsFailure.THROTTLED, 4),
        (status(404), MlsFailure.NO_RESOURCE, 1),
        (status(413), MlsFailure.BAD_QUERY, 1),
        (status(414), MlsFailure.BAD_QUERY, 1),
        (status(500), MlsFailure.MLS_ERROR, 4),
        (status(503), MlsFailure.MLS_ERROR, 4),
        (status(204), MlsFailure.MLS_ERROR, 4),
        (body(b"<html>Sorry</html>"), MlsFailure.BAD_ANSWER, 4),
        (body(b""), MlsFailure.BAD_ANSWER, 4),
        (body(b'{"value": ['), MlsFailure.BAD_ANSWER, 4),
        (body(b"[]"), MlsFailure.BAD_ANSWER, 4),
        (body(b'{"value": {}}'), MlsFailure.BAD_ANSWER, 4),
        (body(b'{"value": [1]}'), MlsFailure.BAD_ANSWER, 4),
        (body(b'{"error": {"code": "x"}}'), MlsFailure.BAD_ANSWER, 4),
        (body(b'{"error": {"code": "x"}, "value": []}'), MlsFailure.BAD_ANSWER, 4),
        (body(b"not gzip", **{"Content-Encoding": "gzip"}), MlsFailure.BAD_ANSWER, 4),
        (body(gzip.compress(b'{"value": []}')[:-9], **{"Content-Encoding": "gzip"}), MlsFailure.BAD_ANSWER, 4),
        (body(b"?", **{"Content-Encoding": "br"}), MlsFailure.BAD_ANSWER, 4),
    ],
)
async def test_each_failure_is_named_and_those_that_may_pass_are_tried_again(
    mls: Mls, answer: Answer, failure: MlsFailure, requests: int
) -> None:
    mls.answers = [answer]
    assert ((await mls.fails()).failure, len(mls.requests)) == (failure, requests)


async def test_a_request_succeeds_after_failures_that_pass(mls: Mls) -> None:
    mls.answers = [status(500), body(b"<html>"), status(429, **{"Retry-After": "0"}), rows("C1")]
    assert (await mls.ask()).rows == [{"ListingKey": "C1"}]


@pytest.mark.parametrize("number", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_waited_for(mls: Mls, number: int, form: str) -> None:
    now = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
    wait = "1" if form == "seconds" else format_datetime(now + timedelta(seconds=1), usegmt=True)
    mls.answers = [status(number, **{"Retry-After": wait}), rows("C1")]
    began = monotonic()
    await mls.ask(mls.client(clock=lambda: now))
    assert 0.9 <= monotonic() - began < 5


async def test_a_long_retry_after_is_reported_and_not_waited_for(mls: Mls) -> None:
    mls.answers = [status(429, **{"Retry-After": "3600"})]
    error = await mls.fails()
    assert (error.failure, error.wait_seconds, len(mls.requests)) == (MlsFailure.THROTTLED, 3600.0, 1)


async def test_a_body_is_read_up_to_the_limit_of_decompressed_bytes(mls: Mls) -> None:
    page = json.dumps({"value": [{"ListingKey": "C1", "PublicRemarks": "x" * 1_000}]}).encode()
    mls.answers = [body(gzip.compress(page), **{"Content-Encoding": "gzip"})]
    assert len((await mls.ask(mls.client(max_bytes=len(page)))).rows) == 1
    error = await mls.fails(mls.client(max_bytes=len(page) - 1))
    assert (error.failure, len(mls.requests)) == (MlsFailure.TOO_LARGE, 2)
    mls.answers = [body(page)]
    assert (await mls.fails(mls.client(max_bytes=len(page) - 1))).failure is MlsFailure.TOO_LARGE


async def test_a_compressed_body_that_grows_beyond_the_limit_is_refused(mls: Mls) -> None:
    mls.answers = [body(gzip.compress(b" " * 20_000_000), **{"Content-Encoding": "gzip"})]
    assert (await mls.fails(mls.client(max_bytes=1_000_000))).failure is MlsFailure.TOO_LARGE


async def test_a_silent_mls_times_out_and_a_stopped_one_is_unreachable(mls: Mls) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"value": [')
        await asyncio.sleep(30)
        return response

    app = web.Application()
    app.router.add_get("/{path:.*}", silent)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    mls.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    assert (await mls.fails(mls.client(request_seconds=0.1))).failure is MlsFailure.TIMEOUT
    await runner.cleanup()
    assert (await mls.fails()).failure is MlsFailure.UNREACHABLE


async def test_no_error_message_has_the_url_or_the_token(mls: Mls) -> None:
    for answer in (status(500), status(401), body(b"<html>")):
        mls.answers = [answer]
        error = await mls.fails(mls.client(WITH_TOKEN))
        assert not [secret for secret in ("s3cret", "http://", "odata") if secret in str(error)], error


# Faults of characters


@pytest.mark.parametrize(
    ("text", "remarks"),
    [
        (b'{"value": [{"R": "half \\ud83c"}, {"R": "fine"}]}', ["half \ufffd", "fine"]),
        (b'\xef\xbb\xbf{"value": [{"R": "a"}, {"R": "b"}]}', ["a", "b"]),
        (b'{"value": [{"R": "d\xe9j\xe0 \x80 \x81"}, {"R": "\xc3\xa9"}]}', ["d\u00e9j\u00e0 \u20ac \ufffd", "\u00e9"]),
        (b'{"value": [{"R": "a\nb\tc"}, {"R": "\\ud83c\\udfe0"}]}', ["a\nb\tc", "\U0001f3e0"]),
        (b'{"value": [{"R": "half \xed\xa0\xbc"}, {"R": NaN}]}', ["half \ufffd", None]),
    ],
)
async def test_a_fault_of_characters_costs_no_record(mls: Mls, text: bytes, remarks: list[str | None]) -> None:
    mls.answers = [body(text)]
    found = [row["R"] for row in (await mls.ask()).rows]
    assert found == remarks
    json.dumps(found, ensure_ascii=False).encode()
