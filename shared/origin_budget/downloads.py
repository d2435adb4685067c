"""What a worker holds of a feed's budget: downloads that were granted, in batches."""

from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.accounting import EndedDownload


@dataclass(slots=True)
class GrantedDownload:
    """One granted download: the right to run it, and a planned time for its next request."""

    slot: str
    planned_at: datetime
    """When its next request goes, by the store's clock."""
    feed: Feed
    priority: Priority
    image_id: str = ""
    """The image that it is used for, set by the worker."""
    sent_at: datetime | None = None
    """When its latest request was let go; None where none was."""
    is_request_written: bool = False
    """True if a request of it was written to a connection."""
    due_at: datetime | None = None
    """When to try again, where the budget refused a request of it."""
    unused: list[datetime] = field(default_factory=list)
    """Planned times at which nothing was sent."""
    received_bytes: int = 0

    def receive(self, count: int) -> None:
        """Count bytes that came, so that they are charged however the download ends."""
        self.received_bytes += count

    def refuse(self, due_at: datetime) -> None:
        """Note that its next request must not go, and when to try again."""
        self.due_at = due_at
        self.unused.append(self.planned_at)

    def ended(self, failure: Failure | None) -> EndedDownload:
        """Return how it ended, for the ledger; `failure` is None where the origin gave the image.

        What our own budget refused says nothing of the origin; a planned time at which nothing was sent is free again.
        """
        never_sent = [self.planned_at] if self.sent_at is None and self.due_at is None else []
        sent_at = None if self.due_at else self.sent_at
        unused = (*self.unused, *never_sent)
        return EndedDownload(self.slot, self.image_id, sent_at, failure, self.received_bytes, unused)


@dataclass(slots=True)
class Batch:
    """What a feed's ledger granted at once."""

    feed: Feed
    downloads: list[GrantedDownload]
    """In the order of their planned times."""
    ask_again_at: datetime | None
    """When to ask for the rest; None where all was granted, or nothing is granted any more."""
    running: list[GrantedDownload] = field(init=False)
    """The downloads that did not end yet."""

    def __post_init__(self) -> None:
        self.running = list(self.downloads)
