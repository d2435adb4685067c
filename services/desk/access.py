"""Checks operators' tokens, and keeps the sessions of browsers that signed in.

Sessions are kept in memory: a restart signs everyone out, and signing out ends a session for good.
"""

import base64
import binascii
import hashlib
import hmac
import math
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SESSION_SECONDS = 12 * 3_600.0
"""A session ends when it was not used for so many seconds."""
MAX_SESSIONS = 200
MAX_FAILURES = 5
"""After so many wrong tokens within FAILURE_SECONDS, an address must wait, even with the right token."""
FAILURE_SECONDS = 60.0
_MAX_REMEMBERED_FAILURES = 10_000


@dataclass(slots=True)
class Session:
    """One browser that signed in at the desk, kept in memory. Times are seconds of a monotonic clock."""

    id: str
    csrf: str
    """The secret that the session's forms must carry."""
    expires: float
    notices: list[str] = field(default_factory=list)
    """Messages that the next page shows once."""


class Sessions:
    """The browsers that are signed in at this desk, kept in memory.

    `monotonic` returns seconds of a clock that never goes back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sessions: dict[str, Session] = {}

    def begin(self) -> Session:
        """Make a session for a browser that signs in, keep it in memory, and return it.

        If there are 200 sessions already (MAX_SESSIONS), the session that would expire first is ended.
        """
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[min(self._sessions.values(), key=lambda session: session.expires).id]
        expires = self._monotonic() + SESSION_SECONDS
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), expires)
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> Session | None:
        """Return the session with this id, and let it last 12 more hours; None if there is none or it has expired."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        now = self._monotonic()
        if session.expires < now:
            del self._sessions[session_id]
            return None
        session.expires = now + SESSION_SECONDS
        return session

    def end(self, session: Session) -> None:
        """End a session, so that its id is no longer accepted. Does nothing if the session has ended already."""
        self._sessions.pop(session.id, None)


class TokenCheck:
    """Compares tokens with the desk's own, and tells which IP addresses must wait after too many wrong tokens.

    The wrong tokens of the last minute are kept in memory.
    """

    def __init__(self, token: str, monotonic: Callable[[], float]) -> None:
        """Make a check that accepts only `token`; if `token` is empty, it accepts no token, and `is_locked` is True.

        `monotonic` returns seconds of a clock that never goes back.
        """
        self._digest = _digest(token)
        self.is_locked = not token
        self._monotonic = monotonic
        self._failures: deque[tuple[float, str]] = deque(maxlen=_MAX_REMEMBERED_FAILURES)
        """The time of each wrong token, in seconds of the clock, and the address that sent it; oldest first."""

    def wait_seconds(self, address: str) -> int | None:
        """Return how many seconds a client must wait before it may send a token again; None if it need not wait.

        A client must wait after five wrong tokens within a minute. `address` is the client's IP address. The caller
        must refuse the client, because `accepts` does not.
        """
        self._forget_old_failures()
        failures = [at for at, failed_address in self._failures if failed_address == address]
        if len(failures) < MAX_FAILURES:
            return None
        return math.ceil(failures[-MAX_FAILURES] + FAILURE_SECONDS - self._monotonic())

    def accepts(self, token: str, address: str) -> bool:
        """Return True if `token` is the desk's token; otherwise count a wrong token against `address` and return False.

        `address` is the client's IP address. A client that must wait is accepted all the same: the caller asks
        `wait_seconds` first. The comparison takes the same time for every wrong token.
        """
        is_right = hmac.compare_digest(_digest(token), self._digest) and not self.is_locked
        if not is_right:
            self._failures.append((self._monotonic(), address))
        return is_right

    def _forget_old_failures(self) -> None:
        while self._failures and self._failures[0][0] <= self._monotonic() - FAILURE_SECONDS:
            self._failures.popleft()


def token_in_header(header: str) -> str | None:
    """Return the token in an `Authorization` header: a bearer token, or the password of the scheme Basic. Pure.

    `header` is the header's value. The result is None if the header is empty or of another scheme: the client does not
    try to sign in. The result is "", which is never the desk's token, for a Basic header that cannot be decoded.
    """
    scheme, _, value = header.partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            try:
                return base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return ""
        case _:
            return None


def are_equal(given: str, secret: str) -> bool:
    """Return True if the text `given` equals `secret`. Pure.

    The comparison takes the same time for every wrong text of one length.
    """
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def local_path(path: str) -> str:
    """Return `path` if it is a path on the desk's own site, else "/". Pure.

    The browser goes to this path after signing in. The path comes from the browser, and must not lead to another site.
    """
    is_local = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if is_local else "/"


def is_origin_of(origin: str, host: str) -> bool:
    """Return True if `origin`, the value of a request's header `Origin`, names the site at `host`. Pure.

    `host` is a host name, followed by `:` and the port if the site's address has a port.
    """
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # no address, such as "http://["
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
