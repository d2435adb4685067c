"""Names that others rely on stay as they are: topics, groups, object keys, ids of images, indexes."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ops import doctor, status
from services.downloader.outcomes import Deferred, Downloaded, Unchanged, result_of
from shared.clock import utc_now
from shared.dead_letters import DeadLetters
from shared.domain import image, keys, variants
from shared.domain.audit import Drift
from shared.domain.failures import Failure, Reason
from shared.domain.image import Status
from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority
from shared.events.topics import MANIFEST
from shared.kafka import Broker
from shared.origin_budget import use as budget_use
from shared.recording import Recorder
from shared.render import Renderer
from shared.reso.odata import MlsFailure
from shared.settings import Settings
from shared.stores import documents
from shared.stores.memory import MemoryListings
from shared.stores.mongo.indexes import COUNTED, INDEXES
from tests import golden_files
from tests.builders import FEED, NOW, a_copy, a_feed

TEXTS = {
    "plain": "X5678", "space": "a b", "slash": "a/b", "escaped": "a~2Fb", "percent": "a%2Fb", "line break": "a\nb",
    "composed": "é", "decomposed": "e\u0301", "other scripts": "家🏠", "null": "\x00", "dots": "..", "one dot": ".",
    "quotes": "\"'\\", "200 bytes": "x" * 200, "201 bytes": "x" * 201, "long": "X" * 5_000,
    "long and escaped": "é" * 70, "long dots": "." * 67, "path": "../../etc/passwd", "query": "a?b#c&d=e+f;g",
}  # fmt: skip
"""Texts that an MLS may use as a ListingKey or as a photo's key, however unlikely."""
URLS = [
    "https://photos.example.com/1.jpg", "https://photos.example.com/1.jpg?sig=a%2Fb", "https://photos.example.com/é.jpg",
    "HTTPS://photos.example.com/1.jpg", " https://photos.example.com/1.jpg", "",
]  # fmt: skip


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **given)


def test_topics_keep_their_names_and_settings() -> None:
    found = {
        topic.name: {"partitions": topic.partitions, "days": topic.days, "config": topic.full_config}
        for topic in MANIFEST
    }
    golden_files.check("names/topics", found)


def test_consumer_groups_are_named_after_their_services_and_read_the_same_topics() -> None:
    golden_files.check(
        "names/consumer-groups-of-status", {name: list(topics) for name, topics in status.TOPICS_READ.items()}
    )


def test_the_prefix_stands_before_each_topic() -> None:
    assert settings(topic_prefix="test.").topic("listing-seen") == "test.listing-seen"


def test_the_loops_that_one_process_runs_have_the_same_leases() -> None:
    assert doctor.LOOPS == {"release": "scheduler", "removal": "janitor"}


def test_object_keys_stay() -> None:
    found = {
        name: {
            "as a key": keys.folder("proptx-idx", text, "photo-1", "5a" * 32),
            "as a photo": keys.folder("proptx-idx", "X1", text, "5a" * 32),
            "prefix": keys.listing_prefix("other feed", text),
            "photo's prefix": keys.photo_prefix("proptx-idx", "X1", text),
        }
        for name, text in TEXTS.items()
    }
    golden_files.check("names/object-keys", found)


def test_ids_of_images_and_listings_stay() -> None:
    found = {
        name: {
            "as a listing's": image.image_id(FEED, text, "a"),
            "as a photo's": image.image_id(FEED, "X1", text),
            "as a feed's": image.image_id(text, "X1", "a"),
            "document id": documents.document_id(FEED, text),
        }
        for name, text in TEXTS.items()
    }
    golden_files.check("names/ids", found)


def test_keys_of_urls_stay() -> None:
    golden_files.check("names/url-keys", {url: image.url_key(url) for url in URLS})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, "cd8c2261"),
        ("full=1600:webp:80", "37b0dbbc"),
        ("full=1600:jpeg:80,thumb=320:webp:75", "4f8b1401"),
        ("thumb=320:webp:75,full=1600:jpg:80", "4f8b1401"),
    ],
)
def test_the_rendering_in_keys_stays(setting: str | None, expected: str) -> None:
    given = settings().variants if setting is None else variants.parse_variants(setting)
    assert variants.rendering(given, "cykooz-resizer") == expected


def test_the_default_variants_stay() -> None:
    found = [
        [variant.name, variant.width, variant.format, variant.quality, variant.extension, variant.content_type]
        for variant in settings().variants
    ]
    assert found == [
        ["full", 1600, "webp", 80, "webp", "image/webp"],
        ["card", 800, "webp", 78, "webp", "image/webp"],
        ["thumb", 320, "webp", 75, "webp", "image/webp"],
    ]


def test_the_version_of_rendered_answers_stays() -> None:
    """Another version would have every listing rendered anew when it is next read."""
    assert Renderer("https://cdn.example.com").version == "4991f25d"


def test_indexes_keep_their_names_and_definitions() -> None:
    found = {
        collection: {
            index.document["name"]: {
                name: [list(field) for field in value.items()] if name == "key" else value
                for name, value in index.document.items()
                if name != "name"
            }
            for index in indexes
        }
        for collection, indexes in INDEXES.items()
    }
    golden_files.check("mongo/indexes", found)
    assert len(COUNTED) == 8


def test_the_values_of_metrics_labels_stay() -> None:
    copy = a_copy()
    found = {
        "status": list(Status),
        "priority": list(Priority),
        "window": list(budget_use.TITLES),
        "result of an attempt": [
            *(result_of(Failure(reason)) for reason in Reason),
            result_of(Unchanged(None, None)),
            result_of(Downloaded(copy)),
            result_of(Deferred(NOW)),
        ],
        "kind of a sweep's error": list(MlsFailure),
        "kind of drift": list(Drift),
        "reason of a removal": list(RemovalReason),
    }
    golden_files.check("names/label-values", found)


async def test_outcomes_of_recording_keep_their_names() -> None:
    registry, listings = CollectorRegistry(), MemoryListings(Renderer("https://cdn.example.com"))
    dead_letters = DeadLetters(Broker("nowhere:9"), "", "scheduler", utc_now, registry)
    await Recorder(listings, {FEED: a_feed()}, dead_letters, utc_now, registry).record([])
    outcomes = {sample.labels.get("outcome") for family in registry.collect() for sample in family.samples}
    assert outcomes - {None} == {"written", "unchanged", "dead"}
