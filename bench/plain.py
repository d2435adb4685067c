"""The baselines of the photos benchmark: three scripts that only download and encode the same photos."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import httpx
from PIL import Image, ImageOps

from shared.domain.variants import VariantSpec

Specs = Sequence[VariantSpec]
_JPEG = {"progressive": True, "optimize": True}
_WEBP = {"method": 2}
"""The same encoding effort as the downloader's. With Pillow's default the scripts would take nearly twice as long."""


def smaller_from_larger(urls: Sequence[str], specs: Specs) -> float:
    """Return how many photos a second a script downloads and encodes if it makes each size from the next larger one.

    The script has a process for each core. `specs` are the variants, the largest first.
    """
    return _rate(partial(_smaller_from_larger, specs), urls)


def each_from_the_original(urls: Sequence[str], specs: Specs) -> float:
    """Return how many photos a second a script downloads and encodes if it decodes the original again for each size.

    The script has a process for each core, and works as thumbnail scripts do.
    """
    return _rate(partial(_each_from_the_original, specs), urls)


def scrapy(urls: Sequence[str], folder: Path) -> float | None:
    """Return how many photos a second Scrapy's ImagesPipeline downloads and makes three JPEG thumbnails of.

    The files are stored in `folder`. Return None if Scrapy is not installed.

    Raises:
        RuntimeError: Scrapy failed; the message has the end of what it printed.
    """
    given = json.dumps({"urls": list(urls), "folder": str(folder)})
    command = [sys.executable, "-m", "bench.scrapy_images"]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=900, check=False)  # noqa: S603
    if "No module named 'scrapy'" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"Scrapy failed: {done.stderr[-1000:]}")
    return float(done.stdout)


def _rate(work: Callable[[str], None], urls: Sequence[str]) -> float:
    # Not forked: a fork would copy locks that other threads, such as those of MongoDB's client, hold at that moment.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        list(pool.map(work, urls[: 2 * (os.cpu_count() or 1)]))  # warms the processes up
        began = time.monotonic()
        list(pool.map(work, urls, chunksize=4))
        return len(urls) / (time.monotonic() - began)


def _smaller_from_larger(specs: Specs, url: str) -> None:
    with Image.open(BytesIO(_fetch(url))) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    for spec in specs:
        picture.thumbnail((spec.width, 10_000), Image.Resampling.LANCZOS)
        _save(picture, spec)


def _each_from_the_original(specs: Specs, url: str) -> None:
    body = _fetch(url)
    for spec in specs:
        with Image.open(BytesIO(body)) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")
        picture.thumbnail((spec.width, 10_000), Image.Resampling.LANCZOS)
        _save(picture, spec)


def _fetch(url: str) -> bytes:
    return _client().get(url).raise_for_status().content


def _client(clients: list[httpx.Client] = []) -> httpx.Client:  # noqa: B006 - one client for the process
    if not clients:
        clients.append(httpx.Client(trust_env=False))
    return clients[0]


def _save(picture: Image.Image, spec: VariantSpec) -> None:
    options = _WEBP if spec.format == "webp" else _JPEG
    picture.save(BytesIO(), spec.format.upper(), quality=spec.quality, **options)
