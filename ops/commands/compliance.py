"""`imagectl compliance`: prints the evidence of removals, of a listing or of a period."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated

import typer

from ops import compliance as describing
from ops import terminal, words
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.removals import Removal, removal_facts

app = typer.Typer()


@app.command(
    epilog="Example: imagectl compliance C12000001, or "
    "imagectl compliance --from 2026-11-01 --to 2026-12-01 --feed proptx-idx --json > november.json"
)
def compliance(
    listing_key: Annotated[str | None, typer.Argument(metavar="LISTING", help="A ListingKey.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Removed since: a time, or how long ago, as 30d.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Removed before: a time, `now`, or how long ago.")
    ] = None,
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed; all if not given.")] = None,
    as_json: terminal.Json = False,
) -> None:
    """Show what was removed, why and when.

    Give a ListingKey to get the evidence of one listing in words, or a period to get the list of all its removals.
    """
    if listing_key is not None:
        _print_listing(listing_key, feed, as_json)
    elif begin and end:
        now = utc_now()
        since, until = (terminal.parse(lambda typed: words.parse_time(typed, now), text) for text in (begin, end))
        _print_period(since, until, feed, as_json)
    else:
        terminal.fail("name a ListingKey, or a period with --from and --to")


def _print_listing(listing_key: str, feed: str | None, as_json: bool) -> None:
    async def read(settings: Settings, _: Mapping[str, Feed]) -> list[tuple[Listing, list[Removal]]]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            removals = mongo.MongoRemovals(database)
            found = [listing for listing in await listings.by_key(listing_key) if feed in (None, listing.feed)]
            return [(listing, list(await removals.of_listing(listing.feed, listing.key))) for listing in found]

    found = terminal.run(read)
    if not found:
        terminal.fail(f"no listing {listing_key!r} is recorded; was it ever published?")
    if as_json:
        terminal.print_json([removal_facts(removal) for _, removals in found for removal in removals])
        return
    for listing, removals in found:
        for line in describing.describe_listing(listing, removals):
            terminal.print_line(line)


def _print_period(since: datetime, until: datetime, feed: str | None, as_json: bool) -> None:
    async def read(settings: Settings, _: Mapping[str, Feed]) -> None:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            removals = mongo.MongoRemovals(database).between(since, until, feed)
            await (_print_json(removals) if as_json else _print_lines(removals))

    terminal.run(read)


async def _print_json(removals: AsyncIterator[Removal]) -> None:
    """Print removals as a JSON array, each on a line of its own.

    Each removal is printed as soon as it is read, because all of them may be too many for memory.
    """
    before = "["
    async for removal in removals:
        sys.stdout.write(f"{before}\n{json.dumps(removal_facts(removal), default=terminal.to_json)}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


async def _print_lines(removals: AsyncIterator[Removal]) -> None:
    count = 0
    async for removal in removals:
        terminal.print_line(f"{removal.feed} {removal.listing_key}: {describing.describe_removal(removal)}")
        count += 1
    terminal.print_line(words.counted(count, "removal"))
