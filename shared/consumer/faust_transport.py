"""Faust's Kafka transport, changed so that it loses no record of a partition without a committed offset.

While partitions are handed out, Faust throws away the records that it fetched, and seeks to the committed offsets.
It does not seek in a partition without a committed offset, so the records thrown away would never be delivered.

Faust has no public method to seek to the beginning, only one to ask Kafka where it is, which can fail. So the change
calls a method of the protected `_thread`. It is proven on the versions of PROVEN_ON, and a test fails when others are
installed: find out then whether Faust still needs the change, and whether tests/contract/test_consumer.py passes with
it; then name the new versions here.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from faust.transport.drivers import aiokafka as driver

if TYPE_CHECKING:
    import faust

PROVEN_ON = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}
"""Versions by the name of the distribution."""


class FaustConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's Kafka consumer, changed to seek to the beginning of each partition that has no committed offset."""

    logger = logging.getLogger("faust.consumer")  # below "faust", whose level shared/log.py sets

    async def seek_to_committed(self) -> Mapping["faust.types.TP", int]:
        """Seek each assigned partition to its committed offset, or to its beginning if there is none.

        Return the committed offsets by partition; they are 0 or None where there is none.
        """
        committed: Mapping[faust.types.TP, int] = await super().seek_to_committed()
        if uncommitted := [partition for partition, offset in committed.items() if not offset]:
            with suppress(driver.IllegalStateError):  # a partition was revoked meanwhile
                await self._thread.seek_to_beginning(*uncommitted)
        return committed


class FaustTransport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport, changed to use FaustConsumer as its consumer."""

    Consumer = FaustConsumer
