"""Hears what changed: kept answers are dropped, and those who wait are told."""

import asyncio

from services.resolver.catalog import Catalog
from services.resolver.waiting import Waiting
from shared import log
from shared.dead_letters import DeadLetters
from shared.events.codec import Undecodable, decode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.records import Record
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.kafka import Broker, BrokerUnavailable, follow
from shared.settings import Settings

_logger = log.get(__name__)


class News:
    """Follows both topics from their end. What is missed meanwhile costs a second: answers are not kept longer."""

    def __init__(
        self, settings: Settings, broker: Broker, dead_letters: DeadLetters, catalog: Catalog, waiting: Waiting
    ) -> None:
        self._bootstrap = settings.kafka
        self._broker = broker
        self._dead_letters = dead_letters
        self._downloaded = settings.topic(IMAGE_DOWNLOADED)
        self._removed = settings.topic(IMAGE_REMOVED)
        self._catalog = catalog
        self._waiting = waiting
        self.is_following = asyncio.Event()
        """Set once every change from here on is heard."""

    async def follow(self) -> None:
        """Listen until Kafka goes away. Raises BrokerUnavailable."""
        try:
            async with follow(self._bootstrap, [self._downloaded, self._removed]) as records:
                self._catalog.forget_all()
                self.is_following.set()
                async for record in records:
                    await self._hear(record)
        finally:
            self.is_following.clear()

    async def check(self) -> None:
        """Tell the catalog whether changes are heard: a consumer says nothing of a broker that went away."""
        try:
            await self._broker.ping()
        except BrokerUnavailable:
            self._catalog.hears(False)
            raise
        self._catalog.hears(self.is_following.is_set())

    async def _hear(self, record: Record) -> None:
        is_removal = record.topic == self._removed
        kind: type[ImageDownloaded | ImageRemoved] = ImageRemoved if is_removal else ImageDownloaded
        event = decode(record.value, kind, record.at)
        if isinstance(event, Undecodable):
            await self._dead_letters.put(record, event.reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=event.reason)
            return
        self._catalog.forget(event.data.listing_key, event.data.image_id, for_good=is_removal)
        self._waiting.tell(event.data.image_id)
