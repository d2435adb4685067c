"""How answers look on the wire: problems by RFC 9457, validators, cache rules, the picture where there is none."""

import hashlib
from typing import NoReturn

import orjson
from aiohttp import web

CACHED = "public, max-age=2"
_NOT_CACHED = "no-store"
_TITLES = {
    400: "The question cannot be understood",
    404: "Not found",
    405: "Not allowed here",
    409: "In several feeds",
    413: "Too much at once",
    422: "A value is not allowed",
    500: "A fault of ours",
    503: "Not available right now",
}


class ProblemFound(Exception):
    """What keeps a question from its answer; the middleware writes it."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


def refuse(status: int, detail: str) -> NoReturn:
    """Answer with a problem instead."""
    raise ProblemFound(status, detail)


def problem(found: ProblemFound) -> web.Response:
    """Write a problem; its `detail` says what to do and repeats nothing of the question."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(found.status, "It did not work"),
        "status": found.status,
        "detail": found.detail,
    }
    headers = {"Cache-Control": _NOT_CACHED}
    if found.retry_after is not None:
        headers["Retry-After"] = str(found.retry_after)
    return web.Response(
        body=orjson.dumps(body), status=found.status, headers=headers, content_type="application/problem+json"
    )


def found(request: web.Request, body: bytes, etag: str | None = None) -> web.Response:
    """Answer with JSON, or with 304 where the client has it already."""
    etag = etag or _etag(body)
    headers = {"ETag": etag, "Cache-Control": CACHED}
    if _has(request, etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")


def elsewhere(url: str) -> web.Response:
    """Send the client to a public URL."""
    return web.Response(status=302, headers={"Location": url, "Cache-Control": CACHED, "ETag": _etag(url.encode())})


def placeholder(status: int, words: str, *, retry_after: int | None = None) -> web.Response:
    """Answer with a picture that says why there is none."""
    headers = {"Cache-Control": _NOT_CACHED, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.Response(
        body=_PICTURE.replace("WORDS", words).encode(), status=status, headers=headers, content_type="image/svg+xml"
    )


def _has(request: web.Request, etag: str) -> bool:
    given = request.headers.get("If-None-Match", "")
    return given.strip() == "*" or etag in {one.strip().removeprefix("W/") for one in given.split(",")}


def _etag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 213" width="320" height="213" role="img">
<title>WORDS</title>
<rect width="320" height="213" fill="#e8ebee"/>
<path d="M96 128V84l64-44 64 44v44a8 8 0 0 1-8 8h-36v-36h-40v36h-36a8 8 0 0 1-8-8z" fill="#c3cad1"/>
<text x="160" y="176" text-anchor="middle" font-family="system-ui,sans-serif" font-size="16" fill="#59636e">WORDS</text>
</svg>
"""
