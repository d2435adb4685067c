"""Serve the example site with the recorded listings of a feed: `python -m local.site.recorded --port 8061 --feed NAME`.

The settings in the environment say where the records and the resolver are.
"""

import argparse
import os
from collections.abc import Sequence

from local.site.server import Listing, application, serve
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.summaries import ListingFilter

_MAX_LISTINGS = 500


def main() -> None:
    """Serve the displayed listings of a feed until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m local.site.recorded", description="Shows a feed's listings.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--feed", required=True)
    options = parser.parse_args()

    async def read() -> Sequence[Listing]:
        async with mongo.connect(os.environ["IMAGES_MONGO"], os.environ["IMAGES_MONGO_DB"]) as database:
            wanted = ListingFilter(feed=options.feed, displayed=True)
            found = await mongo.MongoListings(database, Renderer("")).search(wanted, "", _MAX_LISTINGS)
        return [
            {"key": listing.listing_key, "title": listing.listing_key, "place": listing.city or "", "price": None}
            for listing in found
        ]

    serve(application(f"http://127.0.0.1:{os.environ['IMAGES_RESOLVER_PORT']}", options.feed, read), options.port)


if __name__ == "__main__":
    main()
