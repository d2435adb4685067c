"""The server of the sandbox MLS: signed pictures, a RESO Web API, a control API and a page, on loopback."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Literal, Self, cast
from urllib.parse import urlencode

from aiohttp import web
from pydantic import ValidationError, validate_call

from local.sandbox import odata, page
from local.sandbox.album import Album, pictures_in
from local.sandbox.faults import Fault, Faults, cut
from local.sandbox.market import BadSignature, Market, Record, Requested, SandboxListing

_SIGNED = "/{signature:[A-Za-z0-9_-]{43}}/{rest:.+}"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request for a picture that the sandbox answered, with the status of its answer and the headers of the request.

    `at` is in seconds of the monotonic clock. `listing_key`, `photo` (its MediaObjectID) and `size` (its name) are
    empty if the URL led to no photo.
    """

    at: float
    listing_key: str
    photo: str
    size: str
    status: int
    headers: Mapping[str, str]


class Sandbox:
    """A small RESO-like MLS on loopback, that serves during `async with Sandbox(listings=3, photos=2) as mls: …`.

    Each listing has `photos` photos, drawn, or read from `folder`. No picture is wider than `widest` pixels: small ones
    make tests fast. The port is any free one if `port` is 0. `tokens` are the bearer tokens that the Web API ("odata")
    and the pictures ("images") require; without one, no token is required. Drawn pictures are kept in the folder
    `cache`, by default in a temporary one.

    Raises:
        NoPictures: the folder holds no picture.
    """

    def __init__(
        self,
        *,
        listings: int = 40,
        photos: int = 8,
        folder: Path | str | None = None,
        port: int = 0,
        widest: int = 3840,
        tokens: Mapping[Literal["odata", "images"], str] | None = None,
        cache: Path | None = None,
    ) -> None:
        self._files = pictures_in(Path(folder)) if folder is not None else []
        self._port, self._cache = port, cache if folder is None else None
        self._tokens = tokens or {}
        self.market = market = Market(listings, photos, widest=widest)
        self.faults = Faults()
        self.can_expand, self._expand_refusal = True, 400
        self.requests: Counter[str] = Counter()
        """The number of requests by path, without those for the control API and the page."""
        self.begun: Counter[str] = Counter()
        """The number of requests for pictures by ListingKey, counted on arrival; "" is for URLs without a photo."""
        self.image_log: deque[ImageRequest] = deque(maxlen=20_000)
        """The last 20,000 answered requests for pictures."""
        self.url = ""
        self.properties = market.properties
        self.change_photo, self.reorder, self.rename = market.change_photo, market.reorder, market.rename
        self.withdraw_photo, self.withdraw, self.reactivate = market.withdraw_photo, market.withdraw, market.reactivate
        self.opt_out, self.touch, self.re_sign = market.opt_out, market.touch, market.re_sign
        self.forget = market.forget
        changes: list[Callable[..., object]] = [
            self.change_photo, self.reorder, self.rename, self.withdraw_photo, self.withdraw, self.reactivate,
            self.opt_out, self.touch, self.re_sign, self.forget, self.behave, self.reset, self.allow_expand,
        ]  # fmt: skip
        self._controls = {change.__name__.replace("_", "-"): validate_call(change) for change in changes}

    @property
    def web_api(self) -> str:
        """Return the root URL of the sandbox's RESO Web API, for `reso_url` in feeds.toml."""
        return f"{self.url}/odata"

    @property
    def host(self) -> str:
        """Return the sandbox's host and port, as in 127.0.0.1:8070, for `image_hosts` in feeds.toml."""
        return self.url.removeprefix("http://")

    @property
    def image_requests(self) -> int:
        """Return how many requests for pictures arrived since the start or the last `reset`, whatever the answers."""
        return self.begun.total()

    async def __aenter__(self) -> Self:
        self._temporary = TemporaryDirectory(prefix="sandbox-mls-") if self._cache is None else None
        cache = Path(self._temporary.name) if self._temporary else cast("Path", self._cache)
        cache.mkdir(parents=True, exist_ok=True)
        self._album = Album(cache, self._files, threads=2)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = self.market.root = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await asyncio.to_thread(self._album.close)
        if self._temporary:
            self._temporary.cleanup()

    def feeds_toml(self, *, feed: str = "sandbox", **overrides: object) -> str:
        """Return the text of a feeds.toml with one feed for this running MLS, with high rates and short retries.

        `overrides` are settings of the feed that are added or win over these. Sweeps read the Web API only with
        `reso_url=mls.web_api`.
        """
        rules: dict[str, object] = {
            "image_hosts": [self.host],
            "allow_private_addresses": True,
            "concurrency": 32,
            "batch_size": 10,
            "batch_pause_seconds": 0.0,
            "requests_per_second": 0.0,
            "retry_base_seconds": 0.5,
            "retry_max_seconds": 30.0,
            "popular_areas": ["Toronto", "Vancouver"],
        }
        lines = [f"{name} = {_toml(value)}" for name, value in (rules | overrides).items()]
        return "\n".join([f"[feeds.{json.dumps(feed)}]", *lines, ""])

    def misbehave(self, **fault: object) -> None:
        """Add a fault, which requests get from the next one on.

        The arguments are the fields of `Fault`: kind="html", count=3.
        """
        self.faults.add(Fault.model_validate(fault))

    def behave(self) -> None:
        """Remove all faults of this MLS, and let its Web API answer `$expand=Media` again."""
        self.faults.clear()
        self.can_expand = True

    def allow_expand(self, allowed: bool, status: Literal[400, 501] = 400) -> None:
        """Let the Web API answer `$expand=Media`, or refuse it with `status`; OData allows both 400 and 501."""
        self.can_expand, self._expand_refusal = allowed, status

    def reset(self) -> None:
        """Set all counts of requests to 0, remove all faults, and allow `$expand=Media`.

        The listings stay as they are now.
        """
        self.behave()
        self.requests.clear()
        self.image_log.clear()
        self.begun.clear()

    async def draw_ahead(self) -> None:
        """Make the largest JPEG of every photo, one after another, so that later requests find it in the cache."""
        for listing in [*self.market.listings.values()]:
            for photo in [*listing.photos]:
                await self._album.jpeg(photo.shot, photo.width)

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._counted])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/preview/{key}/{photo}", self._preview),
                web.get("/odata/Property", self._properties),
                web.get("/odata/Property('{key}')", self._property),
                web.get("/odata/Media", self._media),
                web.get("/control/requests", self._counts),
                web.get("/control/properties", self._all),
                web.get("/control/feeds.toml", self._feeds),
                web.post("/control/misbehave", self._misbehave),
                web.post("/control/{change}", self._change),
                web.get(_SIGNED, self._image),
            ]
        )
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(("/control/", "/preview/")) and request.path != "/":
            self.requests[request.path] += 1
        if not request.path.startswith("/odata/"):
            return await handler(request)
        if not self._is_allowed(request, "odata"):
            return _odata_error(401, "a bearer token is required")
        fault = await self.faults.apply("odata")
        if fault is not None and (instead := fault.answer()) is not None:
            return instead
        response = await self._answered(request, handler)
        if fault is not None and fault.kind == "truncated" and isinstance(response.body, bytes):
            return await cut(request, response.body, "application/json")
        if "gzip" in request.headers.get("Accept-Encoding", ""):  # aiohttp would choose deflate
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.Response:
        try:
            return cast("web.Response", await handler(request))
        except odata.BadQuery as error:
            return _odata_error(error.status, str(error))
        except KeyError as missing:
            return _odata_error(404, str(missing.args[0]))

    def _is_allowed(self, request: web.Request, on: Literal["odata", "images"]) -> bool:
        token = self._tokens.get(on)
        return token is None or request.headers.get("Authorization") == f"Bearer {token}"

    # Pictures

    async def _image(self, request: web.Request) -> web.StreamResponse:
        requested, refusal = self._requested(request)
        self.begun[requested.listing.key if requested else ""] += 1
        response = await self._picture(request, requested) if requested else web.Response(status=refusal)
        self._log(request, requested, response.status)
        return response

    def _requested(self, request: web.Request) -> tuple[Requested | None, int]:
        if not self._is_allowed(request, "images"):
            return None, 401
        try:
            return self.market.requested(request.path), 200
        except BadSignature:
            return None, 403
        except KeyError:
            return None, 404

    async def _picture(self, request: web.Request, requested: Requested) -> web.StreamResponse:
        fault = await self.faults.apply("images", requested.listing.key)
        if fault is not None and (instead := fault.answer()) is not None:
            return instead
        shot, width = requested.photo.shot, requested.photo.width_in(requested.size)
        response = web.Response(content_type="image/jpeg", headers={"Cache-Control": "public, max-age=86400"})
        response.etag = f"{shot.listing_key}-{shot.number}-v{shot.version}-{width}"
        response.last_modified = datetime.fromisoformat(requested.photo.modified_at)
        if _is_held(request, response):
            response.set_status(304)
            return response
        body = await self._album.jpeg(shot, width)
        if fault is not None and fault.kind == "truncated":
            return await cut(request, body, "image/jpeg")
        response.body = body
        return response

    def _log(self, request: web.Request, requested: Requested | None, status: int) -> None:
        names = (requested.listing.key, requested.photo.object_id, requested.size.name) if requested else ("", "", "")
        self.image_log.append(ImageRequest(monotonic(), *names, status, request.headers))

    async def _preview(self, request: web.Request) -> web.Response:
        """Answer with a picture for the page. Its requests are not counted and get no fault."""
        try:
            photo = self.market.listing(request.match_info["key"]).photo(request.match_info["photo"])
        except KeyError as missing:
            raise web.HTTPNotFound(text=str(missing.args[0])) from None
        body = await self._album.jpeg(photo.shot, min(640, photo.width))
        return web.Response(body=body, content_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    # RESO Web API

    async def _properties(self, request: web.Request) -> web.Response:
        with_media = self._wants_media(request)
        records = [self.market.bare(listing) for listing in self.market.listings.values()]
        return self._page(request, records, lambda record: self._shown(request, record, with_media=with_media))

    async def _property(self, request: web.Request) -> web.Response:
        with_media = self._wants_media(request)
        record = self.market.bare(self.market.listing(request.match_info["key"]))
        return web.json_response(self._shown(request, record, with_media=with_media))

    async def _media(self, request: web.Request) -> web.Response:
        rows = [row for listing in self.market.listings.values() for row in self.market.media(listing)]
        return self._page(request, rows, lambda row: odata.selected(row, request.query.get("$select", "")))

    def _wants_media(self, request: web.Request) -> bool:
        expand = request.query.get("$expand", "")
        if expand and not (self.can_expand and expand == "Media"):
            raise odata.BadQuery(f"$expand={expand} is not supported", self._expand_refusal)
        return bool(expand)

    def _shown(self, request: web.Request, record: Record, *, with_media: bool) -> Record:
        shown = odata.selected(record, request.query.get("$select", ""))
        listing = self.market.listing(str(record["ListingKey"]))
        return shown | {"Media": self.market.media(listing)} if with_media else shown

    def _page(self, request: web.Request, records: list[Record], show: Callable[[Record], Record]) -> web.Response:
        chosen, following = odata.page(records, request.query)
        answer: Record = {"value": [show(record) for record in chosen]}
        if following is not None:
            query = urlencode({**request.query, "$skip": str(following)})
            answer["@odata.nextLink"] = f"{self.url}{request.path}?{query}"
        return web.json_response(answer)

    # Control

    async def _misbehave(self, request: web.Request) -> web.Response:
        arguments = await _json(request)
        return _controlled(lambda: self.misbehave(**arguments))

    async def _change(self, request: web.Request) -> web.Response:
        name = request.match_info["change"]
        if name not in self._controls:
            names = ", ".join(["misbehave", *self._controls])
            raise web.HTTPNotFound(text=f"there is no change {name}; there are {names}")
        arguments = await _json(request)
        return _controlled(lambda: self._controls[name](**arguments))

    async def _counts(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "image_requests": self.image_requests,
                "images_by_status": Counter(str(answered.status) for answered in self.image_log),
                "images_by_size": Counter(answered.size or "unknown" for answered in self.image_log),
                "pictures_made": self._album.made,
                "requests": self.requests,
            }
        )

    async def _all(self, _: web.Request) -> web.Response:
        return web.json_response(self.properties())

    async def _feeds(self, _: web.Request) -> web.Response:
        return web.Response(text=self.feeds_toml(reso_url=self.web_api))

    async def _index(self, _: web.Request) -> web.Response:
        listings: list[SandboxListing] = [*self.market.listings.values()]
        return web.Response(text=page.index(listings, self.image_requests), content_type="text/html")


