"""How does it stand? What `imagectl status` shows, gathered from MongoDB and Kafka."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from ops import dead_letters as letters
from ops.stores import Stores
from shared import kafka
from shared.clock import utc_now
from shared.domain import throughput
from shared.domain.feed import Feed
from shared.domain.priority import Priority
from shared.events.topics import IMAGE_OUTDATED, IMAGE_OUTDATED_VIEWED, LISTING_SEEN
from shared.origin_budget import use as budget_use
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.settings import Settings
from shared.stores.listing_reports import FeedCounts
from shared.stores.removal_holds import RemovalHold

HEARS = {
    "scheduler": (LISTING_SEEN,),
    "janitor": (LISTING_SEEN,),
    "downloader": (IMAGE_OUTDATED_VIEWED, IMAGE_OUTDATED),
}
"""Which topics each consumer group reads; the group's name is the service's, with the topics' prefix."""
_PATIENCE_SECONDS = 8.0
"""A Kafka that answers is asked within one or two."""


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """The whole system at one moment. `lag` is by service and topic, in records not yet finished.

    It and `dead_letters` are null where Kafka was not asked.
    """

    at: datetime
    feeds: Mapping[str, FeedCounts]
    seconds_until_done: Mapping[str, Mapping[Priority, float | None]]
    """By feed and priority: about when its queue is empty; null where no rate is known, or nothing is due yet."""
    budgets: Mapping[str, BudgetUse]
    lag: Mapping[str, Mapping[str, int]] | None
    dead_letters: int | None
    """Those that nobody has dealt with."""
    removals_frozen: Sequence[RemovalHold]
    """Feeds whose removals wait for an operator's decision."""


async def gather(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, *, with_kafka: bool = True
) -> SystemStatus:
    """Look at everything once, or at all but Kafka. Raises BrokerUnavailable and StoreUnavailable."""
    now = utc_now()
    counts = {name: await stores.listings.counts(name, now) for name in feeds}
    return SystemStatus(
        at=now,
        feeds=counts,
        seconds_until_done={
            feed.name: await _until_done(stores, feed, counts[feed.name], now) for feed in feeds.values()
        },
        budgets={name: await read_use(stores.ledgers, feed) for name, feed in feeds.items()},
        lag=await lag(settings) if with_kafka else None,
        dead_letters=await letters.count(settings, stores.marks) if with_kafka else None,
        removals_frozen=[one for one in await stores.removal_holds.all() if one.decision is None],
    )


def to_json(found: SystemStatus) -> dict[str, Any]:
    """Return the status as `status --json` publishes it, under keys that never change; times stay datetimes."""
    budgets = {feed: budget_use.to_json(use) for feed, use in found.budgets.items()}
    facts = asdict(replace(found, budgets={})) | {"budgets": budgets}
    for counts in facts["feeds"].values():
        counts["in_work"] = counts.pop("in_flight")
    return facts


def idle_until(counts: FeedCounts, now: datetime) -> datetime | None:
    """When the first of a feed's photos is due, where none is yet and none is in work. Pure."""
    due_at = counts.oldest_due_at
    return due_at if due_at and due_at > now and not counts.in_flight else None


async def _until_done(stores: Stores, feed: Feed, counts: FeedCounts, now: datetime) -> Mapping[Priority, float | None]:
    if idle_until(counts, now):
        return dict.fromkeys(Priority)
    per_second = throughput.expected_per_second(feed, await stores.throughputs.get(feed.name), now)
    return throughput.seconds_until_done(counts.queued, per_second)


async def lag(settings: Settings) -> Mapping[str, Mapping[str, int]]:
    """Return what each service has yet to read. Raises BrokerUnavailable."""
    hears = {service: [settings.topic(topic) for topic in topics] for service, topics in HEARS.items()}
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            behind = await kafka.lag_of_groups(
                settings.kafka, {settings.topic(name): full for name, full in hears.items()}
            )
    except TimeoutError:
        raise kafka.BrokerUnavailable(f"Kafka: no answer within {_PATIENCE_SECONDS:.0f} s") from None
    return {
        service: {topic: behind[settings.topic(service)][settings.topic(topic)] for topic in topics}
        for service, topics in HEARS.items()
    }
