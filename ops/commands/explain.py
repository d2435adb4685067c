"""`imagectl explain`: why is it as it is?"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from ops import circumstances, terminal
from ops import explain as explaining
from ops import stores as opening
from ops.stores import Stores
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.origin_budget.reading import read_use
from shared.render import Renderer
from shared.settings import Settings

app = typer.Typer()


@app.command(epilog="Example: imagectl explain C12000001")
def explain(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A ListingKey, an image's id, or a URL that the MLS announced.")
    ],
    as_json: terminal.Json = False,
) -> None:
    """Say why a listing or a photo is as it is.

    That is what the MLS said, every attempt, and what happens next and when. Of one that is not recorded, it says what
    is known of that: dead letters, events not yet read, a silent feed.
    """

    async def look(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[bool, list[dict[str, Any]]]:
        async with opening.opened(settings) as stores:
            found, image = await explaining.find(stores.listings, what)
            now = utc_now()
            if not found:
                lines = await circumstances.of_unknown(settings, feeds, stores, what, now)
                return False, [{"feed": None, "listing_key": what, "displayed": False, "lines": lines, "photos": []}]
            return True, [await _explained(settings, feeds, stores, one, image, now) for one in found]

    is_known, found = terminal.run(look)
    if as_json:
        terminal.print_json(found)
    else:
        for listing in found:
            for line in [*listing["lines"], *(line for photo in listing["photos"] for line in photo["lines"])]:
                terminal.say(line)
    if not is_known:
        raise typer.Exit(terminal.FAILED)


async def _explained(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, listing: Listing, image: str | None, now: datetime
) -> dict[str, Any]:
    renderer, feed = Renderer(settings.public_root), feeds.get(listing.feed)
    around = [*await circumstances.of_events(settings, stores, listing.key, now)]
    if feed is None:
        around.append(f"the feed {listing.feed} is not in {settings.feeds}: nothing of it is fetched any more")
        feed = Feed(name=listing.feed, image_hosts=())
    use = await read_use(stores.ledgers, feed)
    around += circumstances.of_feed(feed, use)
    attempts = await explaining.history(stores.attempts, listing)
    turns = await explaining.turns(stores.listings, stores.throughputs, listing, feed, use, now)
    return {
        "feed": listing.feed,
        "listing_key": listing.key,
        "displayed": listing.is_displayed,
        "lines": [*explaining.of_listing(listing, now), *around],
        "photos": [
            dataclasses.asdict(explaining.of_photo(listing, photo, attempts, feed, renderer, now, turns.get(photo.id)))
            for photo in listing.photos
            if image in (None, photo.id)
        ],
    }
