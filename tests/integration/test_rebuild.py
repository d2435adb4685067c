"""Test a rebuild: new variants are made from the stored originals, without requests to the origin."""

import json
from pathlib import Path
from typing import Any

from local.sandbox import Sandbox
from tests import system
from tests.servers import Namespace
from tests.system import System, until


async def bytes_allowed(whole: System) -> int:
    """Return the bytes that the feed's hourly limit still allows."""
    code, output = await whole.run("imagectl", "status", "--json")
    assert code == 0, output
    (window,) = [
        window for window in json.loads(output)["budgets"]["sandbox"]["windows"] if window["name"] == "bytes_hour"
    ]
    return int(window["left"])


async def test_new_variants_are_made_from_originals_without_requests_to_the_origin(
    namespace: Namespace, tmp_path: Path
) -> None:
    async with (
        Sandbox(listings=2, photos=3, widest=320) as mls,
        system.running(
            namespace, mls.feeds_toml(bytes_per_hour=10**9, single_use_urls=True), tmp_path, variants="full=300:webp:80"
        ) as whole,
    ):
        key, other = (str(record["ListingKey"]) for record in mls.properties())
        await whole.publish_listings(*mls.properties())
        before = await whole.wait_until_downloaded(key, 3)
        await whole.wait_until_downloaded(other, 3)
        requests, spent = mls.image_requests, await bytes_allowed(whole)

        for name in ("downloader", "resolver"):
            await whole.stop(name)
        whole.env["IMAGES_VARIANTS"] = "thumb=100:jpeg:75,full=200:jpeg:80"
        await whole.start("downloader", "resolver")
        for _ in range(2):
            code, output = await whole.run("imagectl", "rebuild", "--dry-run")
            assert (code, "6 photos of 2 listings would be made anew" in output) == (0, True), output
        code, output = await whole.run("imagectl", "rebuild", "--json")
        assert code == 0, output

        async def made_anew() -> list[dict[str, Any]] | None:
            images = await whole.images(key) + await whole.images(other)
            return images if all(image["width"] == 200 for image in images) else None

        after = await until(made_anew, "the new variants")
        assert (mls.image_requests, await bytes_allowed(whole)) == (requests, spent)
        assert [variant["name"] for variant in after[0]["variants"]] == ["full", "thumb"]
        assert {image["content_type"] for image in after} == {"image/jpeg"}
        assert after[0]["downloaded_at"]
        assert await whole.is_open(after[0]["url"])
        assert await whole.is_open(before[0]["url"])  # superseded, but not yet removed
        code, output = await whole.run("imagectl", "rebuild")
        assert "0 photos of 0 listings" in output
