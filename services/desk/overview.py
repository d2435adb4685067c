"""The first page: how the whole system stands now, and charts of the last hour. Its numbers refresh by themselves."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web

from services.desk import charts
from services.desk.charts import Chart
from services.desk.decide import SUCCESSES
from services.desk.snapshots import MINUTE, MINUTES, Snapshot
from services.desk.view import DeskParts, query_text, render
from shared.domain.failures import REASONS, Reason
from shared.domain.image import Status
from shared.origin_budget.use import TITLES

_LATEST_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class LastHour:
    """The last hour of all feeds in charts and totals.

    There are charts of the attempts (done and failed), of the length of the queue, and of the requests to the origins,
    each by time. `failures` has the number of failed attempts by reason, the most frequent first.
    """

    attempts: Chart
    done: int
    failed: int
    failures: Mapping[Reason, int]
    queue: Chart
    requests: Chart
    request_count: int


class Overview:
    """The desk's first page, and the part of it that refreshes."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the first page (`/`) and of the part of it that refreshes (`/live`)."""
        return [web.get("/", self._page), web.get("/live", self._live)]

    async def _page(self, request: web.Request) -> web.Response:
        is_live = query_text(request, "live") != "off"
        return render(request, "overview.html", {"is_live": is_live, **await self._context()})

    async def _live(self, request: web.Request) -> web.Response:
        return render(request, "_overview.html", await self._context())

    async def _context(self) -> Mapping[str, object]:
        parts = self._parts
        snapshot, minutes, latest = await asyncio.gather(
            parts.snapshots.current(), parts.history.by_minute(), parts.stores.attempts.latest(_LATEST_ATTEMPTS)
        )
        return {
            "snapshot": snapshot,
            "hour": _last_hour(snapshot, minutes, parts.snapshots.queue_lengths),
            "totals": _totals(snapshot),
            "statuses": list(Status),
            "reasons": REASONS,
            "successes": SUCCESSES,
            "titles": TITLES,
            "latest": latest,
        }


def _totals(snapshot: Snapshot) -> Mapping[str, int]:
    """Return, by their names in the template, the numbers of a snapshot as sums over all feeds.

    They are the numbers of listings, of displayed listings, of photos in flight, of queued photos, and of photos of
    each status.
    """
    feeds = snapshot.feeds.values()
    return {
        "listings": sum(counts.listings for counts in feeds),
        "displayed": sum(counts.displayed for counts in feeds),
        "in_flight": sum(counts.in_flight for counts in feeds),
        "queued": snapshot.queued,
        **{status.value: sum(counts.images.get(status, 0) for counts in feeds) for status in Status},
    }


def _last_hour(
    snapshot: Snapshot, minutes: Mapping[datetime, Mapping[str, int]], queue: Iterable[tuple[datetime, int]]
) -> LastHour:
    """Return the hour before the snapshot in charts and totals.

    `minutes` maps the beginning of each minute of that hour, the oldest first, to its numbers of attempts by result.
    `queue` yields pairs: a time, and how many photos were queued at that time. Pairs from before that hour are left
    out.
    """
    attempts = {minute: _done_and_failed(results) for minute, results in minutes.items()}
    failures = Counter[str]()
    for results in minutes.values():
        failures.update({result: count for result, count in results.items() if result not in SUCCESSES})
    began = snapshot.at - timedelta(minutes=MINUTES)
    return LastHour(
        attempts=charts.columns([(f"{minute:%H:%M}", counts) for minute, counts in attempts.items()]),
        done=sum(counts["done"] for counts in attempts.values()),
        failed=sum(counts["failed"] for counts in attempts.values()),
        failures={Reason(result): count for result, count in failures.most_common() if result in set(Reason)},
        queue=charts.line([((at - began) / (MINUTES * MINUTE), length) for at, length in queue if at >= began]),
        requests=charts.columns(
            [(f"{minute:%H:%M}", {"requests": snapshot.requests.get(minute, 0)}) for minute in minutes]
        ),
        request_count=sum(snapshot.requests.values()),
    )


def _done_and_failed(results: Mapping[str, int]) -> dict[str, int]:
    done = sum(count for result, count in results.items() if result in SUCCESSES)
    return {"done": done, "failed": sum(results.values()) - done}
