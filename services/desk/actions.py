"""What operators change at the desk: each action shows a preview first, and is carried out when that is confirmed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from ops import estimate, force, pause, rebuild, words
from ops.words import counted
from services.desk.view import SESSION, DeskParts, checked_text, page_url, redirect, refuse, render
from shared import log
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.domain.variants import current_renderings
from shared.origin_budget.reading import read_use

Inputs = Mapping[str, str]
"""By name: what an action is about, and what the operator wrote into its fields. A value that is not given is ""."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an action's form, which the operator fills in before confirming the action.

    The form shows `label` beside the field, and `placeholder` in it while it is empty.
    """

    name: str
    label: str
    is_required: bool
    placeholder: str = ""


class Action(ABC):
    """Something that an operator can do at the desk, with a title and the text of its button.

    Each method takes the inputs of one request by name: what the action is about, and what the operator wrote into the
    form. `preview` and `carry_out` raise Refused, which becomes an error page, if the action cannot be done with these
    inputs.
    """

    title: str
    button: str
    about: ClassVar[Sequence[str]]
    """The names of the inputs that say what the action is about."""
    fields: ClassVar[Sequence[Field]] = ()

    @abstractmethod
    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that tell the operator what `carry_out` would do with these inputs; change nothing.

        Raises Refused if the action cannot be done.
        """

    @abstractmethod
    async def carry_out(self, inputs: Inputs) -> str:
        """Carry the action out, and return a sentence that tells the operator what was done.

        Raises Refused if the action cannot be done.
        """

    @abstractmethod
    def next_page(self, inputs: Inputs) -> str:
        """Return the URL of the page to which the browser goes once the action is carried out or cancelled.

        `inputs` are the inputs of the action; they may name, for example, the listing whose page is returned.
        """


class ActionPages:
    """The pages that preview the desk's actions and carry them out. They work in a browser without scripts.

    `actions` has each action by its name, which is the last part of its path: `/do/NAME`.
    """

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of `/do/NAME`, where NAME names an action: GET previews the action, POST carries it out."""
        return [web.get("/do/{action}", self._preview), web.post("/do/{action}", self._carry_out)]

    async def _preview(self, request: web.Request) -> web.Response:
        action = self._action(request)
        inputs = {name: checked_text(name, request.query.get(name, "")) for name in action.about}
        lines, back = await action.preview(inputs), action.next_page(inputs)
        return render(request, "confirm.html", {"action": action, "inputs": inputs, "lines": lines, "back": back})

    async def _carry_out(self, request: web.Request) -> web.Response:
        action, form = self._action(request), await request.post()
        names = [*action.about, *(field.name for field in action.fields)]
        inputs = {name: checked_text(name, form.get(name, "")) for name in names}
        if missing := [field.label for field in action.fields if field.is_required and not inputs[field.name]]:
            refuse(400, f"{', '.join(missing)} is missing; go back and write it")
        notice = await action.carry_out(inputs)
        _logger.info("desk-action", action=request.match_info["action"], **inputs)
        if session := request.get(SESSION):
            session.notices.append(notice)
        return redirect(action.next_page(inputs))

    def _action(self, request: web.Request) -> Action:
        action = self._actions.get(request.match_info["action"])
        return action if action is not None else refuse(404, "there is no such action")


class FeedAction(Action):
    """An action on one feed of feeds.toml, which the input `feed` names."""

    about: ClassVar[Sequence[str]] = ("feed",)

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def check_feed(self, inputs: Inputs) -> None:
        """Raise Refused (404) if feeds.toml lacks the feed that the inputs name; otherwise do nothing."""
        if inputs["feed"] not in self._parts.feeds:
            refuse(404, "there is no such feed in feeds.toml")

    def next_page(self, inputs: Inputs) -> str:
        """Return the URL of the desk's first page.

        The browser goes there once the action is carried out or cancelled. `inputs` is not used.
        """
        return "/"


class ListingAction(FeedAction):
    """An action on one recorded listing, which the inputs `feed` and `key` (its ListingKey) name."""

    about = ("feed", "key")

    async def listing(self, inputs: Inputs) -> Listing:
        """Read the listing that the inputs name from MongoDB, and return it.

        Raises Refused (404) if the listing is not recorded, and StoreUnavailable if MongoDB does not answer.
        """
        listing = await self._parts.stores.listings.get(inputs["feed"], inputs["key"])
        return listing if listing is not None else refuse(404, "nothing is recorded of this listing")

    def next_page(self, inputs: Inputs) -> str:
        """Return the URL of the page of the listing that the inputs name.

        The browser goes there once the action is carried out or cancelled.
        """
        return page_url("/listing", feed=inputs["feed"], key=inputs["key"])


class ForceListing(ListingAction):
    """Forces all photos of a listing that can be attempted: makes them due at once, with the priority SEARCHED.

    Photos with a copy are included; the copy is served until a newer one is stored. Photos that a downloader has
    claimed are left alone, and so are all photos of a hidden listing.
    """

    title = "Fetch a listing's photos again"
    button = "Fetch again"

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say how many photos of the listing would be due, and how long their downloads take.

        They also say how many photos are left alone, and why. Raises Refused (404) if the feed is not in feeds.toml or
        the listing is not recorded.
        """
        forced = await self._force(inputs, dry_run=True)
        feed = self._parts.feeds[inputs["feed"]]
        use = await read_use(self._parts.stores.ledgers, feed)
        seconds = estimate.seconds_for(forced.photos, forced.bytes_expected, feed, use)
        photos = counted(forced.photos, "photo")
        lines = [f"{photos} of listing {inputs['key']} would be due at once, ahead of routine work."]
        if seconds >= 1:
            lines.append(f"Within the feed's budget that takes at least {words.duration_text(seconds)}.")
        if forced.in_work:
            lines.append(f"{forced.in_work:,} are in a downloader's hands already and are left alone.")
        if forced.not_to_be_had:
            lines.append(f"{forced.not_to_be_had:,} cannot be had: their URL was used, or they are being removed.")
        if forced.hidden:
            lines.append("The listing is hidden, so nothing of it is fetched.")
        return [*lines, "Copies that are held stay, and are served, until a newer one is here."]

    async def carry_out(self, inputs: Inputs) -> str:
        """Make the photos of the listing due in MongoDB, and return a sentence that says how many were made due.

        Raises Refused (404) if the feed is not in feeds.toml or the listing is not recorded.
        """
        forced = await self._force(inputs, dry_run=False)
        return f"Due now: {counted(forced.photos, 'photo')} of listing {inputs['key']}."

    async def _force(self, inputs: Inputs, *, dry_run: bool) -> force.Forced:
        self.check_feed(inputs)
        selected = force.PhotoFilter(listing_keys=(inputs["key"],))
        listings, clock = self._parts.stores.listings, self._parts.clock
        forced = await force.force(listings, inputs["feed"], selected, Priority.SEARCHED, clock, dry_run=dry_run)
        return forced if forced.looked_at else refuse(404, "nothing is recorded of this listing")


