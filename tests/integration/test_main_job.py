"""Test the main path: published listings become answers with public URLs, and follow changes at the MLS."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from local.config import PROJECT, SERVICES
from local.sandbox import Sandbox
from shared.events.topics import MAX_RECORD_BYTES
from tests.system import System, until


def record_of(mls: Sandbox, key: str) -> Mapping[str, Any]:
    return mls.market.property(mls.market.listing(key))


async def test_the_photos_of_a_published_listing_are_answered_with_public_urls(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)

    assert [image["order"] for image in images] == [0, 1, 2, 3]
    assert mls.begun[key] == 4
    for image in images:
        assert [variant["name"] for variant in image["variants"]] == ["full", "card", "thumb"]
        assert image["url"].startswith(whole.env["IMAGES_PUBLIC_URL"])
        opened = await whole.http.get(image["url"])
        assert opened.headers["Content-Type"] == image["content_type"] == "image/webp"
        assert opened.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert len(opened.content) == image["file_size"]
        assert image["alt"]
        assert image["thumbhash"]
        assert datetime.fromisoformat(image["downloaded_at"])


async def test_image_downloaded_is_published_once_for_each_photo(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    events = await whole.events("image-downloaded", key)
    assert sorted(event["image_id"] for event in events) == sorted(image["id"] for image in images)
    by_id = {event["image_id"]: event for event in events}
    for image in images:
        event = by_id[image["id"]]
        assert event["changed"] is True
        shared = ("order", "url", "content_type", "width", "height", "file_size", "variants", "media_changed_at")
        assert {name: event[name] for name in shared} == {name: image[name] for name in shared}
        assert len(event["sha256"]) == 64


async def test_no_answer_event_or_log_holds_an_mls_url(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    answer = await whole.http.get(f"/api/listings/{key}/images")
    assert mls.host not in answer.text
    for topic in ("image-outdated", "image-outdated.viewed", "image-downloaded", "image-removed"):
        assert not any(mls.host.encode() in (record.value or b"") for record in await whole.records(topic)), topic
    for name in ("scheduler", "downloader", "resolver", "janitor"):
        assert mls.url not in whole.log(name)


async def test_originals_are_stored_in_a_private_bucket(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    path = images[0]["url"].removeprefix(f"{whole.env['IMAGES_PUBLIC_URL']}/").rsplit("/", 1)[0]
    endpoint, bucket = whole.env["IMAGES_S3_ENDPOINT"], whole.namespace.originals_bucket
    original = await whole.http.get(f"{endpoint}/{bucket}/{path}/original.jpg")
    assert original.status_code in (401, 403)


async def test_publishing_the_same_record_again_fetches_nothing(whole: System, mls: Sandbox, key: str) -> None:
    record = record_of(mls, key)
    await whole.publish_listings(record)
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(record, record, {**record, "PublicRemarks": "other words"})
    await whole.wait_until_read()
    assert await whole.wait_until_downloaded(key, 4) == before
    assert mls.begun[key] == 4


async def test_only_the_changed_photo_is_fetched_and_its_old_url_stays_open(
    whole: System, mls: Sandbox, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.change_photo(key, 2))

    async def is_new() -> list[dict[str, Any]] | None:
        images = await whole.images(key)
        return images if images[2]["url"] != before[2]["url"] else None

    after = await until(is_new, "the new picture")
    assert [image["url"] for image in after if image["order"] != 2] == [
        image["url"] for image in before if image["order"] != 2
    ]
    assert mls.begun[key] == 5
    assert await whole.is_open(before[2]["url"])
    assert await whole.is_open(after[2]["url"])


async def test_reordering_and_new_urls_fetch_nothing(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.reorder(key, [3, 2, 1, 0]), mls.rename(key, "A sunny kitchen", 0))

    async def is_reordered() -> list[dict[str, Any]] | None:
        images = await whole.images(key)
        return images if images[0]["id"] == before[3]["id"] and images[0]["alt"] == "A sunny kitchen" else None

    after = await until(is_reordered, "the new order")
    assert [image["url"] for image in after] == [image["url"] for image in reversed(before)]
    await whole.wait_until_read()
    assert mls.begun[key] == 4


async def test_a_withdrawn_photo_is_removed_from_answers_and_storage(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.withdraw_photo(key, 1))

    async def is_published() -> list[dict[str, Any]]:
        return await whole.events("image-removed", key)

    (removed,) = await until(is_published, "the removal")
    assert removed["reason"] == "photo-withdrawn"
    assert removed["image_id"] == before[1]["id"]
    assert sorted(removed["urls"]) == sorted(variant["url"] for variant in before[1]["variants"])
    assert [image["id"] for image in await whole.images(key)] == [before[which]["id"] for which in (0, 2, 3)]
    assert not await whole.is_open(before[1]["url"])
    assert await whole.is_open(before[0]["url"])


async def test_an_inactive_listing_is_hidden_and_its_objects_are_removed(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.withdraw(key))
    await whole.wait_until_hidden(key)

    async def is_published() -> list[dict[str, Any]] | None:
        events = await whole.events("image-removed", key)
        return events if len(events) == 4 else None

    events = await until(is_published, "the removal")
    assert {event["reason"] for event in events} == {"listing-inactive"}
    assert not any([await whole.is_open(image["url"]) for image in before])
    assert (await whole.http.get("/api/images/serve", params={"id": before[0]["id"]})).status_code == 404

    await whole.publish_listings(mls.reactivate(key))
    assert [image["id"] for image in await whole.wait_until_downloaded(key, 4)] == [image["id"] for image in before]


async def test_a_listing_that_is_soon_active_again_keeps_its_photos(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    before = await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.withdraw(key), mls.reactivate(key))
    await whole.wait_until_read()
    assert await whole.wait_until_downloaded(key, 4) == before
    assert mls.begun[key] == 4
    assert await whole.is_open(before[0]["url"])


async def test_the_removals_of_an_opt_out_have_its_reason(whole: System, mls: Sandbox, key: str) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    await whole.publish_listings(mls.opt_out(key))
    await whole.wait_until_hidden(key)

    async def reasons() -> set[str] | None:
        events = await whole.events("image-removed", key)
        return {event["reason"] for event in events} if len(events) == 4 else None

    assert await until(reasons, "the removal") == {"opt-out"}


async def test_requests_to_a_failing_origin_are_repeated_until_they_succeed(
    whole: System, mls: Sandbox, key: str
) -> None:
    mls.misbehave(kind="status", status=500, listing=key, count=3)
    mls.misbehave(kind="html", listing=key, count=2)
    mls.misbehave(kind="truncated", listing=key, count=1)
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    assert mls.begun[key] == 10


async def test_a_key_displayed_in_two_feeds_is_409_without_a_feed(whole: System, mls: Sandbox, key: str) -> None:
    record = record_of(mls, key)
    await whole.publish_listings(record)
    await whole.publish_listings(record, feed="other")
    for feed in ("sandbox", "other"):
        await until(lambda feed=feed: whole.images(key, feed=feed), f"{key} of {feed}")  # type: ignore[misc]
    assert (await whole.http.get(f"/api/listings/{key}/images")).status_code == 409
    answer = await whole.http.post("/api/images/resolve", json={"listing_keys": [key, "nowhere"]})
    assert (answer.json()["ambiguous"], answer.json()["unknown"]) == ([key], ["nowhere"])


async def test_unusual_keys_never_collide_and_their_urls_open(whole: System, mls: Sandbox, key: str) -> None:
    record = record_of(mls, key)
    keys = [f"{key}/a", f"{key}%2Fa", f"{key} a", f"{key}~2Fa", f"{key}é", "..", f"{key}#?&+"]
    await whole.publish_listings(*({**record, "ListingKey": unusual_key} for unusual_key in keys))
    urls: set[str] = set()
    for unusual_key in keys:

        async def all_downloaded(unusual_key: str = unusual_key) -> list[dict[str, Any]] | None:
            answer = await whole.http.post(
                "/api/images/resolve", json={"listing_keys": [unusual_key], "photos_per_listing": 9}
            )
            images = answer.json()["listings"].get(unusual_key, {}).get("images", [])
            return images if len(images) == 4 and all(image["variants"] for image in images) else None

        images = await until(all_downloaded, f"the photos of {unusual_key!r}")
        urls |= {image["url"] for image in images}
        assert await whole.is_open(images[0]["url"])
    assert len(urls) == 4 * len(keys)


async def test_invalid_records_become_dead_letters_and_later_ones_are_handled(
    whole: System, mls: Sandbox, key: str
) -> None:
    event = {"type": "listing-seen.v1", "data": {"feed": "sandbox", "property": record_of(mls, key)}}
    hostile: list[bytes | None] = [
        None,
        b"",
        b"\xff\xfe",
        b"not JSON at all",
        b"[" * 100_000,
        json.dumps({**event, "type": "listing-seen.v99"}).encode(),
        json.dumps({**event, "data": {**event["data"], "feed": "nobody"}}).encode(),  # type: ignore[dict-item]
        json.dumps({**event, "data": {"feed": "sandbox", "property": {"City": "Toronto"}}}).encode(),
    ]
    for value in hostile:
        await whole.send("listing-seen", value, key=b"hostile")
        await whole.send("image-outdated", value, key=b"hostile")
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)

    async def all_dead() -> list[Any] | None:
        dead = [record for record in await whole.records("dead-letter") if record.key == b"hostile"]
        return dead if len(dead) >= 3 * len(hostile) else None

    dead = await until(all_dead, "the dead letters")
    assert len(dead) == 3 * len(hostile)
    for service, topic in (
        ("scheduler", "listing-seen"),
        ("janitor", "listing-seen"),
        ("downloader", "image-outdated"),
    ):
        headers = [dict(record.headers) for record in dead]
        of_service = [
            record
            for record, head in zip(dead, headers, strict=True)
            if head["dead_letter_service"] == service.encode()
        ]
        assert sorted(map(repr, (record.value for record in of_service))) == sorted(map(repr, hostile))
        for record in of_service:
            head = dict(record.headers)
            assert head["dead_letter_topic"].decode() == f"{whole.namespace.prefix}{topic}"
            assert int(head["dead_letter_partition"]) in range(6)
            assert int(head["dead_letter_offset"]) >= 0
            assert 0 < len(head["dead_letter_reason"].decode()) <= 500
            assert datetime.fromisoformat(head["dead_letter_at"].decode())


async def test_a_record_without_key_and_value_becomes_a_dead_letter(whole: System) -> None:
    topic = f"{whole.namespace.prefix}listing-seen"
    async with AIOKafkaProducer(bootstrap_servers=whole.namespace.servers.kafka) as producer:
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None)
        await (await producer.send_batch(batch, topic, partition=0))

    async def all_dead() -> list[bytes] | None:
        heads = [
            dict(record.headers) for record in await whole.records("dead-letter") if record.key is record.value is None
        ]
        return [head["dead_letter_service"] for head in heads] if len(heads) >= 2 else None

    assert sorted(await until(all_dead, "the dead letters")) == [b"janitor", b"scheduler"]
    await whole.wait_until_read()


async def test_the_size_limit_of_a_topic_counts_uncompressed_bytes(whole: System, mls: Sandbox, key: str) -> None:
    topic = f"{whole.namespace.prefix}listing-seen"
    event = {"type": "listing-seen.v1", "data": {"feed": "sandbox", "property": record_of(mls, key)}}
    async with AIOKafkaProducer(
        bootstrap_servers=whole.namespace.servers.kafka, compression_type="gzip", max_request_size=3 * MAX_RECORD_BYTES
    ) as producer:
        with pytest.raises(MessageSizeTooLargeError):  # the broker counts uncompressed bytes
            await producer.send_and_wait(topic, b" " * 2 * MAX_RECORD_BYTES)
        await producer.send_and_wait(topic, json.dumps(event).encode(), key=key.encode())
    await whole.wait_until_downloaded(key, 4)


async def test_one_bad_photo_does_not_stop_the_others(whole: System, mls: Sandbox, key: str) -> None:
    record = dict(record_of(mls, key))
    rows = [row for row in record["Media"] if row["Order"] != 1]
    broken: list[Any] = [
        {"MediaKey": "x"},
        {"MediaURL": "http://x"},
        "text",
        None,
        {"MediaKey": "y", "MediaURL": "file:///etc/passwd"},
    ]
    await whole.publish_listings({**record, "Media": [*broken, *rows]})
    assert len(await whole.wait_until_downloaded(key, 3)) == 3


async def test_every_service_answers_health_readiness_and_metrics(whole: System) -> None:
    for name in ("scheduler", "downloader", "resolver", "janitor"):
        assert (await whole.http.get(f"{whole.url(name)}/healthz")).status_code == 200
        assert (await whole.http.get(f"{whole.url(name)}/readyz")).json()["faults"] == {}
        metrics = await whole.http.get(f"{whole.url(name)}/metrics")
        assert "# TYPE listing_images_" in metrics.text
        started = [json.loads(line) for line in whole.log(name).splitlines() if line.startswith("{")]
        assert any(line["event"] == "started" and line["service"] == name for line in started)


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("scheduler", ["listing-seen"]),
        ("janitor", ["listing-seen"]),
        ("downloader", ["image-outdated", "image-outdated.viewed"]),
    ],
)
async def test_a_consumer_s_metrics_show_its_lag(
    whole: System, mls: Sandbox, key: str, name: str, topics: list[str]
) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)

    async def nothing_left() -> bool:
        lines = (await whole.http.get(f"{whole.url(name)}/metrics")).text.splitlines()
        lag = [f'listing_images_lag{{topic="{whole.namespace.prefix}{topic}"}} 0.0' for topic in topics]
        read = [line for line in lines if line.startswith("listing_images_records_total{")]
        return {*lag} <= {*lines} and len(read) == len(topics) and any(not line.endswith(" 0.0") for line in read)

    await until(nothing_left, f"{name} to have read everything")


@pytest.mark.parametrize("name", SERVICES)
async def test_each_service_has_the_documented_metrics(whole: System, name: str) -> None:
    text = (PROJECT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(listing_images_\w+)` \| (\w+) \| [^|]*\| ([a-z, ]+) \|", text, re.MULTILINE)
    documented = {(metric, kind) for metric, kind, services in rows if name in services.split(", ")}
    shown = (await whole.http.get(f"{whole.url(name)}/metrics")).text
    found = set(re.findall(r"^# TYPE (listing_images_\w+) (\w+)$", shown, re.MULTILINE))
    assert {(metric, kind) for metric, kind in found if not metric.endswith("_created")} == documented


async def test_a_correlation_id_is_in_all_logs_and_headers_of_a_photo(whole: System, mls: Sandbox, key: str) -> None:
    data = {"feed": "sandbox", "property": record_of(mls, key)}
    event = {"type": "listing-seen.v1", "id": f"ingest-{key}", "data": data}
    await whole.send("listing-seen", json.dumps(event).encode(), key=key.encode())
    await whole.wait_until_downloaded(key, 4)

    async def is_published() -> bool:
        return len(await whole.events("image-downloaded", key)) == 4

    await until(is_published, "the four events")
    for topic in ("image-outdated", "image-downloaded"):
        records = [record for record in await whole.records(topic) if record.key == key.encode()]
        assert {dict(record.headers).get("correlation_id") for record in records} == {f"ingest-{key}".encode()}
    for name, events in (("scheduler", {"image-released"}), ("downloader", {"image-downloaded"})):
        lines = [json.loads(line) for line in whole.log(name).splitlines() if f"ingest-{key}" in line]
        assert events <= {line["event"] for line in lines}
    recorders = whole.log("scheduler") + whole.log("janitor")
    assert f'"correlation_id": "ingest-{key}"' in recorders
    assert "listing-recorded" in recorders
