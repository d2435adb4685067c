"""What the contract tests of listings share."""

from collections.abc import Iterable

from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.stores.summaries import ListingSummary
from tests.builders import FEED, a_listing, a_photo, after


def due(key: str, at: float, priority: Priority = Priority.ROUTINE, feed: str = FEED) -> Listing:
    """Return a listing with one photo that is due `at` seconds after NOW."""
    return a_listing(a_photo("a", key=key, feed=feed, not_before=after(at), priority=priority), key=key, feed=feed)


def keys_of(listings: Iterable[Listing]) -> list[str]:
    return [listing.key for listing in listings]


def summary_keys(summaries: Iterable[ListingSummary]) -> list[str]:
    return [summary.listing_key for summary in summaries]
