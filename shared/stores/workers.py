"""Where the workers answer: for each worker's name, the address and the token of the process that has the name."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Worker:
    """A running process as a worker: its `name`, as `worker_name` returns it, and the root `url` at which it answers.

    `token` is random; each process has its own.
    """

    name: str
    url: str
    token: str


class Workers(Protocol):
    """Stores, for each worker's name, the process that last took the name.

    Each method raises StoreUnavailable if the database does not answer.
    """

    async def get(self, name: str) -> Worker | None:
        """Return the process that last took the name `name`; None if none ever did. Raises StoreUnavailable."""

    async def put(self, worker: Worker) -> None:
        """Store `worker` in place of the process that took its name before. Raises StoreUnavailable."""
