"""`imagectl removals`: what an operator has removed, and decides where a feed lost so much that removals are frozen."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import typer

from ops import removals as removing
from ops import terminal
from ops.words import many
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.listing_search import ListingSearch
from shared.stores.removal_holds import Decision, RemovalHold

app = typer.Typer(
    help="What an operator has removed or decides about.",
    epilog="Example: imagectl removals list",
    no_args_is_help=True,
)

Keys = Annotated[list[str], typer.Argument(metavar="LISTING", help="ListingKeys.")]
Images = Annotated[
    list[str] | None, typer.Option("--image", metavar="IMAGE", help="One image of the one listing, by id; repeatable.")
]
OfFeed = Annotated[
    str | None, typer.Option("--feed", metavar="FEED", help="Needed where a key is recorded in several feeds.")
]
FeedName = Annotated[str, typer.Argument(metavar="FEED", help="A feed of feeds.toml.")]


@app.command(epilog="Example: imagectl removals force C12000001 --image 5f3c0d9e… --yes")
def force(
    listing_keys: Keys,
    image: Images = None,
    feed: OfFeed = None,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Remove listings, or images of one, whatever the MLS says.

    They stay away until `allow` lifts it. Shown no more at once; bytes and records go within seconds, as with every
    removal, with the reason `forced`.
    """
    images = image or []
    what = (
        f"{many(len(images), 'image')} of listing {listing_keys[0]}" if images else many(len(listing_keys), "listing")
    )

    async def go(listings: mongo.MongoListings) -> list[Listing]:
        found = [await _find(listings, key, feed) for key in _only_one_with_images(listing_keys, images)]
        for listing in found:
            _refuse_unknown(listing, images, {photo.id for photo in listing.photos} | set(listing.removed_image_ids))
        terminal.confirm(f"This removes every copy of {what}.", yes=yes)
        ids = [(listing.feed, listing.key) for listing in found]
        return await removing.change(listings, ids, partial(removing.remove, image_ids=images), utc_now)

    done = terminal.run(partial(_with_listings, go))
    _tell(
        done, as_json, lambda one: f"{one.feed} {one.key}: removed within seconds, and stays away until allowed again"
    )


@app.command(epilog="Example: imagectl removals allow C12000001")
def allow(listing_keys: Keys, image: Images = None, feed: OfFeed = None, as_json: terminal.Json = False) -> None:
    """Lift what `force` did: the next word of the MLS counts again.

    Of listings, or of single images of one. They are shown again with the next `listing-seen`, be it the same as
    before: the feed's sweep brings it.
    """
    images = image or []

    async def go(listings: mongo.MongoListings) -> list[Listing]:
        found = [await _find(listings, key, feed) for key in _only_one_with_images(listing_keys, images)]
        for listing in found:
            _refuse_unknown(listing, images, set(listing.removed_image_ids))
            if not removing.is_removed(listing, images):
                terminal.fail(f"nothing of listing {listing.key} was removed by an operator")
        ids = [(listing.feed, listing.key) for listing in found]
        return await removing.change(listings, ids, partial(removing.allow_again, image_ids=images), utc_now)

    done = terminal.run(partial(_with_listings, go))
    _tell(done, as_json, lambda one: f"{one.feed} {one.key}: allowed; shown again when the MLS is next heard of it")


@app.command("list", epilog="Example: imagectl removals list --json")
def list_(as_json: terminal.Json = False) -> None:
    """Show the last freeze of each feed's removals. It says what was decided about it."""

    async def look(settings: Settings, _: Mapping[str, Feed]) -> Sequence[RemovalHold]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            return await mongo.MongoRemovalHolds(database).all()

    found = terminal.run(look)
    if as_json:
        terminal.print_json([dataclasses.asdict(one) for one in found])
        return
    for one in found:
        decided = f"; over since {one.decided_at:%Y-%m-%d %H:%M} UTC: {one.decision}" if one.decided_at else ""
        terminal.say(f"{one}{decided}")
    if not found:
        terminal.say("no feed's removals have ever been frozen")


@app.command(epilog="Example: imagectl removals resume proptx-idx --yes")
def resume(feed: FeedName, yes: terminal.Yes = False, as_json: terminal.Json = False) -> None:
    """Say that frozen removals are right. What was held of the feed is removed now."""
    if terminal.asks(yes=yes):
        terminal.ask(f"This removes every copy of the listings that feed {feed} turned hidden. Remove them?")
    _decide(feed, Decision.RESUME, "what was held is being removed", as_json)


@app.command(epilog="Example: imagectl removals discard proptx-idx")
def discard(feed: FeedName, yes: terminal.Yes = False, as_json: terminal.Json = False) -> None:
    """Say that frozen removals were the feed's fault.

    What was held is kept, hidden, until the feed shows it again. What the feed has not shown again within 72 hours is
    removed after all.
    """
    if terminal.asks(yes=yes):
        terminal.ask(f"This keeps every copy of the listings that feed {feed} turned hidden, for 72 hours. Keep them?")
    said = "the listings stay hidden with their copies until the feed shows them again, for 72 hours at most"
    _decide(feed, Decision.DISCARD, said, as_json)


def _decide(feed: str, decision: Decision, said: str, as_json: bool) -> None:
    async def go(settings: Settings, feeds: Mapping[str, Feed]) -> int:
        terminal.feeds_named(feed, feeds, settings)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            return await mongo.MongoRemovalHolds(database).decide(feed, decision, utc_now())

    decided = terminal.run(go)
    if not decided:
        terminal.fail(f"the removals of {feed} are not frozen")
    if as_json:
        terminal.print_json({"feed": feed, "decision": decision, "freezes": decided})
    else:
        terminal.say(f"{feed}: {said}")


async def _with_listings(
    go: Callable[[mongo.MongoListings], Awaitable[list[Listing]]], settings: Settings, _: Mapping[str, Feed]
) -> list[Listing]:
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        return await go(mongo.MongoListings(database, Renderer(settings.public_root)))


async def _find(listings: ListingSearch, key: str, feed: str | None) -> Listing:
    found = [one for one in await listings.by_key(key) if feed in (None, one.feed)]
    if not found:
        terminal.fail(f"no listing {key!r} is recorded; was it ever published?")
    if len(found) > 1:
        terminal.fail(f"listing {key!r} is in several feeds; name one with --feed: {', '.join(x.feed for x in found)}")
    return found[0]


def _only_one_with_images(listing_keys: Sequence[str], images: Sequence[str]) -> Sequence[str]:
    if images and len(listing_keys) > 1:
        terminal.fail("--image goes with one listing; name the one that it belongs to")
    return listing_keys


def _refuse_unknown(listing: Listing, images: Sequence[str], known: set[str]) -> None:
    if unknown := set(images) - known:
        terminal.fail(f"listing {listing.key} has no such image: {', '.join(sorted(unknown))}")


def _tell(done: Sequence[Listing], as_json: bool, in_words: Callable[[Listing], str]) -> None:
    if as_json:
        terminal.print_json(
            [
                {
                    "feed": listing.feed,
                    "key": listing.key,
                    "is_blocked": listing.is_removed_by_operator,
                    "blocked": listing.removed_image_ids,
                }
                for listing in done
            ]
        )
        return
    for one in done:
        terminal.say(in_words(one))
