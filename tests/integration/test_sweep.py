"""What the MLS did without a word is found by a sweep, and served, or hidden, soon after."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.sandbox import Sandbox
from tests import system
from tests.servers import Room
from tests.system import System, until


async def swept(whole: System, *options: str) -> dict[str, Any]:
    code, output = await whole.run("imagectl", "sweep", "freshness", "--json", *options)
    assert code == 0, output
    return dict(json.loads(output))


@pytest.mark.parametrize("expands", [True, False])
async def test_what_changed_at_the_mls_without_an_event_is_found(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expands: bool
) -> None:
    monkeypatch.setenv("SANDBOX_MLS_TOKEN", "let-me-in")
    async with Sandbox(listings=6, photos=2, widest=320, token="let-me-in") as mls:
        mls.allow_expand(expands)
        asks = {"reso_url": mls.web_api, "reso_token_env": "SANDBOX_MLS_TOKEN"}
        async with system.running(room, mls.feeds_toml(**asks), tmp_path) as whole:
            changed, withdrawn, forgotten, *_ = keys = list(mls.market.listings)
            assert (await swept(whole))["sandbox"]["published"] == 6
            before = {key: await whole.downloaded(key, 2) for key in keys}
            mls.change_photo(changed, 1, media_only=True)
            mls.withdraw(withdrawn)
            mls.forget(forgotten)
            assert (await swept(whole, "--dry-run"))["sandbox"]["asked_for"] == 3
            assert await whole.images(withdrawn)

            found = (await swept(whole, "--feed", "sandbox"))["sandbox"]
            assert (found["published"], found["missing"], found["gone"]) == (3, 2, 1)

            async def is_served() -> bool:
                first, second = await whole.images(changed)
                assert first["url"] == before[changed][0]["url"]
                return bool(second["url"] != before[changed][1]["url"]) and await whole.opens(second["url"])

            await until(is_served, "the new picture")
            await whole.hidden(withdrawn)
            await whole.hidden(forgotten)
            assert "let-me-in" not in whole.log("scheduler")


async def test_copies_of_a_feed_without_an_mls_are_asked_for_conditionally(room: Room, tmp_path: Path) -> None:
    async with (
        Sandbox(listings=1, photos=3, widest=320) as mls,
        system.running(room, mls.feeds_toml(recheck_days=0.000001), tmp_path) as whole,
    ):
        (record,) = mls.properties()
        key = str(record["ListingKey"])
        await whole.see(record)
        before = await whole.downloaded(key, 3)
        assert (await swept(whole))["sandbox"]["published"] == 3

        async def all_asked() -> bool:
            return [one.status for one in mls.image_log] == [200] * 3 + [304] * 3

        await until(all_asked, "three conditional requests")
        assert await whole.downloaded(key, 3) == before


async def test_without_anything_to_ask_a_sweep_says_what_to_do(whole: System) -> None:
    code, output = await whole.run("imagectl", "sweep", "freshness")
    assert (code, "give a feed in" in output, "a reso_url, or recheck_days" in output) == (1, True, True)
    code, output = await whole.run("imagectl", "sweep", "freshness", "--feed", "nobody")
    assert (code, "there is no feed 'nobody'" in output) == (1, True)
