"""What all caches of a resolver have in common: how long an entry is fresh, and whether an expired one may answer.

No entry answers for longer than `CachePolicy.ttl_seconds` after its value was read, with one exception: while the
database is unavailable, entries of up to half a minute answer ("stale if error"), for nothing newer can be recorded.
"""

import math
from collections.abc import Callable

TTL_SECONDS = 1.0
"""How long an entry is fresh while events invalidate entries. The contract allows 2 s from an event's arrival to the
last outdated answer; recording the event takes a part of them."""
TTL_WITHOUT_EVENTS_SECONDS = 0.5
"""How long an entry is fresh while no events arrive from Kafka."""
STALE_IF_ERROR_SECONDS = 30.0
"""How long after its reading an entry may answer while the database is unavailable."""
LOAD_TIMEOUT_SECONDS = 2.0
"""How long the database may take to answer one query. A value can be as old as its query took, and the contract allows
no answer older than 2 s; a database that takes longer counts as unavailable."""


class CachePolicy:
    """Decides how long entries are fresh, and whether stale entries may answer.

    All caches of a resolver share one policy, so that each knows whether the database answered the last load of any.

    `now` returns seconds of a monotonic clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.ttl_seconds = TTL_WITHOUT_EVENTS_SECONDS
        self.is_database_unavailable = False
        """True if the last load, of whichever cache, found the database unavailable."""
        self._failed_at = -math.inf

    def on_loaded(self) -> None:
        """Note that the database answered."""
        self.is_database_unavailable = False

    def on_load_failed(self) -> None:
        """Note that the database was found unavailable just now."""
        self.is_database_unavailable, self._failed_at = True, self.now()

    def allows_stale(self, read_at: float, now: float) -> bool:
        """Return True if an expired entry that was read at `read_at` may answer at `now`, both in seconds of `now`.

        A failure longer ago than a load takes does not count: the database may be back since, with changes that no
        event announced.
        """
        if not self.is_database_unavailable or self._failed_at + LOAD_TIMEOUT_SECONDS < now:
            return False
        return read_at + STALE_IF_ERROR_SECONDS > now
