"""Audits in memory, for tests."""

from collections.abc import Sequence
from datetime import datetime

from shared.stores.audits import Audit


class MemoryAudits:
    """Keeps audits in memory, for tests; implements Audits."""

    def __init__(self) -> None:
        self._audits: dict[datetime, Audit] = {}

    async def newest(self, limit: int) -> Sequence[Audit]:
        return sorted(self._audits.values(), key=lambda audit: audit.started_at, reverse=True)[:limit]

    async def save(self, audit: Audit) -> None:
        self._audits[audit.started_at] = audit
