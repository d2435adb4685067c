"""An answer as the cache holds it: its bytes, and the last demand for its photos without a copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.priority import Priority
from shared.http_api.answers import Body
from shared.stores.documents import ListingId

_REPEAT_DEMAND_AFTER = timedelta(seconds=5)
"""After how long a request repeats the demand for photos that are still missing: the queue may have dropped it."""


@dataclass(slots=True)
class CachedAnswer:
    """Holds, in memory, the answer about a listing or about one of its photos.

    The cache returns this object for all requests until it reads the answer from MongoDB again.
    """

    listing_id: ListingId
    body: Body
    missing_image_ids: Sequence[str]
    """The photos in the answer that want an attempt, because there is no copy of their newest version."""
    _demanded_as: Priority = Priority.ROUTINE
    _demanded_at: datetime | None = None

    @property
    def listing_key(self) -> str:
        """The ListingKey of the answer's listing."""
        return self.listing_id[1]

    def notes_demand(self, priority: Priority, now: datetime) -> bool:
        """Return True if the caller must raise the answer's photos without a copy to `priority`; then note the demand.

        True at the first call, if `priority` is more urgent than the noted priority, and if the noted time is 5 s or
        more before `now`. `priority` and `now` are then noted. Otherwise False is returned and nothing is noted,
        because the photos were raised within the last 5 s.
        """
        is_recent = self._demanded_at is not None and now < self._demanded_at + _REPEAT_DEMAND_AFTER
        if is_recent and priority.rank >= self._demanded_as.rank:
            return False
        self._demanded_as, self._demanded_at = priority, now
        return True
