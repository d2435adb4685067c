"""What operators change: each action says first what it would do, and is carried out when that is confirmed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from ops import estimate, force, pause, rebuild, words
from ops.words import counted
from services.desk.view import SESSION, DeskParts, address, clean, page, refuse, see_other
from shared import log
from shared.domain.listing import Listing
from shared.domain.priority import Priority
from shared.domain.variants import rendering
from shared.origin_budget.reading import read_use

Asked = Mapping[str, str]
"""What an action is about, by the names that it takes."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Field:
    """Something that the operator writes before confirming."""

    name: str
    label: str
    is_required: bool
    placeholder: str = ""


class Action(ABC):
    """One thing that can be done. `takes` are the names of what it is about, `fields` what is written beside."""

    title: str
    button: str
    takes: ClassVar[Sequence[str]]
    fields: ClassVar[Sequence[Field]] = ()

    @abstractmethod
    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say what it would do. Refuses what cannot be done."""

    @abstractmethod
    async def carry_out(self, asked: Asked) -> str:
        """Do it, and say what was done."""

    @abstractmethod
    def back(self, asked: Asked) -> str:
        """Return the page to show afterwards."""


class ActionPages:
    """Asks for confirmation, then acts; works without a script."""

    def __init__(self, actions: Mapping[str, Action]) -> None:
        self._actions = actions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/do/{action}", self._confirm), web.post("/do/{action}", self._do)]

    async def _confirm(self, request: web.Request) -> web.Response:
        action = self._action(request)
        asked = {name: clean(name, request.query.get(name, "")) for name in action.takes}
        context = {"action": action, "asked": asked, "lines": await action.foretell(asked), "back": action.back(asked)}
        return page(request, "confirm.html", context)

    async def _do(self, request: web.Request) -> web.Response:
        action, form = self._action(request), await request.post()
        names = [*action.takes, *(field.name for field in action.fields)]
        asked = {name: clean(name, form.get(name, "")) for name in names}
        if missing := [field.label for field in action.fields if field.is_required and not asked[field.name]]:
            refuse(400, f"{', '.join(missing)} is missing; go back and write it")
        done = await action.carry_out(asked)
        _logger.info("desk-action", action=request.match_info["action"], **asked)
        request[SESSION].told.append(done)
        return see_other(action.back(asked))

    def _action(self, request: web.Request) -> Action:
        action = self._actions.get(request.match_info["action"])
        return action if action is not None else refuse(404, "there is no such action")


class OfFeed(Action):
    """What all actions on a feed share."""

    takes: ClassVar[Sequence[str]] = ("feed",)

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def check(self, asked: Asked) -> None:
        if asked["feed"] not in self._parts.feeds:
            refuse(404, "there is no such feed in feeds.toml")

    def back(self, asked: Asked) -> str:
        """Return the page to show afterwards."""
        return "/"


class OfListing(OfFeed):
    """What all actions on a listing share."""

    takes = ("feed", "key")

    async def listing(self, asked: Asked) -> Listing:
        """Return the listing that is meant."""
        found = await self._parts.stores.listings.get(asked["feed"], asked["key"])
        return found if found is not None else refuse(404, "nothing is recorded of this listing")

    def back(self, asked: Asked) -> str:
        """Return the listing's page."""
        return address("/listing", feed=asked["feed"], key=asked["key"])


