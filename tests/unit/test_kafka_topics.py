"""Which settings does a topic in Kafka get, and how does it differ from the manifest?"""

import pytest

from shared.events.topics import MANIFEST, Topic
from shared.kafka.topics import TopicConfig, TopicLayout, config_changes, topic_faults

TOPIC = Topic("t", partitions=6, days=1, config={"max.message.bytes": "1000"})
AS_WANTED = TOPIC.full_config


@pytest.mark.parametrize(
    ("replicas", "effective", "changes"),
    [
        (1, AS_WANTED, {}),
        (1, {**AS_WANTED, "segment.ms": "5", "min.insync.replicas": "1"}, {}),
        (1, {**AS_WANTED, "retention.ms": "5"}, {"retention.ms": "86400000"}),
        (3, {**AS_WANTED, "min.insync.replicas": "1"}, {"min.insync.replicas": "2"}),
        (3, {**AS_WANTED, "min.insync.replicas": "3"}, {}),
        (1, {}, AS_WANTED),
        (3, {}, {**AS_WANTED, "min.insync.replicas": "2"}),
    ],
)
def test_only_settings_that_differ_from_the_manifest_change(
    replicas: int, effective: dict[str, str], changes: dict[str, str]
) -> None:
    assert config_changes(TOPIC, TopicLayout(6, replicas), TopicConfig(effective, {})) == changes


def test_missing_partitions_and_replicas_are_named() -> None:
    layout, config = TopicLayout(partitions=2, replicas=1), TopicConfig({**AS_WANTED, "cleanup.policy": "compact"}, {})
    assert topic_faults(TOPIC, 3, layout, config) == [
        "cleanup.policy is compact, not delete",
        "it has 2 partitions, not 6",
        "it has 1 replicas, not 3",
    ]


def test_the_manifest_leaves_the_number_of_replicas_in_sync_to_the_layout() -> None:
    assert all("min.insync.replicas" not in topic.full_config for topic in MANIFEST)
