"""A database for tests of the resolver's cache: it counts its queries, and can be slow, hang or fail."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass
class Source:
    """A database that has every key.

    The value is the key and the number of the query that read it: `a1`, `b1`, then `a2`.
    """

    queries: list[set[str]] = field(default_factory=list)
    """The keys of each query so far."""
    error: Exception | None = None
    """What queries raise instead of returning."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """A query returns once the event is set that stood here when it began."""

    async def load(self, keys: Collection[str]) -> Mapping[str, str]:
        """Return the values of the keys, by key, once the event `open` is set. Raises `error`, if it is set by then."""
        self.queries.append(set(keys))
        number = len(self.queries)
        await self.open.wait()
        if self.error:
            raise self.error
        return {key: f"{key}{number}" for key in keys}


async def settle() -> None:
    """Give every task so many turns that each of them ends, or waits for something else than a turn."""
    for _ in range(20):
        await asyncio.sleep(0)
