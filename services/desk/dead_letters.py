"""What could not be read: grouped by reason, one of them in full but for URLs, sent again or dropped."""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from ops import dead_letters as letters
from ops.dead_letters import DeadLetter, DeadLetterFilter
from ops.words import counted
from services.desk.actions import Action, Asked
from services.desk.decide import redacted
from services.desk.view import DeskParts, page, refuse, text
from shared.kafka import Broker

_LONGEST_SHOWN = 20_000


class DeadLetterPages:
    """What operators read of dead letters."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/dead-letters", self._groups), web.get("/dead-letter", self._one)]

    async def _groups(self, request: web.Request) -> web.Response:
        """All of them by reason, or those that speak of a listing."""
        settings, marks, names = self._parts.settings, self._parts.stores.handled_dead_letters, text(request, "names")
        naming = await letters.naming(settings, marks, names) if names else ()
        groups = () if names else await letters.groups(settings, marks)
        return page(request, "dead_letters.html", {"groups": groups, "names": names, "naming": naming})

    async def _one(self, request: web.Request) -> web.Response:
        letter = await _at(self._parts, text(request, "offset"))
        return page(request, "dead_letter.html", {"letter": letters.to_json(letter), "value": _value(letter)})


class _OfLetters(Action):
    """What both actions share: they are about one dead letter, or about all like it that were there when it was shown.

    What is written meanwhile is another question: what is sent again too early comes back as new dead letters.
    """

    takes = ("offset", "all")

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    async def _chosen(self, asked: Asked) -> DeadLetterFilter:
        letter = await _at(self._parts, asked["offset"])
        if not asked["all"]:
            return DeadLetterFilter(offsets=frozenset({letter.place.offset}))
        alike = frozenset(
            [
                one.place.offset
                async for some in letters.unhandled(self._parts.settings, self._parts.stores.handled_dead_letters)
                for one in some
                if one.place.offset <= letter.place.offset and _group(one) == _group(letter)
            ]
        )
        return DeadLetterFilter(offsets=alike or frozenset({letter.place.offset}))

    def back(self, asked: Asked) -> str:
        """Return the page to show afterwards."""
        return "/dead-letters"


class Requeue(_OfLetters):
    """Dead letters go back to the topic that they came from."""

    title = "Send dead letters again"
    button = "Send again"

    def __init__(self, parts: DeskParts, broker: Broker) -> None:
        super().__init__(parts)
        self._broker = broker
        self._sending = asyncio.Lock()

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say how many would be sent."""
        done = await self._requeue(asked, dry_run=True)
        sent, marked = counted(done.sent, "record"), counted(done.marked, "dead letter")
        lines = [f"{sent} would be sent again, value and key unchanged; {marked} would count as dealt with."]
        return [*lines, *(f"{count:,} cannot be sent: {why}." for why, count in done.refused)]

    async def carry_out(self, asked: Asked) -> str:
        """Send them, one request after the other: a second click finds them dealt with."""
        async with self._sending:
            done = await self._requeue(asked, dry_run=False)
        return f"Sent again: {counted(done.sent, 'record')}."

    async def _requeue(self, asked: Asked, *, dry_run: bool) -> letters.Requeued:
        chosen, parts = await self._chosen(asked), self._parts
        return await letters.requeue(
            parts.settings, parts.stores.handled_dead_letters, self._broker, chosen, dry_run=dry_run
        )


class Drop(_OfLetters):
    """Dead letters count as dealt with."""

    title = "Drop dead letters"
    button = "Drop"

    async def foretell(self, asked: Asked) -> Sequence[str]:
        """Say how many would be dropped."""
        dropped = await self._drop(asked, dry_run=True)
        return [f"{counted(dropped, 'dead letter')} would count as dealt with; nothing of that is read again."]

    async def carry_out(self, asked: Asked) -> str:
        """Drop them."""
        return f"Dropped: {counted(await self._drop(asked, dry_run=False), 'dead letter')}."

    async def _drop(self, asked: Asked, *, dry_run: bool) -> int:
        chosen, parts = await self._chosen(asked), self._parts
        return await letters.drop(parts.settings, parts.stores.handled_dead_letters, chosen, dry_run=dry_run)


async def _at(parts: DeskParts, offset: str) -> DeadLetter:
    letter = await letters.at_offset(parts.settings, int(offset)) if offset.isdecimal() and len(offset) < 19 else None
    return letter if letter is not None else refuse(404, "there is no dead letter at this offset")


def _group(letter: DeadLetter) -> tuple[str, str, str]:
    found: dict[tuple[str, str, str], letters.Group] = {}
    letters.add_to_group(found, letter)
    return next(iter(found))


def _value(letter: DeadLetter) -> str:
    """Return a dead letter's value for people, without any URL; bytes that are no text are not shown."""
    value = letters.to_json(letter)["value"]
    if isinstance(value, dict) and set(value) == {"base64"}:
        return f"{len(letter.value or b''):,} bytes that are no text"
    shown = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return redacted(shown)[:_LONGEST_SHOWN]
