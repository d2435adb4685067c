"""Tests fetches against a real server on loopback: bodies, answers without a photo, connections, redirects, permits."""

import asyncio
import gzip
import hashlib
import sys
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.downloader.answers import Fetched, NotModified, Validators
from services.downloader.fetch import Fetcher
from shared.domain.failures import Failure, Reason
from tests.origins import (
    PHOTO,
    Origin,
    PhotoFetch,
    Reply,
    a_sandbox,
    answer,
    endlessly,
    failed,
    redirect,
    running,
    then_close,
)

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running(Origin()) as started:
        yield started


@pytest.fixture
async def fetch_photo(tmp_path: Path) -> AsyncIterator[PhotoFetch]:
    async with Fetcher({}, clock=lambda: NOW) as fetcher:
        yield PhotoFetch(fetcher, tmp_path)


def files_in(fetch_photo: PhotoFetch) -> list[Path]:
    return list(fetch_photo.into.iterdir())


# Bodies


async def test_a_photo_is_saved_to_a_new_file_with_its_size_hash_and_validators(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, ETag='"v1"', Last_Modified="Sun, 22 Nov 2026 09:00:00 GMT")
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host))
    assert isinstance(outcome, Fetched)
    assert outcome.path.read_bytes() == PHOTO
    assert files_in(fetch_photo) == [outcome.path]
    assert (outcome.file_size, outcome.sha256) == (len(PHOTO), hashlib.sha256(PHOTO).hexdigest())
    assert (outcome.etag, outcome.last_modified) == ('"v1"', "Sun, 22 Nov 2026 09:00:00 GMT")


GOOD_BODIES: dict[str, Reply] = {
    "203": answer(PHOTO, "203 Non-Authoritative Information"),
    "chunked": CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(PHOTO), PHOTO),
    "until closed": then_close(b"HTTP/1.0 200 OK\r\n\r\n" + PHOTO),
    "gzip unasked": answer(gzip.compress(PHOTO), Content_Encoding="gzip"),
    "deflate unasked": answer(zlib.compress(PHOTO), Content_Encoding="Deflate"),
    "gzip and then more": answer(gzip.compress(PHOTO) + b"\0" * 100_000, Content_Encoding="gzip"),
    "gzip without a word": answer(gzip.compress(PHOTO)),
    "gzip in small pieces": CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in gzip.compress(PHOTO)) + b"0\r\n\r\n",
    "gzip as deflate": answer(gzip.compress(PHOTO), Content_Encoding="deflate"),
    "a word for nothing": answer(PHOTO, Content_Encoding="gzip"),
    "deflate for nothing": answer(PHOTO, Content_Encoding="deflate"),
    **{word: answer(PHOTO, Content_Encoding=word) for word in ("UTF-8", "aws-chunked", "none", "br", "gzip, x")},
    "after hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(PHOTO),
}


@pytest.mark.parametrize("reply", GOOD_BODIES.values(), ids=GOOD_BODIES.keys())
async def test_a_good_body_is_saved_whatever_its_encoding_and_framing(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host))
    assert isinstance(outcome, Fetched), outcome
    assert outcome.path.read_bytes() == PHOTO


@pytest.mark.parametrize("photo", [b"x", b"\x78\x9cno zlib", b"\x1f"])
async def test_a_body_that_only_begins_like_a_compressed_one_is_kept(
    origin: Origin, fetch_photo: PhotoFetch, photo: bytes
) -> None:
    origin.replies["/photo.jpg"] = answer(photo, Content_Encoding="utf-8")
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host))
    assert isinstance(outcome, Fetched), outcome
    assert outcome.path.read_bytes() == photo


BOMB = answer(gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
BAD_BODIES: dict[str, tuple[Reply, Reason]] = {
    "empty": (answer(), Reason.BROKEN_BODY),
    "shorter than announced": (then_close(answer(PHOTO, length=len(PHOTO) + 1)), Reason.BROKEN_BODY),
    "chunks cut": (then_close(CHUNKED + b"ff\r\nabc"), Reason.BROKEN_BODY),
    "chunks without an end": (then_close(CHUNKED + b"3\r\nabc\r\n"), Reason.BROKEN_BODY),
    "chunks of garbage": (CHUNKED + b"zz\r\n\r\n\r\n", Reason.BROKEN_BODY),
    "gzip cut": (answer(gzip.compress(PHOTO)[:-50], Content_Encoding="gzip"), Reason.BROKEN_BODY),
    "gzip of nothing": (answer(gzip.compress(b""), Content_Encoding="gzip"), Reason.BROKEN_BODY),
    "announced too large": (answer(length=1_000_001), Reason.TOO_LARGE),
    "endless": (endlessly(PHOTO, b"HTTP/1.1 200 OK\r\n\r\n"), Reason.TOO_LARGE),
    "endless chunks": (endlessly(b"400\r\n" + b"a" * 1024 + b"\r\n", CHUNKED), Reason.TOO_LARGE),
    "gzip bomb": (BOMB, Reason.TOO_LARGE),
}


@pytest.mark.parametrize(("reply", "reason"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_body_is_a_failure_and_leaves_no_file(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply, reason: Reason
) -> None:
    origin.replies["/photo.jpg"] = reply
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), reason)
    assert files_in(fetch_photo) == []


async def test_a_file_that_is_too_large_is_reported_with_its_validators(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    for reply in (
        answer(length=1_000_001, ETag='"v1"'),
        endlessly(PHOTO, b'HTTP/1.1 200 OK\r\nETag: "v1"\r\n\r\n'),
    ):
        origin.replies["/photo.jpg"] = reply
        assert failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.TOO_LARGE).etag == '"v1"'
    origin.replies["/photo.jpg"] = answer(ETag='"v1"')
    assert failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.BROKEN_BODY).etag is None


