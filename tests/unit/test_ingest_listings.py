"""Property records over HTTP: accepted ones are on Kafka before the answer, and each refused one has a reason."""

import asyncio
import gzip
import io
import json
from typing import Any

import aiohttp
import pytest

from services.ingest import body, decide, listings_route
from shared.events.topics import LISTING_SEEN, MAX_RECORD_BYTES
from tests.builders import FEED, Row, a_record, a_row
from tests.ingesting import OTHER_TOKEN, TOKEN, RunningIngest, an_ingest

A, B = a_record(a_row("a"), key="A"), a_record(a_row("b"), key="B")
PATH = f"/api/listings?feed={FEED}"
NDJSON = "application/x-ndjson"


async def send(
    ingest: RunningIngest, data: bytes | str, content_type: str = "application/json", path: str = PATH, **headers: str
) -> tuple[int, Any]:
    """Send a body; return the status and the JSON of the answer."""
    given = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    given_body = io.BytesIO(data.encode() if isinstance(data, str) else data)
    async with ingest.http.post(path, data=given_body, headers=given) as answer:
        kind = "application/json" if answer.status < 400 else "application/problem+json"
        assert (answer.content_type, answer.headers["Cache-Control"]) == (kind, "no-store")
        assert (answer.status in (429, 503)) == ("Retry-After" in answer.headers)
        return answer.status, await answer.json(content_type=None)


def lines(*records: Row) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


@pytest.mark.parametrize(
    ("text", "content_type", "records"),
    [
        (json.dumps(A), "application/json", [A]),
        (json.dumps([A, B]), "application/json", [A, B]),
        (json.dumps({"@odata.context": "x", "value": [A, B]}, indent=1), "application/json; charset=utf-8", [A, B]),
        (lines(A, B), NDJSON, [A, B]),
        ("\ufeff" + lines(A), NDJSON, [A]),
    ],
    ids=["record", "array", "page", "ndjson", "byte order mark"],
)
@pytest.mark.parametrize("is_gzipped", [False, True])
async def test_records_of_every_form_are_published_unchanged(
    text: str, content_type: str, records: list[Row], *, is_gzipped: bool
) -> None:
    async with an_ingest() as ingest:
        data, headers = (gzip.compress(text.encode()), {"Content_Encoding": "gzip"}) if is_gzipped else (text, {})
        status, answer = await send(ingest, data, content_type, **headers)
        assert (status, answer) == (202, {"accepted": len(records), "refused": []})
        assert [event["property"] for event in ingest.published()] == records
        assert {record.topic for record in ingest.broker.records} == {LISTING_SEEN}
        assert {event["feed"] for event in ingest.published()} == {FEED}


async def test_an_impossible_record_is_refused_by_its_place_and_the_others_are_published() -> None:
    huge = {"ListingKey": "H", "PublicRemarks": "x" * MAX_RECORD_BYTES}
    impossible = [{"City": "Toronto"}, {**A, "Media": 7}, huge]
    text = lines(A, *impossible) + "not JSON\n" + lines(B) + '{"ListingKey": "S", "PublicRemarks": "\\ud83d"}'
    async with an_ingest() as ingest:
        status, answer = await send(ingest, text, NDJSON)
        assert (status, answer["accepted"]) == (202, 3)
        refused = {refusal["index"]: refusal["listing_key"] for refusal in answer["refused"]}
        assert refused == {1: None, 2: "A", 3: "H", 4: None}
        assert all(refusal["reason"] for refusal in answer["refused"])
        assert [event["property"]["ListingKey"] for event in ingest.published()] == ["A", "B", "S"]
        assert ingest.metric("listing_images_ingest_records_total", outcome="refused") == 4


@pytest.mark.parametrize(
    ("text", "content_type", "path", "status"),
    [
        ("", "application/json", PATH, 400),
        ("not JSON", "application/json", PATH, 400),
        (json.dumps([A, B])[:-2], "application/json", PATH, 400),
        ("[" * 100_000, "application/json", PATH, 400),
        ('{"ListingKey": ' + "1" * 5_000 + "}", "application/json", PATH, 400),
        ("[]", "application/json", PATH, 422),
        ('{"City": "Toronto"}', "application/json", PATH, 422),
        (json.dumps(A), "application/json", "/api/listings", 400),
        (json.dumps(A), "application/json", f"{PATH}&feed={FEED}", 400),
        (json.dumps(A), "application/json", "/api/listings?feed=other", 422),
        (json.dumps(A), "text/plain", PATH, 415),
        (json.dumps(A), "application/x-www-form-urlencoded", PATH, 415),
    ],
)
async def test_a_request_that_cannot_be_used_publishes_nothing(
    text: str, content_type: str, path: str, status: int
) -> None:
    async with an_ingest() as ingest:
        assert (await send(ingest, text, content_type, path))[0] == status
        assert not ingest.broker.records


