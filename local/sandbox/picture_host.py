"""The image host of the sandbox: answers requests for signed image URLs by a vendor's rules, and logs the requests."""

import secrets
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic

from aiohttp import web

from local.sandbox.album import Album
from local.sandbox.faults import Faults, cut
from local.sandbox.market import BadSignature, Requested
from local.sandbox.pictures import PictureRefused, PictureUrls
from local.sandbox.quotas import Meter
from local.sandbox.vendors.rules import VendorRules
from shared.clock import Clock

_REDIRECTED_FOR = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request for a picture that the sandbox answered: the status of the answer, and the headers of the request.

    `at` is the time of the answer, in seconds of the monotonic clock. `photo` is the photo's MediaObjectID, `size` the
    name of the size. `listing_key`, `photo` and `size` are "" if the request was refused or its URL names no photo.
    """

    at: float
    listing_key: str
    photo: str
    size: str
    status: int
    headers: Mapping[str, str]


class PictureHost:
    """Answers requests for pictures. `token` is the bearer token that a request must have; None if none is required.

    `album` makes the pictures; it is set before the first request. `other_url` is the root URL of the second host, to
    which some vendors redirect requests for pictures.
    """

    album: Album

    def __init__(
        self, vendor: VendorRules, urls: PictureUrls, faults: Faults, meter: Meter, clock: Clock, token: str | None
    ) -> None:
        self._vendor, self._urls, self._faults, self._meter = vendor, urls, faults, meter
        self._clock, self._token = clock, token
        self.other_url = ""
        self._redirected: dict[str, tuple[Requested, datetime]] = {}
        """By the name in each URL of the second host: the picture that it leads to, and when the URL expires."""
        self.begun: Counter[str] = Counter()
        """The number of requests by ListingKey, counted on arrival; "" is for requests that lead to no photo."""
        self.log: deque[ImageRequest] = deque(maxlen=20_000)
        """The last 20,000 answered requests."""
        self.refused: Counter[str] = Counter()
        """The number of requests that a rule of the vendor refused, by rule."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a MediaURL: with the picture, with a redirect to the second host, or with an error."""
        if not self._meter.admit("media"):
            self.refused["quota"] += 1
            return self._logged(request, None, web.Response(status=429, text="Request limit reached"))
        requested, refusal = self._requested(request)
        self.begun[requested.listing.key if requested else ""] += 1
        if requested is None:
            return self._logged(request, None, refusal)
        if self._vendor.pictures.redirects:
            return self._logged(request, requested, self._redirect(requested))
        return self._logged(request, requested, await self._picture(request, requested))

    async def answer_redirected(self, request: web.Request) -> web.StreamResponse:
        """Answer a request at the second host, to which `answer` redirected the client: 403 if its URL has expired."""
        requested, ends_at = self._redirected.get(request.match_info["name"], (None, self._clock()))
        if requested is None or ends_at < self._clock():
            return web.Response(status=403)
        return await self._picture(request, requested)

    def _redirect(self, requested: Requested) -> web.Response:
        name, ends_at = secrets.token_urlsafe(16), self._clock() + _REDIRECTED_FOR
        self._redirected[name] = requested, ends_at
        query = f"Expires={int(ends_at.timestamp())}&KeyName=sandbox&Signature={secrets.token_urlsafe(16)}"
        return web.Response(status=302, headers={"Location": f"{self.other_url}/cdn/{name}.jpg?{query}"})

    def _requested(self, request: web.Request) -> tuple[Requested | None, web.Response]:
        if self._token is not None and request.headers.get("Authorization") != f"Bearer {self._token}":
            return None, web.Response(status=401)
        try:
            return self._urls.requested(request.path, request.headers), web.Response()
        except PictureRefused as refused:
            self.refused[refused.rule] += 1
            return None, web.Response(status=refused.status, text=refused.text)
        except BadSignature:
            return None, web.Response(status=403)
        except KeyError:
            return None, self._urls.missing()

    async def _picture(self, request: web.Request, requested: Requested) -> web.StreamResponse:
        fault = await self._faults.apply("images", requested.listing.key)
        if fault is not None and (instead := fault.answer()) is not None:
            return instead
        shot, width = requested.photo.shot, requested.photo.width_in(requested.size)
        response = web.Response(content_type="image/jpeg", headers={"Cache-Control": "public, max-age=86400"})
        response.etag = f"{shot.listing_key}-{shot.number}-v{shot.version}-{width}"
        response.last_modified = datetime.fromisoformat(requested.photo.modified_at)
        if _is_held(request, response):
            response.set_status(304)
            return response
        body = await self.album.jpeg(shot, width)
        self._meter.count_bytes("media", len(body))
        if fault is not None and fault.kind == "truncated":
            return await cut(request, body, "image/jpeg")
        response.body = body
        return response

    def _logged(
        self, request: web.Request, requested: Requested | None, response: web.StreamResponse
    ) -> web.StreamResponse:
        names = (requested.listing.key, requested.photo.object_id, requested.size.name) if requested else ("", "", "")
        self.log.append(ImageRequest(monotonic(), *names, response.status, request.headers))
        return response


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
