"""The stores in memory, for tests of everything above them. They keep the same contract as the real ones."""

from shared.stores.memory.listings import MemoryListings
from shared.stores.memory.objects import MemoryObjects
from shared.stores.memory.records import MemoryAttempts, MemoryHandledDeadLetters, MemoryLeases, MemoryRemovals

__all__ = [
    "MemoryAttempts",
    "MemoryHandledDeadLetters",
    "MemoryLeases",
    "MemoryListings",
    "MemoryObjects",
    "MemoryRemovals",
]
