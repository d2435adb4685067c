"""Publishing events: each is a CloudEvent on the topic of its type, with the ListingKey as the record's key."""

from collections.abc import Iterable

from shared.clock import Clock
from shared.domain.priority import Priority
from shared.events.codec import AnyEvent, encode
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved
from shared.events.listings import ListingSeen
from shared.events.records import Headers
from shared.events.topics import IMAGE_DOWNLOADED, IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, IMAGE_REMOVED, LISTING_SEEN
from shared.kafka import Broker, Outgoing

_TOPICS = {ListingSeen: LISTING_SEEN, ImageDownloaded: IMAGE_DOWNLOADED, ImageRemoved: IMAGE_REMOVED}


class Publisher:
    """Publishes the events of one service to Kafka, as CloudEvents on the topic of their type.

    `source` is the service's name, which is the `source` of the CloudEvents. `topic_prefix` comes before each topic's
    name. `clock` returns the time that is written into the events.
    """

    def __init__(self, broker: Broker, topic_prefix: str, source: str, clock: Clock) -> None:
        self._broker = broker
        self._prefix = topic_prefix
        self._source = source
        self._clock = clock

    async def publish(self, events: Iterable[AnyEvent]) -> None:
        """Publish events to Kafka in the given order, and return once Kafka has stored them all.

        Raises BrokerUnavailable; some of the events may be stored nevertheless.
        """
        now = self._clock()
        await self._broker.publish(
            Outgoing(
                f"{self._prefix}{_topic(event)}",
                event.subject.encode(),
                encode(event, source=self._source, now=now),
                _headers(event),
            )
            for event in events
        )

    async def ping(self) -> None:
        """Raise BrokerUnavailable if Kafka does not answer within three seconds; otherwise do nothing."""
        await self._broker.ping()


def _headers(event: AnyEvent) -> Headers:
    if isinstance(event, ListingSeen) or not event.correlation_id:
        return ()
    return (("correlation_id", event.correlation_id.encode()),)


def _topic(event: AnyEvent) -> str:
    if isinstance(event, ImageOutdated):
        return IMAGE_OUTDATED_VIEWED if event.priority is Priority.VIEWED else IMAGE_OUTDATED
    return _TOPICS[type(event)]
