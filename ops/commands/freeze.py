"""`imagectl freeze` and `thaw`: an operator pauses a feed's requests to its origin, or ends the pause."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import typer

from ops import pause as pausing
from ops import terminal, words
from ops.stores import open_stores
from shared.domain.feed import Feed
from shared.origin_budget import use as budget_use
from shared.origin_budget.reading import read_use
from shared.origin_budget.use import BudgetUse
from shared.settings import Settings
from shared.stores.ledgers import Ledgers

app = typer.Typer()

_Feed = Annotated[str, typer.Argument(metavar="FEED", help="The feed in feeds.toml.")]


@app.command(epilog='Example: imagectl freeze proptx-idx --for 2h --reason "the MLS asked us to"')
def freeze(
    feed: _Feed,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for other operators.")] = "",
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="How long, as 30m, 2h or 3d; until thawed if not given."),
    ] = None,
    as_json: terminal.Json = False,
) -> None:
    """Stop all requests to a feed's origin.

    Requests for viewed photos stop too, within a fraction of a second. Copies are still served. The pause survives
    restarts; `imagectl thaw` ends it.
    """
    duration = terminal.parse(words.parse_duration, lasting) if lasting else None
    _show(feed, _changed(feed, lambda ledgers: pausing.pause(ledgers, feed, reason, duration)), as_json=as_json)


@app.command(epilog="Example: imagectl thaw proptx-idx")
def thaw(feed: _Feed, as_json: terminal.Json = False) -> None:
    """Allow requests to a feed's origin again.

    That ends an operator's pause, a throttling by the origin, and an open breaker.
    """
    _show(feed, _changed(feed, lambda ledgers: pausing.resume(ledgers, feed)), as_json=as_json)


def _changed(feed: str, change: Callable[[Ledgers], Awaitable[None]]) -> BudgetUse:
    """Apply a change to the ledger of a feed, and return the use of the feed's budget after it.

    `feed` is the feed's name. `change` is called with the store of all ledgers, and must write the feed's ledger there.
    An expected error, such as an unknown feed, ends the process with a message.
    """

    async def write(settings: Settings, feeds: Mapping[str, Feed]) -> BudgetUse:
        (rules,) = terminal.select_feeds(feed, feeds, settings)
        async with open_stores(settings) as stores:
            await change(stores.ledgers)
            return await read_use(stores.ledgers, rules)

    return terminal.run(write)


def _show(feed: str, use: BudgetUse, *, as_json: bool) -> None:
    """Print what suspends the feed now, or that nothing does, as text or as JSON."""
    if as_json:
        terminal.print_json({"feed": feed, "silences": budget_use.suspensions_to_json(use)})
        return
    for suspension in use.suspensions:
        terminal.print_line(f"{feed}: {suspension.in_words()}")
    if not use.suspensions:
        terminal.print_line(f"{feed}: open; photos that were deferred are asked for within ten seconds")
