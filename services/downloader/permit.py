"""What a fetch asks of its feed's budget, request by request, and tells it in return."""

from typing import Protocol

from services.downloader.answers import Answer
from shared.domain.failures import Failure


class Permit(Protocol):
    """The budget's side of one photo's fetch: decides when each request may be sent, and is told what came back."""

    async def wait_for_request(self) -> Failure | None:
        """Wait until the next request may be sent: the first one, or one that follows a redirect.

        Return None once it may be sent, or the failure to end the fetch with if the budget has no request left.
        """

    async def confirm_request(self) -> Failure | None:
        """Check, once the connection stands, that the request is still in time; if not, wait for another time.

        Connecting may take longer than the planned time of the request allows. Return None if the request may be
        written now, or the failure to end the fetch with.
        """

    def count_received(self, size: int) -> None:
        """Add `size` bytes of a body, as they came over the network, to those that the feed's budget is charged for."""

    async def report_answer(self, answer: Answer) -> None:
        """Tell the budget the origin's final answer, so that it frees the photo's slot before the photo is encoded."""