CUT = PHOTO[:1_000]
GZIPPED = gzip.compress(PHOTO)
RECEIVED: dict[str, tuple[Reply, int]] = {
    "whole": (answer(PHOTO), len(PHOTO)),
    "compressed": (answer(GZIPPED, Content_Encoding="gzip"), len(GZIPPED)),
    "truncated": (then_close(answer(CUT, length=len(PHOTO))), 1_000),
    "chunks cut": (then_close(CHUNKED + b"3e8\r\n" + CUT), 1_000),
    "out of time in its middle": (endlessly(b"", answer(CUT, length=len(PHOTO))), 1_000),
    "an error's page": (answer(CUT, "404 Not Found"), 1_000),
    "not changed": (answer(status="304 Not Modified"), 0),
}


@pytest.mark.parametrize(("reply", "size"), RECEIVED.values(), ids=RECEIVED.keys())
async def test_every_received_byte_is_counted_whatever_the_outcome(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply, size: int
) -> None:
    origin.replies["/photo.jpg"] = reply
    await fetch_photo(origin.url(), a_sandbox(origin.host, seconds=0.5), Validators('"v1"', None))
    assert sum(fetch_photo.received) == size


async def test_of_a_body_that_is_too_large_the_bytes_read_are_counted(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/photo.jpg"] = endlessly(PHOTO, b"HTTP/1.1 200 OK\r\n\r\n")
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.TOO_LARGE)
    assert 1_000_000 < sum(fetch_photo.received) <= 1_000_000 + 65_536


async def test_the_body_of_a_redirect_is_counted_too(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/1"] = redirect("/photo.jpg")
    await fetch_photo(origin.url("/1"), a_sandbox(origin.host))
    assert sum(fetch_photo.received) == len(b"moved") + len(PHOTO)


async def test_a_connection_with_an_unread_body_is_closed(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/photo.jpg"] = endlessly(PHOTO, b"HTTP/1.1 200 OK\r\n\r\n")
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.TOO_LARGE)
    await asyncio.wait_for(origin.closed.wait(), 20)


@pytest.mark.parametrize("reply", [answer(PHOTO), then_close(b"HTTP/1.1 200 OK\r\n\r\n" + PHOTO)])
async def test_a_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(
    origin: Origin, fetch_photo: PhotoFetch, reply: Reply
) -> None:
    origin.replies["/photo.jpg"] = reply
    assert isinstance(await fetch_photo(origin.url(), a_sandbox(origin.host, max_bytes=len(PHOTO))), Fetched)
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host, max_bytes=len(PHOTO) - 1)), Reason.TOO_LARGE)


# Answers without a photo; what follows from each status is in test_answers


async def test_a_304_returns_not_modified_and_leaves_no_file(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/photo.jpg"] = answer(status="304 Not Modified", ETag='"v2"')
    outcome = await fetch_photo(origin.url(), a_sandbox(origin.host), Validators('"v1"', None))
    assert outcome == NotModified('"v2"', None)
    assert files_in(fetch_photo) == []


@pytest.mark.parametrize("validators", [None, Validators(None, None), Validators("", "é")])
async def test_a_304_to_an_unconditional_request_is_an_origin_error(
    origin: Origin, fetch_photo: PhotoFetch, validators: Validators | None
) -> None:
    origin.replies["/photo.jpg"] = answer(status="304 Not Modified")
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host), validators), Reason.ORIGIN_ERROR)


async def test_a_retry_after_date_is_compared_with_the_given_clock(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/photo.jpg"] = answer(b"slow down", "429 Slow", Retry_After="Mon, 23 Nov 2026 10:00:00 GMT")
    failure = failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.THROTTLED)
    assert failure == Failure(Reason.THROTTLED, "127.0.0.1 answered 429", 3600.0)


async def test_an_endless_error_page_still_has_its_reason_and_ends_before_the_deadline(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies["/photo.jpg"] = endlessly(b"x", b"HTTP/1.1 404 Not Found\r\n\r\n", pause=0.02)
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.GONE)
    await asyncio.wait_for(origin.closed.wait(), 20)


# Connections


