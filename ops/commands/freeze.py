"""`imagectl freeze` and `thaw`: no request to a feed's origin until further notice."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated

import typer

from ops import freeze as freezing
from ops import stores as opening
from ops import terminal, words
from shared import budgets
from shared.budgets import BudgetUse
from shared.domain.feed import Feed
from shared.settings import Settings
from shared.stores.budgets import Budgets

app = typer.Typer()

_Feed = Annotated[str, typer.Argument(metavar="FEED", help="The feed in feeds.toml.")]


@app.command(epilog='Example: imagectl freeze proptx-idx --for 2h --reason "the MLS asked us to"')
def freeze(
    feed: _Feed,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever looks next.")] = "",
    lasting: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="How long, as 30m, 2h or 3d; until thawed if not given."),
    ] = None,
    as_json: terminal.Json = False,
) -> None:
    """Stop all requests to a feed's origin.

    Viewed and routine alike, within a fraction of a second. What is held is served on. A freeze survives restarts;
    `imagectl thaw` ends it.
    """
    span = terminal.read_as(words.duration, lasting) if lasting else None
    _show(feed, _changed(feed, lambda stored: freezing.freeze(stored, feed, reason, span)), as_json=as_json)


@app.command(epilog="Example: imagectl thaw proptx-idx")
def thaw(feed: _Feed, as_json: terminal.Json = False) -> None:
    """Allow requests to a feed's origin again.

    That ends an operator's freeze, the origin's own, and an open breaker.
    """
    _show(feed, _changed(feed, lambda stored: freezing.thaw(stored, feed)), as_json=as_json)


def _changed(feed: str, change: Callable[[Budgets], Awaitable[None]]) -> BudgetUse:
    async def write(settings: Settings, feeds: Mapping[str, Feed]) -> BudgetUse:
        (rules,) = terminal.feeds_named(feed, feeds, settings)
        async with opening.opened(settings) as stores:
            await change(stores.budgets)
            return budgets.use(rules, await stores.budgets.get(feed))

    return terminal.run(write)


def _show(feed: str, use: BudgetUse, *, as_json: bool) -> None:
    if as_json:
        terminal.print_json({"feed": feed, "silences": [dataclasses.asdict(one) for one in use.silences]})
        return
    for silence in use.silences:
        terminal.say(f"{feed}: {silence.in_words()}")
    if not use.silences:
        terminal.say(f"{feed}: open; what was put off is asked for within ten seconds")
