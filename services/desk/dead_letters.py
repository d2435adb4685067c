"""The pages of dead letters, in groups and one by one, and the actions that requeue or drop dead letters."""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from ops import dead_letters as letters
from ops.dead_letters import DeadLetter, DeadLetterFilter
from ops.words import counted
from services.desk.actions import Action, Inputs
from services.desk.formatting import redacted
from services.desk.view import DeskParts, query_text, refuse, render
from shared.kafka import Broker

_MAX_VALUE_LENGTH = 20_000


class DeadLetterPages:
    """The desk's pages that show dead letters: the list of their groups, and the page of one dead letter."""

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the list of dead letters (`/dead-letters`) and of the page of one (`/dead-letter`)."""
        return [web.get("/dead-letters", self._list), web.get("/dead-letter", self._show)]

    async def _list(self, request: web.Request) -> web.Response:
        """Show the dead letters that are not handled, in groups by reason.

        If the query has a ListingKey as `names`, show instead the dead letters that name this ListingKey, without
        groups.
        """
        settings, handled = self._parts.settings, self._parts.stores.handled_dead_letters
        listing_key = query_text(request, "names")
        naming = await letters.naming(settings, handled, listing_key) if listing_key else ()
        groups = () if listing_key else await letters.groups(settings, handled)
        return render(request, "dead_letters.html", {"groups": groups, "listing_key": listing_key, "naming": naming})

    async def _show(self, request: web.Request) -> web.Response:
        letter = await _at_offset(self._parts, query_text(request, "offset"))
        return render(request, "dead_letter.html", {"letter": letters.to_json(letter), "value": _value_text(letter)})


class _DeadLetterAction(Action):
    """An action on one dead letter, or on all dead letters of its group that are not later than it.

    The input `offset` is the offset of the dead letter on its topic. The input `all` is any text for the whole group,
    or "" for one dead letter. Later dead letters of the group are left alone, because the operator has not seen them.
    Some of them may hold requeued records that again could not be understood.
    """

    about = ("offset", "all")

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts

    async def _selected(self, inputs: Inputs) -> DeadLetterFilter:
        """Return a filter that selects the dead letters that the inputs name, by their offsets.

        With the input `all`, the filter selects the dead letters of the group that are not handled, up to the offset.
        Raises Refused (404) if there is no dead letter at the offset, BrokerUnavailable if Kafka does not answer, and
        StoreUnavailable if MongoDB does not.
        """
        letter = await _at_offset(self._parts, inputs["offset"])
        offset, key = letter.place.offset, letters.group_key(letter)
        if not inputs["all"]:
            return DeadLetterFilter(offsets=frozenset({offset}))
        in_group = frozenset(
            [
                other.place.offset
                async for batch in letters.unhandled(self._parts.settings, self._parts.stores.handled_dead_letters)
                for other in batch
                if other.place.offset <= offset and letters.group_key(other) == key
            ]
        )
        return DeadLetterFilter(offsets=in_group or frozenset({offset}))

    def next_page(self, inputs: Inputs) -> str:
        """Return the URL of the page that lists dead letters.

        The browser goes there once the action is carried out or cancelled. `inputs` is not used.
        """
        return "/dead-letters"


class Requeue(_DeadLetterAction):
    """Sends the source records of dead letters to their topics again, and marks the dead letters as handled."""

    title = "Send dead letters again"
    button = "Send again"

    def __init__(self, parts: DeskParts, broker: Broker) -> None:
        super().__init__(parts)
        self._broker = broker
        self._lock = asyncio.Lock()

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return sentences that say how many records would be sent, and how many dead letters cannot be sent and why.

        Raises Refused (404) if there is no dead letter at the offset that the inputs name.
        """
        requeued = await self._requeue(inputs, dry_run=True)
        sent, marked = counted(requeued.sent, "record"), counted(requeued.marked, "dead letter")
        lines = [f"{sent} would be sent again, value and key unchanged; {marked} would count as dealt with."]
        return [*lines, *(f"{count:,} cannot be sent: {why}." for why, count in requeued.refused)]

    async def carry_out(self, inputs: Inputs) -> str:
        """Send the source records of the dead letters that the inputs name, and return a sentence that says how many.

        Only one request sends records at a time, so that a second click finds the dead letters handled. Raises Refused
        (404) if there is no dead letter at the offset that the inputs name.
        """
        async with self._lock:
            requeued = await self._requeue(inputs, dry_run=False)
        return f"Sent again: {counted(requeued.sent, 'record')}."

    async def _requeue(self, inputs: Inputs, *, dry_run: bool) -> letters.Requeued:
        selected, parts = await self._selected(inputs), self._parts
        handled = parts.stores.handled_dead_letters
        return await letters.requeue(parts.settings, handled, self._broker, selected, dry_run=dry_run)


class Drop(_DeadLetterAction):
    """Marks dead letters as handled without sending their records."""

    title = "Drop dead letters"
    button = "Drop"

    async def preview(self, inputs: Inputs) -> Sequence[str]:
        """Return a sentence that says how many dead letters would be marked as handled.

        Raises Refused (404) if there is no dead letter at the offset that the inputs name.
        """
        dropped = await self._drop(inputs, dry_run=True)
        return [f"{counted(dropped, 'dead letter')} would count as dealt with; nothing of that is read again."]

    async def carry_out(self, inputs: Inputs) -> str:
        """Mark the dead letters that the inputs name as handled, and return a sentence that says how many were.

        Raises Refused (404) if there is no dead letter at the offset that the inputs name.
        """
        return f"Dropped: {counted(await self._drop(inputs, dry_run=False), 'dead letter')}."

    async def _drop(self, inputs: Inputs, *, dry_run: bool) -> int:
        selected, parts = await self._selected(inputs), self._parts
        return await letters.drop(parts.settings, parts.stores.handled_dead_letters, selected, dry_run=dry_run)


async def _at_offset(parts: DeskParts, offset: str) -> DeadLetter:
    """Return the dead letter at an offset of the topic; `offset` is a text that a browser sent.

    Raises Refused (404) if the text is no offset or Kafka has no dead letter there, and BrokerUnavailable if Kafka does
    not answer.
    """
    is_offset = offset.isdecimal() and len(offset) < 19
    letter = await letters.at_offset(parts.settings, int(offset)) if is_offset else None
    return letter if letter is not None else refuse(404, "there is no dead letter at this offset")


def _value_text(letter: DeadLetter) -> str:
    """Return a dead letter's value as a text for people, without URLs and cut to 20,000 characters.

    For a value that is no text, the result is a phrase that says how many bytes the value has.
    """
    value = letters.to_json(letter)["value"]
    if isinstance(value, dict) and set(value) == {"base64"}:
        return f"{len(letter.value or b''):,} bytes that are no text"
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return redacted(text)[:_MAX_VALUE_LENGTH]