async def test_a_connection_is_reused_after_a_photo_a_redirect_and_an_error(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies |= {"/moved": redirect("/photo.jpg"), "/gone": answer(b"no such photo", "404 Not Found")}
    for path in ("/photo.jpg", "/moved", "/gone", "/photo.jpg"):
        await fetch_photo(origin.url(path), a_sandbox(origin.host))
    assert (len(origin.requests), origin.connections) == (5, 1)


async def test_a_feed_has_no_more_connections_than_its_concurrency(origin: Origin, fetch_photo: PhotoFetch) -> None:
    feed = a_sandbox(origin.host, concurrency=2)
    outcomes = await asyncio.gather(*(fetch_photo(origin.url(), feed) for _ in range(8)))
    assert all(isinstance(outcome, Fetched) for outcome in outcomes)
    assert origin.connections == 2


async def test_closing_the_fetcher_closes_its_connections(origin: Origin, tmp_path: Path) -> None:
    async with Fetcher({}) as fetcher:
        await PhotoFetch(fetcher, tmp_path)(origin.url(), a_sandbox(origin.host))
        assert not origin.closed.is_set()
    await asyncio.wait_for(origin.closed.wait(), 20)


# Redirects and permits; redirects that lead elsewhere are in test_hostile_urls


async def test_three_redirects_are_followed_and_each_request_waits_for_the_permit(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies |= {"/1": redirect("/2", "301 Moved"), "/2": redirect("?3", "303 See Other")}
    origin.replies |= {"/2?3": redirect(origin.url(), "308 Permanent Redirect")}
    seen: list[int] = []

    async def permit() -> None:
        seen.append(len(origin.requests))

    assert isinstance(await fetch_photo(origin.url("/1"), a_sandbox(origin.host), wait=permit), Fetched)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("granted", [0, 1, 2])
async def test_a_request_without_a_permit_is_not_sent(origin: Origin, fetch_photo: PhotoFetch, granted: int) -> None:
    origin.replies |= {"/1": redirect("/2", "307 Temporary Redirect"), "/2": redirect("/photo.jpg")}
    refusal = Failure(Reason.THROTTLED, "the feed's budget is spent", 30.0)

    async def permit() -> Failure | None:
        return refusal if len(origin.requests) == granted else None

    assert await fetch_photo(origin.url("/1"), a_sandbox(origin.host), wait=permit) == refusal
    assert len(origin.requests) == granted


@pytest.mark.parametrize("granted", [0, 1])
async def test_a_request_that_is_late_after_connecting_is_not_sent(
    origin: Origin, fetch_photo: PhotoFetch, granted: int
) -> None:
    origin.replies["/1"] = redirect("/photo.jpg")
    refusal = Failure(Reason.THROTTLED, "the feed's budget is spent", 30.0)

    async def confirm() -> Failure | None:
        assert origin.connections or not granted
        return refusal if len(origin.requests) == granted else None

    url, feed = origin.url("/1"), a_sandbox(origin.host)
    assert await fetch_photo(url, feed, confirm=confirm) == refusal
    assert len(origin.requests) == granted
    assert isinstance(await fetch_photo(url, feed), Fetched)  # the connection that was dropped hinders no later fetch


async def test_waiting_to_confirm_a_request_does_not_count_towards_the_timeout(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.6)

    feed = a_sandbox(origin.host, seconds=0.4)
    outcome = await fetch_photo(origin.url(), feed, confirm=slow)
    assert isinstance(outcome, Fetched)


FIRST_FETCH = """
import asyncio, sys
from pathlib import Path
from services.downloader.fetch import Fetcher
from tests.origins import FakePermit, a_sandbox

async def main():
    async with Fetcher({}) as fetcher:
        before = set(sys.modules)
        await fetcher.fetch("http://127.0.0.1:1/", a_sandbox("127.0.0.1:1"), Path(), None, FakePermit())
        print(*(set(sys.modules) - before))

asyncio.run(main())
"""


async def test_a_services_first_request_imports_no_module() -> None:
    command = [sys.executable, "-c", FIRST_FETCH]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"\n"


async def test_a_refused_url_does_not_ask_for_a_permit(origin: Origin, fetch_photo: PhotoFetch) -> None:
    async def permit() -> Failure | None:
        raise AssertionError("the permit was asked")

    failed(await fetch_photo("http://evil.org/", a_sandbox(origin.host), wait=permit), Reason.REFUSED_HOST)


async def test_a_loop_of_redirects_ends(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/1"] = redirect("/1")
    failed(await fetch_photo(origin.url("/1"), a_sandbox(origin.host)), Reason.TOO_MANY_REDIRECTS)
    assert len(origin.requests) == 4


@pytest.mark.parametrize("status", ["201 Created", "206 Partial Content", "300 Multiple Choices", "500 Oops"])
async def test_a_body_with_another_status_than_200_or_203_is_an_origin_error(
    origin: Origin, fetch_photo: PhotoFetch, status: str
) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, status)
    failed(await fetch_photo(origin.url(), a_sandbox(origin.host)), Reason.ORIGIN_ERROR)
    assert files_in(fetch_photo) == []


async def test_a_redirect_without_a_location_is_an_origin_error(origin: Origin, fetch_photo: PhotoFetch) -> None:
    origin.replies["/1"] = answer(b"", "302 Found")
    failed(await fetch_photo(origin.url("/1"), a_sandbox(origin.host)), Reason.ORIGIN_ERROR)
