"""Serves the files in `assets/`: the web component, the client that it uses, and their types."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from aiohttp import web

from shared import compression
from shared.http_api import answers
from shared.http_api.answers import Body, refuse

_CACHED = "public, max-age=300"
"""A new release may change a file under the same address: browsers ask again after five minutes (304 if unchanged)."""
_TYPES = {".js": "text/javascript; charset=utf-8", ".ts": "text/plain; charset=utf-8"}
"""Not taken from `mimetypes`, which depends on the machine and maps .ts to a video type."""


class Assets:
    """Serves the files in the package's folder `assets/` under `/assets/`.

    All files are read into memory when the object is made. Each is compressed when it is first requested with gzip.
    """

    def __init__(self) -> None:
        folder = files(__package__).joinpath("assets")
        self._assets = {file.name: Body(file.read_bytes(), compression.SMALL) for file in _files(folder)}

    def routes(self) -> list[web.RouteDef]:
        """Return the route `/assets/{name}` to add to the application."""
        return [web.get("/assets/{name}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._assets:
            refuse(404, f"there is no such file; there is {', '.join(sorted(self._assets))}")
        return answers.text(request, self._assets[name], _TYPES[_suffix(name)], _CACHED)


def _files(folder: Traversable) -> Iterator[Traversable]:
    return (file for file in folder.iterdir() if _suffix(file.name) in _TYPES)


def _suffix(name: str) -> str:
    return PurePath(name).suffix
