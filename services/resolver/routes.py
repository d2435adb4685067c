"""The resolver's HTTP: each question is checked, looked up and answered; what is missing is asked for behind it."""

import math
from collections.abc import Sequence
from typing import NoReturn

import orjson
from aiohttp import web
from pydantic import ValidationError

from services.resolver import answers, decide
from services.resolver.answers import refuse
from services.resolver.catalog import Catalog, Page, Question
from services.resolver.decide import Absent, Missing
from services.resolver.demand import Demand
from services.resolver.models import MOST_LISTINGS, Context, ResolveRequest
from services.resolver.waiting import Shown, Waiting
from shared.clock import Clock
from shared.domain.image import Copy, url_key
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.render import Renderer

_SOON_SECONDS = 5
"""Retry-After while a photo is on its way and nothing says how long it takes."""
_LATEST_SECONDS = 3_600
_LONGEST_TEXT = 8_000


class Routes:
    """The questions that frontends ask."""

    def __init__(
        self,
        catalog: Catalog,
        demand: Demand,
        waiting: Waiting,
        renderer: Renderer,
        variants: Sequence[str],
        wait_seconds: float,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._demand = demand
        self._waiting = waiting
        self._renderer = renderer
        self._variants = variants
        self._wait_seconds = wait_seconds
        self._clock = clock

    def table(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/api/listings/{key}/images", self.listing),
            web.get("/api/images/resolve", self.by_url),
            web.post("/api/images/resolve", self.search_page),
            web.get("/api/images/serve", self.serve),
        ]

    async def listing(self, request: web.Request) -> web.Response:
        """All photos of one listing, in order."""
        key, feed = _clean("the key", request.match_info["key"]), _optional(request, "feed")
        priority = _context(request).priority
        question = Question(key, feed, None)
        pages = (await self._catalog.pages([question]))[question]
        if not pages:
            refuse(404, "no displayed listing has this key")
        if len(pages) > 1:
            refuse(409, "the key is displayed in several feeds; name one with ?feed=")
        self._ask_for_missing(pages[0], priority)
        return answers.found(request, pages[0].body, pages[0].etag)

    async def search_page(self, request: web.Request) -> web.Response:
        """The first photos of many listings, for one page of search results."""
        asked = await _search(request)
        if len(asked.listing_keys) > MOST_LISTINGS:
            refuse(413, f"at most {MOST_LISTINGS} listing_keys at once")
        questions = {
            key: Question(key, asked.feed, asked.photos_per_listing) for key in dict.fromkeys(asked.listing_keys)
        }
        pages = await self._catalog.pages(questions.values())
        found, unknown, ambiguous = [], [], []
        for key, question in questions.items():
            match pages[question]:
                case []:
                    unknown.append(key)
                case [page]:
                    self._ask_for_missing(page, asked.context.priority)
                    found.append(orjson.dumps(key) + b":" + page.body)
                case _:
                    ambiguous.append(key)
        body = b'{"listings":{%s},"unknown":%s,"ambiguous":%s}' % (
            b",".join(found),
            orjson.dumps(unknown),
            orjson.dumps(ambiguous),
        )
        return answers.found(request, body)

    async def by_url(self, request: web.Request) -> web.Response:
        """One photo, for a caller that holds the MLS's URL."""
        url, key = _required(request, "url"), _optional(request, "listing")
        listing, image_id = await self._of_url(url, key)
        photo = listing.photo(image_id)
        assert photo is not None  # noqa: S101 - it was found by it
        if listing.due_of(photo):
            self._demand.ask((listing.feed, listing.key), [image_id], Priority.VIEWED)
        return answers.found(request, self._renderer.fragment(photo).encode())

    async def serve(self, request: web.Request) -> web.Response:
        """Send to the photo itself, waiting for its download if need be."""
        name = _optional(request, "variant") or "full"
        listing, image_id = await self._image(request)
        shown = decide.shown(listing, image_id, self._clock())
        if isinstance(shown, Absent) and shown.why is not Missing.GONE:
            if name not in self._variants:
                self._no_such_variant()
            one = (listing.feed, listing.key)
            shown = await self._waiting.wait(one, image_id, shown, self._wait_seconds)
        return self._show(shown, name)

    async def _image(self, request: web.Request) -> tuple[Listing, str]:
        image_id, url = _optional(request, "id"), _optional(request, "url")
        if (image_id is None) == (url is None):
            refuse(400, "name the image by either ?id= or ?url=")
        if url is not None:
            return await self._of_url(url, _optional(request, "listing"))
        assert image_id is not None  # noqa: S101 - one of both
        listing = await self._catalog.listing_of(image_id)
        if listing is None:
            refuse(404, "no displayed listing shows this image")
        return listing, image_id

    async def _of_url(self, url: str, key: str | None) -> tuple[Listing, str]:
        """Return a displayed listing and the image of it that was announced under the URL, one with a copy first."""
        found = [
            (photo.copy is None, listing.feed, listing.key, photo.order, listing, photo.id)
            for listing in await self._catalog.listings_of_url(url)
            if key in (None, listing.key)
            for photo in listing.photos
            if url_key(url) in photo.url_keys
        ]
        if not found:
            refuse(404, "no displayed listing shows a photo announced under this URL")
        *_, listing, image_id = min(found, key=lambda one: one[:4])
        return listing, image_id

    def _show(self, shown: Shown, name: str) -> web.Response:
        if shown is None:
            refuse(404, "no displayed listing shows this image")
        if isinstance(shown, Copy):
            variant = decide.variant(shown, name, self._variants)
            return answers.elsewhere(self._renderer.url(variant.key)) if variant else self._no_such_variant()
        if shown.why is Missing.GONE:
            return answers.placeholder(404, "Photo not available")
        return answers.placeholder(503, "Photo on its way", retry_after=self._retry_after(shown))

    def _no_such_variant(self) -> NoReturn:
        refuse(404, f"there is no such variant; there is {', '.join(self._variants)}")

    def _retry_after(self, absent: Absent) -> int:
        if absent.why is Missing.ON_ITS_WAY or absent.due_at is None:
            return _SOON_SECONDS
        seconds = math.ceil((absent.due_at - self._clock()).total_seconds())
        return min(max(1, seconds), _LATEST_SECONDS)

    def _ask_for_missing(self, page: Page, priority: Priority) -> None:
        """Raise what the answer lacks, once for as long as the answer is kept."""
        if page.missing and priority.rank < page.asked_as.rank:
            page.asked_as = priority
            self._demand.ask((page.answer.feed, page.answer.listing_key), page.missing, priority)


def _optional(request: web.Request, name: str) -> str | None:
    values = request.query.getall(name, [])
    if len(values) > 1:
        refuse(400, f"{name} is given twice")
    return _clean(name, values[0]) if values and values[0] else None


def _clean(name: str, value: str) -> str:
    if len(value) > _LONGEST_TEXT:
        refuse(413, f"{name} is too long")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(400, f"{name} is not UTF-8")
    return value


def _required(request: web.Request, name: str) -> str:
    value = _optional(request, name)
    if value is None:
        refuse(400, f"{name} is missing")
    return value


def _context(request: web.Request) -> Context:
    value = _optional(request, "context")
    if value is None:
        return Context.VIEW
    if value not in set(Context):
        refuse(422, f"context must be one of {', '.join(Context)}")
    return Context(value)


async def _search(request: web.Request) -> ResolveRequest:
    try:
        return ResolveRequest.model_validate(orjson.loads(await request.read()))
    except orjson.JSONDecodeError:
        refuse(400, "the body is not JSON")
    except ValidationError as fault:
        refuse(422, "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in fault.errors()))
