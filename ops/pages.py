"""Applies a rule to all listings of a feed, page by page. Services may write the same listings meanwhile."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from ops.words import counted
from shared.clock import Clock
from shared.domain.listing import Listing
from shared.stores.errors import Contention
from shared.stores.listings import ListingRecords
from shared.stores.updates import MAX_ATTEMPTS, OptimisticUpdate

_PAGE_SIZE = 200

Rule = Callable[[Listing, datetime], Listing | None]
"""Takes a listing and the time; returns the changed listing, or None for no change."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of listings: all listings as they were first read, and the changed ones as the rule returned them.

    `changed` were written to MongoDB, or would be in a dry run; a listing that could not be written is left out. `at`
    is the time that was passed to the rule.
    """

    at: datetime
    read: Sequence[Listing]
    changed: Sequence[Listing]


async def rewrite(
    listings: ListingRecords, feed: str, rule: Rule, clock: Clock, *, keys: Sequence[str] = (), dry_run: bool
) -> AsyncIterator[Page]:
    """Apply a rule to a feed's listings in MongoDB, write what it changes, and yield each page once it is written.

    `rule` takes a listing and the time; it returns the changed listing, or None for no change. If others change a
    listing before it is written, `rule` is called again with the new state. If `keys` are given, only listings with
    these ListingKeys are read. A dry run yields the pages without writing. Raises StoreUnavailable. Raises Contention
    after the last page if others kept changing some listings; the error says how many these are.
    """
    not_written = 0
    async for page in _pages(listings, feed, keys):
        now = clock()
        if dry_run:
            yield Page(now, page, [after for listing in page if (after := rule(listing, now))])
            continue
        attempts = OptimisticUpdate.of_read(listings, page)
        written: list[Listing] = []
        with suppress(Contention):
            async for readings in attempts:
                changed = (rule(listing, now) for listing in readings.values())
                written += await attempts.write(filter(None, changed))
        not_written += len(attempts.ids)
        yield Page(now, page, written)
    if not_written:
        what = counted(not_written, f"listing of {feed} was", f"listings of {feed} were")
        raise Contention(f"{what} not written: others changed them before each of {MAX_ATTEMPTS} attempts")


async def _pages(listings: ListingRecords, feed: str, keys: Sequence[str]) -> AsyncIterator[Sequence[Listing]]:
    """Read a feed's listings from MongoDB and yield them page by page, 200 or fewer at a time.

    If `keys` are given, only the listings with these ListingKeys are yielded; a key that is not recorded is skipped.
    Without `keys`, all listings of the feed are yielded, in the order of their ListingKeys. Raises StoreUnavailable.
    """
    if keys:
        remaining = iter(dict.fromkeys(keys))
        while ids := [(feed, key) for key in islice(remaining, _PAGE_SIZE)]:
            yield list((await listings.get_many(ids)).values())
        return
    last = ""
    while page := await listings.page(feed, last, _PAGE_SIZE):
        yield page
        last = page[-1].key
