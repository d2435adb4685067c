"""Writes listings and publishes events in place of the services, so that a test knows when each happens."""

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
    """Return a copy of the listing's photo whose hash, and so its URLs, begin with `number`."""
    return a_copy(key=key, feed=FEED, sha256=f"{number:016x}" + "0" * 48)


@dataclass(frozen=True)
class ListingWriter:
    """Writes listings of one namespace to MongoDB, and publishes the events that the services would publish of them."""

    listings: MongoListings
    publisher: Publisher
    renderer: Renderer

    async def record(self, key: str, copy: Copy | None) -> Listing:
        """Record a new listing with one photo, which has `copy`, or none; return the listing."""
        listing = a_listing(a_photo(key=key, feed=FEED, copy=copy), key=key, feed=FEED)
        assert not await self.listings.write([listing])
        return listing

    async def change(self, key: str, *, copy: Copy | None = None, **facts: Any) -> Listing:
        """Record other facts of a listing, or another copy of its photo; return the listing.

        If a service writes the listing meanwhile, the change is made again.
        """

        async def changed() -> Listing | None:
            recorded = await self.listings.get(FEED, key)
            assert recorded is not None
            photos = (replace(recorded.photos[0], copy=copy, failure=None),) if copy else recorded.photos
            after = replace(recorded, photos=photos, **facts)
            return None if await self.listings.write([after]) else after

        return await until(changed, "the change to be recorded")

    async def publish_downloaded(self, listing: Listing) -> None:
        """Publish `image-downloaded` of the listing's first photo, which must have a copy.

        Wait until Kafka has stored it.
        """
        photo = listing.photos[0]
        assert photo.copy is not None
        event = image_downloaded(listing, photo.id, photo.copy, self.renderer.url, changed=True)
        assert event is not None
        await self.publisher.publish([event])

    async def publish_removed(self, listing: Listing) -> None:
        """Publish `image-removed` of the listing's first photo; return once Kafka has stored it."""
        await self.publisher.publish(
            [
                ImageRemoved(
                    feed=FEED, listing_key=listing.key, image_id=listing.photos[0].id,
                    reason=RemovalReason.LISTING_INACTIVE, removed_at=utc_now(), urls=(),
                )
            ]
        )  # fmt: skip


@asynccontextmanager
async def listing_writer(namespace: Namespace) -> AsyncIterator[ListingWriter]:
    """Yield a writer of listings that is connected to the namespace's MongoDB and Kafka during the context."""
    renderer, broker = Renderer(f"{namespace.servers.s3_endpoint}/{namespace.bucket}"), Broker(namespace.servers.kafka)
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        try:
            await broker.ping()  # the first call connects
            publisher = Publisher(broker, namespace.prefix, "test", utc_now)
            yield ListingWriter(MongoListings(database, renderer), publisher, renderer)
        finally:
            await broker.close()
