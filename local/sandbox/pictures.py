"""Makes the image URLs of the emulated vendor, and refuses requests for URLs that have expired or were used."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aiohttp import web

from local.sandbox import naming
from local.sandbox.market import ALL_SIZES, BadSignature, Market, Requested, SandboxListing, SandboxPhoto, Size
from local.sandbox.vendors.rules import VendorRules
from shared.clock import Clock

_THROTTLED = "Request limit reached"
_NO_SUCH_KEY = '<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a signature was issued for: the stable part of its URL, and when the URL expires, in seconds since 1970."""

    stable: str
    expires: int


@dataclass(frozen=True, slots=True)
class PictureRefused(Exception):
    """Raised if a vendor's rules refuse a request for a picture; `rule` names the reason, such as `expired`.

    `status` and `text` are the HTTP status and the body of the answer.
    """

    status: int
    rule: str
    text: str = ""


class PictureUrls:
    """Makes and reads the image URLs of a vendor, and refuses a URL that has expired or was used.

    `token` is the access token of the Web API, which some vendors want in the header User-Agent.
    """

    def __init__(self, vendor: VendorRules, market: Market, clock: Clock, token: str) -> None:
        self._vendor, self._rules, self._market = vendor, vendor.pictures, market
        self._clock, self._token = clock, token
        self._signed: dict[str, _Signed] = {}
        """What each signature was issued for, by the signature."""
        self._used: set[str] = set()
        self._given_at: dict[str, datetime] = {}
        pattern = re.escape(self._rules.signed)
        for name, regex in _PARTS.items():
            pattern = pattern.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>{regex})")
        self._pattern = re.compile(pattern)

    def url(self, listing: SandboxListing, photo: SandboxPhoto, size: Size, *, is_broken: bool = False) -> str:
        """Return a URL of a photo in one of its sizes. Each call signs a new URL if the vendor's URLs have signatures.

        With `is_broken`, the URL of a vendor with URLs of its own names no existing photo.
        """
        if not self._rules.path:
            return self._market.url(listing, photo, size)
        facts = self._facts(listing, photo, size)
        if is_broken:
            facts["key"] = "undefined"
        stable = self._rules.path.format_map(facts)
        expires = int((self._clock() + timedelta(seconds=self._rules.seconds)).timestamp())
        signature = secrets.token_urlsafe(32)
        if "{sig}" in self._rules.signed:
            self._signed[signature] = _Signed(stable, expires)
        parts = {"stable": stable, "hex": facts["hex"], "expires": expires, "sig": signature}
        return f"{self._market.root}/{self._rules.signed.format_map(parts)}"

    def requested(self, path: str, headers: Mapping[str, str]) -> Requested:
        """Return the listing, photo and size that the path of an image URL names.

        `headers` are the headers of the request for the URL. If the vendor's URLs are single-use, the URL is used after
        this call.

        Raises:
            PictureRefused: the vendor's rules refuse the request.
            BadSignature: the URL was not signed here.
            KeyError: the URL names no photo that exists now.
        """
        if not self._rules.path:
            return self._market.requested(path)
        self._check_headers(headers)
        match = self._pattern.fullmatch(path.lstrip("/"))
        if match is None:
            raise KeyError(path)
        parts = match.groupdict()
        if "sig" in parts:
            self._check_signature(parts)
        found = self._find(parts["stable"])
        if self._rules.once_seconds:
            self._use(parts["stable"], parts["sig"])
        return found

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        if self._rules.refuses_authorization and "Authorization" in headers:
            raise PictureRefused(403, "authorization")
        if self._rules.agent_is_token and headers.get("User-Agent") != self._token:
            raise PictureRefused(429, "agent", _THROTTLED)

    def _check_signature(self, parts: Mapping[str, str]) -> None:
        if self._signed.get(parts["sig"]) != _Signed(parts["stable"], int(parts["expires"])):
            raise BadSignature
        if int(parts["expires"]) < self._clock().timestamp():
            raise PictureRefused(self._rules.expired_status, "expired")

    def _use(self, stable: str, signature: str) -> None:
        last = self._given_at.get(stable)
        if signature in self._used or (
            last is not None and self._clock() - last < timedelta(seconds=self._rules.once_seconds)
        ):
            raise PictureRefused(429, "used", _THROTTLED)
        self._used.add(signature)
        self._given_at[stable] = self._clock()

    def _find(self, stable: str) -> Requested:
        for listing in self._market.listings.values():
            for photo in listing.photos:
                for size in (ALL_SIZES[name] for name in self._vendor.rows.sizes):
                    if self._rules.path.format_map(self._facts(listing, photo, size)) == stable:
                        return Requested(listing, photo, size)
        raise KeyError(stable)

    def _facts(self, listing: SandboxListing, photo: SandboxPhoto, size: Size) -> dict[str, object]:
        facts = naming.of_listing(listing, self._vendor.records.key)
        return naming.of_photo(listing, photo, listing.photos.index(photo), size, facts)

    def missing(self) -> web.Response:
        """Return the 404 with which the emulated vendor answers a request for a picture that does not exist."""
        return _missing(self._rules.missing)


_PARTS = {"stable": ".+?", "sig": "[A-Za-z0-9_-]{43}", "expires": r"\d+", "hex": "[0-9a-f]+"}


def _missing(form: Literal["plain", "xml", "json"]) -> web.Response:
    if form == "xml":
        return web.Response(status=404, text=_NO_SUCH_KEY, content_type="application/xml")
    if form == "json":
        message = json.dumps({"code": "404", "message": "media record not found"})
        return web.Response(status=404, text=message, content_type="application/json")
    return web.Response(status=404)
