"""Hears what changed: kept answers are dropped, and those who wait are told."""

from services.resolver.catalog import Catalog
from services.resolver.waiting import Waiting
from shared.events.codec import Undecodable, decode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.records import Record
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.kafka import follow
from shared.settings import Settings


class News:
    """Follows both topics from their end. What is missed meanwhile costs a second: answers are not kept longer."""

    def __init__(self, settings: Settings, catalog: Catalog, waiting: Waiting) -> None:
        self._bootstrap = settings.kafka
        self._downloaded = settings.topic(IMAGE_DOWNLOADED)
        self._removed = settings.topic(IMAGE_REMOVED)
        self._catalog = catalog
        self._waiting = waiting

    async def follow(self) -> None:
        """Listen until Kafka goes away. Raises BrokerUnavailable."""
        async with follow(self._bootstrap, [self._downloaded, self._removed]) as records:
            self._catalog.forget_all()
            async for record in records:
                self._hear(record)

    def _hear(self, record: Record) -> None:
        kind: type[ImageDownloaded | ImageRemoved] = (
            ImageDownloaded if record.topic == self._downloaded else ImageRemoved
        )
        event = decode(record.value, kind, record.at)
        if isinstance(event, Undecodable):
            return  # other readers' business: for a cache, nothing was said
        self._catalog.forget(event.data.listing_key, event.data.image_id)
        self._waiting.tell(event.data.image_id)
