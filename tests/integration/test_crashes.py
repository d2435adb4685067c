"""Test killed and stopped processes: no work is lost, and no downloaded photo is fetched again."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.sandbox import Sandbox
from shared.domain.listing import Listing, copy_keys
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects
from shared.stores.objects import Bucket
from tests import system
from tests.servers import Namespace
from tests.system import System, until


async def downloaded(whole: System, keys: list[str]) -> int:
    """Return how many photos of the listings are downloaded."""
    body = {"listing_keys": keys, "photos_per_listing": 50}
    listings = (await whole.http.post("/api/images/resolve", json=body)).json()["listings"]
    return sum(image["status"] == "downloaded" for listing in listings.values() for image in listing["images"])


async def stored(whole: System) -> set[str]:
    """Return the keys of all objects in both buckets."""
    namespace = whole.namespace
    objects = MinioObjects(
        Settings(
            s3_endpoint=namespace.servers.s3_endpoint,
            s3_access_key=namespace.servers.s3_access_key,
            s3_secret_key=namespace.servers.s3_secret_key,
            bucket=namespace.bucket,
            originals_bucket=namespace.originals_bucket,
        )
    )
    try:
        return {key for bucket in Bucket for key in await objects.list(bucket, "")}
    finally:
        objects.close()


def recorded(listings: Sequence[Listing]) -> set[str]:
    """Return the keys of all objects that listings name, in copies and in discards."""
    copies = {key for listing in listings for photo in listing.photos if photo.copy for key in copy_keys(photo.copy)}
    return copies | {
        key
        for listing in listings
        for discard in listing.discards
        for key in (*discard.public_keys, *discard.original_keys)
    }


async def test_no_photo_is_lost_or_fetched_twice_when_downloaders_are_killed(
    namespace: Namespace, tmp_path: Path
) -> None:
    async with (
        Sandbox(listings=20, photos=10, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(concurrency=16), tmp_path) as whole,
    ):
        await whole.start("downloader-2")
        mls.misbehave(kind="slow", delay_seconds=0.4)
        keys = [str(record["ListingKey"]) for record in mls.properties()]
        await whole.publish_listings(*mls.properties())
        all_claims: set[tuple[str, str]] = set()
        for name, moment in (("downloader", 20), ("downloader-2", 60), ("downloader", 100)):

            async def so_many(moment: int = moment) -> bool:
                return await downloaded(whole, keys) >= moment

            await until(so_many, f"{moment} downloads")
            port = whole.url(name).rpartition(":")[2]
            assert await whole.stop(name, signal.SIGKILL) == -signal.SIGKILL
            claims = {
                (listing.key, photo.object_id)
                for listing in await whole.listings()
                for photo in listing.photos
                if photo.claim and photo.claim.worker.endswith(port)
            }
            await whole.start(name)
            all_claims |= claims

            async def are_done(claims: set[tuple[str, str]] = claims) -> bool:
                done = {
                    (listing.key, photo.object_id)
                    for listing in await whole.listings()
                    for photo in listing.photos
                    if photo.copy
                }
                return claims <= done

            # The slots of the killed downloader end after 30 s. Its claims end after 80 s: nothing may wait for that.
            await until(are_done, f"the photos that {name} had claimed", seconds=60)

        async def all_downloaded() -> bool:
            return await downloaded(whole, keys) == 200

        await until(all_downloaded, "all 200 downloads")
        assert all_claims, "they were killed in the middle of their work"
        requests = Counter((request.listing_key, request.photo) for request in mls.image_log)
        assert {photo for photo, times in requests.items() if times > 1} <= all_claims

        async def all_announced() -> bool:
            # An event that a killed downloader did not publish is published by another, half a minute later.
            events = [await whole.events("image-downloaded", key) for key in keys]
            return len({event["image_id"] for found in events for event in found}) == 200

        await until(all_announced, "the events of all 200 photos")
        assert await stored(whole) == recorded(await whole.listings())


async def test_a_stopped_downloader_releases_its_claims_and_slots(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=3, photos=4, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(request_timeout_seconds=60.0), tmp_path) as whole,
        mongo.connect(namespace.servers.mongo, namespace.db) as database,
    ):
        slow, *others = (str(record["ListingKey"]) for record in mls.properties())
        mls.misbehave(kind="slow", listing=slow, delay_seconds=60)
        await whole.publish_listings(*mls.properties())

        async def only_slow_ones_left() -> bool:
            return await downloaded(whole, others) == 8 and mls.image_requests == 12

        await until(only_slow_ones_left, "the others")
        assert (await database["budgets"].find_one({"_id": "sandbox"}))["ledger"]["slots"]  # type: ignore[index]
        assert await whole.stop("downloader") == 0  # within 15 s
        assert "Traceback" not in whole.log("downloader")
        assert (await database["budgets"].find_one({"_id": "sandbox"}))["ledger"]["slots"] == {}  # type: ignore[index]
        assert not [photo for listing in await whole.listings() for photo in listing.photos if photo.claim]
        mls.behave()
        await whole.start("downloader-2")  # it need not wait until a lease ends
        await whole.wait_until_downloaded(slow, 4)
        assert mls.image_requests == 16


async def test_every_service_drains_and_stops_in_time(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=10, photos=4, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path) as whole,
    ):
        mls.misbehave(kind="slow", delay_seconds=1.0)
        await whole.publish_listings(*mls.properties())
        keys = [str(record["ListingKey"]) for record in mls.properties()]

        async def under_way() -> bool:
            return mls.image_requests > 0

        await until(under_way, "the first download")
        for name in ("downloader", "scheduler", "janitor", "resolver"):
            async with asyncio.timeout(10):
                assert await whole.stop(name) == 0, whole.log(name)
            assert json.loads(whole.log(name).splitlines()[-1])["event"] == "stopped"
            assert "Traceback" not in whole.log(name), whole.log(name)
        requests = mls.image_requests
        await whole.start("downloader", "scheduler", "janitor", "resolver")

        async def all_downloaded() -> bool:
            return await downloaded(whole, keys) == 40

        await until(all_downloaded, "all downloads")
        assert mls.image_requests <= 40 + requests


async def test_a_new_janitor_finishes_the_removals_of_a_killed_one(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=12, photos=4, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path) as whole,
    ):
        keys = [str(record["ListingKey"]) for record in mls.properties()]
        await whole.publish_listings(*mls.properties())

        async def all_downloaded() -> bool:
            return await downloaded(whole, keys) == 48

        await until(all_downloaded, "all downloads")
        urls = [image["url"] for key in keys for image in await whole.images(key)]
        await whole.publish_listings(*(mls.withdraw(key) for key in keys))

        async def removed() -> list[dict[str, Any]]:
            return [event for key in keys for event in await whole.events("image-removed", key)]

        await until(removed, "the first removal")
        await whole.stop("janitor", signal.SIGKILL)
        await whole.start("janitor")

        async def all_removed() -> bool:
            return len({event["image_id"] for event in await removed()}) == 48

        await until(all_removed, "all removals")
        assert not any([await whole.is_open(url) for url in urls])
