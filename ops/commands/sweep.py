"""`imagectl sweep`: has a sweep run now instead of at its scheduled time, and waits until it has finished."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Annotated

import typer

from ops import terminal
from ops.stores import open_stores
from ops.words import counted
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.documents import ListingId
from shared.stores.removal_holds import RemovalHold
from shared.stores.removal_queue import RemovalQueue
from shared.stores.sweeps import SweepRequest, Sweeps, SweepState, counts_to_json

_HELP = "Run a sweep now, not at its scheduled time. The command waits for its end."
app = typer.Typer(help=_HELP, epilog="Example: imagectl sweep freshness --dry-run", no_args_is_help=True)

_POLL_SECONDS = 0.3
_MAX_START_SECONDS = 30.0
_MAX_STALLED_SECONDS = 600.0
_BATCH_SIZE = 50
"""How many listings are read at a time: more than a janitor removes at once."""


@app.callback(help=_HELP)
def sweep() -> None:
    """Do nothing: this callback makes Typer treat `sweep` as a group of commands."""


@app.command(epilog="Example: imagectl sweep freshness --feed proptx-idx --dry-run")
def freshness(
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed of feeds.toml; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    as_json: terminal.Json = False,
) -> None:
    """Have the scheduler compare each feed's MLS with the records.

    Listings that changed are published. Of a feed without reso_url, copies that are older than its recheck_days become
    due for a recheck.
    """

    async def request_sweeps(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, SweepState]:
        names = _feeds_to_sweep(settings, feeds, feed)
        request = SweepRequest(at=utc_now(), dry_run=dry_run)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            sweeps = mongo.MongoSweeps(database)
            for name in names:
                await sweeps.request(name, request)
            with terminal.progress(quiet=as_json) as progress:
                bars = {name: progress.add_task(name, total=None, done=0, unit="listings") for name in names}

                def on_progress(state: SweepState) -> None:
                    counts = state.counts
                    completed, total = counts.asked_for - counts.remaining, counts.asked_for or None
                    progress.update(bars[state.feed], completed=completed, total=total, done=counts.compared)

                states = await asyncio.gather(*(_answer(sweeps, name, request, on_progress) for name in names))
        return {state.feed: state for state in states}

    states = terminal.run(request_sweeps)
    _print_sweeps(states, dry_run, as_json)
    if any(state.error for state in states.values()):
        raise typer.Exit(terminal.FAILED)


def _feeds_to_sweep(settings: Settings, feeds: Mapping[str, Feed], name: str | None) -> list[str]:
    """Return the names of the feeds that can be swept: the one of this name, or all if `name` is None.

    Ends the process if there is none. A feed can be swept if it has a reso_url or recheck_days.
    """
    selected = terminal.select_feeds(name, feeds, settings)
    names = [feed.name for feed in selected if feed.reso_url or feed.recheck_days]
    if not names:
        terminal.fail(f"there is nothing to ask; give a feed in {settings.feeds} a reso_url, or recheck_days")
    return names


async def _answer(
    sweeps: Sweeps, feed: str, request: SweepRequest, on_progress: Callable[[SweepState], object]
) -> SweepState:
    """Wait until a scheduler has finished the sweep that was requested, and return the state of the feed's sweep.

    `request` is this command's request in MongoDB. `on_progress` is called with each new state, the last included. The
    process ends with a message if no scheduler starts the sweep within 30 seconds, if the sweep makes no progress for
    10 minutes, or if a later `imagectl sweep` replaces `request`. Raises StoreUnavailable.
    """
    before = state = await sweeps.get(feed)
    progressed_at, max_seconds = monotonic(), _MAX_START_SECONDS
    while state.answered_request_at != request.at:
        if state.revision != before.revision:
            before, progressed_at, max_seconds = state, monotonic(), _MAX_STALLED_SECONDS
            on_progress(state)
        if monotonic() - progressed_at > max_seconds:
            terminal.fail(f"{feed}: no scheduler took it up in {max_seconds:.0f} s; it will be done once one runs")
        if state.request != request:
            terminal.fail(f"{feed}: another `imagectl sweep` was started since; that one goes on")
        await asyncio.sleep(_POLL_SECONDS)
        state = await sweeps.get(feed)
    on_progress(state)
    return state


def _print_sweeps(states: Mapping[str, SweepState], dry_run: bool, as_json: bool) -> None:
    if as_json:
        terminal.print_json(
            {
                feed: counts_to_json(state.counts) | {"dry_run": dry_run, "error": state.error}
                for feed, state in states.items()
            }
        )
    else:
        for feed, state in states.items():
            terminal.print_line(f"{feed}: {_in_words(state, dry_run)}")


def _in_words(state: SweepState, dry_run: bool) -> str:
    counts = state.counts
    if state.error:
        return f"nothing is concluded: {state.error}"
    if not counts.asked_for:
        copies = counted(counts.published, "copy is", "copies are")
        return f"{counted(counts.compared, 'listing')} compared; {copies} due to be asked for again"
    would = "would be asked" if dry_run else "asked"
    news = f"{counted(counts.asked_for, 'listing')} {would} for, {counts.missing:,} of them missing on the market"
    outcome = "" if dry_run else f"; {counts.published:,} published, {counts.gone:,} of them as gone"
    return f"{counts.compared:,} compared; {news}{outcome}"


@app.command(epilog="Example: imagectl sweep removals --json")
def removals(
    wait_seconds: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Fail if nothing is removed for so long."),
    ] = _MAX_START_SECONDS,
    as_json: terminal.Json = False,
) -> None:
    """Wait until every removal that is due now is done.

    The janitor does due removals within seconds. If it does not, the command fails and names a listing. Holds that
    wait for an operator's decision are named, and the exit code is then 1.
    """

    async def wait(settings: Settings, _: Mapping[str, Feed]) -> tuple[int, Sequence[RemovalHold]]:
        async with open_stores(settings) as stores:
            with terminal.progress(quiet=as_json) as progress:
                bar = progress.add_task("removing", total=None, done=0, unit="listings")
                removed = await _wait_for_removals(
                    stores.listings, wait_seconds, lambda removed: progress.update(bar, done=removed)
                )
            return removed, [hold for hold in await stores.removal_holds.all() if hold.decision is None]

    removed, holds = terminal.run(wait)
    if as_json:
        terminal.print_json({"removed": removed, "frozen": sorted({hold.feed for hold in holds})})
    else:
        terminal.print_line(f"what had to be removed by now is gone; waited for {counted(removed, 'listing')}")
        for hold in holds:
            terminal.print_line(f"{hold}; decide with: imagectl removals resume {hold.feed}, or discard")
    if holds:
        raise typer.Exit(terminal.FAILED)


async def _wait_for_removals(listings: RemovalQueue, wait_seconds: float, on_progress: Callable[[int], object]) -> int:
    """Wait until every removal that is due now is done; return the number of listings waited for, 0 if none is due.

    Ends the process with a message if nothing is removed for `wait_seconds`. `on_progress` is called again and again
    with the number of listings whose removals are done. Raises StoreUnavailable.
    """
    now, waited_for, progressed_at = utc_now(), set[ListingId](), monotonic()
    before: set[ListingId] | None = None
    while due := {(listing.feed, listing.key) for listing in await listings.removal_due(now, _BATCH_SIZE)}:
        waited_for |= due
        if due != before:
            before, progressed_at = due, monotonic()
        on_progress(len(waited_for - due))
        if monotonic() - progressed_at > wait_seconds:
            terminal.fail(
                f"still to be removed: {counted(len(due), 'listing')} or more, such as {min(due)[1]}; none was in "
                f"{wait_seconds:g} s. Does a janitor run, and does object storage answer? See: imagectl doctor"
            )
        await asyncio.sleep(_POLL_SECONDS)
    return len(waited_for)
