"""What is recorded and said of listings, changed by the test itself, so that it knows when."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from services.downloader.events import image_downloaded
from shared.clock import utc_now
from shared.domain.image import Copy
from shared.domain.listing import Listing, RemovalReason
from shared.events.images import ImageRemoved
from shared.kafka import Broker
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.mongo import MongoListings
from tests.builders import a_copy, a_listing, a_photo
from tests.servers import Namespace
from tests.system import until

FEED = "sandbox"
FEEDS = f"""
[feeds.{FEED}]
image_hosts = ["127.0.0.1:9"]
allow_private_addresses = true
"""


def a_version(key: str, number: int) -> Copy:
    """Return a copy of the listing's photo; the number is in its hash, and so in its URL."""
    return a_copy(key=key, feed=FEED, sha256=f"{number:016x}" + "0" * 48)


@dataclass(frozen=True)
class Truth:
    """The record of one namespace, and the voice of the services that change it."""

    listings: MongoListings
    publisher: Publisher
    renderer: Renderer

    async def begin(self, key: str, copy: Copy | None) -> Listing:
        """Record a listing with one photo."""
        listing = a_listing(a_photo(key=key, feed=FEED, copy=copy), key=key, feed=FEED)
        assert not await self.listings.write([listing])
        return listing

    async def change(self, key: str, *, copy: Copy | None = None, **facts: Any) -> Listing:
        """Record facts of a listing, or another copy of its photo, whatever else is recorded of it meanwhile."""

        async def changed() -> Listing | None:
            known = await self.listings.get(FEED, key)
            assert known is not None
            photos = (replace(known.photos[0], copy=copy, failure=None),) if copy else known.photos
            after = replace(known, photos=photos, **facts)
            return None if await self.listings.write([after]) else after

        return await until(changed, "the change to be recorded")

    async def say_downloaded(self, listing: Listing) -> None:
        """Publish `image-downloaded`; it is on the topic when this returns."""
        photo = listing.photos[0]
        assert photo.copy is not None
        event = image_downloaded(listing, photo.id, photo.copy, self.renderer.url, changed=True)
        assert event is not None
        await self.publisher.publish([event])

    async def say_removed(self, listing: Listing) -> None:
        """Publish `image-removed`; it is on the topic when this returns."""
        await self.publisher.publish(
            [
                ImageRemoved(
                    feed=FEED, listing_key=listing.key, image_id=listing.photos[0].id,
                    reason=RemovalReason.LISTING_INACTIVE, removed_at=utc_now(), urls=(),
                )
            ]
        )  # fmt: skip


@asynccontextmanager
async def truth_of(namespace: Namespace) -> AsyncIterator[Truth]:
    """Open the record of a namespace whose services are running."""
    renderer, broker = Renderer(f"{namespace.servers.s3_endpoint}/{namespace.bucket}"), Broker(namespace.servers.kafka)
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        try:
            await broker.ping()  # the first call connects
            publisher = Publisher(broker, namespace.prefix, "test", utc_now)
            yield Truth(MongoListings(database, renderer), publisher, renderer)
        finally:
            await broker.close()
