"""`imagectl status`: how everything stands."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ops import status as standing
from ops import stores as opening
from ops import terminal, words
from ops.status import SystemStatus
from shared.domain.feed import Feed
from shared.domain.image import Status as ImageStatus
from shared.domain.priority import Priority
from shared.kafka import BrokerUnavailable
from shared.origin_budget.use import TITLES, WindowUse
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable

_EVERY_SECONDS = 2.0
_PATIENCE_SECONDS = 25.0
"""So long a look may take before the screen says that it got no answer; of a silent Kafka it hears after 8 by itself,
and then closes its connections, which takes seconds on a busy machine."""

app = typer.Typer()


@app.command(epilog="Example: imagectl status --json | jq .feeds")
def status(
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Keep looking until Ctrl-C; with --json, one line a look, `fault` in it if that failed."
        ),
    ] = False,
    as_json: terminal.Json = False,
) -> None:
    """Show how every feed stands, and what is yet to be read.

    Listings, images, queue and budgets by feed; what each service has yet to read; dead letters. First of all, whose
    removals are frozen and wait for an operator, and who silences a feed.
    """

    async def look_on(settings: Settings, feeds: Mapping[str, Feed]) -> None:
        async with opening.opened(settings) as stores:
            await _watch(lambda: standing.gather(settings, feeds, stores), as_json=as_json)

    if watch:
        terminal.run(look_on, lambda: "no longer watching")
    else:
        _print(*terminal.run(_look), as_json=as_json)


def _print(found: SystemStatus, fault: str, *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(standing.to_json(found) | {"fault": fault})
    else:
        terminal.show(_shown(found))
    if fault:
        terminal.fail(f"{fault}\nThe rest is as it stands; what is to read, and dead letters, are not known.")


async def _look(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[SystemStatus, str]:
    """Look once. On the day that Kafka is away the rest is wanted most."""
    async with opening.opened(settings) as stores:
        try:
            return await standing.gather(settings, feeds, stores), ""
        except BrokerUnavailable as fault:
            return await standing.gather(settings, feeds, stores, with_kafka=False), str(fault)


async def _watch(look: Callable[[], Awaitable[SystemStatus]], *, as_json: bool) -> None:
    """Show look after look. Once there was one, a server that goes away is said beside what was seen last."""
    found, fault = await look(), ""
    with _screen(as_json=as_json) as show:
        while True:
            show(found, fault)
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    found, fault = await look(), ""
            except TimeoutError:
                fault = "no answer in time"
            except (BrokerUnavailable, StoreUnavailable) as away:
                fault = str(away)


@contextmanager
def _screen(*, as_json: bool) -> Iterator[Callable[[SystemStatus, str], object]]:
    """Yield what shows a look: as a line of JSON, on a screen of its own, or below the last one where there is none."""
    if as_json:
        yield lambda found, fault: print(
            json.dumps(standing.to_json(found) | {"fault": fault}, default=terminal.in_json), flush=True
        )
    elif terminal.out.is_terminal:
        with Live(console=terminal.out, auto_refresh=False, screen=True) as live:
            yield lambda found, fault: live.update(_shown(found, fault), refresh=True)
    else:
        yield lambda found, fault: terminal.show(_shown(found, fault))


def _shown(found: SystemStatus, fault: str = "") -> RenderableType:
    table = Table("", box=None, header_style="bold")
    for name in found.feeds:
        table.add_column(name, justify="right")
    for what, show in _ROWS.items():
        table.add_row(what, *(show(found, name) for name in found.feeds))
    for window, what in TITLES.items():
        left = [_left(found.budgets[name].windows, window) for name in found.feeds]
        if any(left):
            table.add_row(f"left of {what}", *(one or "no limit" for one in left))
    stale = [Text(f"{fault}; this is how it stood at {found.at:%H:%M:%S} UTC", "bold red")] if fault else []
    return Group(*stale, *map(Text, _asking(found)), table, *map(Text, _lines(found)))


def _left(windows: Sequence[WindowUse], name: str) -> str:
    for window in windows:
        if window.name == name:
            return f"{window.remaining:,.0f} of {window.limit:,.0f}"
    return ""


def _images(found: SystemStatus, feed: str, status: ImageStatus) -> str:
    return f"{found.feeds[feed].images.get(status, 0):,}"


def _queued(found: SystemStatus, feed: str, priority: Priority) -> str:
    photos = found.feeds[feed].queued.get(priority, 0)
    if photos and (due_at := standing.idle_until(found.feeds[feed], found.at)):
        return f"{photos:,}, none due for {words.lasting((due_at - found.at).total_seconds())}"
    seconds = found.seconds_until_done[feed].get(priority)
    return f"{photos:,}, done in {words.lasting(seconds)}" if photos and seconds is not None else f"{photos:,}"


def _late(found: SystemStatus, feed: str) -> str:
    oldest = found.feeds[feed].oldest_due_at
    return "-" if oldest is None or oldest > found.at else f"{words.lasting((found.at - oldest).total_seconds())} late"


_Show = Callable[[SystemStatus, str], str]
_ROWS: Mapping[str, _Show] = {
    "listings": lambda found, feed: f"{found.feeds[feed].listings:,}",
    "  displayed": lambda found, feed: f"{found.feeds[feed].displayed:,}",
    **{f"images {one}": partial(_images, status=one) for one in ImageStatus},
    **{f"queued {one}": partial(_queued, priority=one) for one in Priority},
    "  of them in work": lambda found, feed: f"{found.feeds[feed].in_flight:,}",
    "oldest due": _late,
    "downloads running": lambda found, feed: f"{found.budgets[feed].running} of {found.budgets[feed].slots}",
}


def _asking(found: SystemStatus) -> Iterator[str]:
    """Say what may want an operator; it stands first, where a small screen shows it."""
    for one in found.removals_frozen:
        yield f"{one}: `imagectl removals resume {one.feed}` if that is right, `removals discard {one.feed}` if not"
    for feed, use in found.budgets.items():
        yield from (f"{feed}: {suspension.in_words()}" for suspension in use.suspensions)


def _lines(found: SystemStatus) -> Iterator[str]:
    for service, topics in (found.lag or {}).items():
        behind = ", ".join(f"{topic} {records:,}" for topic, records in topics.items())
        yield f"{service}: to read {behind}"
    if found.dead_letters is not None:
        yield f"dead letters: {found.dead_letters:,}"
