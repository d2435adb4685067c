"""Reads the body of a request: inflates it, and refuses one over the limit, whatever its headers say."""

import asyncio
from collections.abc import Collection
from tempfile import SpooledTemporaryFile
from typing import IO

from aiohttp import web

from shared.http_api.answers import refuse

MAX_BODY_BYTES = 16_000_000
"""The limit of a body after inflating it."""
_MAX_BYTES_IN_MEMORY = 1_000_000
_MAX_SECONDS = 60.0
"""How long a body may take to arrive: a client that stops sending must not keep its place for ever."""
_ENCODINGS = ("", "identity", "gzip")
JSON_TYPES = ("application/json", "application/x-ndjson")


async def read(request: web.Request, types: Collection[str] = JSON_TYPES) -> IO[bytes]:
    """Read the body of a request, and return it as a file that stands at its beginning; the caller closes the file.

    A body of more than a megabyte is on disk. `types` are the accepted media types. Raises ProblemFound: 415 for
    another media type or encoding, 413 if the inflated body is too large, 400 if the body does not arrive within a
    minute. aiohttp, which inflates the body, raises RequestPayloadError if the body is not what its headers say.
    """
    if request.content_type not in types:
        refuse(415, f"the Content-Type must be {' or '.join(types)}")
    if request.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        refuse(415, "the Content-Encoding may be gzip, or missing")
    size, body = 0, SpooledTemporaryFile(_MAX_BYTES_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        async with asyncio.timeout(_MAX_SECONDS):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    refuse(413, f"a body may have at most {MAX_BODY_BYTES:,} bytes after inflating; send it in parts")
                body.write(chunk)
    except TimeoutError:
        body.close()
        refuse(400, f"the body did not arrive within {_MAX_SECONDS:.0f} seconds; send it again")
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body
