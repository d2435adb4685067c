"""`imagectl removals`: removes listings and photos by an operator's order, and decides about holds on removals."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import typer

from ops import removals as removing
from ops import terminal
from ops.words import counted
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.listing_search import ListingSearch
from shared.stores.removal_holds import Decision, RemovalHold

app = typer.Typer(
    help="Remove listings or photos, and decide about holds on removals.",
    epilog="Example: imagectl removals list",
    no_args_is_help=True,
)

_ListingKeys = Annotated[list[str], typer.Argument(metavar="LISTING", help="ListingKeys.")]
_ImageIds = Annotated[
    list[str] | None, typer.Option("--image", metavar="IMAGE", help="One image of the one listing, by id; repeatable.")
]
_FeedOption = Annotated[
    str | None, typer.Option("--feed", metavar="FEED", help="Needed if a key is recorded in several feeds.")
]
_FeedName = Annotated[str, typer.Argument(metavar="FEED", help="A feed of feeds.toml.")]


@app.command(epilog="Example: imagectl removals force C12000001 --image 5f3c0d9e… --yes")
def force(
    listing_keys: _ListingKeys,
    image: _ImageIds = None,
    feed: _FeedOption = None,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Remove listings, or images of one, whatever the MLS says.

    They are hidden at once, and stay so until `allow`. Their objects and photos are removed within seconds, as in every
    removal; the reason is `forced`.
    """
    image_ids = image or []
    _check_listing_keys(listing_keys, image_ids)
    what = counted(len(listing_keys), "listing")
    if image_ids:
        what = f"{counted(len(image_ids), 'image')} of listing {listing_keys[0]}"

    async def remove(listings: mongo.MongoListings) -> list[Listing]:
        found = [await _find(listings, key, feed) for key in listing_keys]
        for listing in found:
            _check_image_ids(listing, image_ids, {photo.id for photo in listing.photos} | {*listing.removed_image_ids})
        terminal.require_consent(f"This removes every copy of {what}.", yes=yes)
        ids = [(listing.feed, listing.key) for listing in found]
        return await removing.change(listings, ids, partial(removing.remove, image_ids=image_ids), utc_now)

    removed = terminal.run(partial(_with_listings, remove))
    _print(removed, as_json, "removed within seconds, and stays away until allowed again")


@app.command(epilog="Example: imagectl removals allow C12000001")
def allow(
    listing_keys: _ListingKeys, image: _ImageIds = None, feed: _FeedOption = None, as_json: terminal.Json = False
) -> None:
    """Undo `force`: the MLS's next announcement counts again.

    Give listings, or single images of one. They are shown again with the next `listing-seen`, even if it announces the
    same as before: the feed's sweep publishes one.
    """
    image_ids = image or []
    _check_listing_keys(listing_keys, image_ids)

    async def allow_again(listings: mongo.MongoListings) -> list[Listing]:
        found = [await _find(listings, key, feed) for key in listing_keys]
        for listing in found:
            _check_image_ids(listing, image_ids, {*listing.removed_image_ids})
            if not removing.is_removed(listing, image_ids):
                terminal.fail(f"nothing of listing {listing.key} was removed by an operator")
        ids = [(listing.feed, listing.key) for listing in found]
        return await removing.change(listings, ids, partial(removing.allow_again, image_ids=image_ids), utc_now)

    allowed = terminal.run(partial(_with_listings, allow_again))
    _print(allowed, as_json, "allowed; shown again when the MLS is next heard of it")


@app.command("list", epilog="Example: imagectl removals list --json")
def list_(as_json: terminal.Json = False) -> None:
    """Show each feed's last hold on removals and the decision."""

    async def read(settings: Settings, _: Mapping[str, Feed]) -> Sequence[RemovalHold]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            return await mongo.MongoRemovalHolds(database).all()

    holds = terminal.run(read)
    if as_json:
        terminal.print_json([dataclasses.asdict(hold) for hold in holds])
        return
    for hold in holds:
        decided = f"; over since {hold.decided_at:%Y-%m-%d %H:%M} UTC: {hold.decision}" if hold.decided_at else ""
        terminal.print_line(f"{hold}{decided}")
    if not holds:
        terminal.print_line("no feed's removals have ever been frozen")


