"""Calls a handler until it succeeds: waits while a server is unavailable; a record that fails is a dead letter."""

import asyncio
from collections.abc import Sequence

from shared import log
from shared.consumer.subscription import Subscription
from shared.dead_letters import DeadLetters
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.stores.errors import Contention, StoreUnavailable

_logger = log.get(__name__)
_FIRST_WAIT_SECONDS = 0.2
_MAX_WAIT_SECONDS = 5.0


class Dispatcher:
    """Calls the handlers of a service's subscriptions with batches of records, and tries failed batches again.

    `dead_letters` gets each record at which a handler fails although all servers answer.
    """

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self._waiting = 0

    @property
    def is_waiting(self) -> bool:
        """True while a batch waits for its next try, because a store or Kafka was unavailable or after Contention."""
        return self._waiting > 0

    async def dispatch(self, subscription: Subscription, records: Sequence[Record]) -> None:
        """Call the subscription's handler with a batch of records; return once each is handled or is a dead letter.

        If a store or Kafka is unavailable, or after Contention, the whole batch is tried again, as often as needed. The
        pause before a try is 0.2 seconds at first, and doubles each time up to 5 seconds. After any other exception,
        each record is tried alone, and a record that fails alone is copied to `dead-letter`. This method raises no
        exception of the handler.
        """
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                return await subscription.handle(records)
            except (StoreUnavailable, BrokerUnavailable) as error:
                _logger.warning(
                    "waiting-for-infrastructure", topic=subscription.topic, error=str(error), seconds=wait_seconds
                )
            except Contention as error:
                _logger.warning("batch-contended", topic=subscription.topic, error=str(error), seconds=wait_seconds)
            except Exception as error:
                _logger.exception("handler-failed", topic=subscription.topic, records=len(records))
                if len(records) > 1:
                    for record in records:
                        await self.dispatch(subscription, [record])
                    return None
                return await self._put_dead_letter(records[0], error)
            await self._wait(wait_seconds)
            wait_seconds = min(wait_seconds * 2, _MAX_WAIT_SECONDS)

    async def _put_dead_letter(self, record: Record, error: Exception) -> None:
        wait_seconds = _FIRST_WAIT_SECONDS
        while True:
            try:
                return await self._dead_letters.put(record, f"internal error: {type(error).__name__}")
            except BrokerUnavailable:
                await self._wait(wait_seconds)
                wait_seconds = min(wait_seconds * 2, _MAX_WAIT_SECONDS)

    async def _wait(self, seconds: float) -> None:
        self._waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
