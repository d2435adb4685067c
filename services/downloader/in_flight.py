"""Keeps a photo from being downloaded twice at a time by one worker, whoever requests it."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Self


class InFlight:
    """The image ids of the photos that this worker has in hand.

    A photo is *waiting* until the budget grants its download, then *claimed* until its outcome is settled. Viewed
    photos come by a subscription of their own, which may take over a photo for which the routine subscription waits.
    """

    def __init__(self) -> None:
        self._claimed: set[str] = set()
        self._waiting_routine: set[str] = set()
        self._waiting_viewed: set[str] = set()

    def image_ids(self) -> set[str]:
        """Return the ids of all photos in hand."""
        return self._claimed | self._waiting_routine | self._waiting_viewed

    def is_claimed(self, image_id: str) -> bool:
        """Return True if the photo is claimed."""
        return image_id in self._claimed

    def unavailable(self, *, is_viewed: bool, except_waiting: Collection[str] = ()) -> set[str]:
        """Return the ids of the photos that this subscription may not take now.

        These are all that are claimed or waiting, except those that the routine subscription waits for if `is_viewed`,
        and those that the caller itself registered as waiting (`except_waiting`).
        """
        if is_viewed:
            return self._claimed | self._waiting_viewed.difference(except_waiting)
        return self._claimed | self._waiting_viewed | self._waiting_routine.difference(except_waiting)

    @contextmanager
    def waiting(self, image_ids: Collection[str], *, is_viewed: bool) -> Iterator[None]:
        """Register photos as waiting, by the subscription that requested them, while the block runs."""
        waiting = self._waiting_viewed if is_viewed else self._waiting_routine
        waiting.update(image_ids)
        try:
            yield
        finally:
            waiting.difference_update(image_ids)

    def claim(self, image_ids: Iterable[str]) -> "Claims":
        """Register photos as claimed, until they are released through the object returned."""
        return Claims(self._claimed, image_ids)


class Claims:
    """Photos that were claimed together. As a context manager, releases at its end those that were not released before.

    Each photo is released once: after that it may be claimed anew, which is registered by another object.
    """

    def __init__(self, claimed: set[str], image_ids: Iterable[str]) -> None:
        self._claimed = claimed
        self._left = set(image_ids)
        claimed |= self._left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the photos that were not released before."""
        self.release(self._left)

    def release(self, image_ids: Collection[str]) -> None:
        """Make some of these photos, which were not released before, available to others."""
        self._claimed.difference_update(image_ids)
        self._left = self._left.difference(image_ids)
