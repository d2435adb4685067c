"""Checks whether a request to the service `ingest` carries one of its tokens."""

import hmac
from collections.abc import Sequence

_SCHEME = "bearer"


class ClientTokens:
    """Compares the token of a request with the tokens in IMAGES_INGEST_TOKEN.

    If IMAGES_INGEST_TOKEN has no token, no request is let in.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        """`tokens` are the tokens that let a request in.

        There may be several, so that one can be replaced while clients use another.
        """
        self._tokens = [token.encode() for token in tokens]

    def accepts(self, authorization: str) -> bool:
        """Return True if `authorization`, the value of the header Authorization, is `Bearer` and one of the tokens.

        The value is "" if the header is missing. The comparison takes as long for a wrong token as for a right one.
        """
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode(errors="replace")
        matches = [hmac.compare_digest(given, known) for known in self._tokens]
        return scheme.lower() == _SCHEME and any(matches)
