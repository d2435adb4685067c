"""Which topics are there? The one manifest that `imagectl topics apply` creates them from."""

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
"""The largest record that a topic takes: a listing of 500 photos in several sizes is about 2.5 MB."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it should be; `name` is without the prefix."""

    name: str
    partitions: int
    days: int
    config: Mapping[str, str]

    @property
    def full_config(self) -> dict[str, str]:
        """The broker's settings of the topic."""
        return {
            "retention.ms": str(self.days * _DAY_MS),
            "cleanup.policy": "delete",
            # What a producer compressed the broker unpacks: a codec that aiokafka lacks would end all consumers, and no
            # record is larger, unpacked, than dead-letter takes.
            "compression.type": "uncompressed",
            **self.config,
        }


# The broker's own clock on listing-seen: among equal MLS timestamps the later event on the topic decides.
_BROKER_TIME = {"message.timestamp.type": "LogAppendTime"}
_RECORDS = {"max.message.bytes": str(MAX_RECORD_BYTES)}
# Whatever the other topics took, its headers added, must fit.
_ANY_RECORD = {"max.message.bytes": str(2 * MAX_RECORD_BYTES)}
# On dead-letter too: marks of a topic that was lost with its Kafka are then older than all of a new one.

MANIFEST: tuple[Topic, ...] = (
    Topic(LISTING_SEEN, partitions=6, days=30, config={**_RECORDS, **_BROKER_TIME}),
    Topic(IMAGE_OUTDATED, partitions=6, days=7, config=_RECORDS),
    Topic(IMAGE_OUTDATED_VIEWED, partitions=6, days=1, config=_RECORDS),
    Topic(IMAGE_DOWNLOADED, partitions=6, days=30, config=_RECORDS),
    Topic(IMAGE_REMOVED, partitions=6, days=30, config=_RECORDS),
    Topic(DEAD_LETTER, partitions=1, days=90, config={**_ANY_RECORD, **_BROKER_TIME}),
)
