"""The page of removals (holds that wait for a decision, evidence, the last audit), and the actions that change them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from aiohttp import web

from ops import removals, words
from ops.words import counted
from services.desk.actions import FeedAction, Inputs, ListingAction
from services.desk.view import DeskParts, page_url, query_text, refuse, render
from shared.domain.listing import Listing
from shared.stores.removal_holds import Decision
from shared.stores.removals import Removal, RemovalCursor

_REMOVALS_A_PAGE = 100
_DEFAULT_PERIOD = timedelta(days=7)


class RemovalPages:
    """The desk's page of removals: holds, evidence, and the last audit."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the page of removals, `/removals`."""
        return [web.get("/removals", self._removals)]

    async def _removals(self, request: web.Request) -> web.Response:
        parts = self._parts
        query = {name: query_text(request, name) for name in ("feed", "from", "to")}
        if query["feed"] and query["feed"] not in parts.feeds:
            refuse(404, "there is no such feed in feeds.toml")
        begin, end = _period(query, parts.clock())
        cursor = _cursor(query_text(request, "after"))
        evidence = await parts.removals.newest(begin, end, query["feed"] or None, cursor, _REMOVALS_A_PAGE + 1)
        is_last, shown = len(evidence) <= _REMOVALS_A_PAGE, evidence[:_REMOVALS_A_PAGE]
        context = {
            "holds": await parts.stores.removal_holds.all(),
            "audits": await parts.audits.newest(1),
            "evidence": shown,
            "next_page": "" if is_last else page_url("/removals", **query, after=_cursor_text(shown[-1])),
            "query": {**query, "from": begin.strftime("%Y-%m-%d")},
        }
        return render(request, "removals.html", context)


def _period(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    """Return the begin and end of the period that `from` and `to` in `query` give.

    Each of the two texts is a time, how long ago (such as 2h), or "". For "", `from` is seven days before `now`, and
    `to` is `now`. Raises Refused (400) for a text that is no time.
    """
    try:
        begin = words.parse_time(query["from"], now) if query["from"] else now - _DEFAULT_PERIOD
        return begin, words.parse_time(query["to"], now) if query["to"] else now
    except ValueError as error:
        refuse(400, str(error))


def _cursor_text(last: Removal) -> str:
    return f"{last.removed_at.isoformat()} {last.id}"


def _cursor(text: str) -> RemovalCursor | None:
    """Return the place in the list of removals where the previous page ended; None for "", that is for the first page.

    `text` is what `_cursor_text` wrote into the URL of the next page: the time and id of the last removal shown. Raises
    Refused (400) for any other text.
    """
    if not text:
        return None
    at, _, removal_id = text.partition(" ")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), removal_id
    except (ValueError, OverflowError):
        refuse(400, "after is not where a page ended")


class DecideHold(FeedAction):
    """Records an operator's decision about all holds of a feed that wait for one.

    The action is made for one decision: to resume the removals, or to discard the burst as the feed's fault.
    """

    def __init__(self, parts: DeskParts, decision: Decision) -> None:
        super().__init__(parts)
        self._decision = decision
        self.title, self.button, self._outcome = _DECISIONS[decision]

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return a sentence for each hold that waits for a decision, and one that says what happens to the copies.

        Raises Refused: 409 if no removals of the feed are held, 404 if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        holds = await self._parts.stores.removal_holds.all()
        bursts = [hold.burst_text() for hold in holds if hold.feed == inputs["feed"] and not hold.decision]
        if not bursts:
            refuse(409, f"no removals of {inputs['feed']} are held")
        return [*(f"Removals of {inputs['feed']} are held: {burst}." for burst in bursts), self._outcome]

    async def carry_out(self, inputs: Inputs) -> str:
        """Record the decision in MongoDB, and return a sentence that says what happens to the copies.

        If no removals of the feed were held, the sentence says that nothing was decided. Raises Refused (404) if the
        feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        feed, clock = inputs["feed"], self._parts.clock
        if not await self._parts.stores.removal_holds.decide(feed, self._decision, clock()):
            return f"No removals of {feed} are held; nothing was decided."
        return f"{feed}: {self._outcome}"

    def next_page(self, inputs: Inputs) -> str:
        """Return the URL of the page of removals.

        The browser goes there once the action is carried out or cancelled. `inputs` is not used.
        """
        return "/removals"


_DECISIONS = {
    Decision.RESUME: ("Resume a feed's removals", "Remove them", "Every copy of those listings is removed now."),
    Decision.DISCARD: (
        "Keep what a feed lost by mistake",
        "Keep them",
        "Their copies are kept, hidden, until the feed shows the listings again, for 72 hours at most.",
    ),
}
"""The title, the button and the outcome of each decision."""


class RemoveListing(ListingAction):
    """Removes a listing, whatever the MLS announces, until an operator allows the listing again."""

    title = "Remove a listing for good"
    button = "Remove"

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say how many copies of the listing would be removed, and how long it would stay away.

        Raises Refused (404) if the listing is not recorded.
        """
        listing = await self.listing(inputs)
        copies = sum(photo.copy is not None for photo in listing.photos)
        return [
            f"Listing {listing.key} is shown no more at once. "
            f"What is held of it ({counted(copies, 'photo')}) is removed within seconds.",
            "It stays away, whatever the MLS says, until that is lifted.",
        ]

    async def carry_out(self, inputs: Inputs) -> str:
        """Mark the listing in MongoDB as removed by an operator, and return a sentence that says so.

        A janitor then removes the listing's copies. Raises Refused (404) if the listing is not recorded.
        """
        listing = await self.listing(inputs)
        listings, ids = self._parts.stores.listings, [(listing.feed, listing.key)]
        await removals.change(listings, ids, partial(removals.remove, image_ids=()), self._parts.clock)
        return f"Listing {listing.key} is being removed, and stays away until that is lifted."


class AllowListing(ListingAction):
    """Allows again what operators had removed of a listing: the listing itself, or some of its photos."""

    title = "Allow a listing again"
    button = "Allow"

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return a sentence that says when the listing and its photos would be shown again.

        Raises Refused: 409 if no operator removed anything of the listing, 404 if the listing is not recorded.
        """
        _refuse_unremoved(await self.listing(inputs))
        return ["Whatever was removed of it by operators may be shown again, as soon as the MLS is next heard of it."]

    async def carry_out(self, inputs: Inputs) -> str:
        """Allow the listing and all its photos in MongoDB, and return a sentence that says when it is shown again.

        Raises Refused: 409 if no operator removed anything of the listing, 404 if the listing is not recorded.
        """
        listing = await self.listing(inputs)
        _refuse_unremoved(listing)
        listings, ids = self._parts.stores.listings, [(listing.feed, listing.key)]
        await removals.change(listings, ids, partial(removals.allow_again, image_ids=()), self._parts.clock)
        return f"Listing {listing.key} is allowed; it is shown again when the MLS is next heard of it."


def _refuse_unremoved(listing: Listing) -> None:
    """Raise Refused (409) if no operator removed anything of the listing; otherwise do nothing."""
    if not removals.is_removed(listing, ()):
        refuse(409, "nothing of this listing was removed by an operator")