class PauseFeed(FeedAction):
    """Pauses a feed's requests to its origin, for the time that the operator gives.

    Without a time, the pause lasts until an operator ends it.
    """

    title = "Pause a feed's requests"
    button = "Pause"
    fields = (
        Field("reason", "Why", is_required=True, placeholder="the MLS asked us to pause"),
        Field("lasting", "For how long", is_required=False, placeholder="2h, 1d; empty: until the pause is ended"),
    )

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say which requests of the feed would stop, and what would go on.

        Raises Refused (404) if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        return [
            f"No photo of {inputs['feed']} is fetched any more, not even for people who wait for one.",
            "Copies are served as before; photos that are due stay due, and are fetched when the pause ends.",
        ]

    async def carry_out(self, inputs: Inputs) -> str:
        """Pause the requests of the feed that the inputs name, and return a sentence that says for how long.

        Raises Refused: 400 if the input `lasting` is no duration, 404 if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        try:
            lasting = words.parse_duration(inputs["lasting"]) if inputs["lasting"] else None
        except ValueError as error:
            refuse(400, f"For how long: {error}")
        await pause.pause(self._parts.stores.ledgers, inputs["feed"], inputs["reason"], lasting)
        until = f"for {inputs['lasting']}" if lasting else "until the pause is ended"
        return f"The requests of {inputs['feed']} are paused {until}."


class EndSuspension(FeedAction):
    """Allows a feed's requests again: ends the feed's pause, its throttling and its open breaker."""

    title = "Allow a feed's requests again"
    button = "Allow requests"

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say that the feed's photos would be fetched again, and which suspensions would end.

        Raises Refused (404) if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        return [
            f"Photos of {inputs['feed']} are fetched again within its budget.",
            "That ends an operator's pause, a throttling that the origin asked for, and an open breaker.",
        ]

    async def carry_out(self, inputs: Inputs) -> str:
        """End each suspension of the feed that the inputs name, and return a sentence for the operator.

        The sentence says that the feed's requests are allowed again. Raises Refused (404) if the feed is not in
        feeds.toml.
        """
        self.check_feed(inputs)
        await pause.resume(self._parts.stores.ledgers, inputs["feed"])
        return f"The requests of {inputs['feed']} are allowed again."


class RebuildFeed(FeedAction):
    """Marks a feed's photos for a rebuild, in a background task, if their variants were made with other settings."""

    title = "Make a feed's variants anew"
    button = "Make anew"

    def __init__(self, parts: DeskParts) -> None:
        super().__init__(parts)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say which photos of the feed would be rebuilt, and from what, but not how many.

        Raises Refused (404) if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        return [
            f"Every listing of {inputs['feed']} is looked at, and photos whose variants were made with other settings "
            "than IMAGES_VARIANTS now says are due.",
            "They are made from the stored originals; the MLS is not asked. Until then the old ones are served.",
        ]

    async def carry_out(self, inputs: Inputs) -> str:
        """Start a background task that marks the feed's photos for a rebuild, and return a sentence that says so.

        If an earlier task for the feed still runs, no task is started, and the sentence says that. Raises Refused (404)
        if the feed is not in feeds.toml.
        """
        self.check_feed(inputs)
        feed = inputs["feed"]
        if feed in self._running and not self._running[feed].done():
            return f"{feed} is being looked at already."
        self._running[feed] = asyncio.create_task(self._rebuild(feed))
        return f"{feed} is being looked at; the queue grows as photos are found."

    async def _rebuild(self, feed: str) -> None:
        """Mark the feed's photos for a rebuild in MongoDB, and log how many; an error is logged, not raised."""
        wanted, parts = current_renderings(self._parts.settings.variants), self._parts
        try:
            rebuilt = await rebuild.rebuild(parts.stores.listings, feed, wanted, parts.clock, dry_run=False)
            _logger.info("desk-rebuilt", feed=feed, listings=rebuilt.listings, photos=rebuilt.photos)
        except Exception:
            _logger.exception("desk-rebuild-failed", feed=feed)
