"""The route by which an admin page of the site has the photos of one listing fetched again at once."""

from collections.abc import Mapping
from math import floor

from aiohttp import web

from ops import estimate, force
from ops.force import PhotoFilter
from services.ingest import requests
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.http_api.answers import ProblemFound, refuse
from shared.origin_budget.reading import read_use
from shared.stores import updates
from shared.stores.ledgers import Ledgers
from shared.stores.listings import ListingRecords
from shared.stores.refreshes import Refreshes

_SHARE_OF_RESERVE = 0.1
"""The part of a feed's viewed reserve that refreshes may use: the rest is for visitors."""
_RETRY_SECONDS = 3_600


class RefreshRoute:
    """Forces photos of a listing as `imagectl force` does, with the priority `viewed`.

    A feed's refreshes may force no more than `allowed_an_hour` photos.
    """

    def __init__(
        self,
        listings: ListingRecords,
        ledgers: Ledgers,
        refreshes: Refreshes,
        feeds: Mapping[str, Feed],
        clock: Clock,
    ) -> None:
        """`feeds` are the feeds of feeds.toml by name."""
        self._listings = listings
        self._ledgers = ledgers
        self._refreshes = refreshes
        self._feeds = feeds
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """Return the route `POST /api/listings/{ListingKey}/refresh` to add to the application."""
        return [web.post("/api/listings/{ListingKey}/refresh", self._refresh)]

    async def _refresh(self, request: web.Request) -> web.Response:
        """Force the photos of the listing that the request names, and answer 202 with the number of photos.

        The answer also says in how many seconds all these photos can be downloaded at the earliest, by the feed's
        budget. Raises ProblemFound: 404 if the listing or image is not recorded, 422 for an unknown feed, 429 if the
        feed's refreshes of this hour are used up. Raises StoreUnavailable if the database does not answer, and
        Contention if others keep changing the listing.
        """
        feed = requests.feed_of(request, self._feeds)
        image_id = requests.parameter(request, "image")
        listing = await self._listings.get(feed.name, request.match_info["ListingKey"])
        if listing is None:
            refuse(404, "nothing is recorded of this listing")
        if image_id is not None and image_id not in {photo.id for photo in listing.photos}:
            refuse(404, "the listing has no such image")
        selected = PhotoFilter(image_ids=(image_id,) if image_id is not None else ())
        queued = await self._force(feed, listing, selected)
        use = await read_use(self._ledgers, feed)
        seconds = estimate.seconds_for(queued, None, feed, use) if queued else 0.0
        answer = {"queued": queued, "done_in_seconds": round(seconds)}
        return web.json_response(answer, status=202, headers={"Cache-Control": "no-store"})

    async def _force(self, feed: Feed, listing: Listing, selected: PhotoFilter) -> int:
        """Make the selected photos of a listing due at once, and return how many photos were made due.

        `listing` is the listing as it was read. Raises ProblemFound (429) if the feed's refreshes of this hour are used
        up.
        """
        now = self._clock()
        wanted = force.forced_photos(listing, selected, Priority.VIEWED, now)
        if not wanted:
            return 0
        allowed = allowed_an_hour(feed)
        if allowed is not None and not await self._refreshes.take(feed.name, len(wanted), allowed):
            raise ProblemFound(
                429,
                f"{allowed:,} photos of the feed may be refreshed an hour, a tenth of its viewed reserve",
                retry_after=_RETRY_SECONDS,
            )
        written = await updates.update(
            self._listings,
            [(listing.feed, listing.key)],
            lambda current: force.force_photos(current, selected, Priority.VIEWED, now),
        )
        return sum(photo.forced_at == now for listing in written for photo in listing.photos)


def allowed_an_hour(feed: Feed) -> int | None:
    """Return how many photos of a feed may be refreshed an hour: a tenth of its viewed reserve, at least one.

    The viewed reserve is the share `viewed_reserve` of the requests that the tightest of the feed's limits allows in an
    hour. The result is None if the feed limits no requests.
    """
    limits = (feed.requests_per_second * 3_600, feed.requests_per_hour, feed.requests_per_day)
    tightest = min((limit for limit in limits if limit), default=None)
    return None if tightest is None else max(1, floor(tightest * feed.viewed_reserve * _SHARE_OF_RESERVE + 1e-9))
