"""`imagectl status`: shows how the whole system stands, once or until Ctrl-C."""

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

from ops import status as system_status
from ops import terminal, words
from ops.status import SystemStatus
from ops.stores import open_stores
from shared.domain.feed import Feed
from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.kafka import BrokerUnavailable
from shared.origin_budget.use import TITLES, WindowUse
from shared.settings import Settings
from shared.stores.errors import StoreUnavailable

_REFRESH_SECONDS = 2.0
_TIMEOUT_SECONDS = 25.0
"""After this time a refresh counts as unanswered. It is longer than the 8 seconds that Kafka has to answer: closing the
connections to a Kafka that does not answer takes seconds more on a busy machine."""

app = typer.Typer()


@app.command(epilog="Example: imagectl status --json | jq .feeds")
def status(
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Refresh until Ctrl-C; with --json, one line a refresh, with the `fault` if it failed."
        ),
    ] = False,
    as_json: terminal.Json = False,
) -> None:
    """Show how every feed stands, and what is yet to be read.

    First come holds on removals that wait for an operator, and suspended feeds: paused by an operator, throttled by the
    origin, or with an open breaker. Then, by feed, listings, images, queue and budget; the records that each service
    has yet to read; and the dead letters.
    """

    async def refresh(settings: Settings, feeds: Mapping[str, Feed]) -> None:
        async with open_stores(settings) as stores:
            await _refresh(lambda: system_status.read_status(settings, feeds, stores), as_json=as_json)

    if watch:
        terminal.run(refresh, lambda: "no longer watching")
    else:
        _print(*terminal.run(_read), as_json=as_json)


def _print(status: SystemStatus, fault: str, *, as_json: bool) -> None:
    """Print the status on standard output as a table or as JSON.

    If `fault` is not empty, it says why parts of the status are unknown: it is printed too, and the process ends with
    exit code 1.
    """
    if as_json:
        terminal.print_json(system_status.to_json(status) | {"fault": fault})
    else:
        terminal.print_table(_table(status))
    if fault:
        terminal.fail(f"{fault}\nThe rest is as it stands; what is to read, and dead letters, are not known.")


