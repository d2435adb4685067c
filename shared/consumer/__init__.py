"""Reads Kafka topics as a member of a consumer group, through Faust, but forms and acknowledges batches by itself.

Faust's own `take` acknowledges a batch even if its handler failed, commits past batches that are still in work when an
agent runs concurrently, and wakes up a hundred times a second. Here a record is acknowledged once its handler is done
with it; every other record is delivered again after a restart. See docs/adr/0006.
"""

from shared.consumer.consumer import Consumer
from shared.consumer.subscription import Handle, Subscription

__all__ = ["Consumer", "Handle", "Subscription"]
