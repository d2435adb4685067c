"""`imagectl explain`: says why a listing or a photo is as it is."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from ops import circumstances, terminal
from ops import explain as explaining
from ops.stores import Stores, open_stores
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.listing import Listing
from shared.origin_budget.reading import read_use
from shared.render import Renderer
from shared.settings import Settings

app = typer.Typer()

Explanation = dict[str, Any]
"""The explanation of one listing, as `explain --json` prints it."""


@app.command(epilog="Example: imagectl explain C12000001")
def explain(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A ListingKey, an image's id, or a URL that the MLS announced.")
    ],
    as_json: terminal.Json = False,
) -> None:
    """Say why a listing or a photo is as it is.

    It shows what the MLS announced, every attempt, and what happens next and when. If nothing is recorded, it shows
    what may be the cause: dead letters, events not yet read, a suspended feed. The exit code is then 1.
    """

    async def read(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[bool, list[Explanation]]:
        async with open_stores(settings) as stores:
            listings, image_id = await explaining.find_listings(stores.listings, what)
            now = utc_now()
            if not listings:
                lines = await circumstances.explain_unknown(settings, feeds, stores, what, now)
                return False, [{"feed": None, "listing_key": what, "displayed": False, "lines": lines, "photos": []}]
            return True, [await _explain(settings, feeds, stores, listing, image_id, now) for listing in listings]

    is_recorded, explanations = terminal.run(read)
    if as_json:
        terminal.print_json(explanations)
    else:
        for explanation in explanations:
            for line in [*explanation["lines"], *(line for photo in explanation["photos"] for line in photo["lines"])]:
                terminal.print_line(line)
    if not is_recorded:
        raise typer.Exit(terminal.FAILED)


async def _explain(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, listing: Listing, image_id: str | None, now: datetime
) -> Explanation:
    """Return the explanation of a listing and of its photo `image_id`, or of all its photos if `image_id` is None.

    `feeds` has the feeds of feeds.toml by name; it may lack the listing's feed. Raises StoreUnavailable.
    """
    renderer, feed = Renderer(settings.public_root), feeds.get(listing.feed)
    circumstance_lines = [*await circumstances.explain_dead_letters(settings, stores, listing.key, now)]
    if feed is None:
        circumstance_lines.append(
            f"the feed {listing.feed} is not in {settings.feeds}: nothing of it is fetched any more"
        )
        feed = Feed(name=listing.feed, image_hosts=())
    use = await read_use(stores.ledgers, feed)
    circumstance_lines += circumstances.explain_feed(feed, use)
    attempts = await explaining.newest_attempts(stores.attempts, listing)
    positions = await explaining.queue_positions(stores.listings, stores.throughputs, listing, feed, use, now)
    photos = [photo for photo in listing.photos if image_id in (None, photo.id)]
    return {
        "feed": listing.feed,
        "listing_key": listing.key,
        "displayed": listing.is_displayed,
        "lines": [*explaining.explain_listing(listing, now), *circumstance_lines],
        "photos": [
            dataclasses.asdict(
                explaining.explain_photo(listing, photo, attempts, feed, renderer, now, positions.get(photo.id))
            )
            for photo in photos
        ],
    }
