"""Test the sandbox MLS: pictures, records, changes, injected faults, the Web API and the control API."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from local.sandbox import NoPictures, Sandbox
from local.sandbox.album import Shot, draw, pictures_in
from shared.domain.announcement import read
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds

KEY = "C12000001"


@pytest.fixture
async def mls(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox(listings=3, photos=3, widest=320, cache=tmp_path) as running:
        yield running


@pytest.fixture
async def web(mls: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mls.url, trust_env=False) as client:
        yield client


def url_of(record: Any, photo: int = 0, size: str = "Largest") -> str:
    rows = [row for row in record["Media"] if row["Order"] == photo and row["ImageSizeDescription"] == size]
    return str(rows[0]["MediaURL"])


def record_of(mls: Sandbox, key: str = KEY) -> Any:
    return mls.market.property(mls.market.listing(key))


def feed_of(mls: Sandbox, **overrides: Any) -> Feed:
    return parse_feeds(mls.feeds_toml(**overrides))["sandbox"]


# Pictures


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_the_error_for_a_folder_without_pictures_names_it(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    with pytest.raises(NoPictures, match=folder):
        Sandbox(folder=tmp_path / folder)


async def test_a_folder_s_pictures_are_shown_in_order_and_again_from_the_first(tmp_path: Path) -> None:
    colours = {"a.png": (200, 30, 30), "b.webp": (30, 200, 30)}
    for name, colour in colours.items():
        Image.new("RGB", (300, 200), colour).save(tmp_path / name)
    assert [path.name for path in pictures_in(tmp_path)] == ["a.png", "b.webp"]
    async with Sandbox(listings=1, photos=3, folder=tmp_path) as mls, httpx.AsyncClient(trust_env=False) as web:
        bodies = [(await web.get(url_of(record_of(mls), photo))).content for photo in range(3)]
    assert bodies[0] == bodies[2] != bodies[1]


async def test_a_drawing_replaces_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    async with (
        Sandbox(listings=1, photos=1, widest=240, folder=tmp_path) as mls,
        httpx.AsyncClient(trust_env=False) as web,
    ):
        assert (await web.get(url_of(record_of(mls)))).content == draw(Shot(KEY, 0, 0, 1), 240)


async def test_pictures_drawn_ahead_are_not_drawn_again(mls: Sandbox, web: httpx.AsyncClient) -> None:
    await mls.draw_ahead()
    await web.get(url_of(record_of(mls)))
    assert (await web.get("/control/requests")).json()["pictures_made"] == 9


# Records


def test_feeds_toml_is_valid_and_rules_can_be_overridden() -> None:
    mls = Sandbox(listings=1)
    mls.url = "http://127.0.0.1:4321"
    feed = feed_of(mls, max_attempts=2, headers={"X-Who": "me"})
    assert feed.image_hosts == ("127.0.0.1:4321",)
    assert (feed.allow_private_addresses, feed.max_attempts, feed.headers["X-Who"]) == (True, 2, "me")
    assert parse_feeds(mls.feeds_toml(feed="other.one"))["other.one"].concurrency == 32


async def test_records_are_read_as_one_photo_for_all_its_sizes(mls: Sandbox) -> None:
    announced = read(feed_of(mls), record_of(mls))
    assert announced.photos is not None
    assert [photo.caption for photo in announced.photos] == ["Front façade", "Living room", "Kitchen"]
    assert [photo.url for photo in announced.photos] == [url_of(record_of(mls), photo) for photo in range(3)]
    assert (announced.hidden_by, announced.set_aside, announced.city) == (None, (), "Toronto")


async def test_urls_differ_by_size_and_the_size_without_watermark_is_private(mls: Sandbox) -> None:
    rows = record_of(mls)["Media"][:4]
    assert len({row["MediaURL"] for row in rows}) == 4
    assert len({row["MediaObjectID"] for row in rows}) == 1
    assert [row["Permission"] for row in rows if row["ImageSizeDescription"] == "LargestNoWatermark"] == [["Private"]]


# Changes

MOVED = ("ModificationTimestamp", "MediaChangeTimestamp")


async def test_a_changed_photo_has_other_bytes_another_url_and_later_timestamps(
    mls: Sandbox, web: httpx.AsyncClient
) -> None:
    before, old = record_of(mls), (await web.get(url_of(record_of(mls)))).content
    after: Any = mls.change_photo(KEY)
    assert (await web.get(url_of(after))).content != old
    assert url_of(after) != url_of(before)
    assert all(after[name] > before[name] for name in MOVED)
    assert after["Media"][0]["MediaModificationTimestamp"] > before["Media"][0]["MediaModificationTimestamp"]
    assert after["Media"][4:] == before["Media"][4:]


async def test_reordered_and_renamed_photos_keep_their_bytes_urls_and_own_timestamps(mls: Sandbox) -> None:
    before = record_of(mls)
    mls.rename(KEY, "Hall", photo=1)
    after: Any = mls.reorder(KEY, [2, 0, 1])
    assert [row["ShortDescription"] for row in after["Media"][::4]] == ["Kitchen", "Front façade", "Hall"]
    own = ("MediaURL", "MediaModificationTimestamp")
    assert [[row[name] for name in own] for row in after["Media"]] == [
        [row[name] for name in own] for row in [*before["Media"][8:], *before["Media"][:8]]
    ]
    assert all(after[name] > before[name] for name in MOVED)


async def test_a_withdrawn_photo_is_not_in_the_record_and_404_at_the_origin(
    mls: Sandbox, web: httpx.AsyncClient
) -> None:
    gone = url_of(record_of(mls), 1)
    after: Any = mls.withdraw_photo(KEY, 1)
    assert {row["ShortDescription"] for row in after["Media"]} == {"Front façade", "Kitchen"}
    assert (await web.get(gone)).status_code == 404


@pytest.mark.parametrize(("change", "reason"), [("withdraw", "listing-inactive"), ("opt_out", "opt-out")])
async def test_a_withdrawn_or_opted_out_listing_is_hidden_until_reactivated(
    mls: Sandbox, change: str, reason: str
) -> None:
    announced = read(feed_of(mls), getattr(mls, change)(KEY))
    assert announced.hidden_by == reason
    assert read(feed_of(mls), mls.reactivate(KEY)).hidden_by is None


async def test_re_signed_urls_open_and_expired_urls_are_403(mls: Sandbox, web: httpx.AsyncClient) -> None:
    before = record_of(mls)
    mls.re_sign()
    assert record_of(mls)["ModificationTimestamp"] == before["ModificationTimestamp"]
    assert url_of(record_of(mls)) != url_of(before)
    assert (await web.get(url_of(before))).status_code == 200
    mls.re_sign(expire=True)
    assert (await web.get(url_of(before))).status_code == 403
    assert (await web.get(url_of(record_of(mls)))).status_code == 200


async def test_a_url_with_another_size_or_signature_is_403(mls: Sandbox, web: httpx.AsyncClient) -> None:
    url = url_of(record_of(mls))
    assert (await web.get(url.replace("rs:fit:320:320", "rs:fit:321:321"))).status_code == 403
    assert (await web.get(url[:-9] + "AAAAA.jpg")).status_code == 403


async def test_timestamps_only_rise_and_have_milliseconds(mls: Sandbox) -> None:
    times = [str(mls.touch(KEY)["ModificationTimestamp"]) for _ in range(50)]
    assert times == sorted(set(times))
    assert all(len(time) == len("2026-11-23T09:00:00.000Z") for time in times)


# Pictures over HTTP


async def test_a_conditional_request_for_an_unchanged_picture_gets_304(mls: Sandbox, web: httpx.AsyncClient) -> None:
    url = url_of(record_of(mls))
    first = await web.get(url)
    assert (first.status_code, first.headers["Content-Type"]) == (200, "image/jpeg")
    by_tag = {"If-None-Match": first.headers["ETag"]}
    by_date = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert [(await web.get(url, headers=held)).status_code for held in (by_tag, by_date)] == [304, 304]
    mls.change_photo(KEY)
    assert [(await web.get(url, headers=held)).status_code for held in (by_tag, by_date)] == [200, 200]


async def test_an_etag_outweighs_a_date_in_a_conditional_request(mls: Sandbox, web: httpx.AsyncClient) -> None:
    url = url_of(record_of(mls))
    date = (await web.get(url)).headers["Last-Modified"]
    both = {"If-None-Match": '"another"', "If-Modified-Since": date}
    assert (await web.get(url, headers=both)).status_code == 200


async def test_requests_at_the_same_time_share_one_drawing(mls: Sandbox, web: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(web.get(url_of(record_of(mls))) for _ in range(8)))
    assert len({answer.content for answer in answers}) == 1
    assert (await web.get("/control/requests")).json()["pictures_made"] == 1


async def test_requests_are_counted_and_logged_until_reset(mls: Sandbox, web: httpx.AsyncClient) -> None:
    url = url_of(record_of(mls), 1)
    for _ in range(2):
        await web.get(url)
    assert (mls.image_requests, mls.requests[url.removeprefix(mls.url)], mls.requests.total()) == (2, 2, 2)
    assert mls.begun == {KEY: 2}
    logged = mls.image_log[-1]
    assert (logged.listing_key, logged.size, logged.status) == (KEY, "Largest", 200)
    assert (await web.post("/control/reset", json={})).status_code == 200
    assert (mls.image_requests, mls.requests.total(), mls.begun.total(), len(mls.image_log)) == (0, 0, 0, 0)


# Faults


async def test_an_error_fault_applies_to_count_requests_and_has_its_retry_after(
    mls: Sandbox, web: httpx.AsyncClient
) -> None:
    url = url_of(record_of(mls))
    mls.misbehave(status=429, retry_after=7, count=2)
    answers = [await web.get(url) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"


async def test_a_fault_applies_to_its_share_of_the_requests(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(status=500, share=0.25)
    statuses = [(await web.get(url_of(record_of(mls)))).status_code for _ in range(8)]
    assert statuses.count(500) == 2


async def test_a_fault_of_a_listing_does_not_apply_to_others(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(kind="html", listing=KEY)
    spoilt, other = await web.get(url_of(record_of(mls))), await web.get(url_of(mls.properties()[1]))
    assert (spoilt.status_code, spoilt.headers["Content-Type"]) == (200, "text/html")
    assert other.content.startswith(b"\xff\xd8")
    mls.behave()
    assert (await web.get(url_of(record_of(mls)))).content.startswith(b"\xff\xd8")


async def test_a_truncated_body_is_shorter_than_its_content_length(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(kind="truncated", count=1)
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        await web.get(url_of(record_of(mls)))
    assert (await web.get(url_of(record_of(mls)))).status_code == 200


async def test_a_slow_answer_is_late_and_correct(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(kind="slow", delay_seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        await web.get(url_of(record_of(mls)), timeout=0.2)
    mls.behave()
    mls.misbehave(kind="slow", delay_seconds=0.01)
    assert (await web.get(url_of(record_of(mls)))).content.startswith(b"\xff\xd8")


async def test_an_empty_fault_answers_200_without_a_body(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(kind="empty")
    answer = await web.get(url_of(record_of(mls)))
    assert (answer.status_code, answer.content) == (200, b"")


async def test_bearer_tokens_guard_pictures_and_web_api() -> None:
    guarded = Sandbox(listings=1, photos=1, widest=240, tokens={"odata": "api", "images": "pictures"})
    async with guarded as mls, httpx.AsyncClient(trust_env=False) as web:
        feed, url = f"{mls.url}/odata/Property", url_of(record_of(mls))
        calls = [(feed, "api"), (feed, "no"), (url, "pictures"), (url, "no")]
        got = [await web.get(path, headers={"Authorization": f"Bearer {token}"}) for path, token in calls]
    assert [answer.status_code for answer in got] == [200, 401, 200, 401]


# RESO Web API


async def pages(web: httpx.AsyncClient, path: str, **options: str) -> list[list[Any]]:
    """Request a page and follow the next links. Return the records of each page."""
    answer = (await web.get(path, params={f"${name}": value for name, value in options.items()})).json()
    found = [answer["value"]]
    while following := answer.get("@odata.nextLink"):
        answer = (await web.get(following)).json()
        found.append(answer["value"])
    return found


async def test_next_links_lead_through_all_listings_in_order(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.touch(KEY)
    found = await pages(web, "/odata/Property", top="2", orderby="ModificationTimestamp,ListingKey", expand="Media")
    assert [[record["ListingKey"] for record in part] for part in found] == [["E12000002", "W12000003"], [KEY]]
    assert found[1][0] == record_of(mls)


async def test_paging_by_timestamp_and_key_misses_nothing(mls: Sandbox, web: httpx.AsyncClient) -> None:
    order = {"orderby": "ModificationTimestamp,ListingKey", "top": "1"}
    seen: list[str] = []
    since, key = "2000-01-01T00:00:00Z", ""
    while True:
        wanted = f"ModificationTimestamp gt {since} or (ModificationTimestamp eq {since} and ListingKey gt '{key}')"
        [[record, *_], *_] = await pages(web, "/odata/Property", filter=wanted, **order) or [[]]
        seen.append(record["ListingKey"])
        since, key = record["ModificationTimestamp"], record["ListingKey"]
        if len(seen) == 3:
            break
    assert seen == [record["ListingKey"] for record in mls.properties()]


@pytest.mark.parametrize(("how", "status"), [({}, 400), ({"status": 501}, 501)])
async def test_media_is_expanded_only_if_requested_and_allowed(
    mls: Sandbox, web: httpx.AsyncClient, how: dict[str, int], status: int
) -> None:
    plain = await pages(web, "/odata/Property", select="ListingKey")
    assert plain == [[{"ListingKey": record["ListingKey"]} for record in mls.properties()]]
    await web.post("/control/allow-expand", json={"allowed": False, **how})
    refused = await web.get("/odata/Property", params={"$expand": "Media"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (status, str(status))


async def test_media_rows_are_read_by_the_keys_of_their_listings(mls: Sandbox, web: httpx.AsyncClient) -> None:
    wanted = f"ResourceRecordKey in ('{KEY}', 'W12000003')"
    found = [row for part in await pages(web, "/odata/Media", filter=wanted, top="10") for row in part]
    records = mls.properties()
    assert found == [*records[0]["Media"], *records[2]["Media"]]  # type: ignore[misc]


async def test_one_listing_is_read_by_its_key_and_compressed(mls: Sandbox, web: httpx.AsyncClient) -> None:
    answer = await web.get(f"/odata/Property('{KEY}')", params={"$expand": "Media"})
    assert answer.json() == record_of(mls)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert (await web.get("/odata/Property('none')")).status_code == 404


async def test_a_fault_of_the_web_api_does_not_apply_to_pictures(mls: Sandbox, web: httpx.AsyncClient) -> None:
    mls.misbehave(on="odata", status=502)
    assert (await web.get("/odata/Property")).status_code == 502
    assert (await web.get(url_of(record_of(mls)))).status_code == 200


# Control


async def test_the_control_api_does_what_the_methods_do(mls: Sandbox, web: httpx.AsyncClient) -> None:
    answer = await web.post("/control/rename", json={"key": KEY, "caption": "Hall", "photo": 0})
    assert answer.json()["property"] == record_of(mls)
    assert record_of(mls)["Media"][0]["ShortDescription"] == "Hall"
    await web.post("/control/misbehave", json={"status": 500, "count": 1})
    assert (await web.get(url_of(record_of(mls)))).status_code == 500
    assert (await web.get("/control/properties")).json() == mls.properties()
    assert feed_of(mls, reso_url=mls.web_api) == parse_feeds((await web.get("/control/feeds.toml")).text)["sandbox"]


@pytest.mark.parametrize(
    ("path", "arguments", "status"),
    [
        ("change-photo", {"key": "none"}, 404), ("change-photo", {"key": KEY, "photo": 9}, 404), ("explode", {}, 404),
        ("change-photo", {}, 400), ("reorder", {"key": KEY, "order": [0, 0, 1]}, 400), ("withdraw", [], 400),
        ("misbehave", {"kind": "odd"}, 400), ("misbehave", {"sharing": 1}, 400),
    ],
)  # fmt: skip
async def test_an_invalid_control_call_changes_nothing(
    mls: Sandbox, web: httpx.AsyncClient, path: str, arguments: object, status: int
) -> None:
    before = mls.properties()
    assert (await web.post(f"/control/{path}", json=arguments)).status_code == status
    assert mls.properties() == before


async def test_a_photo_can_change_without_the_listing_s_modification_timestamp(mls: Sandbox) -> None:
    before, after = record_of(mls), mls.change_photo(KEY, media_only=True)
    assert after["ModificationTimestamp"] == before["ModificationTimestamp"]
    assert str(after["MediaChangeTimestamp"]) > before["MediaChangeTimestamp"]


async def test_a_forgotten_listing_has_no_record_and_no_pictures(mls: Sandbox, web: httpx.AsyncClient) -> None:
    url = url_of(record_of(mls))
    await web.post("/control/forget", json={"key": KEY})
    assert (await web.get(f"/odata/Property('{KEY}')")).status_code == 404
    assert KEY not in {record["ListingKey"] for record in mls.properties()}
    assert (await web.get(url)).status_code == 404


async def test_control_accepts_json_only_so_that_forms_of_other_sites_cannot_use_it(web: httpx.AsyncClient) -> None:
    assert (await web.post("/control/withdraw", data={"key": KEY})).status_code == 415


async def test_the_page_shows_every_listing_and_its_pictures_are_not_counted(
    mls: Sandbox, web: httpx.AsyncClient
) -> None:
    mls.withdraw(KEY)
    shown = (await web.get("/")).text
    assert all(listing.key in shown for listing in mls.market.listings.values())
    assert "Expired" in shown
    assert (await web.get(f"/preview/{KEY}/{mls.market.listing(KEY).photos[0].object_id}")).status_code == 200
    assert mls.image_requests == 0
