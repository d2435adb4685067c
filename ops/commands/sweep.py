"""`imagectl sweep`: what is otherwise done by the clock, now and to its end."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Annotated

import typer

from ops import stores as opening
from ops import terminal
from ops.words import many
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.documents import ListingId
from shared.stores.removal_holds import RemovalHold
from shared.stores.removal_queue import RemovalQueue
from shared.stores.sweeps import SweepRequest, Sweeps, SweepState, counts_to_json

app = typer.Typer(
    help="Do now what is otherwise done by the clock. It is seen through to its end.",
    epilog="Example: imagectl sweep freshness --dry-run",
    no_args_is_help=True,
)

_LOOK_SECONDS = 0.3
_BEGUN_WITHIN_SECONDS = 30.0
_STALLED_AFTER_SECONDS = 600.0
_LOOKED_AT = 50
"""Listings at a look: more than a janitor removes at once; a long removal is followed from look to look."""


@app.callback()
def sweep() -> None:
    """Do now what is otherwise done by the clock. It is seen through to its end."""


@app.command(epilog="Example: imagectl sweep freshness --feed proptx-idx --dry-run")
def freshness(
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed of feeds.toml; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    as_json: terminal.Json = False,
) -> None:
    """Have the scheduler compare each feed's MLS with the record.

    What is news is published. A feed without reso_url has those of its copies asked for again that are older than its
    recheck_days.
    """

    async def see_through(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, SweepState]:
        names = _to_sweep(settings, feeds, feed)
        wish = SweepRequest(at=utc_now(), dry_run=dry_run)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            sweeps = mongo.MongoSweeps(database)
            for name in names:
                await sweeps.request(name, wish)
            with terminal.progress(quiet=as_json) as progress:
                bars = {name: progress.add_task(name, total=None, done=0, unit="listings") for name in names}

                def tell(now: SweepState) -> None:
                    counts = now.counts
                    done, total = counts.asked_for - counts.remaining, counts.asked_for or None
                    progress.update(bars[now.feed], completed=done, total=total, done=counts.compared)

                answers = await asyncio.gather(*(_answered(sweeps, name, wish, tell) for name in names))
        return {one.feed: one for one in answers}

    done = terminal.run(see_through)
    _print(done, dry_run, as_json)
    if any(one.error for one in done.values()):
        raise typer.Exit(terminal.FAILED)


@app.command(epilog="Example: imagectl sweep removals --json")
def removals(
    patience: Annotated[
        float,
        typer.Option(
            "--wait", min=0, metavar="SECONDS", help="Give up after so many seconds in which nothing was removed."
        ),
    ] = _BEGUN_WITHIN_SECONDS,
    as_json: terminal.Json = False,
) -> None:
    """Wait until all that had to be removed by now is gone.

    Where it does not go, that is said. The janitor removes what is due within seconds; what waits for an operator's
    decision is named and stays.
    """

    async def see_through(settings: Settings, _: Mapping[str, Feed]) -> tuple[int, Sequence[RemovalHold]]:
        async with opening.opened(settings) as stores:
            with terminal.progress(quiet=as_json) as progress:
                bar = progress.add_task("removing", total=None, done=0, unit="listings")
                gone = await _gone(stores.listings, patience, lambda done: progress.update(bar, done=done))
            return gone, [one for one in await stores.removal_holds.all() if one.decision is None]

    gone, frozen = terminal.run(see_through)
    if as_json:
        terminal.print_json({"removed": gone, "frozen": sorted({one.feed for one in frozen})})
    else:
        terminal.say(f"what had to be removed by now is gone; waited for {many(gone, 'listing')}")
        for one in frozen:
            words = f"{one}; decide with: imagectl removals resume {one.feed}, or discard"
            terminal.say(words)
    if frozen:
        raise typer.Exit(terminal.FAILED)


async def _gone(listings: RemovalQueue, patience: float, tell: Callable[[int], object]) -> int:
    """Wait until nothing is due that was due at the beginning; return of how many listings it was."""
    at, waited_for, moved_at = utc_now(), set[ListingId](), monotonic()
    before: set[ListingId] | None = None
    while due := {(one.feed, one.key) for one in await listings.removal_due(at, _LOOKED_AT)}:
        waited_for |= due
        if due != before:
            before, moved_at = due, monotonic()
        tell(len(waited_for - due))
        if monotonic() - moved_at > patience:
            terminal.fail(
                f"still to be removed: {many(len(due), 'listing')} or more, such as {min(due)[1]};"
                f" none was in {patience:g} s. Does a janitor run, and does object storage answer? See: imagectl doctor"
            )
        await asyncio.sleep(_LOOK_SECONDS)
    return len(waited_for)


def _print(done: Mapping[str, SweepState], dry_run: bool, as_json: bool) -> None:
    if as_json:
        terminal.print_json(
            {name: counts_to_json(one.counts) | {"dry_run": dry_run, "error": one.error} for name, one in done.items()}
        )
    else:
        for name, one in done.items():
            terminal.say(f"{name}: {_in_words(one, dry_run)}")


def _to_sweep(settings: Settings, feeds: Mapping[str, Feed], wanted: str | None) -> list[str]:
    if wanted is not None and wanted not in feeds:
        terminal.fail(f"there is no feed {wanted!r} in {settings.feeds}; it has {', '.join(feeds)}")
    names = [name for name, one in feeds.items() if wanted in (None, name) and (one.reso_url or one.recheck_days)]
    if not names:
        terminal.fail(f"there is nothing to ask; give a feed in {settings.feeds} a reso_url, or recheck_days")
    return names


async def _answered(sweeps: Sweeps, feed: str, wish: SweepRequest, tell: Callable[[SweepState], object]) -> SweepState:
    """Watch the feed's record until its wish is seen through."""
    before = now = await sweeps.get(feed)
    moved_at, patience = monotonic(), _BEGUN_WITHIN_SECONDS
    while now.answered_request_at != wish.at:
        if now.revision != before.revision:
            before, moved_at, patience = now, monotonic(), _STALLED_AFTER_SECONDS
            tell(now)
        if monotonic() - moved_at > patience:
            terminal.fail(f"{feed}: no scheduler took it up in {patience:.0f} s; it will be done once one runs")
        if now.request != wish:
            terminal.fail(f"{feed}: another `imagectl sweep` was started since; that one goes on")
        await asyncio.sleep(_LOOK_SECONDS)
        now = await sweeps.get(feed)
    tell(now)
    return now


def _in_words(done: SweepState, dry_run: bool) -> str:
    found = done.counts
    if done.error:
        return f"nothing is concluded: {done.error}"
    if not found.asked_for:
        copies = many(found.published, "copy is", "copies are")
        return f"{many(found.compared, 'listing')} compared; {copies} due to be asked for again"
    would = "would be asked" if dry_run else "asked"
    news = f"{many(found.asked_for, 'listing')} {would} for, {found.missing:,} of them missing on the market"
    outcome = "" if dry_run else f"; {found.published:,} published, {found.gone:,} of them as gone"
    return f"{found.compared:,} compared; {news}{outcome}"
