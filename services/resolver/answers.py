"""Makes HTTP answers about photos: redirects and placeholders."""

from aiohttp import web

from shared.http_api.answers import CACHED, NOT_CACHED, Body, client_has


def redirect(request: web.Request, url: str) -> web.Response:
    """Return the HTTP redirect (302) to a public URL, with an ETag.

    The status is 304 if the request's If-None-Match says that the client has the same redirect already.
    """
    digest = Body(url.encode()).digest
    headers = {"Location": url, "Cache-Control": CACHED, "ETag": f'"{digest}"'}
    return web.Response(status=304 if client_has(request, digest) else 302, headers=headers)


def placeholder(status: int, words: str, *, retry_after: int | None = None) -> web.Response:
    """Return an HTTP answer with a drawn SVG picture that shows `words` in place of a photo, which no client may cache.

    `retry_after` is in seconds; None for no Retry-After header. `words` must be safe to put into XML.
    """
    headers = {"Cache-Control": NOT_CACHED}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return web.Response(
        body=_PICTURE.replace("WORDS", words).encode(), status=status, headers=headers, content_type="image/svg+xml"
    )


_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 213" width="320" height="213" role="img">
<title>WORDS</title>
<rect width="320" height="213" fill="#e8ebee"/>
<path d="M96 128V84l64-44 64 44v44a8 8 0 0 1-8 8h-36v-36h-40v36h-36a8 8 0 0 1-8-8z" fill="#c3cad1"/>
<text x="160" y="176" text-anchor="middle" font-family="system-ui,sans-serif" font-size="16" fill="#59636e">WORDS</text>
</svg>
"""
