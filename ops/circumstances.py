"""What around a listing keeps its photos away: its feed's budget, dead letters that name it, events not yet read."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote

from ops import dead_letters as letters
from ops import status
from ops.explain import when
from ops.stores import Stores
from ops.words import many
from shared import kafka
from shared.domain.feed import Feed
from shared.events.topics import DEAD_LETTER, LISTING_SEEN, MANIFEST
from shared.kafka import BrokerUnavailable
from shared.origin_budget import use as budget_use
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.settings import Settings

_PATIENCE_SECONDS = 4.0
"""How long Kafka may take to answer at all; reading its dead letters may take longer."""


def of_feed(feed: Feed, use: BudgetUse) -> Sequence[str]:
    """Say what silences the feed's origin, and which of its budgets are spent."""
    lines = [f"the feed {feed.name} is silent: {suspension.in_words()}" for suspension in use.suspensions]
    for window in use.windows:
        if window.name != "second" and not window.remaining_for_routine:
            rest = f"; the last {window.remaining:,.0f} are kept for people who wait" if window.remaining else ""
            what = budget_use.TITLES[window.name]
            lines.append(f"the feed {feed.name} has used {window.used:,} of its {window.limit:,.0f} {what}{rest}")
    return lines


async def of_events(settings: Settings, stores: Stores, listing_key: str, now: datetime) -> Sequence[str]:
    """Say what of the listing could not be read. Kafka out of reach is said too: the record is known without it."""
    try:
        return await _named(settings, stores, listing_key, now)
    except BrokerUnavailable as fault:
        return [f"whether dead letters name it is not known: {fault}"]


async def _named(settings: Settings, stores: Stores, listing_key: str, now: datetime) -> Sequence[str]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            is_any = await kafka.oldest_record_at(settings.kafka, settings.topic(DEAD_LETTER))
    except TimeoutError:
        raise BrokerUnavailable(f"Kafka: no answer within {_PATIENCE_SECONDS:.0f} s") from None
    found = await letters.naming(settings, stores.marks, listing_key) if is_any else ()
    return [
        f"dead letter {one.place.offset} names it: {one.service} could not use it {when(one.place.at, now)}: "
        f"{one.reason}; see: imagectl dead-letters show {one.place.offset}"
        for one in found
    ]


async def of_unknown(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, what: str, now: datetime
) -> Sequence[str]:
    """Say what is known of a ListingKey, an image's id or a URL under which nothing is recorded."""
    lines = ["nothing is recorded under this ListingKey, image id or URL"]
    try:
        named = await _named(settings, stores, what, now)
        unread = {service: topics.get(LISTING_SEEN, 0) for service, topics in (await status.lag(settings)).items()}
        waiting = min((unread[service] for service in ("scheduler", "janitor")), default=0)
        lines += [*to_check(what, waiting, is_named=bool(named)), *named]
    except BrokerUnavailable as fault:
        lines.append(f"whether records wait to be read, or dead letters name it, is not known: {fault}")
    return lines + [line for feed in feeds.values() for line in of_feed(feed, await read_use(stores.ledgers, feed))]


def to_check(what: str, waiting: int, *, is_named: bool) -> Iterator[str]:
    """Say where to look for it; `waiting` records are yet to be read, and a dead letter may have named it. Pure."""
    if waiting:
        yield f"{many(waiting, 'record')} of {LISTING_SEEN} yet to be read; it may be among them"
    if "://" in what:
        yield "check that the URL is letter for letter the one that the MLS announced, or explain its ListingKey"
    elif not waiting and not is_named:
        days = next(topic.days for topic in MANIFEST if topic.name == LISTING_SEEN)
        yield (
            f"every record of {LISTING_SEEN} was read, and no dead letter names it; Kafka keeps them for {days} days: "
            f"check whether it was published with: imagectl export {LISTING_SEEN} --from {days}d | grep {quote(what)}"
        )
