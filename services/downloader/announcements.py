"""Publishes each `image-downloaded` at least once: the record has a mark until Kafka has the event."""

from collections.abc import Callable, Iterable
from datetime import timedelta

from services.downloader.events import image_downloaded
from shared.clock import Clock
from shared.domain.listing import Listing, Unannounced
from shared.events.images import ImageDownloaded
from shared.publisher import Publisher
from shared.stores.documents import ListingId
from shared.stores.listings import ListingRecords

_OVERDUE_AFTER = timedelta(seconds=30)
"""How long a mark may stay before any downloader publishes its event: the worker that made it has probably died."""
_MAX_LISTINGS = 100


class Announcements:
    """Clears the marks of published `image-downloaded` events, and publishes the events of marks that remain.

    A listing's record gets a mark (`Unannounced`) when an attempt is settled, and keeps the mark until Kafka has the
    event. This object serves all feeds. `url` takes an object's key and returns its public URL.
    """

    def __init__(self, listings: ListingRecords, publisher: Publisher, url: Callable[[str], str], clock: Clock) -> None:
        self._listings = listings
        self._publisher = publisher
        self._url = url
        self._clock = clock
        self._published: list[tuple[ListingId, Unannounced]] = []

    def published(self, listing_id: ListingId, unannounced: Iterable[Unannounced]) -> None:
        """Note in memory that Kafka has the events of these marks of a listing.

        `clear` later takes the marks off the listing's record.
        """
        self._published += ((listing_id, mark) for mark in unannounced)

    async def clear(self) -> None:
        """Take the marks of published events off the records of their listings, in one round trip to the database.

        These are the marks that were passed to `published`. If this raises, the next call tries the same marks again.
        Raises StoreUnavailable.
        """
        published, self._published = self._published, []
        try:
            await self._listings.clear_unannounced(published)
        except BaseException:
            self._published += published
            raise

    async def publish_overdue(self) -> None:
        """Publish the `image-downloaded` events of marks older than 30 seconds, and clear these marks.

        The worker that set such a mark has probably died. One call handles the marks of at most 100 listings. A mark
        without an event is cleared too: its photo was withdrawn or has lost its copy. Raises StoreUnavailable if the
        database does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        await self.clear()
        before = self._clock() - _OVERDUE_AFTER
        found = [
            (listing, mark)
            for listing in await self._listings.unannounced(before, _MAX_LISTINGS)
            for mark in listing.unannounced
            if mark.at < before
        ]
        if events := [event for listing, mark in found if (event := self._event(listing, mark))]:
            await self._publisher.publish(events)
        for listing, mark in found:
            self.published((listing.feed, listing.key), [mark])
        await self.clear()

    def _event(self, listing: Listing, mark: Unannounced) -> ImageDownloaded | None:
        photo = listing.photo(mark.image_id)
        if photo is None or photo.copy is None:
            return None
        return image_downloaded(listing, photo.id, photo.copy, self._url, changed=mark.changed)
