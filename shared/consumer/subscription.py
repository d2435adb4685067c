"""A subscription: a topic that a service reads, and the function that handles its records."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from shared.events.records import Record

Handle = Callable[[Sequence[Record]], Awaitable[None]]
"""Handles a batch of records. After an exception, the records are given again or become dead letters."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic that a service reads, and the function `handle` that handles its records in batches.

    `topic` is the name without the prefix. A batch has at most `batch_size` records, and at most `concurrency` batches
    are handled at the same time. A batch starts once it is full, but at the latest `gather_seconds` after its first
    record arrived.
    """

    topic: str
    handle: Handle
    batch_size: int = 10
    concurrency: int = 1
    gather_seconds: float = 0.03
