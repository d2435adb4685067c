"""Summaries of listings: the fields that tables for operators show and filter by."""

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
    """Conditions on the recorded listings of the feed `feed`; a listing must meet all of them.

    `prefix` is the beginning of the ListingKey. At least one photo must have the status `status`; the last attempt of
    at least one photo must have failed for `reason`. A condition that is None or empty is not applied.
    """

    feed: str
    prefix: str = ""
    """The ListingKey begins with this text."""
    status: Status | None = None
    """At least one photo has this status."""
    reason: Reason | None = None
    """The last attempt of at least one photo failed for this reason."""
    city: str | None = None
    displayed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSummary:
    """The fields of one recorded listing that a table for operators shows.

    `hidden` is why the listing is hidden, None if it is displayed. `counts` has the number of photos by status.
    `reasons` has the reasons for which last attempts of photos failed. `wanting` is the number of photos that want an
    attempt, `in_flight` the number of photos in flight. `due_at` is when the first photo is due, None if no photo wants
    an attempt.
    """

    feed: str
    listing_key: str
    standard_status: str | None
    city: str | None
    hidden: RemovalReason | None
    """Why the listing is hidden; None if it is displayed."""
    counts: Mapping[Status, int]
    """Photos by status."""
    reasons: tuple[Reason, ...]
    """The reasons why last attempts of the listing's photos failed, each reason once."""
    priority: Priority
    """The priority of the listing's most urgent photo."""
    wanting: int
    """Photos that want an attempt."""
    in_flight: int
    """Photos in flight."""
    due_at: datetime | None
    """When the first of the listing's photos is due; None if no photo wants an attempt."""

    @property
    def photos(self) -> int:
        """How many photos the listing has, whatever their status."""
        return sum(self.counts.values())


FIELDS = (
    "feed", "listing_key", "standard_status", "city", "hidden", "counts", "photos.failure.reason", "priority",
    "wanting", "in_work", "due_at",
)  # fmt: skip
"""The stored fields that `from_document` reads."""


def from_document(document: Mapping[str, Any]) -> ListingSummary:
    """Return the summary of one listing, read from its MongoDB document, which needs only the fields in FIELDS."""
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
    """Return True if a listing's MongoDB document meets all conditions of the filter `wanted`.

    MemoryListings calls this function; in MongoDB, a query does the same.
    """
    photos = document["photos"]
    return (
        document["feed"] == wanted.feed
        and document["listing_key"].startswith(wanted.prefix)
        and wanted.status in (None, *(photo["status"] for photo in photos))
        and wanted.reason in (None, *(photo["failure"]["reason"] for photo in photos if photo["failure"]))
        and wanted.city in (None, document["city"])
        and wanted.displayed in (None, document["displayed"])
    )