@app.command(epilog="Example: imagectl removals resume proptx-idx --yes")
def resume(feed: _FeedName, yes: terminal.Yes = False, as_json: terminal.Json = False) -> None:
    """Decide that a feed's held removals are right. Their copies are removed once they are due."""
    if terminal.is_to_ask(yes=yes):
        terminal.ask(f"This removes every copy of the listings that feed {feed} turned hidden. Remove them?")
    _decide(feed, Decision.RESUME, "what was held is being removed", as_json)


@app.command(epilog="Example: imagectl removals discard proptx-idx")
def discard(feed: _FeedName, yes: terminal.Yes = False, as_json: terminal.Json = False) -> None:
    """Decide that a feed's held removals were the feed's fault.

    The listings stay hidden, with their copies, until the feed shows them again. Those that the feed does not show
    again within 72 hours are removed after all.
    """
    if terminal.is_to_ask(yes=yes):
        terminal.ask(f"This keeps every copy of the listings that feed {feed} turned hidden, for 72 hours. Keep them?")
    outcome = "the listings stay hidden with their copies until the feed shows them again, for 72 hours at most"
    _decide(feed, Decision.DISCARD, outcome, as_json)


def _decide(feed: str, decision: Decision, outcome: str, as_json: bool) -> None:
    """Record an operator's decision in MongoDB for each hold of a feed that is not decided yet, and print the outcome.

    `feed` is the feed's name. `outcome` is the sentence that is printed; with `as_json`, the decision is printed as
    JSON instead. Ends the process with a message if the feed has no undecided hold.
    """

    async def decide(settings: Settings, feeds: Mapping[str, Feed]) -> int:
        terminal.select_feeds(feed, feeds, settings)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            return await mongo.MongoRemovalHolds(database).decide(feed, decision, utc_now())

    decided = terminal.run(decide)
    if not decided:
        terminal.fail(f"the removals of {feed} are not frozen")
    if as_json:
        terminal.print_json({"feed": feed, "decision": decision, "freezes": decided})
    else:
        terminal.print_line(f"{feed}: {outcome}")


async def _with_listings(
    change: Callable[[mongo.MongoListings], Awaitable[list[Listing]]], settings: Settings, _: Mapping[str, Feed]
) -> list[Listing]:
    """Connect to MongoDB, call `change` with its store of listings, and return the listings that `change` returns.

    `settings` name the database. The third argument, the feeds, is not used: `terminal.run` passes it to every command.
    Raises StoreUnavailable if MongoDB does not answer, and whatever `change` raises.
    """
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        return await change(mongo.MongoListings(database, Renderer(settings.public_root)))


async def _find(listings: ListingSearch, key: str, feed: str | None) -> Listing:
    """Return the only recorded listing with this ListingKey in the feed, or in all feeds if `feed` is None.

    Ends the process if there is no such listing, or more than one. Raises StoreUnavailable.
    """
    found = [listing for listing in await listings.by_key(key) if feed in (None, listing.feed)]
    if not found:
        terminal.fail(f"no listing {key!r} is recorded; was it ever published?")
    if len(found) > 1:
        feeds = ", ".join(listing.feed for listing in found)
        terminal.fail(f"listing {key!r} is in several feeds; name one with --feed: {feeds}")
    return found[0]


def _check_listing_keys(listing_keys: Sequence[str], image_ids: Sequence[str]) -> None:
    """End the process if image ids are given with more than one listing; otherwise do nothing."""
    if image_ids and len(listing_keys) > 1:
        terminal.fail("--image goes with one listing; name the one that it belongs to")


def _check_image_ids(listing: Listing, image_ids: Sequence[str], ids_of_listing: set[str]) -> None:
    """End the process if `image_ids` has an id that is not in `ids_of_listing`; otherwise do nothing."""
    if unknown := {*image_ids} - ids_of_listing:
        terminal.fail(f"listing {listing.key} has no such image: {', '.join(sorted(unknown))}")


def _print(listings: Sequence[Listing], as_json: bool, outcome: str) -> None:
    """Print each listing with the sentence `outcome`.

    With `as_json`, print as JSON whether an operator removed each listing, and the ids of its removed images.
    """
    if as_json:
        terminal.print_json(
            [
                {
                    "feed": listing.feed,
                    "key": listing.key,
                    "is_blocked": listing.is_removed_by_operator,
                    "blocked": listing.removed_image_ids,
                }
                for listing in listings
            ]
        )
        return
    for listing in listings:
        terminal.print_line(f"{listing.feed} {listing.key}: {outcome}")
