"""Remembers for a while which pictures of a feed an operator marked as no photo."""

import time
from collections.abc import Callable, Collection

from shared import log
from shared.stores.errors import StoreUnavailable
from shared.stores.no_photos import NoPhotos

_READ_AGAIN_AFTER_SECONDS = 30.0

_logger = log.get(__name__)


class KnownNoPhotos:
    """The hashes of the marked no-photo pictures of all feeds, in memory.

    The hashes of a feed are read again from the store when they are 30 seconds old.
    """

    def __init__(self, store: NoPhotos, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Collection[str]]] = {}

    async def hashes(self, feed: str) -> Collection[str]:
        """Return the SHA-256 of each picture of the feed that an operator marked as no photo, in hex.

        While the store is unavailable, return the hashes that were read last. Raises StoreUnavailable if the hashes of
        this feed were never read.
        """
        read_at, known = self._known.get(feed, (float("-inf"), ()))
        now = self._monotonic()
        if now - read_at < _READ_AGAIN_AFTER_SECONDS:
            return known
        try:
            known = await self._store.hashes(feed)
        except StoreUnavailable as error:
            if feed not in self._known:
                raise
            _logger.warning("no-photos-not-read", feed=feed, error=str(error))
        self._known[feed] = (now, known)
        return known
