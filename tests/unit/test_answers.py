"""Tests what each status and header of an answer means, in tables, without a network."""

from datetime import UTC, datetime

import pytest

from services.downloader import answers
from services.downloader.answers import NotModified, Redirect, Validators
from shared.domain.failures import Failure, Reason

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
IN_HALF_A_MINUTE = "Mon, 23 Nov 2026 09:00:30 GMT"
WAITS = [("120", 120.0), (IN_HALF_A_MINUTE, 30.0), ("", None)]
HELD = Validators('"v1"', "Sun, 22 Nov 2026 09:00:00 GMT")


@pytest.mark.parametrize(
    ("status", "retry_after", "reason", "wait"),
    [
        *[(status, "60", Reason.ORIGIN_ERROR, None) for status in (201, 204, 206, 300, 304, 305, 399)],
        *[(status, "", Reason.ORIGIN_ERROR, None) for status in (301, 302, 303, 307, 308)],
        *[(status, "60", Reason.ORIGIN_ERROR, None) for status in (400, 402, 405, 418, 425, 451)],
        *[(status, "60", Reason.ORIGIN_ERROR, None) for status in (500, 502, 504, 599, 999)],
        *[(status, "60", Reason.FORBIDDEN, None) for status in (401, 403)],
        *[(status, "60", Reason.GONE, None) for status in (404, 410)],
        (408, "60", Reason.TIMEOUT, None),
        *[(429, retry_after, Reason.THROTTLED, wait) for retry_after, wait in WAITS],
        *[(503, retry_after, Reason.ORIGIN_ERROR, wait) for retry_after, wait in WAITS],
    ],
)
def test_each_status_has_its_reason_and_429_and_503_a_wait(
    status: int, retry_after: str, reason: Reason, wait: float | None
) -> None:
    found = answers.read(status, {"Retry-After": retry_after}, "photos.example.com", {}, NOW)
    assert found == Failure(reason, f"photos.example.com answered {status}", wait)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_has_its_location(status: int) -> None:
    assert answers.read(status, {"Location": "/b"}, "photos.example.com", {}, NOW) == Redirect("/b")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, NotModified(HELD.etag, HELD.last_modified)),
        ({"ETag": '"v2"'}, NotModified('"v2"', HELD.last_modified)),
        ({"ETag": "\n", "Last-Modified": IN_HALF_A_MINUTE}, NotModified(HELD.etag, IN_HALF_A_MINUTE)),
    ],
)
def test_not_modified_keeps_validators_that_the_origin_does_not_repeat(
    headers: dict[str, str], expected: NotModified
) -> None:
    assert answers.read(304, headers, "photos.example.com", HELD.as_headers(), NOW) == expected


@pytest.mark.parametrize("value", [None, "", "é", "a\r\nX-Evil: 1", "x" * 1001])
def test_a_validator_that_no_header_can_hold_is_neither_sent_nor_stored(value: str | None) -> None:
    assert Validators(value, value).as_headers() == {}
    assert answers.validators({"ETag": value or "", "Last-Modified": value or ""}) == (None, None)