@pytest.mark.parametrize("encoding", ["br", "utf-8", "gzip, gzip"])
async def test_another_content_encoding_is_refused(encoding: str) -> None:
    async with an_ingest() as ingest:
        headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
        async with ingest.http.post(PATH, data=json.dumps(A), headers=headers) as answer:
            assert answer.status in (400, 415)
        assert not ingest.broker.records


async def test_a_body_that_is_not_gzip_is_refused() -> None:
    async with an_ingest() as ingest:
        assert (await send(ingest, json.dumps(A), Content_Encoding="gzip"))[0] == 400


async def test_a_body_that_inflates_beyond_the_limit_is_refused_before_it_is_read_whole() -> None:
    bomb = gzip.compress(b"[" + b" " * (body.MAX_BODY_BYTES + 1_000_000) + b"]")
    async with an_ingest() as ingest:
        assert (await send(ingest, bomb, Content_Encoding="gzip"))[0] == 413
        assert not ingest.broker.records


async def test_more_records_than_the_limit_are_refused_and_none_is_published() -> None:
    records = [{"ListingKey": str(number)} for number in range(decide.MAX_RECORDS + 1)]
    async with an_ingest() as ingest:
        assert (await send(ingest, json.dumps(records)))[0] == 413
        assert not ingest.broker.records
        assert (await send(ingest, json.dumps(records[1:])))[1] == {"accepted": decide.MAX_RECORDS, "refused": []}


async def test_nothing_is_accepted_while_kafka_does_not_answer() -> None:
    async with an_ingest() as ingest:
        ingest.broker.is_unavailable = True
        assert (await send(ingest, json.dumps(A)))[0] == 503
        ingest.broker.is_unavailable = False
        assert (await send(ingest, json.dumps(A)))[0] == 202


async def test_too_many_requests_at_a_time_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings_route, "_MAX_REQUESTS", 0)
    async with an_ingest() as ingest:
        assert (await send(ingest, json.dumps(A)))[0] == 429


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 202), (f"bearer {OTHER_TOKEN}", 202), ("", 401), (TOKEN, 401), (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN[:-1]}", 401), (f"Bearer {TOKEN}, {OTHER_TOKEN}", 401), ("Bearer ", 401),
        ("Bearer \u00e9", 401),
    ],
)  # fmt: skip
async def test_only_a_client_with_one_of_the_tokens_is_let_in(authorization: str, status: int) -> None:
    async with an_ingest() as ingest:
        assert (await send(ingest, json.dumps(A), Authorization=authorization))[0] == status
        assert len(ingest.broker.records) == (status == 202)


async def test_without_a_token_nobody_is_let_in_and_probes_are_answered() -> None:
    async with an_ingest(tokens="") as ingest:
        assert (await send(ingest, json.dumps(A)))[0] == 401
        for path in ("/healthz", "/metrics", "/api/openapi.json", "/api/docs"):
            async with ingest.http.get(path, headers={"Authorization": ""}) as answer:
                assert answer.status == 200, path


async def test_an_unknown_address_or_method_is_a_problem() -> None:
    async with an_ingest() as ingest:
        async with ingest.http.get("/api/nothing") as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")
        async with ingest.http.get(PATH) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")


async def test_a_client_that_leaves_frees_its_place() -> None:
    async with an_ingest() as ingest:
        for _ in range(listings_route._MAX_REQUESTS + 1):
            with pytest.raises((aiohttp.ClientError, TimeoutError)):
                await ingest.http.post(
                    PATH, data=_endless(), headers={"Content-Type": NDJSON}, timeout=aiohttp.ClientTimeout(0.2)
                )
        assert (await send(ingest, json.dumps(A)))[0] == 202


async def test_a_client_that_stops_sending_is_refused_and_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_MAX_SECONDS", 0.2)
    monkeypatch.setattr(listings_route, "_MAX_REQUESTS", 1)
    has_answer = asyncio.Event()

    async def stalled() -> Any:
        yield b'{"ListingKey": "A"}\n'
        await has_answer.wait()

    async with an_ingest() as ingest, asyncio.timeout(20):
        async with ingest.http.post(PATH, data=stalled(), headers={"Content-Type": NDJSON}) as answer:
            assert answer.status == 400
        has_answer.set()
        assert (await send(ingest, json.dumps(A)))[0] == 202


async def _endless() -> Any:
    """Yield the beginning of a body, and then fail, as a client does whose connection breaks."""
    yield b'{"ListingKey": "A"}\n'
    raise ConnectionResetError("the client is gone")
