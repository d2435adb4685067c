"""The search, the tables of listings and photos, and the page of one listing that says why it is as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from aiohttp import web

from ops import circumstances, explain
from ops.explain import QueuePosition
from services.desk import decide, formatting
from services.desk.view import DeskParts, feed_name, page_url, query_text, redirect, refuse, render
from shared.domain.failures import REASONS, Reason
from shared.domain.feed import Feed
from shared.domain.image import Photo, Status
from shared.domain.listing import Listing
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.stores.summaries import ListingFilter, ListingSummary

_LISTINGS_A_PAGE = 50
_LISTINGS_A_PHOTO_PAGE = 15
"""A page of the table of photos has the photos of so many listings."""
_MAX_TIMELINE_ENTRIES = 300
_UNKNOWN_FEED = "its feed is not in feeds.toml: nothing is fetched for it"

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class PhotoView:
    """One photo of a listing as the desk's pages show it.

    `host` is the host of the photo's URL at the MLS; pages show no other part of that URL.

    `tone` is the colour of the photo's status. `next_step` is a phrase that says what happens next to the photo.
    """

    photo: Photo
    listing: Listing
    tone: decide.Tone
    thumb: str
    """The public URL of the narrowest variant; "" if none may be shown."""
    host: str
    next_step: str


class _Displayed(StrEnum):
    """A choice of the filter form: only displayed listings, or only hidden ones."""

    YES = "yes"
    NO = "no"


class ListingPages:
    """The desk's pages about listings and photos: the search, two tables, and the page of one listing."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the search, the table of listings, the table of photos, and the page of one listing.

        They are `/search`, `/listings`, `/photos` and `/listing`.
        """
        return [
            web.get("/search", self._search),
            web.get("/listings", self._listings),
            web.get("/photos", self._photos),
            web.get("/listing", self._listing),
        ]

    async def _search(self, request: web.Request) -> web.Response:
        """Redirect to the page of the listing that the query's `q` names: a ListingKey, an image id or an MLS URL.

        If `q` names no listing or several, show the listings whose keys begin with `q`. If there are none, say why
        (404). Without `q`, redirect to the table of listings.
        """
        searched = query_text(request, "q")
        if not searched:
            return redirect("/listings")
        listings, image_id = await explain.find_listings(self._parts.stores.listings, searched)
        if len(listings) == 1:
            fragment = f"#photo-{image_id}" if image_id else ""
            return redirect(page_url("/listing", feed=listings[0].feed, key=listings[0].key) + fragment)
        rows = [row for name in self._parts.feeds for row in await self._with_prefix(name, searched)]
        is_url = "://" in searched  # no page shows an MLS's URL, not even to an operator who has it
        why: Sequence[str] = ()
        if not rows:
            settings, feeds, stores = self._parts.settings, self._parts.feeds, self._parts.stores
            why = await circumstances.explain_unknown(settings, feeds, stores, searched, self._parts.clock())
        context = {"searched": "" if is_url else searched, "rows": rows, "why": why}
        return render(request, "found.html", context, status=200 if rows else 404)

    async def _with_prefix(self, feed: str, prefix: str) -> Sequence[ListingSummary]:
        listings = self._parts.stores.listings
        return await listings.search(ListingFilter(feed=feed, prefix=prefix), "", _LISTINGS_A_PAGE)

    async def _listings(self, request: web.Request) -> web.Response:
        selected = _filter(request, self._parts)
        after = query_text(request, "after")
        rows = await self._parts.stores.listings.search(selected, after, _LISTINGS_A_PAGE + 1)
        return render(request, "listings.html", _table_context(selected, rows, _LISTINGS_A_PAGE, "/listings"))

    async def _photos(self, request: web.Request) -> web.Response:
        selected = _filter(request, self._parts)
        after = query_text(request, "after")
        rows = await self._parts.stores.listings.search(selected, after, _LISTINGS_A_PHOTO_PAGE + 1)
        context = _table_context(selected, rows, _LISTINGS_A_PHOTO_PAGE, "/photos")
        ids = [(row.feed, row.listing_key) for row in rows[:_LISTINGS_A_PHOTO_PAGE]]
        listings = await self._parts.stores.listings.get_many(ids)
        photos = [
            self._photo_view(listing, photo)
            for listing_id in ids
            if (listing := listings.get(listing_id))
            for photo in listing.photos
            if selected.status in (None, photo.status)
            and selected.reason in (None, photo.failure.reason if photo.failure else None)
        ]
        return render(request, "photos.html", {"photos": photos, **context})

    async def _listing(self, request: web.Request) -> web.Response:
        name, key = query_text(request, "feed"), query_text(request, "key")
        listing = await self._parts.stores.listings.get(name, key)
        if listing is None:
            refuse(404, "Nothing is recorded of this listing. Was it ever published?")
        feed_lines, position = await self._around(listing)
        attempts = await explain.newest_attempts(self._parts.stores.attempts, listing)
        removals = await self._parts.removals.of_listing(name, key)
        context = {
            "listing": listing,
            "verdict": decide.verdict(listing, feed_lines, position, self._parts.clock()),
            "photos": [self._photo_view(listing, photo) for photo in listing.photos],
            "timeline": decide.timeline(listing, attempts, removals)[:_MAX_TIMELINE_ENTRIES],
            "removals": removals,
            "reasons": REASONS,
        }
        return render(request, "listing.html", context)

    async def _around(self, listing: Listing) -> tuple[Sequence[str], QueuePosition | None]:
        """Return lines that say what in the listing's feed keeps photos away, and the queue position of its next photo.

        There is one line for each suspension and each window that is used up; or a single line if the feed is not in
        feeds.toml. The next photo is the photo of the listing that is released first. The position is None if no photo
        of the listing waits for its release, or the feed is not in feeds.toml. Raises StoreUnavailable.
        """
        feed = self._parts.feeds.get(listing.feed)
        if feed is None:
            return [_UNKNOWN_FEED], None
        use = await read_use(self._parts.stores.ledgers, feed)
        suspensions = [f"the feed is suspended: {decide.suspension_text(suspension)}" for suspension in use.suspensions]
        lines = [*suspensions, *circumstances.explain_used_windows(feed, use)]
        return lines, await self._next_position(listing, feed, use)

    async def _next_position(self, listing: Listing, feed: Feed, use: BudgetUse) -> QueuePosition | None:
        """Return the queue position of the listing's next photo; None if no photo of the listing waits for its release.

        The next photo is the due photo with the most urgent priority, and among several such photos the one due
        earliest. Raises StoreUnavailable.
        """
        now = self._parts.clock()
        due = [
            (photo.priority.rank, due_at, photo)
            for photo in listing.photos
            if (due_at := listing.photo_due_at(photo)) and due_at <= now
        ]
        if not due:
            return None
        next_photo = min(due, key=lambda ranked: ranked[:2])[2]
        alone, stores = replace(listing, photos=(next_photo,)), self._parts.stores
        positions = await explain.queue_positions(stores.listings, stores.throughputs, alone, feed, use, now)
        return positions.get(next_photo.id)

    def _photo_view(self, listing: Listing, photo: Photo) -> PhotoView:
        feed = self._parts.feeds.get(listing.feed) or Feed(name=listing.feed, image_hosts=())
        variants = photo.copy.variants if photo.copy and listing.is_displayed else ()
        narrowest = min(variants, key=lambda variant: variant.width, default=None)
        return PhotoView(
            photo=photo,
            listing=listing,
            tone=decide.tone_of(photo.status),
            thumb=self._parts.renderer.url(narrowest.key) if narrowest else "",
            host=formatting.host_of(photo.url),
            next_step=explain.next_step(listing, photo, feed, self._parts.clock(), formatting.distance),
        )


def _filter(request: web.Request, parts: DeskParts) -> ListingFilter:
    """Return the filter of listings or photos that the query of a page's URL describes.

    The query's parameters are `feed`, `key` (the first characters of a ListingKey), `status`, `reason`, `city` and
    `shown`. Without `feed`, the filter has the first feed of feeds.toml. Any other parameter that is not given, or
    empty, selects all. Raises Refused: 400 for a value that is no choice, 404 for a feed that feeds.toml lacks.
    """
    displayed = _choice(request, "shown", _Displayed)
    return ListingFilter(
        feed=feed_name(parts, query_text(request, "feed")),
        prefix=query_text(request, "key"),
        status=_choice(request, "status", Status),
        reason=_choice(request, "reason", Reason),
        city=query_text(request, "city") or None,
        displayed=None if displayed is None else displayed is _Displayed.YES,
    )


def _choice(request: web.Request, name: str, choices: type[Choice]) -> Choice | None:
    """Return the member of the enumeration `choices` that the query's parameter `name` has as its value.

    Returns None if the parameter is empty or not given. Raises Refused (400) for a value that is not among the choices.
    """
    value = query_text(request, name)
    if value and value not in set(choices):
        refuse(400, f"{name} must be one of {', '.join(choices)}, or empty")
    return choices(value) if value else None


def _table_context(
    selected: ListingFilter, rows: Sequence[ListingSummary], page_size: int, path: str
) -> Mapping[str, object]:
    """Return, by name, what the template of a table's page needs: filter, choices, rows, and the next page's URL.

    `selected` is the filter that the rows were read with; `path` is the path of the page. The caller reads one row more
    than `page_size`. If `rows` has this row, there is a next page, and the row is not shown; otherwise the next page's
    URL is "".
    """
    displayed = None if selected.displayed is None else _Displayed.YES if selected.displayed else _Displayed.NO
    query = {
        "feed": selected.feed,
        "key": selected.prefix,
        "status": selected.status,
        "reason": selected.reason,
        "city": selected.city,
        "shown": displayed,
    }
    next_page = page_url(path, **query, after=rows[page_size - 1].listing_key) if len(rows) > page_size else ""
    return {
        "selected": selected,
        "rows": rows[:page_size],
        "next_page": next_page,
        "statuses": list(Status),
        "reasons": REASONS,
        "query": query,
    }
