"""The interface between a fetch and its feed's origin budget."""

from typing import Protocol

from services.downloader.answers import Answer
from shared.domain.failures import Failure


class Permit(Protocol):
    """Decides when each request of one photo's fetch may be sent. The fetch reports the bytes and the answer to it."""

    async def wait_for_request(self) -> Failure | None:
        """Wait until the next request may be sent: the first request, or the request that follows a redirect.

        Return None when the request may be sent. If the budget has no request left, return the failure to end the fetch
        with.
        """

    async def confirm_request(self) -> Failure | None:
        """Check that the request is on time when its connection is made. If it is late, wait for another time.

        To connect may take so long that the request misses its planned time. Return None if the request may be written
        now, or the failure to end the fetch with if the budget has no other time.
        """

    def count_received(self, size: int) -> None:
        """Charge `size` received bytes of a body to the feed's budget. Compressed bytes count as they are received."""

    async def report_answer(self, answer: Answer) -> None:
        """Report the origin's final answer. The budget then frees the photo's slot, before the photo is encoded."""
