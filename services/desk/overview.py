"""The first page: how everything stands now, and how the last hour went. Its numbers refresh by themselves."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from services.desk import charts
from services.desk.charts import Chart
from services.desk.view import DeskParts, page, text
from services.desk.watch import MINUTE, MINUTES, Snapshot
from shared.domain.failures import REASONS, Reason
from shared.domain.image import Status
from shared.origin_budget.use import TITLES

_LATEST = 12
_DONE = {"downloaded", "unchanged"}


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour in charts: attempts by minute, failures by reason, the queue, requests by minute."""

    attempts: Chart
    done: int
    failed: int
    failures: Mapping[Reason, int]
    queue: Chart
    requests: Chart
    asked: int


class Overview:
    """The page, and the part of it that refreshes."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/", self._page), web.get("/live", self._live)]

    async def _page(self, request: web.Request) -> web.Response:
        is_live = text(request, "live") != "off"
        return page(request, "overview.html", {"is_live": is_live, **await self._numbers()})

    async def _live(self, request: web.Request) -> web.Response:
        return page(request, "_overview.html", await self._numbers())

    async def _numbers(self) -> Mapping[str, object]:
        parts = self._parts
        seen, minutes, latest = await asyncio.gather(
            parts.watch.now(), parts.history.minutes(), parts.stores.attempts.latest(_LATEST)
        )
        return {
            "seen": seen,
            "hour": _hour(seen, minutes, parts.watch.queue),
            "totals": _totals(seen),
            "statuses": list(Status),
            "reasons": REASONS,
            "titles": TITLES,
            "latest": latest,
        }


def _totals(seen: Snapshot) -> Mapping[str, int]:
    """Sum what the feeds have."""
    feeds = seen.feeds.values()
    return {
        "listings": sum(counts.listings for counts in feeds),
        "displayed": sum(counts.displayed for counts in feeds),
        "in_work": sum(counts.in_flight for counts in feeds),
        "queued": seen.queued,
        **{status.value: sum(counts.images.get(status, 0) for counts in feeds) for status in Status},
    }


def _hour(seen: Snapshot, minutes: Mapping[datetime, Mapping[str, int]], queue: Iterable[tuple[datetime, int]]) -> Hour:
    split = {minute: _split(results) for minute, results in minutes.items()}
    failures = Counter[str]()
    for results in minutes.values():
        failures.update({result: count for result, count in results.items() if result not in _DONE})
    began = seen.at - timedelta(minutes=MINUTES)
    return Hour(
        attempts=charts.columns([(f"{minute:%H:%M}", counts) for minute, counts in split.items()]),
        done=sum(counts["done"] for counts in split.values()),
        failed=sum(counts["failed"] for counts in split.values()),
        failures={Reason(result): count for result, count in failures.most_common() if result in set(Reason)},
        queue=charts.line([((at - began) / (MINUTES * MINUTE), length) for at, length in queue if at >= began]),
        requests=charts.columns(
            [(f"{minute:%H:%M}", {"requests": seen.requests.get(minute, 0)}) for minute in minutes]
        ),
        asked=sum(seen.requests.values()),
    )


def _split(results: Mapping[str, int]) -> dict[str, int]:
    done = sum(count for result, count in results.items() if result in _DONE)
    return {"done": done, "failed": sum(results.values()) - done}
