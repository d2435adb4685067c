"""A token goes to the image hosts and nowhere else: not into a log, a record, an event, an answer or a metric."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.plan import SERVICES
from local.sandbox import Sandbox
from shared.events.topics import MANIFEST
from shared.stores import mongo
from tests import system
from tests.servers import Room
from tests.system import System, until

TOKEN = "tok-5f2c81d09e774b6a"


async def test_everything_that_a_run_wrote_is_free_of_the_token(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_TOKEN", TOKEN)
    async with Sandbox(listings=4, photos=2, widest=320, image_token=TOKEN) as mls:
        feeds = mls.feeds_toml(token_env="SANDBOX_TOKEN", max_attempts=2)
        async with system.running(room, feeds, tmp_path, log_level="debug", serve_wait_seconds=0.1) as whole:
            good, *bad = (str(record["ListingKey"]) for record in mls.properties())
            for key, kind in zip(bad, ("html", "truncated", "empty"), strict=True):
                mls.misbehave(kind=kind, listing=key)
            await whole.see(*mls.properties())
            await whole.downloaded(good, 2)

            async def all_failed() -> bool:
                images = [image for key in bad for image in await whole.images(key)]
                return len(images) == 6 and all(image["status"] == "failed" for image in images)

            await until(all_failed, "the other photos to fail")
            written = await _everything(whole, [good, *bad])
    assert all(one.headers["Authorization"] == f"Bearer {TOKEN}" for one in mls.image_log)
    assert len(written) > 20
    for name, text in written.items():
        assert text, name
        assert TOKEN not in text, name


async def _everything(whole: System, keys: list[str]) -> dict[str, str]:
    written = {f"log of {name}": whole.log(name) for name in SERVICES}
    for name in SERVICES:
        written[f"metrics of {name}"] = (await whole.http.get(f"{whole.url(name)}/metrics")).text
    for key in keys:
        answer = await whole.http.get(f"/api/listings/{key}/images")
        written[f"answer of {key}"] = answer.text + repr(answer.headers)
        served = await whole.http.get("/api/images/serve", params={"id": answer.json()["images"][0]["id"]})
        written[f"serve of {key}"] = served.text + repr(served.headers)
    for topic in MANIFEST:
        written[f"topic {topic.name}"] = "all of it: " + "".join(map(repr, await whole.records(topic.name)))
    for command in (["status"], ["config"]):
        written[f"imagectl {command}"] = (await whole.run("imagectl", *command))[1]
    async with mongo.connect(whole.env["IMAGES_MONGO"], whole.env["IMAGES_MONGO_DB"]) as database:
        for collection in await database.list_collection_names():
            documents: list[dict[str, Any]] = await database[collection].find().to_list(None)
            written[f"collection {collection}"] = json.dumps(documents, default=str)
    return written
