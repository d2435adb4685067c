"""An event loop with simulated time: a wait of hours takes no time."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SimulatedTime(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as no task can run."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_AdvancingSelector(self))

    def time(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class _AdvancingSelector(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "every task waits, and no timer will end it"
        self._loop.advance(timeout)
        events: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return events


def run_simulated(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a new event loop with simulated time; return its result."""
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        return runner.run(main)


def now() -> float:
    """Return how many simulated seconds have passed since the running event loop was made."""
    return asyncio.get_running_loop().time()
