"""The resolver's HTTP: each question is checked, looked up and answered; what is missing is asked for behind it."""

import asyncio
from collections.abc import Sequence
from typing import NoReturn

import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.resolver import answers, decide
from services.resolver.answers import Body, refuse
from services.resolver.catalog import Catalog, Name, Page, Question
from services.resolver.decide import Absence, Absent
from services.resolver.demand import Demand
from services.resolver.models import MOST_LISTINGS, Context, ResolveRequest
from services.resolver.queue import Queue
from services.resolver.waiting import Seen, Waiting
from shared.clock import Clock
from shared.domain.image import Copy, url_key
from shared.domain.priority import Priority
from shared.render import Renderer

_LONGEST_TEXT = 8_000
BODY_SECONDS = 5.0
"""How long the sender of a body may take."""
_MOST_FAULTS = 5
_SERVE = "/api/images/serve"
_UNKNOWN = "no displayed listing shows this image"


class Routes:
    """The questions that frontends ask."""

    def __init__(
        self,
        catalog: Catalog,
        demand: Demand,
        waiting: Waiting,
        queue: Queue,
        renderer: Renderer,
        variants: Sequence[str],
        wait_seconds: float,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._demand = demand
        self._waiting = waiting
        self._queue = queue
        self._renderer = renderer
        self._variants = variants
        self._wait_seconds = wait_seconds
        self._clock = clock

    def table(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/api/listings/{key:[^/]+}/images", self.listing),  # aiohttp's own pattern lacks braces
            web.get("/api/images/resolve", self.by_url),
            web.post("/api/images/resolve", self.search_page),
            web.get(_SERVE, self.serve),
        ]

    async def listing(self, request: web.Request) -> web.Response:
        """All photos of one listing, in order."""
        key, feed = _clean("the key", request.match_info["key"]), _optional(request, "feed")
        priority = _context(request).priority
        question = Question(key, feed, None)
        pages = self._catalog.fresh_pages(question)
        if pages is None:
            pages = (await self._catalog.pages([question]))[question]
        if not pages:
            refuse(404, "no displayed listing has this key")
        if len(pages) > 1:
            refuse(409, "the key is displayed in several feeds; name one with ?feed=")
        self._ask_for_missing(pages[0], priority)
        return answers.found(request, pages[0].body)

    async def search_page(self, request: web.Request) -> web.Response:
        """The first photos of many listings, for one page of search results."""
        asked = await _search(request)
        questions = [Question(key, asked.feed, asked.photos_per_listing) for key in dict.fromkeys(asked.listing_keys)]
        pages = await self._catalog.pages(questions)
        found, unknown, ambiguous = [], [], []
        for question in questions:
            match pages[question]:
                case []:
                    unknown.append(question.listing_key)
                case [page]:
                    self._ask_for_missing(page, asked.context.priority)
                    found.append(orjson.dumps(question.listing_key) + b":" + page.body.plain)
                case _:
                    ambiguous.append(question.listing_key)
        body = b'{"listings":{%s},"unknown":%s,"ambiguous":%s}' % (
            b",".join(found),
            orjson.dumps(unknown),
            orjson.dumps(ambiguous),
        )
        return answers.found(request, Body(body))

    async def by_url(self, request: web.Request) -> web.Response:
        """One photo, for a caller that holds the MLS's URL."""
        name = Name(None, url_key(_required(request, "url")), _optional(request, "listing"))
        page = await self._catalog.by_url(name)
        if page is None:
            refuse(404, "no displayed listing shows a photo announced under this URL")
        self._ask_for_missing(page, Priority.VIEWED)
        return answers.found(request, page.body)

    async def serve(self, request: web.Request) -> web.Response:
        """Send to the photo itself, waiting for its download if need be."""
        variant = _optional(request, "variant") or "full"
        found = await self._catalog.image(_name(request))
        if found is None:
            refuse(404, _UNKNOWN)
        shown: Seen = decide.find_copy(found, self._clock())
        if isinstance(shown, Absent) and shown.reason is not Absence.GONE:
            if variant not in self._variants:
                self._no_such_variant()
            shown = await self._waiting.wait(found, shown, self._wait_seconds)
        if isinstance(shown, Absent) and shown.reason is not Absence.GONE:
            seconds = await self._queue.seconds(found.feed) if shown.due_at else None
            later = decide.retry_after_seconds(shown, seconds, self._clock())
            return answers.placeholder(503, "Photo on its way", retry_after=later)
        return self._show(request, shown, variant)

    def _show(self, request: web.Request, shown: Seen, name: str) -> web.Response:
        if shown is None:
            refuse(404, _UNKNOWN)
        if isinstance(shown, Copy):
            variant = decide.find_variant(shown, name, self._variants)
            if variant is None:
                self._no_such_variant()
            return answers.elsewhere(request, self._renderer.url(variant.key))
        return answers.placeholder(404, "Photo not available")

    def _no_such_variant(self) -> NoReturn:
        refuse(404, f"there is no such variant; there is {', '.join(self._variants)}")

    def _ask_for_missing(self, page: Page, priority: Priority) -> None:
        if page.missing and page.is_to_be_asked(priority, self._clock()):
            self._demand.ask(page.one, page.missing, priority)


def _name(request: web.Request) -> Name:
    image_id, url = _optional(request, "id"), _optional(request, "url")
    if url is not None and image_id is None:
        return Name(None, url_key(url), _optional(request, "listing"))
    if image_id is None or url is not None:
        refuse(400, "name the image by either ?id= or ?url=")
    return Name(image_id)


def _optional(request: web.Request, name: str) -> str | None:
    if not request.rel_url.raw_query_string:
        return None
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
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        asked = ResolveRequest.model_validate(orjson.loads(body))
    except orjson.JSONDecodeError:
        refuse(400, "the body is not JSON")
    except ValidationError as fault:
        refuse(422, "; ".join(_in_words(one) for one in fault.errors()[:_MOST_FAULTS]))
    if len(asked.listing_keys) > MOST_LISTINGS:
        refuse(413, f"at most {MOST_LISTINGS} listing_keys at once")
    return asked


def _in_words(fault: ErrorDetails) -> str:
    """Name what is wrong, but not a field that the client made up: an answer repeats nothing of the question."""
    if fault["type"] == "extra_forbidden":
        return f"there are no fields but {', '.join(ResolveRequest.model_fields)}"
    return f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
