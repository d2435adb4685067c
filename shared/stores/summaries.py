"""A listing in one line, for tables of many: what an operator filters by and reads, without its photos' facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.failures import Reason
from shared.domain.image import Status
from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingFilter:
    """Which of a feed's listings are asked for; what is null or empty does not matter."""

    feed: str
    prefix: str = ""
    """What the ListingKey begins with."""
    status: Status | None = None
    """At least one photo has this status."""
    reason: Reason | None = None
    """The last attempt of at least one photo failed for this reason."""
    city: str | None = None
    displayed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSummary:
    """One listing; `reasons` are those of its photos' last failures, `wanting` how many want an attempt."""

    feed: str
    listing_key: str
    standard_status: str | None
    city: str | None
    hidden: RemovalReason | None
    counts: Mapping[Status, int]
    reasons: tuple[Reason, ...]
    priority: Priority
    wanting: int
    in_flight: int
    due_at: datetime | None

    @property
    def photos(self) -> int:
        """How many photos it has."""
        return sum(self.counts.values())


FIELDS = (
    "feed", "listing_key", "standard_status", "city", "hidden", "counts", "photos.failure.reason", "priority",
    "wanting", "in_work", "due_at",
)  # fmt: skip
"""What of a document a row is read from."""


def from_document(document: Mapping[str, Any]) -> ListingSummary:
    """Read a row from a listing's document, whole or with just its FIELDS."""
    failures = (photo.get("failure") for photo in document["photos"])
    return ListingSummary(
        feed=document["feed"],
        listing_key=document["listing_key"],
        standard_status=document["standard_status"],
        city=document["city"],
        hidden=RemovalReason(document["hidden"]["reason"]) if document["hidden"] else None,
        counts={Status(status): count for status, count in document["counts"].items()},
        reasons=tuple(dict.fromkeys(Reason(failure["reason"]) for failure in failures if failure)),
        priority=Priority(document["priority"]),
        wanting=document["wanting"],
        in_flight=document.get("in_work", 0),
        due_at=document.get("due_at"),
    )


def matches(document: Mapping[str, Any], wanted: ListingFilter) -> bool:
    """Whether a listing's document is asked for."""
    photos = document["photos"]
    return (
        document["feed"] == wanted.feed
        and document["listing_key"].startswith(wanted.prefix)
        and wanted.status in (None, *(photo["status"] for photo in photos))
        and wanted.reason in (None, *(photo["failure"]["reason"] for photo in photos if photo["failure"]))
        and wanted.city in (None, document["city"])
        and wanted.displayed in (None, document["displayed"])
    )
