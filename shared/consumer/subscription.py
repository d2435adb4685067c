"""Which topics does a service read, and which function handles their records?"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.events.records import Record

Handle = Callable[[Sequence[Record]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic that a service reads, and the function that handles its records in batches.

    `topic` is the name without the prefix. A batch has at most `batch_size` records; at most `concurrency` batches are
    handled at the same time. After the first record of a batch arrived, more are waited for `gather_seconds`.
    """

    topic: str
    handle: Handle
    batch_size: int = 10
    concurrency: int = 1
    gather_seconds: float = 0.03
