"""Who may use the desk, and how are others kept out?"""

import base64

import pytest

from services.desk import access
from services.desk.access import FAILURE_SECONDS, MAX_FAILURES, MAX_SESSIONS, SESSION_SECONDS, Sessions, TokenCheck

TOKEN = "a-token-for-operators"


class Time:
    """A monotonic clock that is set by hand."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def time() -> Time:
    return Time()


def test_only_the_token_opens(time: Time) -> None:
    check = TokenCheck(TOKEN, time)
    assert check.accepts(TOKEN, "a")
    assert not any(check.accepts(wrong, "a") for wrong in ("", TOKEN[:-1], TOKEN.upper(), f"{TOKEN} ", "\ud800"))


def test_nothing_opens_where_there_is_no_token(time: Time) -> None:
    check = TokenCheck("", time)
    assert check.is_locked
    assert not check.accepts("", "a")


def test_an_address_that_is_wrong_too_often_waits(time: Time) -> None:
    check = TokenCheck(TOKEN, time)
    for _ in range(MAX_FAILURES):
        assert check.wait_seconds("a") is None
        check.accepts("wrong", "a")
        time.seconds += 1
    assert check.wait_seconds("a") == FAILURE_SECONDS - MAX_FAILURES
    assert check.wait_seconds("b") is None
    time.seconds += FAILURE_SECONDS
    assert check.wait_seconds("a") is None


def test_a_session_lasts_while_it_is_used(time: Time) -> None:
    sessions = Sessions(time)
    session = sessions.begin()
    for _ in range(3):
        time.seconds += SESSION_SECONDS - 1
        assert sessions.get(session.id) is session
    time.seconds += SESSION_SECONDS + 1
    assert sessions.get(session.id) is None


def test_signing_out_ends_a_session_for_good(time: Time) -> None:
    sessions = Sessions(time)
    session, other = sessions.begin(), sessions.begin()
    sessions.end(session)
    assert sessions.get(session.id) is None
    assert sessions.get(other.id) is other


def test_the_longest_unused_session_makes_room_for_another(time: Time) -> None:
    sessions = Sessions(time)
    first = sessions.begin()
    time.seconds += 1
    later = [sessions.begin() for _ in range(MAX_SESSIONS)]
    assert sessions.get(first.id) is None
    assert sessions.get(later[0].id) is later[0]


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {TOKEN}", TOKEN),
        (f"bearer  {TOKEN} ", TOKEN),
        ("Basic " + base64.b64encode(f"anyone:{TOKEN}".encode()).decode(), TOKEN),
        ("Basic " + base64.b64encode(b"no colon").decode(), ""),
        ("Basic %%%", ""),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), ""),
        ("Digest a=b", None),
        ("", None),
    ],
)
def test_programs_show_the_token_as_bearer_or_as_a_password(header: str, token: str | None) -> None:
    assert access.token_in_header(header) == token


@pytest.mark.parametrize("path", ["/", "/listings?feed=a&key=%2F%2Fb", "/listing?key=a//b#photo-1"])
def test_a_path_of_the_desk_is_kept_for_after_sign_in(path: str) -> None:
    assert access.local_path(path) == path


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example.com/", "//evil.example.com", "///evil.example.com", "/\\evil.example.com", "\\\\evil",
        "javascript:alert(1)", "evil.example.com", "", "/\t/evil.example.com", "/\n/evil.example.com", "http:evil",
        "/ok\r\nX: y", "//[", "http://[",
    ],
)  # fmt: skip
def test_sign_in_never_redirects_to_another_site(elsewhere: str) -> None:
    assert access.local_path(elsewhere) == "/"


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("https://desk.example.com:8090", True),
        ("https://desk.example.com", False),
        ("https://evil.example.com", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_an_origin_is_ours_only_if_it_is_the_address_of_the_desk(origin: str, is_ours: bool) -> None:
    assert access.is_origin_of(origin, "desk.example.com:8090") is is_ours
