"""What an operator does from a terminal, on the running system."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.sandbox import Sandbox
from shared.domain.failures import POLICIES, Reason
from tests.system import System, until


def record_of(mls: Sandbox, key: str) -> dict[str, Any]:
    return dict(mls.market.property(mls.market.listing(key)))


async def test_a_file_is_published(whole: System, mls: Sandbox, key: str, tmp_path: Path) -> None:
    file = tmp_path / "listings.json"
    file.write_text(json.dumps({"value": [record_of(mls, key)]}))
    code, output = await whole.run("imagectl", "publish", str(file), "--feed", "sandbox")
    assert (code, "published 1 listings" in output) == (0, True), output
    await whole.downloaded(key, 4)


async def test_what_cannot_be_published_is_named_and_the_rest_goes_out(
    whole: System, mls: Sandbox, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "listings.ndjson"
    file.write_text(f'{{"City": "Toronto"}}\n{json.dumps(record_of(mls, key))}\nnot JSON\n')
    code, output = await whole.run("imagectl", "publish", str(file), "--feed", "sandbox", "--json")
    assert code == 1
    answer = json.loads(output)
    assert answer["published"] == 1
    assert [one["where"] for one in answer["unusable"]] == ["line 1", "line 3"]
    await whole.downloaded(key, 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["publish", "nowhere.json", "--feed", "sandbox"], "is not a file"),
        (["publish", __file__, "--feed", "nobody"], "there is no feed 'nobody'"),
        (["removals", "resume", "nobody"], "there is no feed 'nobody'"),
        (["removals", "discard", "sandbox"], "the removals of sandbox are not frozen"),
        (["removals", "force", "nowhere", "--yes"], "no listing 'nowhere' is recorded"),
        (["compliance"], "name a ListingKey, or a period"),
        (["compliance", "--from", "yesterday", "--to", "now"], "'yesterday' is not a time"),
    ],
)
async def test_a_wrong_call_says_what_to_do(whole: System, arguments: list[str], said: str) -> None:
    code, output = await whole.run("imagectl", *arguments)
    assert (code, said in output) == (1, True), output
    assert "Traceback" not in output


async def test_the_status_counts_what_is_there(whole: System, mls: Sandbox, key: str) -> None:
    await whole.see(record_of(mls, key))
    await whole.downloaded(key, 4)
    code, output = await whole.run("imagectl", "status", "--json")
    found = json.loads(output)
    assert code == 0
    assert found["feeds"]["sandbox"]["images"]["downloaded"] >= 4
    assert found["feeds"]["sandbox"]["displayed"] >= 1
    assert set(found["lag"]) == {"scheduler", "janitor", "downloader"}
    code, output = await whole.run("imagectl", "status")
    assert (code, "sandbox" in output, "dead letters" in output) == (0, True, True)


async def test_topics_and_the_rest_are_applied_again_without_harm(whole: System) -> None:
    for command in (["init"], ["topics", "apply"]):
        code, output = await whole.run("imagectl", *command, "--json")
        assert code == 0, output
    assert set(json.loads(output).values()) == {"unchanged"}


async def test_the_config_shows_everything_but_secrets(whole: System) -> None:
    for form in ([], ["--json"]):
        code, output = await whole.run("imagectl", "config", *form)
        assert code == 0
        assert whole.env["IMAGES_KAFKA"] in output
        assert whole.env["IMAGES_S3_SECRET_KEY"] not in output.replace(whole.env["IMAGES_S3_ACCESS_KEY"], "")
        assert whole.env["IMAGES_MONGO"] not in output


async def test_a_listing_an_image_and_a_url_are_explained(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="status", status=404, listing=key, count=1)
    record = record_of(mls, key)
    await whole.see(record)

    async def is_settled() -> list[dict[str, Any]] | None:
        images = await whole.images(key, context="search")
        return images if sorted({image["status"] for image in images}) == ["downloaded", "failed"] else None

    images = await until(is_settled, "three photos and a failure")
    for what in (key, next(image["id"] for image in images if image["status"] == "failed")):
        code, output = await whole.run("imagectl", "explain", what)
        assert code == 0, output
        for said in ("it is displayed, with 4 photos", POLICIES[Reason.GONE].meaning, "given up for now; tried again"):
            assert said in output, output
    code, output = await whole.run("imagectl", "explain", record["Media"][0]["MediaURL"], "--json")
    (found,) = json.loads(output)
    assert (code, found["listing_key"], len(found["photos"])) == (0, key, 1)
    code, output = await whole.run("imagectl", "explain", "nowhere")
    assert (code, "nothing is recorded" in output) == (1, True)
