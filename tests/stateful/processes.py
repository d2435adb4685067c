"""Processes in memory: each reaches stores and broker through doors, and may die, stall or be cut off at each call."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import ContextVar
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from shared.kafka import Broker, BrokerUnavailable, Outgoing
from shared.stores.errors import StoreUnavailable
from tests.stateful.broker import Topics

Service = TypeVar("Service")

STALL_SECONDS = 250.0
STEP_SECONDS = 0.001
"""How long each call takes: other processes act in between."""
_CURRENT: ContextVar["Process[Any] | None"] = ContextVar("process", default=None)


class Died(BaseException):
    """Raised in a dead process at its calls of stores and broker, so that they have no effect."""


class Trouble(Enum):
    """What may happen to a process at one of its calls of a store or the broker."""

    DEATH = auto()
    OUTAGE = auto()
    """The call fails, before or after its effect."""
    STALL = auto()
    """The process stands still for longer than any lease lasts, and then goes on."""


class Process(Generic[Service]):
    """A running service in memory, by its name.

    The process that takes its place when it dies may have the same name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.service: Service
        self.is_dead = False
        self.stops = 0
        """How often the process was killed, stalled or cut off."""
        self._trouble: tuple[int, Trouble] | None = None
        """The steps until the trouble, and its kind."""
        self._tasks: set[asyncio.Task[Any]] = set()

    def trouble_after(self, steps: int, kind: Trouble) -> None:
        """Plan a trouble for this process: it happens after `steps` more steps. It replaces a planned one."""
        self._trouble = steps, kind

    def heal(self) -> None:
        """Cancel the trouble that is planned for this process, if any. It does not bring a dead process back."""
        self._trouble = None

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task of this process for `work`, and return it. The task is cancelled when the process is killed."""
        token = _CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _CURRENT.reset(token)

    def kill(self) -> None:
        """Kill the process at once: its tasks are cancelled, and its calls have no effect from then on."""
        self.is_dead = True
        self.stops += 1
        for task in self._tasks:
            task.cancel()

    async def step(self, outage: Callable[[str], Exception]) -> None:
        """Take a step of this process, which takes 1 ms and at which a planned trouble may happen.

        Raises Died if the process is dead, or dies at this step, and `outage("away")` in an outage.
        """
        self._raise_if_dead()
        await asyncio.sleep(STEP_SECONDS)
        self._raise_if_dead()
        if self._trouble is None:
            return
        steps, kind = self._trouble
        self._trouble = (steps - 1, kind) if steps else None
        if steps:
            return
        self.stops += 1
        match kind:
            case Trouble.OUTAGE:
                raise outage("away")
            case Trouble.STALL:
                await asyncio.sleep(STALL_SECONDS)
                self.stops += 1  # it was stopped until now
                self._raise_if_dead()
            case Trouble.DEATH:
                self.kill()
                raise Died

    def _raise_if_dead(self) -> None:
        if self.is_dead:
            raise Died

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Make a task one of this process's, so that it is cancelled when the process is killed."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def current() -> Process[Any] | None:
    """Return the process whose code runs now; None for the test itself."""
    return _CURRENT.get()


def new_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
    """Create a task on the event loop for `work`, as a task of the process whose code runs now, if any does."""
    task = asyncio.Task(work, loop=loop, **options)
    if process := _CURRENT.get():
        process.adopt(task)
    return task


class Door:
    """A process's access to a store, with a step of the process before and after each call."""

    def __init__(self, process: Process[Any], store: object) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def call(*arguments: Any) -> Any:
            await self._process.step(StoreUnavailable)
            result = await method(*arguments)
            await self._process.step(StoreUnavailable)
            return result

        return call


class ListingsDoor(Door):
    """A process's access to the listings. A bulk write has a step before each listing: some may stay unwritten."""

    async def write(self, listings: Iterable[Any]) -> set[Any]:
        """Write the listings one by one; return the ids of those refused because somebody else wrote them."""
        refused: set[Any] = set()
        for listing in listings:
            await self._process.step(StoreUnavailable)
            refused |= set(await self._store.write([listing]))  # type: ignore[attr-defined]
        await self._process.step(StoreUnavailable)
        return refused


class BrokerDoor(Broker):
    """A process's access to the topics, with a step before each record: some may be published, others not."""

    def __init__(self, process: Process[Any], topics: Topics) -> None:
        super().__init__("")
        self._process = process
        self._topics = topics

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Append the records to their topics, one by one.

        Raises BrokerUnavailable in an outage, Died if the process dies.
        """
        for record in records:
            await self._process.step(BrokerUnavailable)
            self._topics.append(record.topic, record.key, record.value)
        await self._process.step(BrokerUnavailable)

    async def ping(self) -> None:
        """Take a step of the process, as any call of the broker does. Raises BrokerUnavailable or Died."""
        await self._process.step(BrokerUnavailable)
