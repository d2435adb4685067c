"""Keeps a worker from downloading a photo twice at a time, if both subscriptions or several events request it."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Self


class InFlight:
    """The ids, in memory, of the photos that this process is about to download, or is downloading.

    A photo is *waiting* until the budget grants its download, then *claimed* until its outcome is settled. Viewed
    photos come by a subscription of their own, which may claim a photo that waits for the routine subscription.
    """

    def __init__(self) -> None:
        self._claimed: set[str] = set()
        self._waiting_routine: set[str] = set()
        self._waiting_viewed: set[str] = set()

    def image_ids(self) -> set[str]:
        """Return the ids of all photos that are waiting or claimed in this process."""
        return self._claimed | self._waiting_routine | self._waiting_viewed

    def is_claimed(self, image_id: str) -> bool:
        """Return True if the photo is claimed in this process, for either subscription."""
        return image_id in self._claimed

    def unavailable(self, *, is_viewed: bool, except_waiting: Collection[str] = ()) -> set[str]:
        """Return the ids of the photos that one subscription of this process may not claim now.

        The routine subscription (`is_viewed` False) may not claim photos that are claimed, or that wait for either
        subscription. The viewed subscription may not claim photos that are claimed, or that wait for the viewed
        subscription. `except_waiting` are ids of photos that the caller itself registered as waiting: the caller may
        claim these photos, unless they have been claimed meanwhile.
        """
        if is_viewed:
            return self._claimed | self._waiting_viewed.difference(except_waiting)
        return self._claimed | self._waiting_viewed | self._waiting_routine.difference(except_waiting)

    @contextmanager
    def waiting(self, image_ids: Collection[str], *, is_viewed: bool) -> Iterator[None]:
        """Register photos as waiting, in memory, while the `with` block runs.

        The photos wait for the viewed subscription if `is_viewed`, otherwise for the routine one.
        """
        waiting = self._waiting_viewed if is_viewed else self._waiting_routine
        waiting.update(image_ids)
        try:
            yield
        finally:
            waiting.difference_update(image_ids)

    def claim(self, image_ids: Iterable[str]) -> "Claims":
        """Register photos as claimed, in memory; return the Claims with which the caller ends the registration.

        The recorded claim, which other workers see, is written elsewhere (`lifecycle.claim`).
        """
        return Claims(self._claimed, image_ids)


class Claims:
    """The registration, in memory, of photos that were claimed together.

    Used as a context manager, it ends the registration of the remaining photos when the `with` block ends. Each photo's
    registration is ended only once: a photo that is claimed again later is registered by another Claims.
    """

    def __init__(self, claimed: set[str], image_ids: Iterable[str]) -> None:
        self._claimed = claimed
        self._unreleased = set(image_ids)
        claimed |= self._unreleased

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the registration of all photos that were not yet passed to `release`."""
        self.release(self._unreleased)

    def release(self, image_ids: Collection[str]) -> None:
        """End the registration of these photos, so that both subscriptions of this process may claim them again.

        A photo of this Claims must be passed only once.
        """
        self._claimed.difference_update(image_ids)
        self._unreleased = self._unreleased.difference(image_ids)
