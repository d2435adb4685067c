"""Reads from MongoDB and Kafka how the whole system stands, for `imagectl status`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from ops import dead_letters
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

TOPICS_READ = {
    "scheduler": (LISTING_SEEN,),
    "janitor": (LISTING_SEEN,),
    "downloader": (IMAGE_OUTDATED_VIEWED, IMAGE_OUTDATED),
}
"""The topics that each service's consumer group reads. The group is named like the service, with the topics' prefix."""
_TIMEOUT_SECONDS = 8.0
"""Kafka answers within one or two seconds if it runs."""


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """How the whole system stands at one moment, as read from MongoDB and Kafka.

    `feeds` and `budgets` are by the feed's name. `lag` and `dead_letters` are None if the status was read without
    Kafka.
    """

    at: datetime
    feeds: Mapping[str, FeedCounts]
    seconds_until_done: Mapping[str, Mapping[Priority, float | None]]
    """By feed and priority: in about how many seconds the queue is empty.

    None if no throughput is known or no photo is due yet.
    """
    budgets: Mapping[str, BudgetUse]
    lag: Mapping[str, Mapping[str, int]] | None
    """By service and topic: how many records the service has yet to finish."""
    dead_letters: int | None
    """How many dead letters are not handled."""
    removal_holds: Sequence[RemovalHold]
    """The holds that wait for an operator's decision."""


async def read_status(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, *, with_kafka: bool = True
) -> SystemStatus:
    """Read from MongoDB and Kafka how the system stands now, and return it.

    Without `with_kafka`, only MongoDB is read, and the lag and the number of dead letters are None. Raises
    BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    now = utc_now()
    counts = {name: await stores.listings.counts(name, now) for name in feeds}
    return SystemStatus(
        at=now,
        feeds=counts,
        seconds_until_done={
            feed.name: await _seconds_until_done(stores, feed, counts[feed.name], now) for feed in feeds.values()
        },
        budgets={name: await read_use(stores.ledgers, feed) for name, feed in feeds.items()},
        lag=await read_lag(settings) if with_kafka else None,
        dead_letters=await dead_letters.count(settings, stores.handled_dead_letters) if with_kafka else None,
        removal_holds=[hold for hold in await stores.removal_holds.all() if hold.decision is None],
    )


def to_json(status: SystemStatus) -> dict[str, Any]:
    """Return the status as a mapping that `status --json` prints, under keys that never change. Pure.

    Times are still datetimes: the caller must make them texts.
    """
    facts = asdict(replace(status, budgets={}))
    facts["budgets"] = {feed: budget_use.to_json(use) for feed, use in status.budgets.items()}
    facts["removals_frozen"] = facts.pop("removal_holds")
    for counts in facts["feeds"].values():
        counts["in_work"] = counts.pop("in_flight")
    return facts


def first_due_at(counts: FeedCounts, now: datetime) -> datetime | None:
    """Return when the first queued photo of a feed is due, if all of them are due later than `now`. Pure.

    `counts` are the feed's counts. The result is None if a photo is due already or in flight, or if none is queued.
    """
    due_at = counts.oldest_due_at
    return due_at if due_at and due_at > now and not counts.in_flight else None


async def _seconds_until_done(
    stores: Stores, feed: Feed, counts: FeedCounts, now: datetime
) -> Mapping[Priority, float | None]:
    if first_due_at(counts, now):
        return dict.fromkeys(Priority)
    per_second = throughput.expected_per_second(feed, await stores.throughputs.get(feed.name), now)
    return throughput.seconds_until_done(counts.queued, per_second)


async def read_lag(settings: Settings) -> Mapping[str, Mapping[str, int]]:
    """Ask Kafka how many records each service has yet to finish, and return the numbers by service and topic.

    Topics are named without the prefix. Raises BrokerUnavailable if Kafka does not answer within eight seconds.
    """
    groups = {
        settings.topic(service): [settings.topic(topic) for topic in topics] for service, topics in TOPICS_READ.items()
    }
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            lag = await kafka.lag_of_groups(settings.kafka, groups)
    except TimeoutError:
        raise kafka.BrokerUnavailable(f"Kafka: no answer within {_TIMEOUT_SECONDS:.0f} s") from None
    return {
        service: {topic: lag[settings.topic(service)][settings.topic(topic)] for topic in topics}
        for service, topics in TOPICS_READ.items()
    }
