"""Follows the events about photos: each invalidates cached answers and wakes the visitors who wait for its photo."""

import asyncio

from services.resolver.answer_cache import AnswerCache
from services.resolver.waiters import Waiters
from shared import log
from shared.dead_letters import DeadLetters
from shared.events.codec import Undecodable, decode
from shared.events.images import ImageDownloaded, ImageRemoved
from shared.events.records import Record
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.kafka import Broker, BrokerUnavailable, follow
from shared.settings import Settings

_logger = log.get(__name__)


class CacheInvalidation:
    """Invalidates answers in this process's cache at each `image-downloaded` and `image-removed` event.

    Also wakes the visitors who wait for the event's photo. Only events published from now on are read. After a missed
    event, an outdated answer is served until the time to live (TTL) of cached answers ends, at most a second.
    """

    def __init__(
        self, settings: Settings, broker: Broker, dead_letters: DeadLetters, cache: AnswerCache, waiters: Waiters
    ) -> None:
        self._bootstrap = settings.kafka
        self._broker = broker
        self._dead_letters = dead_letters
        self._downloaded_topic = settings.topic(IMAGE_DOWNLOADED)
        self._removed_topic = settings.topic(IMAGE_REMOVED)
        self._cache = cache
        self._waiters = waiters
        self.is_following = asyncio.Event()
        """Set while both topics are being read: no event from now on is missed."""

    async def follow(self) -> None:
        """Read events and invalidate cached answers until Kafka becomes unavailable; then raise BrokerUnavailable.

        Before the first event, all cached answers are invalidated, and `is_following` is set. When the reading ends,
        `is_following` is cleared.
        """
        try:
            async with follow(self._bootstrap, [self._downloaded_topic, self._removed_topic]) as records:
                self._cache.invalidate_all()
                self.is_following.set()
                async for record in records:
                    await self._apply(record)
        finally:
            self.is_following.clear()

    async def check(self) -> None:
        """Ping Kafka, and set the time to live of cached answers: 1 s while both topics are being read, else 0.5 s.

        Called every second. If Kafka does not answer, sets 0.5 s and raises BrokerUnavailable. The ping is needed
        because the consumer does not report that Kafka is unavailable.
        """
        try:
            await self._broker.ping()
        except BrokerUnavailable:
            self._cache.choose_ttl(events_arrive=False)
            raise
        self._cache.choose_ttl(events_arrive=self.is_following.is_set())

    async def _apply(self, record: Record) -> None:
        """Invalidate the cached answers about the photo of an event in `record`, and wake the visitors who wait for it.

        After a removal, the answers are dropped from memory, and are not even used while MongoDB is unavailable. A
        record that cannot be read as an event is copied to the dead letters and logged. Raises BrokerUnavailable if the
        record cannot be copied.
        """
        is_removal = record.topic == self._removed_topic
        kind: type[ImageDownloaded | ImageRemoved] = ImageRemoved if is_removal else ImageDownloaded
        event = decode(record.value, kind, record.at)
        if isinstance(event, Undecodable):
            await self._dead_letters.put(record, event.reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=event.reason)
            return
        self._cache.invalidate(event.data.listing_key, event.data.image_id, remove=is_removal)
        self._waiters.wake(event.data.image_id)
