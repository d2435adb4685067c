"""The rules that all caches of a resolver share: how long an entry is fresh, and when a stale entry may be used.

An entry is used for `CachePolicy.ttl_seconds` after its value was read, with one exception: while the database is
unavailable, entries are used for up to half a minute ("stale if error"), because nothing newer can be recorded.
"""

import math
from collections.abc import Callable

TTL_SECONDS = 1.0
"""How long an entry is fresh while events invalidate entries. The contract allows 2 s from an event's arrival to the
last outdated answer; recording the event takes a part of them."""
TTL_WITHOUT_EVENTS_SECONDS = 0.5
"""How long an entry is fresh while no events arrive from Kafka."""
STALE_IF_ERROR_SECONDS = 30.0
"""How long after it was read a value may be used while the database is unavailable."""
LOAD_TIMEOUT_SECONDS = 2.0
"""How long the database may take to answer one query. A value can be as old as its query took, and the contract allows
no answer older than 2 s; a database that takes longer counts as unavailable."""


class CachePolicy:
    """Decides how long entries are fresh, and whether stale entries may be used, for all caches of one resolver.

    The caches share one policy, so that a failed query of one cache allows stale entries in all. `now` returns seconds
    of a monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.ttl_seconds = TTL_WITHOUT_EVENTS_SECONDS
        self.is_database_unavailable = False
        """True if the last load of any cache found the database unavailable."""
        self._failed_at = -math.inf

    def on_loaded(self) -> None:
        """Record that the database answered a cache's query: from now on, stale entries may not be used."""
        self.is_database_unavailable = False

    def on_load_failed(self) -> None:
        """Record that a cache found the database unavailable now: for the next 2 s, stale entries may be used."""
        self.is_database_unavailable, self._failed_at = True, self.now()

    def allows_stale(self, read_at: float, now: float) -> bool:
        """Return True if a stale entry that was read at `read_at` may be used at `now`, both by the policy's clock.

        True if a query failed at most 2 s before `now`, no query succeeded after that, and the entry is less than 30 s
        old. A query takes 2 s at most. Later than 2 s after the failure, the database may be available again, with
        changes that no event announced.
        """
        if not self.is_database_unavailable or self._failed_at + LOAD_TIMEOUT_SECONDS < now:
            return False
        return read_at + STALE_IF_ERROR_SECONDS > now
