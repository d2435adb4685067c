"""Where unreadable and impossible events go, value and key unchanged, so that the consumer can go on."""

from prometheus_client import CollectorRegistry, Counter

from shared.clock import Clock
from shared.events.records import Record
from shared.events.topics import DEAD_LETTER, MANIFEST
from shared.kafka import Broker, Outgoing

_LONGEST_REASON = 500


class DeadLetters:
    """The dead letters of one service."""

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
        for one in MANIFEST:  # from 0: an alert sees no rise in a count that begins with the first letter
            self._put.labels(f"{topic_prefix}{one.name}")

    async def put(self, record: Record, reason: str) -> None:
        """Set one record aside for an operator. Raises BrokerUnavailable."""
        headers = {
            "dead_letter_reason": reason[:_LONGEST_REASON],
            "dead_letter_topic": record.topic,
            "dead_letter_partition": str(record.partition),
            "dead_letter_offset": str(record.offset),
            "dead_letter_service": self._service,
            "dead_letter_at": self._clock().isoformat(),
        }
        encoded = [(name, value.encode("utf-8", "replace")) for name, value in headers.items()]
        await self._broker.publish([Outgoing(self._topic, record.key, record.value, encoded)])
        self._put.labels(record.topic).inc()
