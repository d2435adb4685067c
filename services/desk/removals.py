"""What had to go: removals that wait for an operator, the evidence of those that were done, and the last audit."""

from datetime import UTC, datetime, timedelta
from functools import partial

from aiohttp import web

from ops import removals, words
from ops.words import counted
from services.desk.actions import Asked, OfFeed, OfListing
from services.desk.view import DeskParts, address, page, refuse, text
from shared.domain.listing import Listing
from shared.stores.removal_holds import Decision
from shared.stores.removals import Removal, RemovalCursor

_SHOWN = 100
_PERIOD = timedelta(days=7)


class RemovalPages:
    """What operators read of removals."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/removals", self._removals)]

    async def _removals(self, request: web.Request) -> web.Response:
        parts, now = self._parts, self._parts.clock()
        feed, since, until = (text(request, name) for name in ("feed", "from", "to"))
        if feed and feed not in parts.feeds:
            refuse(404, "there is no such feed in feeds.toml")
        try:
            begin = words.parse_time(since, now) if since else now - _PERIOD
            end = words.parse_time(until, now) if until else now
        except ValueError as fault:
            refuse(400, str(fault))
        evidence = await parts.removals.newest(begin, end, feed or None, _behind(request), _SHOWN + 1)
        is_more, last = len(evidence) > _SHOWN, evidence[:_SHOWN][-1:]
        asked = {"feed": feed, "from": since, "to": until}
        context = {
            "freezes": await parts.stores.removal_holds.all(),
            "audits": await parts.audits.newest(1),
            "evidence": evidence[:_SHOWN],
            "following": address("/removals", **asked, after=_cursor(last[0])) if is_more else "",
            "query": {"feed": feed, "from": begin.strftime("%Y-%m-%d"), "to": until},
        }
        return page(request, "removals.html", context)


def _cursor(last: Removal) -> str:
    return f"{last.removed_at.isoformat()} {last.id}"


def _behind(request: web.Request) -> RemovalCursor | None:
    """Return where the page before ended; None on the first."""
    if not (given := text(request, "after")):
        return None
    at, _, removal_id = given.partition(" ")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), removal_id
    except (ValueError, OverflowError):
        refuse(400, "after is not where a page ended")


class Decide(OfFeed):
    """A feed lost so many listings at once that their removal waits for a decision."""

    def __init__(self, parts: DeskParts, decision: Decision) -> None:
        super().__init__(parts)
        self._decision = decision
        self.title, self.button, self._what = _DECISIONS[decision]

    async def foretell(self, asked: Asked) -> list[str]:
        """Say what was held, and what becomes of it."""
        self.check(asked)
        held = [
            str(one)
            for one in await self._parts.stores.removal_holds.all()
            if one.feed == asked["feed"] and not one.decision
        ]
        return [*(held or refuse(409, f"the removals of {asked['feed']} are not frozen")), self._what]

    async def carry_out(self, asked: Asked) -> str:
        """Decide."""
        self.check(asked)
        if not await self._parts.stores.removal_holds.decide(asked["feed"], self._decision, self._parts.clock()):
            return f"The removals of {asked['feed']} are not frozen; nothing was decided."
        return f"{asked['feed']}: {self._what}"

    def back(self, _: Asked) -> str:
        """Return the page of removals."""
        return "/removals"


_DECISIONS = {
    Decision.RESUME: ("Resume a feed's removals", "Remove them", "Every copy of those listings is removed now."),
    Decision.DISCARD: (
        "Keep what a feed lost by mistake",
        "Keep them",
        "Their copies are kept, hidden, until the feed shows the listings again, for 72 hours at most.",
    ),
}


class Remove(OfListing):
    """A listing goes for good, whatever the MLS says."""

    title = "Remove a listing for good"
    button = "Remove"

    async def foretell(self, asked: Asked) -> list[str]:
        """Say what goes."""
        listing = await self.listing(asked)
        copies = sum(photo.copy is not None for photo in listing.photos)
        return [
            f"Listing {listing.key} is shown no more at once. "
            f"What is held of it ({counted(copies, 'photo')}) is removed within seconds.",
            "It stays away, whatever the MLS says, until that is lifted.",
        ]

    async def carry_out(self, asked: Asked) -> str:
        """Remove it."""
        listing = await self.listing(asked)
        listings, ids = self._parts.stores.listings, [(listing.feed, listing.key)]
        await removals.change(listings, ids, partial(removals.remove, image_ids=()), self._parts.clock)
        return f"Listing {listing.key} is being removed, and stays away until that is lifted."


class Allow(OfListing):
    """What an operator had removed may be shown again."""

    title = "Allow a listing again"
    button = "Allow"

    async def foretell(self, asked: Asked) -> list[str]:
        """Say what follows."""
        self._refuse_free(await self.listing(asked))
        return ["Whatever was removed of it by operators may be shown again, as soon as the MLS is next heard of it."]

    async def carry_out(self, asked: Asked) -> str:
        """Lift it."""
        listing = await self.listing(asked)
        self._refuse_free(listing)
        listings, ids = self._parts.stores.listings, [(listing.feed, listing.key)]
        await removals.change(listings, ids, partial(removals.allow_again, image_ids=()), self._parts.clock)
        return f"Listing {listing.key} is allowed; it is shown again when the MLS is next heard of it."

    def _refuse_free(self, listing: Listing) -> None:
        if not removals.is_removed(listing, ()):
            refuse(409, "nothing of this listing was removed by an operator")
