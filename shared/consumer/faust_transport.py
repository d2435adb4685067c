"""Faust's Kafka transport, changed so that no record is lost and no acknowledged record stays uncommitted.

Faust as it is has these faults:

- While partitions are handed out, Faust throws away the records that it fetched, and seeks to the committed offsets. It
  does not seek in a partition without a committed offset, so the records thrown away would never be delivered.
- It remembers the offsets of a failed commit as committed, and forgets which records were acknowledged. Their later
  acknowledgements are ignored, so the lag stays until the partition gets another record.
- It finds the offset to commit in a list of acknowledged offsets with gaps, and an error by one lets it pass over one
  record that is not acknowledged. BatchRunner acknowledges the records of a partition in their order, so that search is
  not needed.
- Its livelock detector fails with an assertion during a seek, which ends the process. `Consumer.stuck_topics` detects
  a consumer that stands still.

Faust has no public methods for these changes, so they use protected attributes. They are proven on the versions of
PROVEN_ON, and a test fails when others are installed: find out then whether Faust still needs each change, and whether
tests/unit/test_faust_transport.py and tests/contract/test_consumer.py pass with it; then name the new versions here.
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
    """Faust's Kafka consumer, without the faults that this module's docstring lists."""

    logger = logging.getLogger("faust.consumer")  # below "faust", whose level shared/log.py sets

    async def seek_to_committed(self) -> Mapping["faust.types.TP", int]:
        """Seek each assigned partition to its committed offset, or to its beginning if it has none.

        Faust calls this method when partitions were assigned. Return the committed offsets by partition; a partition
        without one has 0 or None. Faust then remembers these offsets. Without this method, it would remember an older
        offset where Kafka has none.
        """
        committed: Mapping[faust.types.TP, int] = await super().seek_to_committed()
        if uncommitted := [partition for partition, offset in committed.items() if not offset]:
            self._committed_offset.update(dict.fromkeys(uncommitted))
            with suppress(driver.IllegalStateError):  # a partition was revoked meanwhile
                await self._thread.seek_to_beginning(*uncommitted)
        return committed

    async def _commit_offsets(
        self, offsets: Mapping["faust.types.TP", int], start_new_transaction: bool = True
    ) -> bool:
        """Commit `offsets`, which are by partition, and return True if Kafka has stored them.

        If the commit fails, Faust remembers the same offsets as committed as when the failure arrived.
        """
        self._before_failure: dict[faust.types.TP, int | None] = {}
        is_committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
        self._committed_offset.update(self._before_failure)  # nothing else ran since Faust overwrote it
        return is_committed

    async def _commit(self, offsets: Mapping["faust.types.TP", int]) -> bool:
        """Ask Kafka to store `offsets`, which are by partition; return True if Kafka has stored them.

        The acknowledged records before a stored offset are then forgotten, because nothing is left to commit for them.
        """
        is_committed: bool = await super()._commit(offsets)
        if is_committed:
            for partition, offset in offsets.items():
                self._forget_acknowledged(partition, before=offset)
        else:  # a partition that was revoked meanwhile has no committed offset here
            self._before_failure = {partition: self._committed_offset.get(partition) for partition in offsets}
        return is_committed

    def _forget_acknowledged(self, partition: "faust.types.TP", before: int) -> None:
        if partition in self._acked:
            self._acked[partition] = [offset for offset in self._acked[partition] if offset >= before]
            self._acked_index[partition] = set(self._acked[partition])

    def _new_offset(self, tp: "faust.types.TP") -> int | None:
        """Return the offset to commit for a partition, which is the one after its last acknowledged record.

        Return None if no acknowledged record is uncommitted.
        """
        acknowledged = self._acked[tp]
        return max(acknowledged) + 1 if acknowledged else None

    async def _add_gap(self, tp: "faust.types.TP", offset_from: int, offset_to: int) -> None:
        """Do nothing: `_new_offset` needs no offsets that no record has, and Faust would keep them in memory."""

    async def verify_all_partitions_active(self) -> None:
        """Do nothing, in place of Faust's livelock detector, whose fault this module's docstring names."""


class FaustTransport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport, changed to use FaustConsumer as its consumer."""

    Consumer = FaustConsumer
