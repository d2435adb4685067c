"""The interface between a fetch and its feed's origin budget."""

from typing import Protocol

from services.downloader.answers import Answer
from shared.domain.failures import Failure


class Permit(Protocol):
    """Decides when each request of one photo's fetch may be sent.

    The fetch reports the received bytes and the origin's answer to this object.
    """

    async def wait_for_request(self) -> Failure | None:
        """Wait until the next request may be sent: the first request, or the request that follows a redirect.

        Return None when the request may be sent. If the budget refuses the request, return the failure to end the fetch
        with.
        """

    async def confirm_request(self) -> Failure | None:
        """Check that a request whose connection is made is still on time; if it is late, wait for another time.

        Called just before the request is written, because connecting may take so long that the planned time is missed.
        Return None if the request may be written now. If the budget has no other time for the request, return the
        failure to end the fetch with.
        """

    def count_received(self, size: int) -> None:
        """Charge `size` bytes of a body to the feed's budget. A compressed body is charged by its compressed size."""

    async def report_answer(self, answer: Answer) -> None:
        """Report the final answer of the fetch. The budget then frees the photo's slot, before the photo is encoded."""
