"""Renders the desk's pages, checks what browsers send, and names what all pages read from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

import aiohttp_jinja2
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined

from ops import words
from ops.stores import Stores
from services.desk import formatting
from services.desk.access import Session
from services.desk.decide import suspension_text
from services.desk.snapshots import AttemptHistory, Snapshots
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.render import Renderer
from shared.settings import Settings
from shared.stores.audits import Audits
from shared.stores.removals import Removals

SESSION: web.RequestKey[Session | None] = web.RequestKey("session")
"""Under this key a request holds the session of its browser, or None for a program with the token."""
_MAX_TEXT_LENGTH = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """Holds what all pages of the desk read from, and what the desk's actions change."""

    settings: Settings
    feeds: Mapping[str, Feed]
    stores: Stores
    removals: Removals
    audits: Audits
    snapshots: Snapshots
    history: AttemptHistory
    renderer: Renderer
    clock: Clock


class Refused(Exception):
    """Says that the request is refused with an HTTP status; the error page shows `detail` to the operator."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def refuse(status: int, detail: str) -> NoReturn:
    """Raise Refused with an HTTP status and a sentence for the operator, which becomes an error page."""
    raise Refused(status, detail)


def set_up(app: web.Application, parts: DeskParts) -> None:
    """Set up the templates of the desk's application, and the filters, global names and clock that they use."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("services.desk"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(feeds=parts.feeds, page_url=page_url)
    environment.filters.update(
        distance=formatting.distance, timestamp=formatting.timestamp, redacted=formatting.redacted,
        size=words.size_text, duration=words.duration_text, suspension=suspension_text,
    )  # fmt: skip
    app[_CLOCK] = parts.clock


_CLOCK: web.AppKey[Clock] = web.AppKey("clock")


def render(request: web.Request, template: str, context: Mapping[str, object], *, status: int = 200) -> web.Response:
    """Return a page or a part of one, rendered from a template of the desk.

    The template gets `context`, the session, the time, the path, and the session's notices. A whole page takes the
    notices out of the session. A part of a page, whose template's name begins with `_`, leaves them for the next page.
    """
    session = request.get(SESSION)
    notices, now = list(session.notices) if session else [], request.app[_CLOCK]()
    if session and not template.startswith("_"):
        session.notices.clear()
    common = {"session": session, "notices": notices, "now": now, "path": request.path}
    return aiohttp_jinja2.render_template(template, request, {**common, **context}, status=status)


def redirect(location: str) -> web.Response:
    """Return a redirect (303) to `location`, which the browser follows with GET."""
    return web.Response(status=303, headers={"Location": location})


def page_url(path: str, **query: object) -> str:
    """Return the URL of one of the desk's pages with this query; parameters that are None or "" are left out. Pure."""
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def query_text(request: web.Request, name: str) -> str:
    """Return the value of the query's parameter `name`, without space around it; "" if it is not given.

    Raises Refused (400) if the value is longer than 8,000 characters or not UTF-8.
    """
    return checked_text(name, request.query.get(name, ""))


def checked_text(name: str, value: object) -> str:
    """Return a value of a query or form that a browser sent, without space around it.

    Raises Refused (400) if the value is a file, is longer than 8,000 characters, or is not UTF-8. `name` is the value's
    name in the error's sentence.
    """
    if not isinstance(value, str) or len(value) > _MAX_TEXT_LENGTH:
        refuse(400, f"{name} is too long, or no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(400, f"{name} is not UTF-8")
    return value.strip()


def feed_name(parts: DeskParts, name: str) -> str:
    """Return `name` if feeds.toml has a feed of this name; if `name` is "", return the name of the first feed.

    Raises Refused (404) for any other name.
    """
    if name and name not in parts.feeds:
        refuse(404, "there is no such feed in feeds.toml")
    return name or next(iter(parts.feeds))


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, as the header Content-Security-Policy names a site. Pure."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
