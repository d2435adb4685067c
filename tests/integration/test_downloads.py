"""Test downloads: a version is requested once, and a listing may change during its downloads."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.sandbox import Sandbox
from tests import system
from tests.servers import Namespace
from tests.system import System, until


async def ask_for(whole: System, lane: str, key: str, images: list[dict[str, Any]]) -> None:
    """Publish image-outdated events under two keys, so that two downloaders receive each photo."""
    for image in images:
        data = {"feed": "sandbox", "listing_key": key, "image_id": image["id"]}
        event = json.dumps({"type": "image-outdated.v1", "data": data}).encode()
        await asyncio.gather(*(whole.send(lane, event, key=as_key.encode()) for as_key in (key, f"{key}, elsewhere")))


async def test_two_downloaders_request_each_photo_once(namespace: Namespace, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=8, photos=6, widest=320) as mls,
        system.running(namespace, mls.feeds_toml(), tmp_path) as whole,
    ):
        await whole.start("downloader-2")
        mls.misbehave(kind="slow", delay_seconds=0.5)
        keys = [str(record["ListingKey"]) for record in mls.properties()]
        await asyncio.gather(whole.publish_listings(*mls.properties()), whole.publish_listings(*mls.properties()))
        for key in keys:
            images = await until(lambda key=key: whole.images(key), f"{key} to be recorded")  # type: ignore[misc]
            await asyncio.gather(
                *(ask_for(whole, lane, key, images) for lane in ("image-outdated", "image-outdated.viewed") * 2),
                *(whole.http.get("/api/images/serve", params={"id": image["id"]}) for image in images),
                *(whole.images(key) for _ in range(5)),
            )
        for key in keys:
            await whole.wait_until_downloaded(key, 6)
        for key in keys:
            await ask_for(whole, "image-outdated", key, await whole.images(key))

        async def all_read() -> bool:
            code, output = await whole.run("imagectl", "status", "--json")
            assert code == 0, output
            return not any(json.loads(output)["lag"]["downloader"].values())

        await until(all_read, "the downloaders to read all events")
        assert set(Counter((request.listing_key, request.photo) for request in mls.image_log).values()) == {1}
        assert mls.image_requests == 8 * 6
        for name in ("downloader", "downloader-2"):
            assert "image-downloaded" in whole.log(name), f"{name} had no part in it"


async def test_a_listing_that_changed_during_a_download_is_settled_correctly(
    whole: System, mls: Sandbox, several_keys: Iterator[str]
) -> None:
    reordered, changed, shortened, hidden = keys = [next(several_keys) for _ in range(4)]

    async def shown(key: str) -> Mapping[str, int]:
        return {image["id"]: image["order"] for image in await whole.images(key, context="search")}

    for key in keys:
        mls.misbehave(kind="slow", listing=key, delay_seconds=15.0, count=4)
    await whole.publish_listings(*(mls.market.property(mls.market.listing(key)) for key in keys))

    async def all_under_way() -> bool:
        return all(mls.begun[key] == 4 for key in keys)

    await until(all_under_way, "all downloads to begin")
    before = {key: await shown(key) for key in keys}
    await whole.publish_listings(mls.reorder(reordered), mls.change_photo(changed), mls.withdraw_photo(shortened))
    await whole.publish_listings(mls.withdraw(hidden), mls.reactivate(hidden))

    async def all_recorded() -> bool:
        return (
            list((await shown(reordered)).items()) != list(before[reordered].items())
            and len(await shown(shortened)) == 3
        )

    await until(all_recorded, "the changes to be recorded")
    assert not [image for key in keys for image in await whole.images(key) if image["status"] != "pending"], (
        "still under way"
    )
    mls.behave()

    after = {key: await whole.wait_until_downloaded(key, 3 if key == shortened else 4) for key in keys}
    assert [image["id"] for image in after[reordered]] == list(await shown(reordered))
    assert set(before[reordered]) == {image["id"] for image in after[reordered]}
    assert after[changed][0]["media_changed_at"] > after[changed][1]["media_changed_at"]
    assert [image["id"] for image in after[hidden]] == list(before[hidden])
    assert [mls.begun[key] for key in (reordered, changed, shortened)] == [4, 5, 4]
    assert all([await whole.is_open(image["url"]) for images in after.values() for image in images])
