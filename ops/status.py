"""How does it stand? What `imagectl status` shows, gathered from MongoDB and Kafka."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared import kafka
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.events.topics import DEAD_LETTER, IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, LISTING_SEEN
from shared.settings import Settings
from shared.stores.listings import FeedCounts, Listings

HEARS = {
    "scheduler": (LISTING_SEEN,),
    "janitor": (LISTING_SEEN,),
    "downloader": (IMAGE_OUTDATED_VIEWED, IMAGE_OUTDATED),
}
"""Which topics each consumer group reads; the group's name is the service's, with the topics' prefix."""


@dataclass(frozen=True, slots=True)
class Status:
    """The whole system at one moment. `lag` is by service and topic, in records not yet finished."""

    at: datetime
    feeds: Mapping[str, FeedCounts]
    lag: Mapping[str, Mapping[str, int]]
    dead_letters: int


async def gather(settings: Settings, feeds: Mapping[str, Feed], listings: Listings) -> Status:
    """Look at everything once. Raises BrokerUnavailable and StoreUnavailable."""
    now = utc_now()
    return Status(
        at=now,
        feeds={name: await listings.counts(name, now) for name in feeds},
        lag=await lag(settings),
        dead_letters=await dead_letters(settings),
    )


async def lag(settings: Settings) -> Mapping[str, Mapping[str, int]]:
    """Return what each service has yet to read. Raises BrokerUnavailable."""
    return {service: await _lag(settings, service, topics) for service, topics in HEARS.items()}


async def dead_letters(settings: Settings) -> int:
    """Return how many dead letters there are. Raises BrokerUnavailable."""
    return await kafka.size(settings.kafka, settings.topic(DEAD_LETTER))


async def _lag(settings: Settings, service: str, topics: tuple[str, ...]) -> Mapping[str, int]:
    behind = await kafka.lag(settings.kafka, settings.topic(service), [settings.topic(topic) for topic in topics])
    return {topic: behind[settings.topic(topic)] for topic in topics}