def _is_held(request: web.Request, response: web.Response) -> bool:
    """Return True if the client has the picture of `response` already, so that the answer to `request` may be a 304.

    The request's If-None-Match is compared with the ETag, or, only if it has none, its If-Modified-Since with
    Last-Modified (RFC 9110, 13.2.2).
    """
    if request.if_none_match is not None:
        etag = response.etag
        return any(tag.value in {"*", etag.value if etag else None} for tag in request.if_none_match)
    since, modified = request.if_modified_since, response.headers["Last-Modified"]
    return since is not None and parsedate_to_datetime(modified) <= since


def _odata_error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"code": str(status), "message": message}}, status=status)


async def _json(request: web.Request) -> dict[str, object]:
    """Return the arguments of a change: the JSON object in a request's body. Raise a 415 or 400 for any other body.

    Only `application/json` is accepted, because a form on another site cannot send it.
    """
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send the arguments as application/json")
    try:
        arguments = await request.json()
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object of arguments")
    return arguments


def _controlled(change: Callable[[], object]) -> web.Response:
    try:
        return web.json_response({"ok": True, "property": change()})
    except KeyError as missing:
        return web.json_response({"ok": False, "error": str(missing.args[0])}, status=404)
    except (ValidationError, ValueError, TypeError) as error:
        return web.json_response({"ok": False, "error": str(error)}, status=400)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
