"""The manifest of all topics, from which `imagectl topics apply` creates them."""

from collections.abc import Mapping
from dataclasses import dataclass

LISTING_SEEN = "listing-seen"
IMAGE_OUTDATED = "image-outdated"
IMAGE_OUTDATED_VIEWED = "image-outdated.viewed"
IMAGE_DOWNLOADED = "image-downloaded"
IMAGE_REMOVED = "image-removed"
DEAD_LETTER = "dead-letter"

_DAY_MS = 86_400_000
MAX_RECORD_BYTES = 4 * 1024 * 1024
"""The largest record that a topic accepts: a listing of 500 photos in several sizes has about 2.5 MB."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A Kafka topic as MANIFEST describes it. `name` is without the prefix; records are kept for `days` days.

    `config` has settings of this topic by Kafka's names, in addition to those that all topics have.
    """

    name: str
    partitions: int
    days: int
    config: Mapping[str, str]

    @property
    def full_config(self) -> dict[str, str]:
        """All settings of the topic at the broker, by Kafka's names: those that all topics have, and `config`."""
        return {
            "retention.ms": str(self.days * _DAY_MS),
            "cleanup.policy": "delete",
            # The broker decompresses records: a codec that aiokafka lacks would end all consumers, and no record may be
            # larger, decompressed, than dead-letter accepts.
            "compression.type": "uncompressed",
            **self.config,
        }


# Timestamps of listing-seen are by the broker's clock: among equal MLS timestamps the later event on the topic decides.
# Those of dead-letter too: handled dead letters of a Kafka that was lost are then older than all letters of a new one.
_BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}
_RECORDS = {"max.message.bytes": str(MAX_RECORD_BYTES)}
# A record of any other topic must fit into dead-letter, with the headers that are added.
_ANY_RECORD = {"max.message.bytes": str(2 * MAX_RECORD_BYTES)}

MANIFEST: tuple[Topic, ...] = (
    Topic(LISTING_SEEN, partitions=6, days=30, config={**_RECORDS, **_BROKER_TIME}),
    Topic(IMAGE_OUTDATED, partitions=6, days=7, config=_RECORDS),
    Topic(IMAGE_OUTDATED_VIEWED, partitions=6, days=1, config=_RECORDS),
    Topic(IMAGE_DOWNLOADED, partitions=6, days=30, config=_RECORDS),
    Topic(IMAGE_REMOVED, partitions=6, days=30, config=_RECORDS),
    Topic(DEAD_LETTER, partitions=1, days=90, config={**_ANY_RECORD, **_BROKER_TIME}),
)
