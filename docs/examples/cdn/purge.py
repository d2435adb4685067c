"""Purges removed photos from a cache: reads `image-removed`, and purges every URL that an event names.

For nginx on this machine: `PURGE_NGINX=/var/cache/nginx/photos python purge.py`. For Cloudflare, `PURGE_CLOUDFLARE` is
the zone's id, and `CLOUDFLARE_TOKEN` a token that may purge it. `IMAGES_KAFKA` and `IMAGES_TOPIC_PREFIX` are the
services' settings. Needs aiokafka.
"""

import asyncio
import hashlib
import json
import os
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer

SETTLE_SECONDS = float(os.environ.get("PURGE_SETTLE_SECONDS", "5"))
"""How long to wait after an event: until then, a request from before the removal may put the photo into the cache."""
CLOUDFLARE = os.environ.get("CLOUDFLARE_API", "https://api.cloudflare.com/client/v4")


def purge_nginx(folder: Path, urls: Sequence[str]) -> None:
    """Delete the files in which nginx caches the URLs: named by the cache key's MD5, in folders by `levels=1:2`."""
    for url in urls:
        name = hashlib.md5(urlsplit(url).path.encode(), usedforsecurity=False).hexdigest()
        (folder / name[-1] / name[-3:-1] / name).unlink(missing_ok=True)


def purge_cloudflare(zone: str, token: str, urls: Sequence[str]) -> None:
    """Purge the URLs at Cloudflare, 100 in a call. Raises OSError if Cloudflare refuses or does not answer."""
    for first in range(0, len(urls), 100):
        request = urllib.request.Request(
            f"{CLOUDFLARE}/zones/{zone}/purge_cache",
            data=json.dumps({"files": urls[first : first + 100]}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def urls_of(value: bytes | None) -> list[str]:
    """Return the URLs that an `image-removed` event names; none, after a line that says so, if it cannot be read."""
    try:
        urls = json.loads(value or b"")["data"]["urls"]
        for url in urls:
            urlsplit(url).path.encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        print(f"left out a record that is no image-removed event: {type(error).__name__}: {error}", flush=True)
        return []
    return list(urls)


async def purge(urls: Sequence[str]) -> None:
    """Purge the URLs from the caches that the environment names; repeat after two seconds until it succeeds."""
    is_done = False
    while not is_done:
        try:
            if folder := os.environ.get("PURGE_NGINX"):
                await asyncio.to_thread(purge_nginx, Path(folder), urls)
            if zone := os.environ.get("PURGE_CLOUDFLARE"):
                await asyncio.to_thread(purge_cloudflare, zone, os.environ["CLOUDFLARE_TOKEN"], urls)
            is_done = True
        except OSError as error:
            print(f"purging {len(urls)} URLs failed, trying again: {error}", flush=True)
            await asyncio.sleep(2)


async def main() -> None:
    """Read events for ever. The offsets are committed after the purge, so that none is lost."""
    consumer = AIOKafkaConsumer(
        f"{os.environ.get('IMAGES_TOPIC_PREFIX', '')}image-removed",
        bootstrap_servers=os.environ["IMAGES_KAFKA"],
        group_id=f"{os.environ.get('IMAGES_TOPIC_PREFIX', '')}cdn-purge",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    async with consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=1_000, max_records=500)
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            newest = max(record.timestamp for record in records) / 1000
            await asyncio.sleep(min(max(0.0, newest + SETTLE_SECONDS - time.time()), SETTLE_SECONDS))
            await purge(list(dict.fromkeys(url for record in records for url in urls_of(record.value))))
            await consumer.commit()
            print(f"purged the URLs of {len(records)} events", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
