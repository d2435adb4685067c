"""`imagectl explain`: why is it as it is?"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ops import explain as explaining
from ops import terminal
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo

app = typer.Typer()


@app.command(epilog="Example: imagectl explain C12000001")
def explain(
    what: Annotated[str, typer.Argument(help="A ListingKey, an image's id, or a URL that the MLS announced.")],
    as_json: terminal.Json = False,
) -> None:
    """Say why a listing or a photo is as it is: what the MLS said, every attempt, what happens next and when."""

    async def look(settings: Settings, feeds: Mapping[str, Feed]) -> list[dict[str, Any]]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            renderer = Renderer(settings.public_root)
            listings, paces = mongo.MongoListings(database, renderer), mongo.MongoPaces(database)
            found, image = await explaining.find(listings, what)
            now, explained = utc_now(), list[dict[str, Any]]()
            for listing in found:
                attempts = await explaining.history(mongo.MongoAttempts(database), listing)
                feed = feeds.get(listing.feed) or Feed(name=listing.feed, image_hosts=())
                turns = await explaining.turns(listings, paces, listing, feed, now)
                photos = [
                    dataclasses.asdict(
                        explaining.of_photo(listing, photo, attempts, feed, renderer, now, turns.get(photo.id))
                    )
                    for photo in listing.photos
                    if image in (None, photo.id)
                ]
                facts = {"feed": listing.feed, "listing_key": listing.key, "displayed": listing.is_displayed}
                explained.append({**facts, "lines": list(explaining.of_listing(listing, now)), "photos": photos})
            return explained

    found = terminal.run(look)
    if not found:
        terminal.fail("nothing is recorded under this ListingKey, image id or URL; was the listing ever published?")
    if as_json:
        terminal.print_json(found)
        return
    for listing in found:
        for line in [*listing["lines"], *(line for photo in listing["photos"] for line in photo["lines"])]:
            terminal.out.print(line, markup=False, highlight=False, soft_wrap=True)
