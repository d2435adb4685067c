"""Processes in memory: each has its own doors to stores and broker, and may die or be cut off at any of them."""

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
"""What each call takes: others come in between."""
_CURRENT: ContextVar["Process[Any] | None"] = ContextVar("process", default=None)


class Died(BaseException):
    """The process is no more: nothing that it still tries has an effect."""


class Trouble(Enum):
    """What happens at one of the steps of a process."""

    DEATH = auto()
    AWAY = auto()
    """The call fails, with or without having had its effect."""
    STALL = auto()
    """The process stands still for longer than any lease lasts, and then goes on as if nothing had been."""


class Process(Generic[Service]):
    """One running service. It has a name, which its successor may have too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.service: Service
        self.is_dead = False
        self.stops = 0
        """How often it did not end, or not at once, what it had begun."""
        self._fuse: tuple[int, Trouble] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    def trouble(self, after: int, kind: Trouble) -> None:
        """Let something happen so many steps from now."""
        self._fuse = after, kind

    def heal(self) -> None:
        """Let nothing more happen."""
        self._fuse = None

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin work of this process."""
        token = _CURRENT.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _CURRENT.reset(token)

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self.is_dead = True
        self.stops += 1
        for task in self._tasks:
            task.cancel()

    async def step(self, away: Callable[[str], Exception]) -> None:
        """Pass one point at which something may happen."""
        self._alive()
        await asyncio.sleep(STEP_SECONDS)
        self._alive()
        if self._fuse is None:
            return
        left, kind = self._fuse
        self._fuse = (left - 1, kind) if left else None
        if left:
            return
        self.stops += 1
        match kind:
            case Trouble.AWAY:
                raise away("away")
            case Trouble.STALL:
                await asyncio.sleep(STALL_SECONDS)
                self.stops += 1  # until now
                self._alive()
            case Trouble.DEATH:
                self.kill()
                raise Died

    def _alive(self) -> None:
        if self.is_dead:
            raise Died

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Take a task as one of this process."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def current() -> Process[Any] | None:
    """Return the process that is at work just now; None for the test itself."""
    return _CURRENT.get()


def new_task(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
    """Make a task for a loop: it dies with the process that began it."""
    task = asyncio.Task(work, loop=loop, **more)
    if process := _CURRENT.get():
        process.adopt(task)
    return task


class Door:
    """A process's way to a store: before and after each call something may happen."""

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
    """A bulk write is many writes: some of them may happen and others not."""

    async def write(self, listings: Iterable[Any]) -> set[Any]:
        """Write one listing after the other."""
        refused: set[Any] = set()
        for one in listings:
            await self._process.step(StoreUnavailable)
            refused |= set(await self._store.write([one]))  # type: ignore[attr-defined]
        await self._process.step(StoreUnavailable)
        return refused


class BrokerDoor(Broker):
    """A process's producer: of several records some may be taken and others not."""

    def __init__(self, process: Process[Any], topics: Topics) -> None:
        super().__init__("")
        self._process = process
        self._topics = topics

    async def publish(self, records: Iterable[Outgoing]) -> None:
        """Publish one record after the other."""
        for record in records:
            await self._process.step(BrokerUnavailable)
            self._topics.append(record.topic, record.key, record.value)
        await self._process.step(BrokerUnavailable)

    async def ping(self) -> None:
        """Ask whether the broker is there."""
        await self._process.step(BrokerUnavailable)
