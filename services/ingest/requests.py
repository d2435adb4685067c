"""Reads what a request names: its feed, and other parameters of its query."""

from collections.abc import Mapping

from aiohttp import web

from shared.domain.feed import Feed
from shared.http_api.answers import refuse


def parameter(request: web.Request, name: str) -> str | None:
    """Return a parameter of the request's query; None if it is missing. Raises ProblemFound (400) if it is repeated."""
    values = request.query.getall(name, [])
    if len(values) > 1:
        refuse(400, f"{name} is given more than once")
    return values[0] if values else None


def feed_of(request: web.Request, feeds: Mapping[str, Feed]) -> Feed:
    """Return the feed that the request's query names. `feeds` are the feeds of feeds.toml by name.

    Raises ProblemFound: 400 if the query names no feed or several, 422 if feeds.toml has no such feed.
    """
    name = parameter(request, "feed")
    if not name:
        refuse(400, "name the feed of the listings: ?feed=NAME")
    feed = feeds.get(name)
    return feed if feed is not None else refuse(422, "there is no such feed in feeds.toml")
