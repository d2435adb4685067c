"""One feed's ledger as the rules of the origin budget change it, for tests that name times by seconds after NOW."""

from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget import grants
from shared.origin_budget.accounting import EndedDownload, with_ended
from shared.origin_budget.grants import Demand, Grant
from shared.origin_budget.ledger import Ledger
from shared.origin_budget.use import BudgetUse, of_ledger
from tests.builders import after

SLOT_SECONDS = 30.0
UNPACED = {"requests_per_second": 0.0, "batch_pause_seconds": 0.0}
"""Rules of a feed without a rate and without pauses."""


class FeedBudget:
    """A feed and its ledger in memory, and the operations that workers do on the ledger.

    `seconds` of each method is when it happens, in seconds after NOW. `demands` counts the grants asked for.
    """

    def __init__(self, feed: Feed, holder: str = "grant-") -> None:
        """Begin with an unused ledger. The slots of the first grant are named by `holder`, 1 and a number."""
        self.feed = feed
        self.ledger = Ledger()
        self.demands = 0
        self._holder = holder

    def take(
        self, count: int, seconds: float = 0.0, priority: Priority = Priority.ROUTINE, *, failed_before: bool = False
    ) -> Grant:
        """Ask the budget for `count` downloads; change the ledger, and return the grant, which may hold fewer."""
        self.demands += 1
        demand = Demand(
            count=count,
            priority=priority,
            holder=f"{self._holder}{self.demands}",
            slot_seconds=SLOT_SECONDS,
            failed_before=failed_before,
        )
        changed, grant = grants.take(self.ledger, self.feed, demand, after(seconds))
        self.ledger = changed or self.ledger
        return grant

    def end(
        self,
        grant: Grant,
        seconds: float,
        failure: Failure | None = None,
        received_bytes: int = 0,
        image_id: str = "",
    ) -> None:
        """Record that all downloads of a grant ended alike, well or with `failure`, each with `received_bytes` bytes.

        Each is of an image named by its slot, unless `image_id` is given.
        """
        ended = [
            EndedDownload(request.slot, image_id or request.slot, request.at, failure, received_bytes)
            for request in grant.requests
        ]
        self.account(ended, seconds)

    def account(self, ended: list[EndedDownload], seconds: float, jitter: float = 0.0) -> None:
        """Record ended downloads in the ledger.

        `jitter`, 0 to 1, lengthens a throttling that has no end named by the origin.
        """
        self.ledger = with_ended(self.ledger, self.feed, ended, after(seconds), jitter=jitter)

    def fail(self, times: int, reason: Reason, seconds: float = 0.0) -> None:
        """Take and end `times` downloads of viewed photos, one after the other, each with a failure for this reason."""
        for _ in range(times):
            self.end(self.take(1, seconds, Priority.VIEWED), seconds, Failure(reason))

    def use(self, seconds: float) -> BudgetUse:
        """Return the use of the budget at that time, as operators see it."""
        return of_ledger(self.feed, self.ledger, after(seconds))

    @property
    def opened_by(self) -> Reason | None:
        """Return why the feed's breaker is open; None if it is closed."""
        return self.ledger.breaker.reason if self.ledger.breaker else None
