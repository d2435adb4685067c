"""Explains missing photos by causes outside their listing's record.

The causes are a suspended feed, a used-up budget, dead letters, and events that are not read yet.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from shlex import quote

from ops import dead_letters, status
from ops.explain import time_text
from ops.stores import Stores
from ops.words import counted
from shared import kafka
from shared.domain.feed import Feed
from shared.events.topics import DEAD_LETTER, LISTING_SEEN, MANIFEST
from shared.kafka import BrokerUnavailable
from shared.origin_budget import use as budget_use
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.settings import Settings

_TIMEOUT_SECONDS = 4.0
"""How many seconds Kafka has to tell the time of the oldest dead letter. Reading all dead letters may take longer."""


def explain_feed(feed: Feed, use: BudgetUse) -> Sequence[str]:
    """Return a line for each suspension of a feed, and for each window whose share for routine photos is used up. Pure.

    `use` is how much of the feed's origin budget is used. Only the windows of an hour and a day are looked at. The
    result is empty if the feed is not suspended and each of these windows has capacity left for routine photos.
    """
    suspensions = [f"the feed {feed.name} is silent: {suspension.in_words()}" for suspension in use.suspensions]
    return suspensions + explain_used_windows(feed, use)


def explain_used_windows(feed: Feed, use: BudgetUse) -> list[str]:
    """Return a line for each hour or day window of a feed whose share for routine photos is used up. Pure.

    `use` is how much of the feed's origin budget is used. The result is empty if all these windows have capacity left
    for routine photos.
    """
    lines = list[str]()
    for window in use.windows:
        if window.name != "second" and not window.remaining_for_routine:
            rest = f"; the last {window.remaining:,.0f} are kept for people who wait" if window.remaining else ""
            what = budget_use.TITLES[window.name]
            lines.append(f"the feed {feed.name} has used {window.used:,} of its {window.limit:,.0f} {what}{rest}")
    return lines


async def explain_dead_letters(settings: Settings, stores: Stores, listing_key: str, now: datetime) -> Sequence[str]:
    """Return a line for each dead letter that is not handled and names the ListingKey, in its record key or its value.

    A line has the time of the dead letter, with its distance from `now`. If Kafka does not answer, the only line has
    Kafka's error. Raises StoreUnavailable if MongoDB does not answer.
    """
    try:
        return await _dead_letters_naming(settings, stores, listing_key, now)
    except BrokerUnavailable as error:
        return [f"whether dead letters name it is not known: {error}"]


async def _dead_letters_naming(
    settings: Settings, stores: Stores, listing_key: str, now: datetime
) -> Sequence[str]:  # fmt: skip
    """Return a line for each dead letter that names the listing and is not handled; no line if the topic is empty.

    Raises BrokerUnavailable if Kafka does not answer; its first answer must come within four seconds. Raises
    StoreUnavailable if MongoDB does not answer.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            oldest = await kafka.oldest_record_at(settings.kafka, settings.topic(DEAD_LETTER))
    except TimeoutError:
        raise BrokerUnavailable(f"Kafka: no answer within {_TIMEOUT_SECONDS:.0f} s") from None
    if oldest is None:
        return ()
    return [
        f"dead letter {letter.place.offset} names it: {letter.service} could not use it "
        f"{time_text(letter.place.at, now)}: {letter.reason}; see: imagectl dead-letters show {letter.place.offset}"
        for letter in await dead_letters.naming(settings, stores.handled_dead_letters, listing_key)
    ]


async def explain_unknown(
    settings: Settings, feeds: Mapping[str, Feed], stores: Stores, text: str, now: datetime
) -> Sequence[str]:
    """Return the lines of `imagectl explain` if nothing is recorded under `text`: a ListingKey, an image id or a URL.

    The lines say what to check, which dead letters contain the text, and which feeds are suspended or have used up a
    window. If Kafka does not answer, one line has Kafka's error. Raises StoreUnavailable if MongoDB does not answer.
    """
    lines = ["nothing is recorded under this ListingKey, image id or URL"]
    try:
        naming = await _dead_letters_naming(settings, stores, text, now)
        lag = await status.read_lag(settings)
        unread = min((lag[service].get(LISTING_SEEN, 0) for service in ("scheduler", "janitor")), default=0)
        lines += [*what_to_check(text, unread, is_named=bool(naming)), *naming]
    except BrokerUnavailable as error:
        lines.append(f"whether records wait to be read, or dead letters name it, is not known: {error}")
    uses = [(feed, await read_use(stores.ledgers, feed)) for feed in feeds.values()]
    return lines + [line for feed, use in uses for line in explain_feed(feed, use)]


def what_to_check(text: str, unread: int, *, is_named: bool) -> Iterator[str]:
    """Yield lines that say what to check if nothing is recorded under `text`: a ListingKey, an image id or a URL. Pure.

    `unread` is the number of `listing-seen` records that are not read yet; `is_named` is True if a dead letter contains
    the text.
    """
    if unread:
        yield f"{counted(unread, 'record')} of {LISTING_SEEN} yet to be read; it may be among them"
    if "://" in text:
        yield "check that the URL is letter for letter the one that the MLS announced, or explain its ListingKey"
    elif not unread and not is_named:
        days = next(topic.days for topic in MANIFEST if topic.name == LISTING_SEEN)
        yield (
            f"every record of {LISTING_SEEN} was read, and no dead letter names it; Kafka keeps them for {days} days: "
            f"check whether it was published with: imagectl export {LISTING_SEEN} --from {days}d | grep {quote(text)}"
        )
