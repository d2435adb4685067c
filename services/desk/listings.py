"""Listings and photos: tables that are filtered, and the page of one listing that says why it is as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from ops import circumstances, explain
from ops.explain import QueuePosition
from services.desk import decide
from services.desk.view import DeskParts, address, known_feed, page, refuse, see_other, text
from shared.domain.failures import REASONS, Reason
from shared.domain.feed import Feed
from shared.domain.image import Photo, Status
from shared.domain.listing import Listing
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.stores.summaries import ListingFilter, ListingSummary

_LISTINGS = 50
_LISTINGS_OF_PHOTOS = 15
"""So many listings' photos are one page of the table of photos."""
_MOMENTS = 300
_UNKNOWN_FEED = "its feed is not in feeds.toml: nothing is fetched for it"

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Shown:
    """One photo as a page shows it: never the MLS's URL, only its host."""

    photo: Photo
    listing: Listing
    tone: decide.Tone
    thumb: str
    """The narrowest variant's public URL; empty where nothing may be shown."""
    host: str
    next_step: str


class ListingPages:
    """What operators read of listings."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [
            web.get("/search", self._search),
            web.get("/listings", self._listings),
            web.get("/photos", self._photos),
            web.get("/listing", self._listing),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        """Go to what is meant by a ListingKey, the beginning of one, an image's id or an MLS URL."""
        what = text(request, "q")
        if not what:
            return see_other("/listings")
        found, image = await explain.find_listings(self._parts.stores.listings, what)
        if len(found) == 1:
            fragment = f"#photo-{image}" if image else ""
            return see_other(address("/listing", feed=found[0].feed, key=found[0].key) + fragment)
        rows = [row for name in self._parts.feeds for row in await self._beginning_with(name, what)]
        is_url = "://" in what  # an MLS's URL is shown on no page, not even to who gave it
        why: Sequence[str] = ()
        if not rows:
            stores, now = self._parts.stores, self._parts.clock()
            why = await circumstances.explain_unknown(self._parts.settings, self._parts.feeds, stores, what, now)
        context = {"what": "" if is_url else what, "rows": rows, "why": why}
        return page(request, "found.html", context, status=200 if rows else 404)

    async def _beginning_with(self, feed: str, prefix: str) -> Sequence[ListingSummary]:
        return await self._parts.stores.listings.search(ListingFilter(feed=feed, prefix=prefix), "", _LISTINGS)

    async def _listings(self, request: web.Request) -> web.Response:
        wanted = _wanted(request, self._parts)
        rows = await self._parts.stores.listings.search(wanted, text(request, "after"), _LISTINGS + 1)
        return page(request, "listings.html", _paged(wanted, rows, _LISTINGS, "/listings"))

    async def _photos(self, request: web.Request) -> web.Response:
        wanted = _wanted(request, self._parts)
        rows = await self._parts.stores.listings.search(wanted, text(request, "after"), _LISTINGS_OF_PHOTOS + 1)
        context = _paged(wanted, rows, _LISTINGS_OF_PHOTOS, "/photos")
        ids = [(row.feed, row.listing_key) for row in rows[:_LISTINGS_OF_PHOTOS]]
        found = await self._parts.stores.listings.get_many(ids)
        photos = [
            self._shown(listing, photo)
            for one in ids
            if (listing := found.get(one))
            for photo in listing.photos
            if wanted.status in (None, photo.status)
            and wanted.reason in (None, photo.failure.reason if photo.failure else None)
        ]
        return page(request, "photos.html", {"photos": photos, **context})

    async def _listing(self, request: web.Request) -> web.Response:
        feed, key = text(request, "feed"), text(request, "key")
        listing = await self._parts.stores.listings.get(feed, key)
        if listing is None:
            refuse(404, "Nothing is recorded of this listing. Was it ever published?")
        now = self._parts.clock()
        rules = self._parts.feeds.get(feed)
        around, turn = [_UNKNOWN_FEED], None
        if rules:
            use = await read_use(self._parts.stores.ledgers, rules)
            around, turn = [*circumstances.explain_feed(rules, use)], await self._next_turn(listing, rules, use)
        attempts = await explain.newest_attempts(self._parts.stores.attempts, listing)
        removals = await self._parts.removals.of_listing(feed, key)
        context = {
            "listing": listing,
            "verdict": decide.verdict(listing, around, turn, now),
            "photos": [self._shown(listing, photo) for photo in listing.photos],
            "timeline": decide.timeline(listing, attempts, removals)[:_MOMENTS],
            "removals": removals,
            "reasons": REASONS,
        }
        return page(request, "listing.html", context)

    async def _next_turn(self, listing: Listing, feed: Feed, use: BudgetUse) -> QueuePosition | None:
        """Return the turn of the photo that goes next; None where none waits."""
        now = self._parts.clock()
        waiting = [
            (one.priority.rank, due, one) for one in listing.photos if (due := listing.photo_due_at(one)) and due <= now
        ]
        if not waiting:
            return None
        alone = replace(listing, photos=(min(waiting, key=lambda one: one[:2])[2],))
        stores = self._parts.stores
        return next(
            iter((await explain.queue_positions(stores.listings, stores.throughputs, alone, feed, use, now)).values()),
            None,
        )

    def _shown(self, listing: Listing, photo: Photo) -> Shown:
        feed = self._parts.feeds.get(listing.feed) or Feed(name=listing.feed, image_hosts=())
        narrowest = min(photo.copy.variants, key=lambda one: one.width) if photo.copy and listing.is_displayed else None
        return Shown(
            photo=photo,
            listing=listing,
            tone=decide.tone_of(photo.status),
            thumb=self._parts.renderer.url(narrowest.key) if narrowest else "",
            host=decide.host_of(photo.url),
            next_step=explain.next_step(listing, photo, feed, self._parts.clock(), decide.ago),
        )


def _wanted(request: web.Request, parts: DeskParts) -> ListingFilter:
    shown = _choice(request, "shown", _Shown)
    return ListingFilter(
        feed=known_feed(parts, text(request, "feed")),
        prefix=text(request, "key"),
        status=_choice(request, "status", Status),
        reason=_choice(request, "reason", Reason),
        city=text(request, "city") or None,
        displayed=None if shown is None else shown is _Shown.YES,
    )


class _Shown(StrEnum):
    YES = "yes"
    NO = "no"


def _choice(request: web.Request, name: str, choices: type[Choice]) -> Choice | None:
    value = text(request, name)
    if value and value not in set(choices):
        refuse(400, f"{name} must be one of {', '.join(choices)}, or empty")
    return choices(value) if value else None


def _paged(wanted: ListingFilter, rows: Sequence[ListingSummary], most: int, path: str) -> Mapping[str, object]:
    """What a page of a table is made of; one row more than it shows says that there is another page."""
    query = {
        "feed": wanted.feed,
        "key": wanted.prefix,
        "status": wanted.status,
        "reason": wanted.reason,
        "city": wanted.city,
        "shown": None if wanted.displayed is None else _Shown.YES if wanted.displayed else _Shown.NO,
    }
    following = address(path, **query, after=rows[most - 1].listing_key) if len(rows) > most else ""
    return {
        "wanted": wanted,
        "rows": rows[:most],
        "following": following,
        "statuses": list(Status),
        "reasons": REASONS,
        "query": query,
    }
