"""The part of a feed's budget that a worker has: batches of granted downloads."""

from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.accounting import EndedDownload


@dataclass(slots=True)
class GrantedDownload:
    """A download that the budget granted: it has a slot, and a planned time for its next request."""

    slot: str
    planned_at: datetime
    """When its next request may be sent, by the store's clock."""
    feed: Feed
    priority: Priority
    ignores_breaker: bool = False
    """True if it may run while the breaker is open: its request goes to the MLS's API, not to a host of photos."""
    image_id: str = ""
    """The image that it downloads, set by the worker."""
    sent_at: datetime | None = None
    """When its latest request was allowed; None if no request was."""
    is_request_written: bool = False
    """True if one of its requests was written to a connection."""
    due_at: datetime | None = None
    """When to attempt the photo again, if the budget refused a request; else None."""
    unused: list[datetime] = field(default_factory=list)
    """Planned times at which no request was sent."""
    received_bytes: int = 0

    def receive(self, count: int) -> None:
        """Count `count` more received bytes, in memory.

        The budget counts them, whether the download succeeds or fails.
        """
        self.received_bytes += count

    def refuse(self, due_at: datetime) -> None:
        """Note, in memory, that the budget refuses the download's next request; its planned time is then unused.

        `due_at` is when to attempt the photo again. The ledger learns of the unused time when the download's end is
        recorded.
        """
        self.due_at = due_at
        self.unused.append(self.planned_at)

    def ended(self, failure: Failure | None) -> EndedDownload:
        """Return this download's end, for the ledger to account for; `failure` is None after a good answer.

        If the budget refused one of the download's requests, the end says nothing about the origin. If the download
        sent no request, its planned time is unused.
        """
        never_sent = [self.planned_at] if self.sent_at is None and self.due_at is None else []
        sent_at = None if self.due_at else self.sent_at
        unused = (*self.unused, *never_sent)
        return EndedDownload(self.slot, self.image_id, sent_at, failure, self.received_bytes, unused)


@dataclass(slots=True)
class DownloadBatch:
    """The downloads that one write of a feed's ledger granted; empty if it granted none."""

    feed: Feed
    downloads: list[GrantedDownload]
    """In the order of their planned times."""
    ask_again_at: datetime | None
    """When to ask for the downloads that were not granted; None if all were granted, or if the budget is closed."""
    running: list[GrantedDownload] = field(init=False)
    """The downloads whose end is not recorded yet."""

    def __post_init__(self) -> None:
        self.running = list(self.downloads)
