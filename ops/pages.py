"""Goes through many listings: page by page, each written only if nobody else was faster."""

from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice

from shared.domain.listing import Listing
from shared.stores.listings import Listings

_AT_ONCE = 200
_MOST_ROUNDS = 20


async def pages(listings: Listings, feed: str, keys: Sequence[str] = ()) -> AsyncIterator[Sequence[Listing]]:
    """Yield a feed's listings page by page; only those with the keys, where some are given."""
    if keys:
        left = iter(dict.fromkeys(keys))
        while some := [(feed, key) for key in islice(left, _AT_ONCE)]:
            yield list((await listings.get_many(some)).values())
        return
    last = ""
    while page := await listings.page(feed, last, _AT_ONCE):
        yield page
        last = page[-1].key


async def rewrite(
    listings: Listings, page: Sequence[Listing], rule: Callable[[Listing], Listing | None], *, dry_run: bool
) -> list[Listing]:
    """Write what the rule changes of a page; where another was faster, read and decide again. Return what was written.

    The dry run returns what would be.
    """
    written: list[Listing] = []
    for _ in range(_MOST_ROUNDS):
        changed = [after for one in page if (after := rule(one))]
        refused = () if dry_run else await listings.write(changed)
        written += [one for one in changed if (one.feed, one.key) not in refused]
        if not refused:
            break
        page = list((await listings.get_many(refused)).values())
    return written
