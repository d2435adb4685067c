"""Copies records that cannot be understood to the topic `dead-letter`, so that a consumer can continue after them."""

from prometheus_client import CollectorRegistry, Counter

from shared.clock import Clock
from shared.events.records import Record
from shared.events.topics import DEAD_LETTER, MANIFEST
from shared.kafka import Broker, Outgoing

_MAX_REASON_CHARACTERS = 500


class DeadLetters:
    """Copies records that one service cannot understand to the topic `dead-letter`, and counts the copies by topic.

    `service` is the service's name, which each copy names. `topic_prefix` comes before each topic's name. `clock`
    returns the time that is written into a copy's headers. `registry` gets the metric that counts the copies.
    """

    def __init__(
        self, broker: Broker, topic_prefix: str, service: str, clock: Clock, registry: CollectorRegistry
    ) -> None:
        self._broker = broker
        self._topic = f"{topic_prefix}{DEAD_LETTER}"
        self._service = service
        self._clock = clock
        self._put = Counter(
            "listing_images_dead_letters", "Records set aside as dead letters", ["topic"], registry=registry
        )
        for topic in MANIFEST:  # from 0: to an alert, a count that begins with its first dead letter does not rise
            self._put.labels(f"{topic_prefix}{topic.name}")

    async def put(self, record: Record, reason: str) -> None:
        """Publish a copy of `record` to `dead-letter`, with headers that name the reason and the record's position.

        The key and the value do not change. `reason` says why the record cannot be understood; it is cut to 500
        characters. Return once Kafka has stored the copy. Raises BrokerUnavailable.
        """
        headers = {
            "dead_letter_reason": reason[:_MAX_REASON_CHARACTERS],
            "dead_letter_topic": record.topic,
            "dead_letter_partition": str(record.partition),
            "dead_letter_offset": str(record.offset),
            "dead_letter_service": self._service,
            "dead_letter_at": self._clock().isoformat(),
        }
        encoded = [(name, value.encode("utf-8", "replace")) for name, value in headers.items()]
        await self._broker.publish([Outgoing(self._topic, record.key, record.value, encoded)])
        self._put.labels(record.topic).inc()
