"""Claims photos of a feed whose URLs are read anew before each fetch."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from services.downloader.claiming import Claimable, Claimed, Claimer, Readings
from services.downloader.feed_queue import Requested
from services.downloader.fresh_urls import FreshUrls, UrlsUnavailable
from shared import log
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.origin_budget.budget import OriginBudget
from shared.stores.documents import ListingId

_NO_URL = timedelta(minutes=10)
"""When to read again the URL of a photo that the MLS did not have, or gave the used URL of. Its withdrawal, or a new
URL, is announced within minutes."""
_logger = log.get(__name__)


class RefreshingClaimer:
    """Claims photos as a Claimer does, each with a URL that was read moments ago."""

    def __init__(self, feed: Feed, claimer: Claimer, urls: FreshUrls, budget: OriginBudget, clock: Clock) -> None:
        self._feed = feed
        self._claimer = claimer
        self._urls = urls
        self._budget = budget
        self._clock = clock

    async def claim(self, readings: Readings, requested: Requested, wait_seconds: float) -> Claimed:
        """Read the URLs of the requested photos anew, and claim the photos that have one, as `Claimer.claim` does.

        A photo whose URL the source does not have is deferred. If the feed is suspended, all photos that could be
        claimed are deferred. If the URLs cannot be read now, all photos that need a URL are deferred. Raises
        StoreUnavailable if the database does not answer, and Contention if no photo was claimed because other processes
        changed the listings before each write.
        """
        began = time.monotonic()
        claimable = self._claimer.claimable(readings, requested)
        if claimable and (resumes_at := await self._budget.resumes_at(self._feed)):
            return Claimed(unfinished=await self._claimer.defer(readings, claimable, resumes_at))
        fetched = {key: [photo for photo in photos if not photo.wants_rebuild] for key, photos in claimable.items()}
        try:
            urls = await self._urls.of({key: (readings[key], photos) for key, photos in fetched.items() if photos})
        except UrlsUnavailable as error:
            _logger.warning("urls-unavailable", error=str(error), seconds=round(error.wait_seconds))
            wait = timedelta(seconds=error.wait_seconds)
            return Claimed(unfinished=await self._claimer.defer(readings, fetched, self._clock() + wait))
        without = _without(fetched, urls)
        if without:
            await self._claimer.defer(readings, without, self._clock() + _NO_URL)
        claimed = await self._claimer.claim(readings, requested, wait_seconds - (time.monotonic() - began), urls)
        for listing in claimed.listings:
            self._urls.use(listing.listing_id, [photo.photo.id for photo in listing.photos])
        return claimed


def _without(claimable: Claimable, urls: Mapping[str, str]) -> dict[ListingId, Sequence[Photo]]:
    """Return the photos of `claimable` that have no URL in `urls`, by listing.

    `urls` maps photo ids to URLs. A listing whose photos all have a URL is left out.
    """
    lacking = {key: [photo for photo in photos if photo.id not in urls] for key, photos in claimable.items()}
    return {key: photos for key, photos in lacking.items() if photos}
