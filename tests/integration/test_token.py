"""Test that a feed's token is sent to the image hosts only, and is in no log, record, event, answer or page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.config import SERVICES
from local.sandbox import Sandbox
from shared.events.topics import MANIFEST
from shared.stores import mongo
from tests import origins, system
from tests.desks import a_browser, sign_in
from tests.origins import Origin
from tests.servers import Namespace
from tests.system import System, until

TOKEN = "tok-5f2c81d09e774b6a"
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "not-an-image": {"kind": "html"},
    "broken-body": {"kind": "truncated"},
    "forbidden": {"kind": "status", "status": 401},
    "forbidden too": {"kind": "status", "status": 403},
    "origin-error": {"kind": "status", "status": 500},
    "timeout": {"kind": "slow", "delay_seconds": 30},
}
PAGES = [
    "/",
    "/live",
    "/listings",
    "/photos",
    "/queue",
    "/dead-letters",
    "/dead-letter?offset=0",
    "/removals",
    "/config",
]


async def test_no_log_record_event_answer_or_page_holds_the_token(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDBOX_TOKEN", TOKEN)
    async with (
        Sandbox(listings=len(FAULTS) + 2, photos=2, widest=320, tokens={"images": TOKEN}) as mls,
        origins.running(Origin()) as elsewhere,
        origins.running(Origin({"/photo.jpg": origins.redirect(elsewhere.url())})) as mover,
    ):
        feeds = mls.feeds_toml(
            image_hosts=[mls.host, mover.host], token_env="SANDBOX_TOKEN", max_attempts=2, request_timeout_seconds=2.0
        )
        async with system.running(namespace, feeds, tmp_path, log_level="debug", serve_wait_seconds=0.1) as whole:
            good, moved_key, *bad = (str(record["ListingKey"]) for record in mls.properties())
            for key, fault in zip(bad, FAULTS.values(), strict=True):
                mls.misbehave(listing=key, **fault)
            listing = mls.market.listing(moved_key)
            record = mls.market.property(listing)
            media = [{**row, "MediaURL": mover.url()} for row in mls.market.media(listing)]
            await whole.publish_listings(
                *(record for record in mls.properties() if record["ListingKey"] != moved_key),
                {**record, "Media": media},
            )
            await whole.send("listing-seen", b"{", key=b"broken")
            await whole.wait_until_downloaded(good, 2)

            async def all_failed() -> bool:
                images = [image for key in (moved_key, *bad) for image in await whole.images(key)]
                return len(images) == 2 * len(FAULTS) + 2 and all(image["status"] == "failed" for image in images)

            await until(all_failed, "the other photos to fail")
            written = await _everything(whole, [good, moved_key, *bad])
    assert all(request.headers["Authorization"] == f"Bearer {TOKEN}" for request in mls.image_log)
    assert all(f"Authorization: Bearer {TOKEN}\r\n" in request for request in mover.requests)
    assert mover.requests
    assert not elsewhere.connections
    for reason in ("refused-host", *FAULTS):
        assert f'"{reason.removesuffix(" too")}"' in written["log of downloader"]
    assert "not JSON" in written["imagectl ['dead-letters', 'list']"]
    assert len(written) > 60
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
    explained = (["explain", key, "--json"] for key in keys)  # with every line that it says to people
    for command in (["status"], ["config"], ["dead-letters", "list"], ["explain", keys[-1]], *explained):
        written[f"imagectl {command}"] = (await whole.run("imagectl", *command))[1]
    async with a_browser(whole) as desk:
        await sign_in(desk)
        for path in (*PAGES, *(f"/listing?feed=sandbox&key={key}" for key in keys)):
            page = await desk.get(path)
            assert page.status_code == 200, path
            written[f"page {path}"] = page.text + repr(page.headers)
    async with mongo.connect(whole.env["IMAGES_MONGO"], whole.env["IMAGES_MONGO_DB"]) as database:
        for collection in await database.list_collection_names():
            documents: list[dict[str, Any]] = await database[collection].find().to_list(None)
            written[f"collection {collection}"] = json.dumps(documents, default=str)
    return written
