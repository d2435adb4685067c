"""`imagectl compliance`: the evidence that what had to go is gone."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated

import typer

from ops import compliance as proving
from ops import terminal, words
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.removals import Removal, removal_facts

app = typer.Typer()

Found = tuple[Listing, list[Removal]]


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

    Of a listing in words, or of a period as a list of any length.
    """
    if listing_key is not None:
        _of_listing(listing_key, feed, as_json)
    elif begin and end:
        now = utc_now()
        since, until = (terminal.read_as(lambda typed: words.moment(typed, now), text) for text in (begin, end))
        _of_period(since, until, feed, as_json)
    else:
        terminal.fail("name a ListingKey, or a period with --from and --to")


def _of_listing(listing_key: str, feed: str | None, as_json: bool) -> None:
    async def look(settings: Settings, _: Mapping[str, Feed]) -> list[Found]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            removals = mongo.MongoRemovals(database)
            found = [one for one in await listings.by_key(listing_key) if feed in (None, one.feed)]
            return [(one, list(await removals.of_listing(one.feed, one.key))) for one in found]

    found = terminal.run(look)
    if not found:
        terminal.fail(f"no listing {listing_key!r} is recorded; was it ever published?")
    if as_json:
        terminal.print_json([removal_facts(removal) for _, removals in found for removal in removals])
        return
    for listing, removals in found:
        for line in proving.of_listing(listing, removals):
            terminal.say(line)


def _of_period(begin: datetime, end: datetime, feed: str | None, as_json: bool) -> None:
    async def look(settings: Settings, _: Mapping[str, Feed]) -> None:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            removals = mongo.MongoRemovals(database).between(begin, end, feed)
            await (_print_json(removals) if as_json else _print_words(removals))

    terminal.run(look)


async def _print_json(removals: AsyncIterator[Removal]) -> None:
    """Print a JSON array, a removal a line, as they come: a period may be of any length."""
    before = "["
    async for one in removals:
        sys.stdout.write(f"{before}\n{json.dumps(removal_facts(one), default=terminal.in_json)}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


async def _print_words(removals: AsyncIterator[Removal]) -> None:
    count = 0
    async for one in removals:
        terminal.say(f"{one.feed} {one.listing_key}: {proving.of_removal(one)}")
        count += 1
    terminal.say(words.many(count, "removal"))
