"""How the desk's pages look at the world: what every page is given, and how it is sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

import aiohttp_jinja2
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined

from ops import words
from ops.stores import Stores
from services.desk.access import Session
from services.desk.decide import ago, redacted, stamp
from services.desk.watch import History, Watch
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.render import Renderer
from shared.settings import Settings
from shared.stores.audits import Audits
from shared.stores.removals import Removals

SESSION = "session"
_LONGEST_TEXT = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the pages read from."""

    settings: Settings
    feeds: Mapping[str, Feed]
    stores: Stores
    removals: Removals
    audits: Audits
    watch: Watch
    history: History
    renderer: Renderer
    clock: Clock


class Refused(Exception):
    """A page that cannot be shown; the middleware says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def refuse(status: int, detail: str) -> NoReturn:
    """Show a page that says what is wrong instead."""
    raise Refused(status, detail)


def set_up(app: web.Application, parts: DeskParts) -> None:
    """Let the application's pages be rendered."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("services.desk"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(feeds=parts.feeds, address=address)
    environment.filters.update(
        ago=ago, redacted=redacted, stamp=stamp, size=words.size_text, lasting=words.duration_text
    )
    app[_CLOCK] = parts.clock


_CLOCK: web.AppKey[Clock] = web.AppKey("clock")


def page(request: web.Request, template: str, context: Mapping[str, object], *, status: int = 200) -> web.Response:
    """Render a page."""
    session: Session | None = request.get(SESSION)
    told, now = list(session.told) if session else [], request.app[_CLOCK]()
    if session and not template.startswith("_"):
        session.told.clear()
    given = {"session": session, "told": told, "now": now, "path": request.path, **context}
    return aiohttp_jinja2.render_template(template, request, given, status=status)


def see_other(location: str) -> web.Response:
    """Send the browser on, with a GET."""
    return web.Response(status=303, headers={"Location": location})


def address(path: str, **query: object) -> str:
    """Return the address of one of our pages; what is null or empty is left out of its query."""
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def text(request: web.Request, name: str) -> str:
    """Return one value of the query, "" where there is none."""
    return clean(name, request.query.get(name, ""))


def clean(name: str, value: object) -> str:
    """Return what a person gave, if it is text of a reasonable length."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        refuse(400, f"{name} is too long, or no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(400, f"{name} is not UTF-8")
    return value.strip()


def known_feed(parts: DeskParts, name: str) -> str:
    """Return the feed of that name, the first where none is named."""
    if name and name not in parts.feeds:
        refuse(404, "there is no such feed in feeds.toml")
    return name or next(iter(parts.feeds))


def origin_of(url: str) -> str:
    """Return what a Content-Security-Policy knows a URL by."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
