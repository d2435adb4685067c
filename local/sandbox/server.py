"""The server of the sandbox MLS: signed pictures, a RESO Web API, a control API and a page, on loopback."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self, cast

from aiohttp import web
from pydantic import ValidationError, validate_call

from local.sandbox import page, vendors
from local.sandbox.access import Gate
from local.sandbox.album import Album, pictures_in
from local.sandbox.faults import Fault, Faults
from local.sandbox.market import Market, SandboxListing
from local.sandbox.picture_host import ImageRequest, PictureHost
from local.sandbox.pictures import PictureUrls
from local.sandbox.quotas import Meter
from local.sandbox.records import VendorRecords
from local.sandbox.web_api import Handler, WebApi
from shared.clock import Clock, utc_now


class Sandbox:
    """A small RESO-like MLS on loopback; it runs during `async with Sandbox(listings=3, photos=2) as mls: …`.

    Each listing has `photos` photos, drawn, or read from `folder`. No picture is wider than `widest` pixels, because
    small pictures make tests fast. If `port` is 0, a free port is used. `tokens` are the bearer tokens that the Web API
    ("odata") and the pictures ("images") require; what is left out requires no token, unless the vendor's rules require
    one. Drawn pictures are kept in the folder `cache`, by default in a temporary one.

    `vendor` is one of `local.sandbox.vendors.NAMES`: the sandbox plays this vendor by the vendor's rules. Each of
    `switches` changes some of the rules. `clock` gives the time of all timestamps, tokens and URLs.

    Raises:
        NoPictures: the folder holds no picture.
        ValueError: there is no such vendor or switch.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        listings: int = 40,
        photos: int = 8,
        folder: Path | str | None = None,
        port: int = 0,
        widest: int = 3840,
        tokens: Mapping[Literal["odata", "images"], str] | None = None,
        cache: Path | None = None,
        vendor: str = "generic",
        switches: Collection[str] = (),
        clock: Clock = utc_now,
    ) -> None:
        self._files = pictures_in(Path(folder)) if folder is not None else []
        self._port, self._cache = port, cache if folder is None else None
        self.vendor = rules = vendors.load(vendor, switches)
        self.faults = Faults()
        self.market = market = Market(
            listings, photos, widest=widest, clock=clock, photo_moves_record=rules.records.photo_moves_record
        )
        tokens = tokens or {}
        self.token = tokens.get("odata", f"sandbox-{vendor}-token" if rules.access.kind == "bearer" else "")
        """The bearer token of the Web API; "" if none is required, or only tokens of the token endpoint are valid."""
        urls = PictureUrls(rules, market, clock, self.token)
        self.meter = Meter(rules, clock)
        self.records = VendorRecords(rules, market, urls, clock)
        self.gate = Gate(rules, clock, self.token)
        self.api = WebApi(rules, self.records, self.gate, self.meter, self.faults)
        self.pictures = PictureHost(rules, urls, self.faults, self.meter, clock, tokens.get("images"))
        self.requests: Counter[str] = Counter()
        """The number of requests by path, without those for the control API and the page."""
        self.url = ""
        self._take_changes_of(market)

    def _take_changes_of(self, market: Market) -> None:
        self.properties = market.properties
        self.change_photo, self.reorder, self.rename = market.change_photo, market.reorder, market.rename
        self.withdraw_photo, self.withdraw, self.reactivate = market.withdraw_photo, market.withdraw, market.reactivate
        self.opt_out, self.touch, self.re_sign = market.opt_out, market.touch, market.re_sign
        self.forget = market.forget
        changes: list[Callable[..., object]] = [
            self.change_photo, self.reorder, self.rename, self.withdraw_photo, self.withdraw, self.reactivate,
            self.opt_out, self.touch, self.re_sign, self.forget, self.behave, self.reset, self.allow_expand,
            self.expire_tokens,
        ]  # fmt: skip
        self._controls = {change.__name__.replace("_", "-"): validate_call(change) for change in changes}

    @property
    def web_api(self) -> str:
        """Return the root URL of the sandbox's RESO Web API, for `reso_url` in feeds.toml."""
        return f"{self.url}{self.vendor.root}"

    @property
    def host(self) -> str:
        """Return the sandbox's host and port, as in 127.0.0.1:8070, for `image_hosts` in feeds.toml."""
        return self.url.removeprefix("http://")

    @property
    def other_host(self) -> str:
        """Return the host and port of the second image host, to which some vendors redirect requests for pictures."""
        return self.pictures.other_url.removeprefix("http://")

    @property
    def image_requests(self) -> int:
        """Return how many requests for pictures arrived since the start or the last `reset`, whatever the answers."""
        return self.begun.total()

    @property
    def begun(self) -> Counter[str]:
        """Return how many requests for pictures arrived, by ListingKey, whatever the answers.

        The key "" is for requests whose URL names no photo, or whose URL or token is refused.
        """
        return self.pictures.begun

    @property
    def image_log(self) -> deque[ImageRequest]:
        """Return the last 20,000 answered requests for pictures."""
        return self.pictures.log

    @property
    def refused(self) -> Counter[str]:
        """Return how many requests the vendor's rules refused, by rule, since the start or the last `reset`."""
        return self.api.refused + self.pictures.refused

    async def __aenter__(self) -> Self:
        self._temporary = TemporaryDirectory(prefix="sandbox-mls-") if self._cache is None else None
        cache = Path(self._temporary.name) if self._temporary else cast("Path", self._cache)
        cache.mkdir(parents=True, exist_ok=True)
        self._album = self.pictures.album = Album(cache, self._files, threads=2)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()  # the vendor's second host
        own, other = (f"http://127.0.0.1:{address[1]}" for address in self._runner.addresses)
        self.url = self.market.root = self.api.url = own
        self.api.other_url = self.pictures.other_url = other
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await asyncio.to_thread(self._album.close)
        if self._temporary:
            self._temporary.cleanup()

    def feeds_toml(self, *, feed: str = "sandbox", **overrides: object) -> str:
        """Return the text of a feeds.toml with one feed for this running MLS, with high rates and short retries.

        `overrides` are settings of the feed that are added, or win over those of this text. Sweeps read the Web API
        only with `reso_url=mls.web_api`.
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
        """Make the sandbox answer wrongly from the next request on.

        The arguments are the fields of a `Fault`, such as kind="html", count=3.
        """
        self.faults.add(Fault.model_validate(fault))

    def behave(self) -> None:
        """Undo `misbehave` and `allow_expand`: remove all faults, and let the Web API answer `$expand=Media` again."""
        self.faults.clear()
        self.api.vendor = self.vendor

    def allow_expand(self, allowed: bool, status: Literal[400, 501] = 400) -> None:
        """Let the Web API answer `$expand=Media`, or refuse it with `status`; OData allows both 400 and 501."""
        media = self.vendor.media
        if not allowed:
            media = media.model_copy(update={"expand": "refused", "expand_status": status})
        self.api.vendor = self.vendor.model_copy(update={"media": media})

    def expire_tokens(self) -> None:
        """End all tokens that the vendor's token endpoint has issued, so that the next request gets 401."""
        self.gate.expire_tokens()

    def reset(self) -> None:
        """Set all counts of requests to 0, remove all faults, and allow `$expand=Media`.

        The listings stay as they are now.
        """
        self.behave()
        for counted in (self.requests, self.image_log, self.begun, self.api.refused, self.pictures.refused):
            counted.clear()

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
                web.get("/control/requests", self._counts),
                web.get("/control/properties", self._all),
                web.get("/control/feeds.toml", self._feeds),
                web.post("/control/misbehave", self._misbehave),
                web.post("/control/{change}", self._change),
                web.get("/cdn/{name}.jpg", self.pictures.answer_redirected),
                *self.api.routes(),
                web.get("/{signature:[A-Za-z0-9_-]{43}}/{rest:.+}", self.pictures.answer),
            ]
        )
        if self.vendor.pictures.path:
            app.add_routes(
                [web.get(f"/{self.vendor.pictures.signed.partition('{')[0]}{{rest:.+}}", self.pictures.answer)]
            )
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(("/control/", "/preview/")) and request.path != "/":
            self.requests[request.path] += 1
        return await (self.api.answer(request, handler) if self.api.handles(request.path) else handler(request))

    async def _preview(self, request: web.Request) -> web.Response:
        """Answer the request for a picture on the sandbox's page. The request is not counted and gets no fault."""
        try:
            photo = self.market.listing(request.match_info["key"]).photo(request.match_info["photo"])
        except KeyError as missing:
            raise web.HTTPNotFound(text=str(missing.args[0])) from None
        body = await self._album.jpeg(photo.shot, min(640, photo.width))
        return web.Response(body=body, content_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

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
                "refused": self.refused,
                "over_quota": self.meter.refused,
                "requests": self.requests,
            }
        )

    async def _all(self, _: web.Request) -> web.Response:
        return web.json_response(self.properties())

    async def _feeds(self, _: web.Request) -> web.Response:
        return web.Response(text=self.feeds_toml(reso_url=self.web_api))

    async def _index(self, _: web.Request) -> web.Response:
        listings: list[SandboxListing] = [*self.market.listings.values()]
        return web.Response(text=page.index(listings, self.image_requests, self.vendor), content_type="text/html")


async def _json(request: web.Request) -> dict[str, object]:
    """Return the JSON object in the body of a request to the control API: the arguments of a change.

    Raises HTTP 415 for another content type than `application/json`, and 400 for another body than an object. A form on
    another site cannot send `application/json`, and so cannot change the sandbox.
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
