"""Makes HTTP answers: texts with ETag and gzip, and problems (RFC 9457)."""

import hashlib
from typing import NoReturn

import orjson
from aiohttp import web

from shared import compression

CACHED = "public, max-age=2"
NOT_CACHED = "no-store"
_TITLES = {
    400: "The question cannot be understood",
    401: "Not signed in",
    404: "Not found",
    405: "Not allowed here",
    409: "In several feeds",
    413: "Too much at once",
    415: "Not a form that is read here",
    422: "A value is not allowed",
    429: "Too much in a short time",
    500: "A fault of ours",
    503: "Not available right now",
}


class ProblemFound(Exception):
    """Raised by a handler so that the middleware answers the request with a problem (RFC 9457).

    `status` is the HTTP status, and `detail` the problem's text, which must not contain any text of the request.
    `retry_after` is in seconds, None for no Retry-After header.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class Body:
    """Holds the bytes of an answer's body, with their hash and gzipped form, each computed when first needed.

    `plain` has the bytes before compression, `level` is gzip's compression level.
    """

    __slots__ = ("_digest", "_gzipped", "_level", "plain")

    def __init__(self, plain: bytes, level: int = compression.FAST) -> None:
        self.plain = plain
        self._level = level
        self._digest: str | None = None
        self._gzipped: bytes | None = None

    @property
    def digest(self) -> str:
        """The hash of the plain bytes in hexadecimal, a part of the ETags of the plain and the gzipped form."""
        if self._digest is None:
            self._digest = hashlib.blake2b(self.plain, digest_size=12).hexdigest()
        return self._digest

    @property
    def gzipped(self) -> bytes:
        """The plain bytes compressed with gzip; computed at the first access and kept in memory."""
        if self._gzipped is None:
            self._gzipped = compression.gzipped(self.plain, self._level)
        return self._gzipped

    @property
    def max_bytes(self) -> int:
        """The most bytes of memory that the plain and the gzipped form take together.

        The gzipped form of a short text may be a little longer than the plain form.
        """
        return len(self.plain) * 2 + 100


def refuse(status: int, detail: str) -> NoReturn:
    """Raise ProblemFound, so that the middleware answers the request with HTTP status `status` and the text `detail`.

    `detail` must not contain any text of the request.
    """
    raise ProblemFound(status, detail)


def problem(found: ProblemFound) -> web.Response:
    """Return the HTTP answer for a problem (RFC 9457), which no client may cache."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(found.status, "It did not work"),
        "status": found.status,
        "detail": found.detail,
    }
    headers = {"Cache-Control": NOT_CACHED}
    if found.retry_after is not None:
        headers["Retry-After"] = str(found.retry_after)
    return web.Response(
        body=orjson.dumps(body), status=found.status, headers=headers, content_type="application/problem+json"
    )


def refused(refusal: web.HTTPException, max_body_bytes: int) -> web.Response:
    """Return the problem (RFC 9457) for a request that aiohttp refuses, such as one to an unknown address.

    `max_body_bytes` is the application's limit for a request's body; the problem for a longer body names the limit.
    """
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        response = problem(ProblemFound(405, "this address takes other methods; see the Allow header"))
        response.headers["Allow"] = ", ".join(sorted({*refusal.allowed_methods, "OPTIONS"}))
        return response
    details = {
        404: "there is nothing at this address; /api/docs lists what there is",
        413: f"a body may have at most {max_body_bytes:,} bytes",
    }
    return problem(ProblemFound(refusal.status, details.get(refusal.status, refusal.reason)))


def text(
    request: web.Request, body: Body, content_type: str = "application/json", cache_control: str = CACHED
) -> web.Response:
    """Return the HTTP answer with a text and its ETag, gzipped if the client accepts gzip and the text is long.

    `cache_control` is the value of the header Cache-Control. If the request's If-None-Match says that the client has
    the text already, the status is 304 and the text is left out.
    """
    is_gzipped = compression.should_compress(request, body.plain)
    # A strong ETag names one representation, so the gzipped form needs its own.
    headers = {
        "ETag": f'"{body.digest}-gzip"' if is_gzipped else f'"{body.digest}"',
        "Cache-Control": cache_control,
        "Vary": "Accept-Encoding",
    }
    if client_has(request, body.digest):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = content_type
    if is_gzipped:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body.gzipped if is_gzipped else body.plain, headers=headers)


def client_has(request: web.Request, digest: str) -> bool:
    """Return True if the client already has the body with the hash `digest`, so that the answer may be a 304.

    True if the request's If-None-Match is "*", or has the ETag of the body's plain or gzipped form.
    """
    given = request.headers.get("If-None-Match")
    if given is None:
        return False
    digests = {tag.strip().removeprefix("W/").strip('"').removesuffix("-gzip") for tag in given.split(",")}
    return digest in digests or given.strip() == "*"
