"""Who may look, and who may change something? One token for all operators, and a session for each browser.

Sessions live in memory: a restart signs everyone out, and signing out ends a session for good.
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
"""How long a session lasts without being used."""
MOST_SESSIONS = 200
MOST_FAILURES = 5
"""So many wrong tokens from one address within FAILURE_SECONDS; then it must wait, whatever it sends."""
FAILURE_SECONDS = 60.0
_MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class Session:
    """One browser that signed in. `csrf` is what its forms must carry; `told` is said once, on its next page."""

    id: str
    csrf: str
    expires: float
    told: list[str] = field(default_factory=list)


class Sessions:
    """The browsers that signed in."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sessions: dict[str, Session] = {}

    def begin(self) -> Session:
        """Sign a browser in."""
        while len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions.values(), key=lambda one: one.expires).id]
        expires = self._monotonic() + SESSION_SECONDS
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), expires)
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> Session | None:
        """Return a session that is still good, and let it last longer."""
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
        """Sign a browser out."""
        self._sessions.pop(session.id, None)


class Door:
    """The token, and how often an address may be wrong about it."""

    def __init__(self, token: str, monotonic: Callable[[], float]) -> None:
        self._digest = _digest(token)
        self.is_locked = not token
        """Without a token nobody gets in."""
        self._monotonic = monotonic
        self._failures: deque[tuple[float, str]] = deque(maxlen=_MOST_REMEMBERED)

    def wait_seconds(self, address: str) -> int | None:
        """Return how long an address must wait before it may try; None where it may."""
        self._forget()
        ours = [at for at, who in self._failures if who == address]
        if len(ours) < MOST_FAILURES:
            return None
        return math.ceil(ours[-MOST_FAILURES] + FAILURE_SECONDS - self._monotonic())

    def opens(self, given: str, address: str) -> bool:
        """Whether the token is right; takes as long whatever is wrong about it. A wrong one is remembered."""
        is_right = hmac.compare_digest(_digest(given), self._digest) and not self.is_locked
        if not is_right:
            self._failures.append((self._monotonic(), address))
        return is_right

    def _forget(self) -> None:
        while self._failures and self._failures[0][0] <= self._monotonic() - FAILURE_SECONDS:
            self._failures.popleft()


def token_of(header: str) -> str | None:
    """Return the token that an `Authorization` header holds, as bearer or as Basic's password; None without one."""
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


def is_same(given: str, expected: str) -> bool:
    """Compare two secrets in the same time whatever they have in common."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def here(path: str) -> str:
    """Return the path where it is one of ours, else the first page: nobody is sent elsewhere after signing in."""
    parts = urlsplit(path) if path.isprintable() and "\\" not in path else None
    is_ours = parts is not None and not parts.scheme and not parts.netloc and parts.path.startswith("/")
    return path if is_ours and not path.startswith("//") else "/"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
