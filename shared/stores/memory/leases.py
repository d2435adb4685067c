"""Leases in memory, for tests."""

from collections.abc import Mapping
from datetime import datetime


class MemoryLeases:
    """Keeps leases in memory, for tests; implements Leases."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, datetime]] = {}

    async def hold(self, name: str, holder: str, now: datetime, until: datetime) -> bool:
        current = self._held.get(name)
        if current is not None and current[0] != holder and current[1] > now:
            return False
        self._held[name] = (holder, max(until, current[1]) if current else until)
        return True

    async def release(self, name: str, holder: str) -> None:
        if self._held.get(name, ("", None))[0] == holder:
            del self._held[name]

    async def holders(self, now: datetime) -> Mapping[str, str]:
        return {name: holder for name, (holder, until) in self._held.items() if until > now}
