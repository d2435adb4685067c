"""`imagectl force`: photos fetched again, now."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from ops import estimate, terminal, words
from ops import force as forcing
from ops import stores as opening
from ops.force import Forced, PhotoFilter
from ops.stores import Stores
from shared.clock import utc_now
from shared.domain.failures import Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.reading import read_use
from shared.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: imagectl force --feed proptx-idx --failed forbidden --city Toronto --dry-run")
def force(
    listings: Annotated[list[str] | None, typer.Argument(metavar="LISTING", help="ListingKeys.")] = None,
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="Only of this feed of feeds.toml.")] = None,
    failed: Annotated[
        Reason | None,
        typer.Option(metavar="REASON", help="Only what failed for this reason of docs/failures.md."),
    ] = None,
    city: Annotated[str | None, typer.Option(metavar="CITY", help="Only listings of this city.")] = None,
    priority: Annotated[Priority, typer.Option(help="How urgent: routine waits for its turn.")] = Priority.SEARCHED,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count downloads, bytes and time, and change nothing.")
    ] = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Fetch photos again, also those that were given up.

    Also those that did not change. Filters combine; hidden listings stay alone. A copy that is held is served until a
    newer one is here, and asked for again conditionally. Where no listing is named, at a terminal, the dry run goes
    first, and then it asks.
    """
    wanted = PhotoFilter(listing_keys=tuple(listings or ()), failed=failed, city=city)
    if feed is None and wanted == PhotoFilter():
        terminal.fail("name listings, or say --feed, --failed or --city")

    async def go_through(
        settings: Settings, feeds: Mapping[str, Feed], *, dry_run: bool
    ) -> tuple[dict[str, dict[str, Any]], list[str]]:
        chosen = terminal.feeds_named(feed, feeds, settings)
        names = [one.name for one in chosen]
        async with opening.opened(settings) as stores:
            done = await _go_through(stores, chosen, wanted, priority, dry_run=dry_run, quiet=as_json)
            left_out = forcing.explain_left_out(stores.listings, wanted.listing_keys, names, feeds)
            return done, [line async for line in left_out]

    asking = not (listings or dry_run) and terminal.asks(yes=yes)
    done, left_out = terminal.run(partial(go_through, dry_run=dry_run or asking))
    if asking and any(one["photos"] for one in done.values()):
        terminal.ask("\n".join([*_lines(done, dry_run=True), "Fetch them again?"]))
        done, left_out = terminal.run(partial(go_through, dry_run=False))
    if as_json:
        terminal.print_json(done)
    else:
        for line in _lines(done, dry_run=dry_run):
            terminal.say(line)
    if left_out:
        terminal.fail("\n".join(left_out))


async def _go_through(
    stores: Stores, feeds: list[Feed], wanted: PhotoFilter, priority: Priority, *, dry_run: bool, quiet: bool
) -> dict[str, dict[str, Any]]:
    counts = [(await stores.listings.counts(feed.name, utc_now())).listings for feed in feeds]
    total = len(wanted.listing_keys) * len(feeds) or sum(counts)
    found, looked_at = dict[str, dict[str, Any]](), 0
    with terminal.progress(quiet=quiet) as progress:
        bar = progress.add_task("looking" if dry_run else "forcing", total=total, done=0, unit="listings")
        for feed in feeds:

            def on_progress(so_far: Forced, before: int = looked_at) -> None:
                progress.update(bar, completed=before + so_far.looked_at, done=before + so_far.looked_at)

            done = await forcing.force(
                stores.listings, feed.name, wanted, priority, utc_now, dry_run=dry_run, on_progress=on_progress
            )
            use = await read_use(stores.ledgers, feed)
            seconds = estimate.seconds_for(done.photos, done.bytes_expected, feed, use)
            looked_at += done.looked_at
            found[feed.name] = {
                **dataclasses.asdict(done),
                "bytes_expected": done.bytes_expected,
                "seconds_at_least": seconds,
                "silences": [suspension.in_words() for suspension in use.suspensions],
            }
    return found


def _lines(done: Mapping[str, Mapping[str, Any]], *, dry_run: bool) -> Iterator[str]:
    return (f"{name}: {_in_words(one, dry_run=dry_run)}" for name, one in done.items())


def _in_words(one: Mapping[str, Any], *, dry_run: bool) -> str:
    said = (
        f"{words.many(one['photos'], 'photo')} of {words.many(one['listings'], 'listing')} "
        f"{'would be due' if dry_run else 'due'} now: "
        f"about {words.size(one['bytes_expected'])}, "
        f"at least {words.lasting(one['seconds_at_least'])} within the budget"
    )
    left = (
        (one["in_work"], "photo", "in work already"),
        (one["not_to_be_had"], "photo", "not to be had: the URL was used, or objects of it are being removed"),
        (one["hidden"], "listing", "not displayed and left alone"),
    )
    return "; ".join(
        [said, *(f"{words.many(count, what)} {why}" for count, what, why in left if count), *one["silences"]]
    )
