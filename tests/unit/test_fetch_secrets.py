"""Tests which headers origins receive, over http and TLS, and that the token goes nowhere else."""

import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.downloader.answers import Fetched, Validators
from services.downloader.fetch import Fetcher
from shared.domain.failures import Failure, Reason
from shared.domain.feed import EnvironmentVariable
from tests.origins import (
    EXPIRED,
    PHOTO,
    PUBLIC,
    FakeDialer,
    FakeResolver,
    Origin,
    PhotoFetch,
    a_sandbox,
    answer,
    certified,
    failed,
    redirect,
    running,
    trusting,
)

TOKEN = "s3cret-t0ken"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"
TOKENS = {"PHOTO_TOKEN": TOKEN}
PUBLIC_URL = "https://photos.example.com/photo.jpg"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with running(Origin()) as started:
        yield started


@pytest.fixture
async def secure(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Origin]:
    async with running(Origin(), certified(tmp_path_factory.mktemp("tls"))) as started:
        yield started


@pytest.fixture
async def fetch_photo(tmp_path: Path) -> AsyncIterator[PhotoFetch]:
    async with Fetcher(TOKENS) as fetcher:
        yield PhotoFetch(fetcher, tmp_path)


async def test_a_request_has_only_the_expected_headers_and_names_this_software(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    origin.replies["/photo.jpg"] = answer(PHOTO, Set_Cookie="session=1; Path=/")
    origin.replies["/moved"] = answer(b"", "302 Found", Location="/photo.jpg", Set_Cookie="session=1; Path=/")
    for path in ("/photo.jpg", "/moved"):
        await fetch_photo(origin.url(path), a_sandbox(origin.host))
    for request in origin.requests:
        lines = request.lower().split("\r\n")
        names = sorted(line.partition(":")[0] for line in lines[1:] if line)
        assert names == ["accept", "accept-encoding", "host", "user-agent"]
        assert "accept-encoding: identity" in lines
        assert any(line.startswith("user-agent: listing-images/") for line in lines)


async def test_a_feeds_headers_are_sent_except_its_host_header(origin: Origin, fetch_photo: PhotoFetch) -> None:
    headers = {"user-agent": "agreed name", "X-Key": "schlüssel", "host": "evil.org"}
    assert isinstance(await fetch_photo(origin.url(), a_sandbox(origin.host, headers=headers)), Fetched)
    assert "user-agent: agreed name\r\n" in origin.requests[0].lower()
    assert "listing-images" not in origin.requests[0]
    assert "schlüssel" in origin.requests[0].encode("latin-1").decode()
    assert [line for line in origin.requests[0].lower().split("\r\n") if line.startswith("host:")] == [
        f"host: {origin.host}"
    ]


async def test_a_header_may_have_the_value_of_a_variable(origin: Origin, fetch_photo: PhotoFetch) -> None:
    headers = {"User-Agent": EnvironmentVariable("PHOTO_TOKEN")}
    assert isinstance(await fetch_photo(origin.url(), a_sandbox(origin.host, headers=headers)), Fetched)
    assert f"User-Agent: {TOKEN}\r\n" in origin.requests[0]
    headers = {"User-Agent": EnvironmentVariable("NOWHERE_SET")}
    failure = await fetch_photo(origin.url(), a_sandbox(origin.host, headers=headers))
    assert failure == Failure(Reason.FORBIDDEN, "there is no value for NOWHERE_SET, which headers.User-Agent names")
    assert len(origin.requests) == 1


async def test_an_unsendable_header_is_a_failure_whose_detail_does_not_quote_it(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    feed = a_sandbox(origin.host, headers={"X-Key": f"a\r\n{TOKEN}"})
    assert TOKEN not in failed(await fetch_photo(origin.url(), feed), Reason.ORIGIN_ERROR).detail


async def test_the_origin_receives_the_url_unchanged(origin: Origin, fetch_photo: PhotoFetch) -> None:
    path = "/sig:AbC_-~!$&'()*+,;=@/rs:fit:3840/plain//L3Ry.jpg%2Fx%20y?a=b%26c&d=[e]|"
    origin.replies[path] = answer(PHOTO)
    assert isinstance(await fetch_photo(origin.url(path) + "#part", a_sandbox(origin.host)), Fetched)


async def test_validators_are_sent_as_conditional_headers(origin: Origin, fetch_photo: PhotoFetch) -> None:
    validators = Validators('"v1"', "Sun, 22 Nov 2026 09:00:00 GMT")
    assert isinstance(await fetch_photo(origin.url(), a_sandbox(origin.host), validators), Fetched)
    assert 'If-None-Match: "v1"\r\n' in origin.requests[0]
    assert "If-Modified-Since: Sun, 22 Nov 2026 09:00:00 GMT\r\n" in origin.requests[0]


# TLS


async def test_tls_verifies_the_name_while_connecting_to_the_checked_address(secure: Origin, tmp_path: Path) -> None:
    dial = FakeDialer(secure)
    async with Fetcher(TOKENS, resolve=FakeResolver([[PUBLIC]]), dial=dial, tls=trusting()) as fetcher:
        feed = a_sandbox("photos.example.com", private=False, token_env="PHOTO_TOKEN")
        assert isinstance(await PhotoFetch(fetcher, tmp_path)(PUBLIC_URL, feed), Fetched)
    assert dial.dialled == [f"{PUBLIC} 443"]
    assert "Host: photos.example.com\r\n" in secure.requests[0]
    assert BEARER in secure.requests[0]


@pytest.mark.parametrize(
    ("url", "tls", "fault"),
    [
        ("https://other.example.com/photo.jpg", trusting(), "for another host name"),
        (f"https://{PUBLIC}/photo.jpg", trusting(), "for another IP address"),
        (PUBLIC_URL, None, "self-signed"),  # no authority of certifi's signed it
    ],
)
async def test_a_wrong_certificate_is_unreachable_and_its_fault_named(
    secure: Origin, tmp_path: Path, url: str, tls: ssl.SSLContext | None, fault: str
) -> None:
    async with Fetcher(TOKENS, resolve=FakeResolver([[PUBLIC]]), dial=FakeDialer(secure), tls=tls) as fetcher:
        feed = a_sandbox("*.example.com", PUBLIC, private=False, token_env="PHOTO_TOKEN")
        assert fault in failed(await PhotoFetch(fetcher, tmp_path)(url, feed), Reason.UNREACHABLE).detail
    assert secure.requests == []


async def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    async with running(Origin(), certified(tmp_path, EXPIRED)) as origin:
        dial = FakeDialer(origin)
        async with Fetcher({}, resolve=FakeResolver([[PUBLIC]]), dial=dial, tls=trusting(EXPIRED)) as fetcher:
            feed = a_sandbox("photos.example.com", private=False)
            failure = failed(await PhotoFetch(fetcher, tmp_path)(PUBLIC_URL, feed), Reason.UNREACHABLE)
    assert "has expired" in failure.detail


# The token


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": f"Bearer {TOKEN}"}, {"User-Agent": EnvironmentVariable("PHOTO_TOKEN")}],
    ids=["token_env", "authorization", "variable"],
)
async def test_a_token_never_goes_over_plain_http(origin: Origin, tmp_path: Path, headers: dict[str, Any]) -> None:
    async with Fetcher(TOKENS, resolve=FakeResolver([[PUBLIC]]), dial=FakeDialer(origin)) as fetcher:
        feed = a_sandbox("photos.example.com", private=False, token_env="PHOTO_TOKEN", headers=headers)
        assert isinstance(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/photo.jpg", feed), Fetched)
    assert TOKEN not in origin.requests[0]


async def test_a_token_is_not_sent_after_a_redirect_from_https_to_http(
    origin: Origin, secure: Origin, tmp_path: Path
) -> None:
    secure.replies["/photo.jpg"] = redirect("http://photos.example.com/photo.jpg")
    dial = FakeDialer(origin, by_port={443: secure})
    async with Fetcher(TOKENS, resolve=FakeResolver([[PUBLIC]]), dial=dial, tls=trusting()) as fetcher:
        feed = a_sandbox("photos.example.com", private=False, token_env="PHOTO_TOKEN")
        assert isinstance(await PhotoFetch(fetcher, tmp_path)(PUBLIC_URL, feed), Fetched)
    assert BEARER in secure.requests[0]
    assert TOKEN not in origin.requests[0]


async def test_a_token_is_not_sent_to_a_redirects_host_that_is_not_listed(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    async with running(Origin()) as elsewhere:
        origin.replies["/photo.jpg"] = redirect(elsewhere.url())
        failed(await fetch_photo(origin.url(), a_sandbox(origin.host, token_env="PHOTO_TOKEN")), Reason.REFUSED_HOST)
        assert BEARER in origin.requests[0]
        assert elsewhere.connections == 0


async def test_neither_token_nor_headers_follow_a_redirect_to_another_host(
    origin: Origin, fetch_photo: PhotoFetch
) -> None:
    headers = {"User-Agent": TOKEN, "X-Key": TOKEN, "Authorization": TOKEN}
    async with running(Origin()) as storage:
        storage.replies["/signed?sig=1"] = redirect(origin.url("/back"))
        origin.replies |= {"/photo.jpg": redirect(storage.url("/signed?sig=1")), "/back": answer(PHOTO)}
        feed = a_sandbox(origin.host, storage.host, token_env="PHOTO_TOKEN", headers=headers)
        validators = Validators('"v1"', None)
        assert isinstance(await fetch_photo(origin.url(), feed, validators), Fetched)
    (elsewhere,) = storage.requests
    assert TOKEN not in elsewhere
    assert "authorization" not in elsewhere.lower()
    assert 'If-None-Match: "v1"\r\n' in elsewhere
    assert all(BEARER in request and f"X-Key: {TOKEN}\r\n" in request for request in origin.requests)


async def test_a_feed_without_a_token_sends_none(origin: Origin, fetch_photo: PhotoFetch) -> None:
    await fetch_photo(origin.url(), a_sandbox(origin.host))
    assert "authorization" not in origin.requests[0].lower()


@pytest.mark.parametrize("tokens", [{}, {"PHOTO_TOKEN": ""}])
async def test_a_missing_token_is_a_failure_that_names_it_without_a_request(
    origin: Origin, tmp_path: Path, tokens: dict[str, str]
) -> None:
    async with Fetcher(tokens) as fetcher:
        outcome = await PhotoFetch(fetcher, tmp_path)(origin.url(), a_sandbox(origin.host, token_env="PHOTO_TOKEN"))
    assert "PHOTO_TOKEN" in failed(outcome, Reason.FORBIDDEN).detail
    assert origin.connections == 0


async def test_neither_token_nor_url_is_in_logs_details_or_reprs(
    origin: Origin, fetch_photo: PhotoFetch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    origin.replies |= {"/secret": redirect("/secret?2"), "/secret?2": answer(b"", "403 Forbidden")}
    outcome = await fetch_photo(origin.url("/secret"), a_sandbox(origin.host, token_env="PHOTO_TOKEN"))
    shown = f"{outcome!r} {fetch_photo.fetcher!r} {vars(fetch_photo.fetcher)['_transports']!r} {caplog.text}"
    assert failed(outcome, Reason.FORBIDDEN)
    assert TOKEN not in shown
    assert "secret" not in shown
