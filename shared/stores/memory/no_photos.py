"""Marked no-photo pictures in memory, for tests."""

from collections.abc import Collection, Sequence

from shared.stores.no_photos import NoPhoto


class MemoryNoPhotos:
    """Keeps in memory, for tests, which pictures are marked as no-photo pictures; implements NoPhotos."""

    def __init__(self) -> None:
        self._marked: dict[tuple[str, str], NoPhoto] = {}

    async def mark(self, no_photo: NoPhoto) -> None:
        self._marked.setdefault((no_photo.feed, no_photo.sha256), no_photo)

    async def unmark(self, feed: str, sha256: str) -> bool:
        return self._marked.pop((feed, sha256), None) is not None

    async def all(self) -> Sequence[NoPhoto]:
        return sorted(self._marked.values(), key=lambda marked: (marked.feed, marked.marked_at))

    async def hashes(self, feed: str) -> Collection[str]:
        return {sha256 for marked_feed, sha256 in self._marked if marked_feed == feed}
