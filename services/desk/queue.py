"""What comes next? Listings with due photos in the order of their release, and those whose time is to come."""

from aiohttp import web

from services.desk.view import DeskParts, known_feed, page, text
from shared.domain import throughput
from shared.origin_budget.reading import read_use

_SHOWN = 100


class QueuePages:
    """The queue of one feed."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/queue", self._queue)]

    async def _queue(self, request: web.Request) -> web.Response:
        feed, now = known_feed(self._parts, text(request, "feed")), self._parts.clock()
        is_by_age = text(request, "order") == "age"
        rules, stores = self._parts.feeds[feed], self._parts.stores
        counts = await stores.listings.counts(feed, now)
        context = {
            "feed": feed,
            "is_by_age": is_by_age,
            "counts": counts,
            "use": await read_use(stores.ledgers, rules),
            "seconds": throughput.seconds_until_done(
                counts.queued, throughput.expected_per_second(rules, await stores.throughputs.get(feed), now)
            ),
            "due": await stores.listings.queue(feed, now, _SHOWN, by_age=is_by_age),
            "coming": await stores.listings.upcoming(feed, now, _SHOWN),
            "most": _SHOWN,
        }
        return page(request, "queue.html", context)
