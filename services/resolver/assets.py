"""Files that frontends load as they are: the web component, the client it uses, and their types."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from aiohttp import ETag, web

from services.resolver.answers import refuse

_CACHED = "public, max-age=300"
"""The addresses stay and the files change with a release: pages have the new ones after minutes, else an ETag's 304."""
_TYPES = {".js": "text/javascript", ".ts": "text/plain"}
"""Not by `mimetypes`: it depends on the machine, and takes .ts for video."""


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    content_type: str
    etag: ETag


class Assets:
    """The files in `assets/`, read once."""

    def __init__(self) -> None:
        folder = files(__package__).joinpath("assets")
        self._assets = {file.name: _asset(file) for file in folder.iterdir() if _suffix(file) in _TYPES}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/assets/{name}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            refuse(404, f"there is no such file; there is {', '.join(sorted(self._assets))}")
        held = request.if_none_match or ()
        is_held = any(tag.value in ("*", asset.etag.value) for tag in held)
        response = web.Response(status=304) if is_held else web.Response(body=asset.body)
        if not is_held:
            response.content_type, response.charset = asset.content_type, "utf-8"
        response.etag = asset.etag
        response.headers["Cache-Control"] = _CACHED
        return response


def _asset(file: Traversable) -> _Asset:
    body = file.read_bytes()
    return _Asset(body, _TYPES[_suffix(file)], ETag(hashlib.blake2b(body, digest_size=12).hexdigest()))


def _suffix(file: Traversable) -> str:
    return PurePath(file.name).suffix
