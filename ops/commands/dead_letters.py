"""`imagectl dead-letters`: what could not be read, and what becomes of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from ops import dead_letters as letters
from ops import stores as opening
from ops import terminal
from ops.dead_letters import Chosen, DeadLetter, Group, Requeued
from ops.words import many
from shared.domain.feed import Feed
from shared.kafka import Broker
from shared.settings import Settings

app = typer.Typer(
    help="What could not be read. Look at it, send it again once what stopped it is repaired, or drop it.",
    epilog="Example: imagectl dead-letters list",
    no_args_is_help=True,
)

_Offsets = Annotated[list[int] | None, typer.Argument(metavar="OFFSET", help="Dead letters, by their offsets.")]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Only those whose reason has this in it.")]
_Service = Annotated[str, typer.Option(metavar="SERVICE", help="Only those that this service wrote.")]
_All = Annotated[bool, typer.Option("--all", help="All of them, where nothing else is said.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")]


@app.command("list", epilog="Example: imagectl dead-letters list --json | jq '.[].reason'")
def list_(as_json: terminal.Json = False) -> None:
    """Show the dead letters that nobody has dealt with. They are counted by reason and service."""

    async def look(settings: Settings, _: Mapping[str, Feed]) -> Sequence[Group]:
        async with opening.opened(settings) as stores:
            return await letters.groups(settings, stores.marks)

    found = terminal.run(look)
    if as_json:
        terminal.print_json([dataclasses.asdict(group) for group in found])
    elif not found:
        terminal.say("there are no dead letters")
    else:
        table = Table("letters", "service", "topic", "newest (UTC)", "offset", "reason", box=None, header_style="bold")
        for one in found:
            newest = f"{one.newest:%Y-%m-%d %H:%M:%S}"
            table.add_row(f"{one.letters:,}", one.service, one.topic, newest, str(one.example), one.reason)
        terminal.show(table)


@app.command(epilog="Example: imagectl dead-letters show 17")
def show(
    offset: Annotated[int, typer.Argument(metavar="OFFSET", help="Its offset, as `list` shows it.")],
    as_json: terminal.Json = False,
) -> None:
    """Show one dead letter with all that can be decoded of it."""

    async def look(settings: Settings, _: Mapping[str, Feed]) -> DeadLetter | None:
        return await letters.one(settings, offset)

    found = terminal.run(look)
    if found is None:
        terminal.fail(f"there is no dead letter at offset {offset}; `imagectl dead-letters list` shows which there are")
    described = letters.described(found)
    if as_json:
        terminal.print_json(described)
        return
    for name, value in described.items():
        if name != "value":
            terminal.say(f"{name.replace('_', ' ')}: {value}")
    terminal.print_json(described["value"])


@app.command(epilog='Example: imagectl dead-letters requeue --reason "is not in feeds.toml"')
def requeue(
    offsets: _Offsets = None,
    reason: _Reason = "",
    service: _Service = "",
    everything: _All = False,
    dry_run: _DryRun = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Send dead letters again, to the topic they came from.

    Value and key are unchanged: repair first what stopped them. At a terminal, more than one record is asked about
    first.
    """
    chosen = _chosen(offsets, reason, service, everything=everything)

    async def send(settings: Settings, _: Mapping[str, Feed], *, dry_run: bool) -> Requeued:
        broker = Broker(settings.kafka)
        try:
            async with opening.opened(settings) as stores:
                with terminal.progress(quiet=as_json) as progress:
                    bar = progress.add_task("looking" if dry_run else "requeueing", total=None, done=0, unit="records")
                    return await letters.requeue(
                        settings, stores.marks, broker, chosen, dry_run=dry_run,
                        tell=lambda done: progress.update(bar, done=done),
                    )  # fmt: skip
        finally:
            await broker.close()

    asking = not dry_run and terminal.asks(yes=yes)
    done = terminal.run(partial(send, dry_run=dry_run or asking))
    if asking and done.sent:
        if done.sent > 1:
            terminal.ask(f"{done.sent:,} records are sent again, for {many(done.marked, 'dead letter')}. Send them?")
        done = terminal.run(partial(send, dry_run=False))
    if as_json:
        terminal.print_json({"sent": done.sent, "marked": done.marked, "refused": dict(done.refused)})
    else:
        sent = f"{many(done.sent, 'record')} would be" if dry_run else many(done.sent, "record was", "records were")
        terminal.say(f"{sent} sent again, for {many(done.marked, 'dead letter')}")
        for why, count in done.refused:
            terminal.say(f"{count:,} cannot be sent: {why}")
    if done.refused:
        raise typer.Exit(terminal.FAILED)


@app.command(epilog="Example: imagectl dead-letters drop 17 18 --yes")
def drop(
    offsets: _Offsets = None,
    reason: _Reason = "",
    service: _Service = "",
    everything: _All = False,
    dry_run: _DryRun = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Mark dead letters as dealt with, without sending them. Kafka keeps them until they expire."""
    chosen = _chosen(offsets, reason, service, everything=everything)
    if not dry_run:
        terminal.confirm("Dropped dead letters are not shown or counted any more.", yes=yes)

    async def mark(settings: Settings, _: Mapping[str, Feed]) -> int:
        async with opening.opened(settings) as stores:
            return await letters.drop(settings, stores.marks, chosen, dry_run=dry_run)

    dropped = terminal.run(mark)
    if as_json:
        terminal.print_json({"dropped": dropped})
    else:
        would = f"{many(dropped, 'dead letter')} would be"
        terminal.say(f"{would if dry_run else many(dropped, 'dead letter was', 'dead letters were')} dropped")


def _chosen(offsets: list[int] | None, reason: str, service: str, *, everything: bool) -> Chosen:
    chosen = Chosen(offsets=frozenset(offsets or ()), reason=reason, service=service)
    if chosen == Chosen() and not everything:
        terminal.fail("name offsets, or say --reason, --service or --all")
    return chosen
