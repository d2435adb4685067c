"""`imagectl force`: makes photos due now, although nothing newer was announced."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from ops import estimate, terminal, words
from ops import force as forcing
from ops.force import Forced, PhotoFilter
from ops.stores import Stores, open_stores
from shared.clock import utc_now
from shared.domain.failures import Reason
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.origin_budget.reading import read_use
from shared.settings import Settings
from shared.stores.errors import Contention

app = typer.Typer()

Result = Mapping[str, Any]
"""The result for one feed, as `force --json` prints it: the counts, the cost, and the feed's suspensions."""


@dataclass(frozen=True, slots=True)
class ForceOptions:
    """The arguments and options of `imagectl force`, as Typer reads them."""

    listings: Annotated[list[str] | None, typer.Argument(metavar="LISTING", help="ListingKeys.")] = None
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="Only photos of this feed.")] = None
    failed: Annotated[
        Reason | None,
        typer.Option(metavar="REASON", help="Only photos that failed for this reason; see docs/failures.md."),
    ] = None
    city: Annotated[str | None, typer.Option(metavar="CITY", help="Only listings of this city.")] = None
    priority: Annotated[Priority, typer.Option(help="How urgent: `routine` photos are released last.")] = (
        Priority.SEARCHED
    )
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count downloads, bytes and time, and change nothing.")] = (
        False
    )
    yes: terminal.Yes = False
    as_json: terminal.Json = False

    @property
    def filter(self) -> PhotoFilter:
        """Return the filter that these options describe; it selects the photos to force in each feed."""
        return PhotoFilter(listing_keys=tuple(self.listings or ()), failed=self.failed, city=self.city)


@app.command(epilog="Example: imagectl force --feed proptx-idx --failed forbidden --city Toronto --dry-run")
@terminal.with_options(ForceOptions)
def force(options: ForceOptions) -> None:
    """Fetch photos again, also those that were given up.

    Photos are selected that fit all filters given. Photos with a copy are asked for again conditionally; the copy is
    served until a newer one is downloaded. Hidden listings are left alone. If no listing is named, at a terminal, the
    command counts first and then asks.
    """
    if options.feed is None and options.filter == PhotoFilter():
        terminal.fail("name listings, or say --feed, --failed or --city")
    asks = not (options.listings or options.dry_run) and terminal.is_to_ask(yes=options.yes)
    results, left_out = terminal.run(partial(_force, options, dry_run=options.dry_run or asks))
    if asks and any(result["photos"] for result in results.values()):
        terminal.ask("\n".join([*_lines(results, dry_run=True), "Fetch them again?"]))
        results, left_out = terminal.run(partial(_force, options, dry_run=False))
    if options.as_json:
        terminal.print_json(results)
    else:
        for line in _lines(results, dry_run=options.dry_run):
            terminal.print_line(line)
    if left_out:
        terminal.fail("\n".join(left_out))


async def _force(
    options: ForceOptions, settings: Settings, feeds: Mapping[str, Feed], *, dry_run: bool
) -> tuple[dict[str, Result], list[str]]:
    """Force the photos of all selected feeds; return the results by feed, and a line for each ListingKey left out.

    A ListingKey is left out if no selected feed has it. A dry run only counts. Raises StoreUnavailable. Raises
    Contention, after the last feed, if others kept changing a listing.
    """
    selected = terminal.select_feeds(options.feed, feeds, settings)
    names = [feed.name for feed in selected]
    async with open_stores(settings) as stores:
        results = await _force_feeds(options, selected, stores, dry_run=dry_run)
        left_out = forcing.explain_left_out(stores.listings, options.filter.listing_keys, names, feeds)
        return results, [line async for line in left_out]


async def _force_feeds(
    options: ForceOptions, feeds: list[Feed], stores: Stores, *, dry_run: bool
) -> dict[str, Result]:  # fmt: skip
    """Force photos of these feeds, show the progress, and return the results by the feeds' names.

    A dry run only counts. Raises StoreUnavailable. Raises Contention, after the last feed, if others kept changing a
    listing.
    """
    counts = [(await stores.listings.counts(feed.name, utc_now())).listings for feed in feeds]
    total = len(options.listings or ()) * len(feeds) or sum(counts)
    results, read, contentions = dict[str, Result](), 0, list[str]()
    with terminal.progress(quiet=options.as_json) as progress:
        bar = progress.add_task("looking" if dry_run else "forcing", total=total, done=0, unit="listings")
        for feed in feeds:

            def on_progress(forced: Forced, before: int = read) -> None:
                progress.update(bar, completed=before + forced.looked_at, done=before + forced.looked_at)

            try:
                forced = await forcing.force(
                    stores.listings, feed.name, options.filter, options.priority, utc_now,
                    dry_run=dry_run, on_progress=on_progress,
                )  # fmt: skip
            except Contention as error:
                contentions.append(str(error))
                continue
            read += forced.looked_at
            results[feed.name] = await _result(forced, feed, stores)
    if contentions:
        raise Contention("\n".join(contentions))
    return results


async def _result(forced: Forced, feed: Feed, stores: Stores) -> Result:
    use = await read_use(stores.ledgers, feed)
    return {
        **dataclasses.asdict(forced),
        "bytes_expected": forced.bytes_expected,
        "seconds_at_least": estimate.seconds_for(forced.photos, forced.bytes_expected, feed, use),
        "silences": [suspension.in_words() for suspension in use.suspensions],
    }


def _lines(results: Mapping[str, Result], *, dry_run: bool) -> Iterator[str]:
    return (f"{feed}: {_in_words(result, dry_run=dry_run)}" for feed, result in results.items())


def _in_words(result: Result, *, dry_run: bool) -> str:
    due = (
        f"{words.counted(result['photos'], 'photo')} of {words.counted(result['listings'], 'listing')} "
        f"{'would be due' if dry_run else 'due'} now: "
        f"about {words.size_text(result['bytes_expected'])}, "
        f"at least {words.duration_text(result['seconds_at_least'])} within the budget"
    )
    not_forced = (
        (result["in_work"], "photo", "in work already"),
        (result["not_to_be_had"], "photo", "not to be had: the URL was used, or objects of it are being removed"),
        (result["hidden"], "listing", "not displayed and left alone"),
    )
    return "; ".join(
        [due, *(f"{words.counted(count, what)} {why}" for count, what, why in not_forced if count), *result["silences"]]
    )
