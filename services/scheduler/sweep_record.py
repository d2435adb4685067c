"""The stored state of one feed's sweeps, which only the scheduler that holds the lease may write."""

from dataclasses import replace

from shared.lease import Lease
from shared.stores.sweeps import Sweeps, SweepState


class Superseded(Exception):
    """Raised if this scheduler may not write the sweep state of a feed.

    Either another scheduler holds the lease, or another one has written the state since it was read.
    """


class SweepRecord:
    """Reads and writes the sweep state of one feed in MongoDB, for the scheduler that holds the lease."""

    def __init__(self, feed: str, sweeps: Sweeps, lease: Lease) -> None:
        self._feed = feed
        self._sweeps = sweeps
        self._lease = lease

    async def read(self) -> SweepState:
        """Return the stored state of the feed's sweep; an empty state if none is stored. Raises StoreUnavailable."""
        return await self._sweeps.get(self._feed)

    async def write(self, sweep: SweepState) -> SweepState:
        """Store the sweep state of the feed, and return it with its new revision, which the next write must have.

        Raises Superseded if this scheduler does not hold the lease, or if the stored revision differs from the revision
        of `sweep`. Raises StoreUnavailable if the database does not answer.
        """
        await self.check_lease()
        if not await self._sweeps.write(sweep):
            raise Superseded
        return replace(sweep, revision=sweep.revision + 1)

    async def check_lease(self) -> None:
        """Raise Superseded if this scheduler does not hold its lease; else return. Raises StoreUnavailable."""
        if not await self._lease.is_held():
            raise Superseded
