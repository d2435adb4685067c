"""Which records of a request can be published? The others would become dead letters, and are refused."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.domain import announcement
from shared.domain.announcement import InvalidPropertyRecord
from shared.domain.feed import Feed
from shared.property_records import BrokenEnd, PropertyRecord, Unusable, why_unsendable

MAX_RECORDS = 2_000
_MAX_KEY_CHARACTERS = 255


class MalformedBody(ValueError):
    """Raised if the body of a request is not JSON from some record on; the message says from which."""


class TooManyRecords(ValueError):
    """Raised if the body of a request has more than MAX_RECORDS records."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Names a record of a request that is not published, and the reason.

    `index` is the record's place in the request, from 0. `listing_key` is None if the record has no ListingKey.
    """

    index: int
    listing_key: str | None
    reason: str


def refusals(items: Iterable[PropertyRecord | Unusable], feed: Feed) -> tuple[int, list[Refusal]]:
    """Return how many records of a request can be published, and a Refusal for each of the others.

    `items` are the request's parts in order, as `property_records.read` yields them; `feed` is the feed that the
    request names. Raises MalformedBody if the body is not JSON to its end, and TooManyRecords if it has more than
    MAX_RECORDS records.
    """
    accepted, refused = 0, list[Refusal]()
    for index, item in enumerate(items):
        if isinstance(item, BrokenEnd):
            raise MalformedBody(f"the body is not JSON {item.where}")
        if index >= MAX_RECORDS:
            raise TooManyRecords
        if reason := _reason(item, feed):
            refused.append(Refusal(index, None if isinstance(item, Unusable) else _key(item), reason))
        else:
            accepted += 1
    return accepted, refused


def accepted(items: Iterable[PropertyRecord | Unusable], refused: Iterable[Refusal]) -> Iterator[PropertyRecord]:
    """Yield the records among `items` that are not refused, in order.

    `items` are the parts of a request, read again; `refused` are the refusals that `refusals` returned for these parts.
    """
    left_out = {refusal.index for refusal in refused}
    return (item for index, item in enumerate(items) if isinstance(item, dict) and index not in left_out)


def _reason(item: PropertyRecord | Unusable, feed: Feed) -> str | None:
    """Return why a part of a request cannot be published; None if it can."""
    if isinstance(item, Unusable):
        return item.reason
    if fault := why_unsendable(item):
        return fault
    try:
        announcement.read(feed, item)
    except InvalidPropertyRecord as error:
        return str(error)
    return None


def _key(record: dict[str, Any]) -> str:
    """Return the ListingKey of a record as a text that can be written as JSON, shortened if it is long."""
    return str(record["ListingKey"])[:_MAX_KEY_CHARACTERS].encode(errors="replace").decode()
