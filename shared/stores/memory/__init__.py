"""The stores in memory, for tests of their callers. They behave as the protocols of shared/stores say."""

from shared.stores.memory.attempts import MemoryAttempts
from shared.stores.memory.audits import MemoryAudits
from shared.stores.memory.handled_dead_letters import MemoryHandledDeadLetters
from shared.stores.memory.leases import MemoryLeases
from shared.stores.memory.ledgers import MemoryLedgers
from shared.stores.memory.listings import MemoryListings
from shared.stores.memory.no_photos import MemoryNoPhotos
from shared.stores.memory.objects import MemoryObjects
from shared.stores.memory.pushed_keys import MemoryPushedKeys
from shared.stores.memory.refreshes import MemoryRefreshes
from shared.stores.memory.removal_holds import MemoryRemovalHolds
from shared.stores.memory.removals import MemoryRemovals
from shared.stores.memory.sweeps import MemorySweeps
from shared.stores.memory.throughputs import MemoryThroughputs
from shared.stores.memory.tokens import MemoryTokens
from shared.stores.memory.workers import MemoryWorkers

__all__ = [
    "MemoryAttempts",
    "MemoryAudits",
    "MemoryHandledDeadLetters",
    "MemoryLeases",
    "MemoryLedgers",
    "MemoryListings",
    "MemoryNoPhotos",
    "MemoryObjects",
    "MemoryPushedKeys",
    "MemoryRefreshes",
    "MemoryRemovalHolds",
    "MemoryRemovals",
    "MemorySweeps",
    "MemoryThroughputs",
    "MemoryTokens",
    "MemoryWorkers",
]
