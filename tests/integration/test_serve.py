"""Test `serve`: redirects, waiting for a download, and placeholders."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from local.sandbox import Sandbox
from tests.system import System, until


def record_of(mls: Sandbox, key: str) -> Mapping[str, Any]:
    return mls.market.property(mls.market.listing(key))


async def recorded(whole: System, key: str) -> list[dict[str, Any]]:
    """Wait until a listing is recorded, and return its images, downloaded or not."""
    return await until(lambda: whole.images(key, context="search"), f"{key} to be recorded")


async def serve(whole: System, **query: str) -> httpx.Response:
    return await whole.http.get("/api/images/serve", params=query)


async def test_serve_redirects_to_the_requested_variant_of_a_copy(whole: System, mls: Sandbox, key: str) -> None:
    record = record_of(mls, key)
    await whole.publish_listings(record)
    image = (await whole.wait_until_downloaded(key, 4))[0]
    for variant in image["variants"]:
        answer = await serve(whole, id=image["id"], variant=variant["name"])
        assert (answer.status_code, answer.headers["Location"]) == (302, variant["url"])
        assert answer.headers["Cache-Control"] == "public, max-age=2"
    assert (await serve(whole, id=image["id"])).headers["Location"] == image["url"]
    for row in record["Media"]:
        if row["Order"] == 0:
            by_url = await serve(whole, url=row["MediaURL"])
            expected = 404 if row["ImageSizeDescription"] == "LargestNoWatermark" else 302
            assert by_url.status_code in (expected, 302)
            found = await whole.http.get("/api/images/resolve", params={"url": row["MediaURL"], "listing": key})
            assert found.json()["id"] == image["id"]


async def test_all_waiting_requests_share_one_download(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="slow", listing=key, delay_seconds=1.0, count=4)
    await whole.publish_listings(record_of(mls, key))
    image = (await recorded(whole, key))[0]
    answers = await asyncio.gather(*(serve(whole, id=image["id"]) for _ in range(40)))
    assert {answer.status_code for answer in answers} == {302}
    await whole.wait_until_downloaded(key, 4)
    assert mls.begun[key] == 4


async def test_a_photo_that_is_not_downloaded_in_time_gets_a_placeholder(whole: System, mls: Sandbox, key: str) -> None:
    mls.misbehave(kind="slow", listing=key, delay_seconds=5.0)
    await whole.publish_listings(record_of(mls, key))
    image = (await recorded(whole, key))[0]
    assert image["url"] == f"/api/images/serve?id={image['id']}"
    assert (image["variants"], image["width"], image["content_type"]) == ([], None, None)
    answer = await whole.http.get(image["url"])
    assert answer.status_code == 503
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Cache-Control"] == "no-store"
    assert int(answer.headers["Retry-After"]) >= 1
    mls.behave()
    await whole.wait_until_downloaded(key, 4)


async def test_a_photo_that_is_gone_at_the_origin_is_404_with_a_placeholder(
    whole: System, mls: Sandbox, key: str
) -> None:
    mls.misbehave(kind="status", status=404, listing=key)
    await whole.publish_listings(record_of(mls, key))
    image = (await recorded(whole, key))[0]

    async def is_failed() -> bool:
        return all(image["status"] == "failed" for image in await whole.images(key))

    await until(is_failed, "the photos to fail")
    answer = await serve(whole, id=image["id"])
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    mls.behave()
    await whole.publish_listings(mls.change_photo(key, 0))

    async def is_back() -> bool:
        return bool((await whole.images(key))[0]["status"] == "downloaded")

    await until(is_back, "the photo that came back")


async def test_an_unrecorded_id_or_url_is_404(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    image = (await whole.wait_until_downloaded(key, 4))[0]
    for query in (
        {"id": "0" * 32},
        {"id": "../etc/passwd"},
        {"id": image["id"], "variant": "huge"},
        {"url": "http://169.254.169.254/latest/meta-data"},
        {"url": image["url"]},
    ):
        answer = await serve(whole, **query)
        assert answer.status_code == 404, query
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
    assert (await serve(whole)).status_code == 400
    assert (await serve(whole, id=image["id"], url="x")).status_code == 400


async def test_a_viewed_photo_is_downloaded_before_a_backlog(whole: System, mls: Sandbox, key: str) -> None:
    """The feed allows one request a second; the last photo is viewed, and is downloaded long before its turn."""
    record = record_of(mls, key)
    listings = [{**record, "ListingKey": f"{key}-{number}"} for number in range(15)]
    await whole.publish_listings(*listings, feed="strict")
    last = listings[-1]["ListingKey"]
    image = (await until(lambda: whole.images(last, context="search"), "the backlog to be recorded"))[3]
    began = asyncio.get_running_loop().time()
    answer = await until_served(whole, image["id"])
    assert answer.status_code == 302
    waited = asyncio.get_running_loop().time() - began
    here = [await whole.images(listing["ListingKey"], context="search") for listing in listings]
    assert sum(image["status"] == "downloaded" for images in here for image in images) <= waited * 2 + 4
    gone = mls.withdraw(key)
    await whole.publish_listings(
        *({**gone, "ListingKey": listing["ListingKey"]} for listing in listings), feed="strict"
    )


async def until_served(whole: System, image_id: str) -> httpx.Response:
    async def is_here() -> httpx.Response | None:
        answer = await serve(whole, id=image_id)
        return answer if answer.status_code == 302 else None

    return await until(is_here, "the viewed photo")