class Force(OfListing):
    """Photos of one listing are fetched again."""

    title = "Fetch a listing's photos again"
    button = "Fetch again"

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say how many photos would be due, and what that costs."""
        done = await self._force(asked, dry_run=True)
        feed = self._parts.feeds[asked["feed"]]
        use = await read_use(self._parts.stores.ledgers, feed)
        seconds = estimate.seconds_for(done.photos, done.bytes_expected, feed, use)
        lines = [
            f"{counted(done.photos, 'photo')} of listing {asked['key']} would be due at once, ahead of routine work."
        ]
        if seconds >= 1:
            lines.append(f"Within the feed's budget that takes at least {words.duration_text(seconds)}.")
        if done.in_work:
            lines.append(f"{done.in_work:,} are in a downloader's hands already and are left alone.")
        if done.not_to_be_had:
            lines.append(f"{done.not_to_be_had:,} cannot be had: their URL was used, or they are being removed.")
        if done.hidden:
            lines.append("The listing is hidden, so nothing of it is fetched.")
        return [*lines, "Copies that are held stay, and are served, until a newer one is here."]

    async def carry_out(self, asked: Asked) -> str:
        """Make them due."""
        done = await self._force(asked, dry_run=False)
        return f"Due now: {counted(done.photos, 'photo')} of listing {asked['key']}."

    async def _force(self, asked: Asked, *, dry_run: bool) -> force.Forced:
        self.check(asked)
        wanted = force.PhotoFilter(listing_keys=(asked["key"],))
        listings, clock = self._parts.stores.listings, self._parts.clock
        done = await force.force(listings, asked["feed"], wanted, Priority.SEARCHED, clock, dry_run=dry_run)
        return done if done.looked_at else refuse(404, "nothing is recorded of this listing")


class PauseFeed(OfFeed):
    """Nothing is asked of a feed's origin."""

    title = "Freeze a feed"
    button = "Freeze"
    fields = (
        Field("reason", "Why", is_required=True, placeholder="the MLS asked us to pause"),
        Field("lasting", "For how long", is_required=False, placeholder="2h, 1d; empty: until it is thawed"),
    )

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say what stops and what goes on."""
        self.check(asked)
        return [
            f"No photo of {asked['feed']} is fetched any more, not even for people who wait for one.",
            "What is held is served as before; what is due stays due, and goes on when the feed is thawed.",
        ]

    async def carry_out(self, asked: Asked) -> str:
        """Pause it."""
        self.check(asked)
        try:
            lasting = words.parse_duration(asked["lasting"]) if asked["lasting"] else None
        except ValueError as fault:
            refuse(400, f"For how long: {fault}")
        await pause.pause(self._parts.stores.ledgers, asked["feed"], asked["reason"], lasting)
        until = f"for {asked['lasting']}" if lasting else "until it is thawed"
        return f"{asked['feed']} is frozen {until}."


class Thaw(OfFeed):
    """A feed's origin may be asked again."""

    title = "Thaw a feed"
    button = "Thaw"

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say what begins again."""
        self.check(asked)
        return [
            f"Photos of {asked['feed']} are fetched again within its budget.",
            "That also ends a silence that the origin asked for, and the probing after too many failures.",
        ]

    async def carry_out(self, asked: Asked) -> str:
        """Thaw it."""
        self.check(asked)
        await pause.resume(self._parts.stores.ledgers, asked["feed"])
        return f"{asked['feed']} is open again."


class Rebuild(OfFeed):
    """Variants of other settings are made anew from the stored originals."""

    title = "Make a feed's variants anew"
    button = "Make anew"

    def __init__(self, parts: DeskParts) -> None:
        super().__init__(parts)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say what is looked at."""
        self.check(asked)
        return [
            f"Every listing of {asked['feed']} is looked at, and photos whose variants were made with other settings "
            "than IMAGES_VARIANTS now says are due.",
            "They are made from the stored originals; the MLS is not asked. Until then the old ones are served.",
        ]

    async def carry_out(self, asked: Asked) -> str:
        """Begin; it goes on behind the page."""
        self.check(asked)
        feed = asked["feed"]
        if feed in self._running and not self._running[feed].done():
            return f"{feed} is being looked at already."
        self._running[feed] = asyncio.create_task(self._rebuild(feed))
        return f"{feed} is being looked at; the queue grows as photos are found."

    async def _rebuild(self, feed: str) -> None:
        wanted, parts = rendering(self._parts.settings.variants), self._parts
        try:
            done = await rebuild.rebuild(parts.stores.listings, feed, wanted, parts.clock, dry_run=False)
            _logger.info("desk-rebuilt", feed=feed, listings=done.listings, photos=done.photos)
        except Exception:
            _logger.exception("desk-rebuild-failed", feed=feed)