async def _read(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[SystemStatus, str]:
    """Read the status, and return it with "" for no fault.

    If Kafka does not answer, return the part of the status that is read from MongoDB, with Kafka's error as the fault.
    Raises StoreUnavailable if MongoDB does not answer.
    """
    async with open_stores(settings) as stores:
        try:
            return await system_status.read_status(settings, feeds, stores), ""
        except BrokerUnavailable as error:
            return await system_status.read_status(settings, feeds, stores, with_kafka=False), str(error)


async def _refresh(read: Callable[[], Awaitable[SystemStatus]], *, as_json: bool) -> None:
    """Show the status every two seconds until Ctrl-C cancels this call.

    `read` is called for each refresh, and returns the status at that time. If `read` fails the first time, its
    BrokerUnavailable or StoreUnavailable is raised. If it fails later, the fault is shown beside the last status.
    """
    status, fault = await read(), ""
    with _screen(as_json=as_json) as show:
        while True:
            show(status, fault)
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    status, fault = await read(), ""
            except TimeoutError:
                fault = "no answer in time"
            except (BrokerUnavailable, StoreUnavailable) as error:
                fault = str(error)


@contextmanager
def _screen(*, as_json: bool) -> Iterator[Callable[[SystemStatus, str], object]]:
    """Yield a function that shows a status. It may be called again and again until the context ends.

    The function takes the status, and a text that says why a newer status could not be read, or "". With `as_json`, a
    call prints a line of JSON. Otherwise the status fills the whole screen of a terminal; without a terminal, it is
    printed below the one before.
    """
    if as_json:
        yield lambda status, fault: print(
            json.dumps(system_status.to_json(status) | {"fault": fault}, default=terminal.to_json), flush=True
        )
    elif terminal.out.is_terminal:
        with Live(console=terminal.out, auto_refresh=False, screen=True) as live:
            yield lambda status, fault: live.update(_table(status, fault), refresh=True)
    else:
        yield lambda status, fault: terminal.print_table(_table(status, fault))


def _table(status: SystemStatus, fault: str = "") -> RenderableType:
    """Return the status for people: what needs an operator, a table with a column for each feed, lag, dead letters.

    `fault` says why a newer status could not be read. If it is not "", it comes first, with the time of `status`.
    """
    table = Table("", box=None, header_style="bold")
    for name in status.feeds:
        table.add_column(name, justify="right")
    for title, text_of in _ROWS.items():
        table.add_row(title, *(text_of(status, name) for name in status.feeds))
    for window, title in TITLES.items():
        remaining = [_remaining(status.budgets[name].windows, window) for name in status.feeds]
        if any(remaining):
            table.add_row(f"left of {title}", *(text or "no limit" for text in remaining))
    old = [Text(f"{fault}; this is how it stood at {status.at:%H:%M:%S} UTC", "bold red")] if fault else []
    return Group(*old, *map(Text, _needs_operator(status)), table, *map(Text, _kafka_lines(status)))


def _remaining(windows: Sequence[WindowUse], name: str) -> str:
    """Return how much of one limit of a feed is left, such as `90 of 100`; "" if the feed has no such limit.

    `windows` are the feed's windows, `name` the name of the window to which the limit belongs, such as `hour`.
    """
    for window in windows:
        if window.name == name:
            return f"{window.remaining:,.0f} of {window.limit:,.0f}"
    return ""


def _images(status: SystemStatus, feed: str, image_status: Status) -> str:
    return f"{status.feeds[feed].images.get(image_status, 0):,}"


def _queued(status: SystemStatus, feed: str, priority: Priority) -> str:
    photos = status.feeds[feed].queued.get(priority, 0)
    if photos and (due_at := system_status.first_due_at(status.feeds[feed], status.at)):
        return f"{photos:,}, none due for {words.duration_text((due_at - status.at).total_seconds())}"
    seconds = status.seconds_until_done[feed].get(priority)
    return f"{photos:,}, done in {words.duration_text(seconds)}" if photos and seconds is not None else f"{photos:,}"


def _oldest_due(status: SystemStatus, feed: str) -> str:
    oldest = status.feeds[feed].oldest_due_at
    if oldest is None or oldest > status.at:
        return "-"
    return f"{words.duration_text((status.at - oldest).total_seconds())} late"


_ROWS: Mapping[str, Callable[[SystemStatus, str], str]] = {
    "listings": lambda status, feed: f"{status.feeds[feed].listings:,}",
    "  displayed": lambda status, feed: f"{status.feeds[feed].displayed:,}",
    **{f"images {image_status}": partial(_images, image_status=image_status) for image_status in Status},
    **{f"queued {priority}": partial(_queued, priority=priority) for priority in Priority},
    "  of them in work": lambda status, feed: f"{status.feeds[feed].in_flight:,}",
    "oldest due": _oldest_due,
    "downloads running": lambda status, feed: f"{status.budgets[feed].running} of {status.budgets[feed].slots}",
}
"""The rows of the table: their titles, and the text of one feed."""


def _needs_operator(status: SystemStatus) -> Iterator[str]:
    """Yield the lines that may need an operator: the holds that wait for a decision, and what suspends feeds.

    These lines are shown first, so that they are visible on a small screen.
    """
    for hold in status.removal_holds:
        yield f"{hold}: `imagectl removals resume {hold.feed}` if that is right, `removals discard {hold.feed}` if not"
    for feed, use in status.budgets.items():
        yield from (f"{feed}: {suspension.in_words()}" for suspension in use.suspensions)


def _kafka_lines(status: SystemStatus) -> Iterator[str]:
    """Yield a line for each service with the numbers of records that it has yet to read, and a line on dead letters.

    No line is yielded if the status was read without Kafka.
    """
    for service, topics in (status.lag or {}).items():
        lag = ", ".join(f"{topic} {records:,}" for topic, records in topics.items())
        yield f"{service}: to read {lag}"
    if status.dead_letters is not None:
        yield f"dead letters: {status.dead_letters:,}"
