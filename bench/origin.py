"""An origin for benchmarks: photos as plain files served by nginx, which costs very little CPU."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local import ports
from local.sandbox.album import Shot, draw
from tests import tools
from tests.system import until

_DRAWN = 16
"""The number of different pictures; further photos are hard links to them."""
_CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; types {{ image/jpeg jpg; }}
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; root {folder}/photos; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """A running origin: its host and port, the URLs of its photos, and the RESO Property records that announce them."""

    host: str
    urls: Sequence[str]
    records: Sequence[Mapping[str, Any]]

    def feeds_toml(self, *, free: bool = True) -> str:
        """Return the text of a feeds.toml with one feed, `sandbox`, for this origin.

        With `free`, the feed has hardly any limits, else the default ones.
        """
        rules = ["concurrency = 32", "batch_size = 10", "batch_pause_seconds = 0.0", "requests_per_second = 0.0"]
        feed = ["[feeds.sandbox]", f'image_hosts = ["{self.host}"]', "allow_private_addresses = true"]
        return "\n".join([*feed, *(rules if free else ()), ""])


@asynccontextmanager
async def serving(folder: Path, *, listings: int, photos: int, width: int) -> AsyncIterator[Origin]:
    """Draw the photos of an origin, and serve them with nginx on a free port during the context.

    There are `listings` listings with `photos` photos each, `width` pixels wide. The photos, and all files of nginx,
    are in `folder`.
    """
    await asyncio.to_thread(_draw, folder / "photos", listings, photos, width)
    port = ports.choose(set())
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port))
    nginx = tools.debian("nginx", "nginx", "nginx-common")
    command = [str(nginx.path), "-p", str(folder), "-c", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **nginx.env}, stderr=asyncio.subprocess.DEVNULL
    )
    host = f"127.0.0.1:{port}"
    try:
        await until(lambda: _answers(f"http://{host}/{_name(0, 0)}"), "nginx")
        records = [_record(host, listing, photos) for listing in range(listings)]
        yield Origin(host, [row["MediaURL"] for record in records for row in record["Media"]], records)
    finally:
        process.terminate()
        await process.wait()


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.TransportError:
            return False


def _draw(folder: Path, listings: int, photos: int, width: int) -> None:
    # Every fourth photo of a sandbox listing: all of them are 3:2.
    drawn = [draw(Shot("B0", 4 * number, 0, 1), width) for number in range(_DRAWN)]
    for listing in range(listings):
        (folder / str(listing)).mkdir(parents=True)
        for photo in range(photos):
            path = folder / _name(listing, photo)
            number = listing * photos + photo
            if number < _DRAWN:
                path.write_bytes(drawn[number])
            else:
                path.hardlink_to(folder / _name(*divmod(number % _DRAWN, photos)))


def _name(listing: int, photo: int) -> str:
    return f"{listing}/{photo}.jpg"


def _record(host: str, listing: int, photos: int) -> Mapping[str, Any]:
    return {
        "ListingKey": f"B{listing}",
        "StandardStatus": "Active",
        "ModificationTimestamp": "2026-11-23T09:00:00Z",
        "Media": [
            {
                "MediaKey": f"{listing}-{photo}",
                "MediaURL": f"http://{host}/{_name(listing, photo)}",
                "Order": photo,
                "MediaModificationTimestamp": "2026-11-23T09:00:00Z",
            }
            for photo in range(photos)
        ],
    }
