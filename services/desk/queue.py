"""The queue of a feed: listings with due photos in the order of their release, and those that are due later."""

from aiohttp import web

from services.desk.view import DeskParts, feed_name, query_text, render
from shared.domain import throughput
from shared.origin_budget.reading import read_use

_MAX_LISTINGS = 100


class QueuePages:
    """The desk's page of one feed's queue."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the queue's page, `/queue`."""
        return [web.get("/queue", self._queue)]

    async def _queue(self, request: web.Request) -> web.Response:
        name, now = feed_name(self._parts, query_text(request, "feed")), self._parts.clock()
        is_by_age = query_text(request, "order") == "age"
        feed, stores = self._parts.feeds[name], self._parts.stores
        counts = await stores.listings.counts(name, now)
        per_second = throughput.expected_per_second(feed, await stores.throughputs.get(name), now)
        context = {
            "feed": name,
            "is_by_age": is_by_age,
            "counts": counts,
            "use": await read_use(stores.ledgers, feed),
            "seconds": throughput.seconds_until_done(counts.queued, per_second),
            "due": await stores.listings.queue(name, now, _MAX_LISTINGS, by_age=is_by_age),
            "upcoming": await stores.listings.upcoming(name, now, _MAX_LISTINGS),
            "max_listings": _MAX_LISTINGS,
        }
        return render(request, "queue.html", context)
