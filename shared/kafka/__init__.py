"""Publishes records, reads records outside of consumer groups, and manages topics. shared/consumer reads in groups.

Each function raises BrokerUnavailable, in place of aiokafka's exceptions, if Kafka does not answer or refuses.
"""

from shared.kafka.broker import Broker, Outgoing
from shared.kafka.clients import METADATA_MAX_AGE_MS, BrokerUnavailable
from shared.kafka.readiness import KafkaReadiness
from shared.kafka.reading import OffsetRange, follow, lag_of_groups, offset_ranges, oldest_record_at, read
from shared.kafka.topics import apply_topics, missing_topics, topic_differences

__all__ = [
    "METADATA_MAX_AGE_MS",
    "Broker",
    "BrokerUnavailable",
    "KafkaReadiness",
    "OffsetRange",
    "Outgoing",
    "apply_topics",
    "follow",
    "lag_of_groups",
    "missing_topics",
    "offset_ranges",
    "oldest_record_at",
    "read",
    "topic_differences",
]
