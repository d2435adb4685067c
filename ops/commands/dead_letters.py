"""`imagectl dead-letters`: lists, shows, requeues and drops dead letters."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import typer
from rich.table import Table

from ops import dead_letters as letters
from ops import terminal
from ops.dead_letters import DeadLetter, DeadLetterFilter, Group, Requeued
from ops.stores import open_stores
from ops.words import counted
from shared.domain.feed import Feed
from shared.kafka import Broker
from shared.settings import Settings

app = typer.Typer(
    help="Show dead letters, requeue them, or drop them. Repair their cause before you requeue them.",
    epilog="Example: imagectl dead-letters list",
    no_args_is_help=True,
)

_Offsets = Annotated[list[int] | None, typer.Argument(metavar="OFFSET", help="Dead letters, by their offsets.")]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="Only those whose reason contains this text.")]
_Service = Annotated[str, typer.Option(metavar="SERVICE", help="Only those that this service wrote.")]
_All = Annotated[bool, typer.Option("--all", help="All of them; needed if no other filter is given.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")]


@app.command("list", epilog="Example: imagectl dead-letters list --json | jq '.[].reason'")
def list_(as_json: terminal.Json = False) -> None:
    """Show the dead letters that nobody has handled. They are counted by reason and service."""

    async def read(settings: Settings, _: Mapping[str, Feed]) -> Sequence[Group]:
        async with open_stores(settings) as stores:
            return await letters.groups(settings, stores.handled_dead_letters)

    groups = terminal.run(read)
    if as_json:
        terminal.print_json([dataclasses.asdict(group) for group in groups])
    elif not groups:
        terminal.print_line("there are no dead letters")
    else:
        table = Table("letters", "service", "topic", "newest (UTC)", "offset", "reason", box=None, header_style="bold")
        for group in groups:
            newest = f"{group.newest:%Y-%m-%d %H:%M:%S}"
            table.add_row(f"{group.letters:,}", group.service, group.topic, newest, str(group.example), group.reason)
        terminal.print_table(table)


@app.command(epilog="Example: imagectl dead-letters show 17")
def show(
    offset: Annotated[int, typer.Argument(metavar="OFFSET", help="Its offset, as `list` shows it.")],
    as_json: terminal.Json = False,
) -> None:
    """Show one dead letter, its value decoded if possible."""

    async def read(settings: Settings, _: Mapping[str, Feed]) -> DeadLetter | None:
        return await letters.at_offset(settings, offset)

    letter = terminal.run(read)
    if letter is None:
        terminal.fail(f"there is no dead letter at offset {offset}; `imagectl dead-letters list` shows which there are")
    facts = letters.to_json(letter)
    if as_json:
        terminal.print_json(facts)
        return
    for name, value in facts.items():
        if name != "value":
            terminal.print_line(f"{name.replace('_', ' ')}: {value}")
    terminal.print_json(facts["value"])


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

    Value and key are unchanged: first repair what made them dead letters. At a terminal, the command asks before it
    sends more than one record.
    """
    selected = _selected(offsets, reason, service, everything=everything)
    asks = not dry_run and terminal.is_to_ask(yes=yes)
    requeue_all = partial(_requeue, selected, quiet=as_json)
    done = terminal.run(partial(requeue_all, dry_run=dry_run or asks))
    if asks and done.sent:
        if done.sent > 1:
            terminal.ask(f"{done.sent:,} records are sent again, for {counted(done.marked, 'dead letter')}. Send them?")
        done = terminal.run(partial(requeue_all, dry_run=False))
    if as_json:
        terminal.print_json({"sent": done.sent, "marked": done.marked, "refused": dict(done.refused)})
    else:
        would = f"{counted(done.sent, 'record')} would be"
        sent = would if dry_run else counted(done.sent, "record was", "records were")
        terminal.print_line(f"{sent} sent again, for {counted(done.marked, 'dead letter')}")
        for why, count in done.refused:
            terminal.print_line(f"{count:,} cannot be sent: {why}")
    if done.refused:
        raise typer.Exit(terminal.FAILED)


async def _requeue(
    selected: DeadLetterFilter, settings: Settings, _: Mapping[str, Feed], *, dry_run: bool, quiet: bool
) -> Requeued:
    """Requeue the selected dead letters, show the progress unless `quiet`, and return the counts.

    A dry run only counts. Raises BrokerUnavailable if Kafka does not answer, and StoreUnavailable if MongoDB does not.
    """
    broker = Broker(settings.kafka)
    try:
        async with open_stores(settings) as stores:
            with terminal.progress(quiet=quiet) as progress:
                bar = progress.add_task("looking" if dry_run else "requeueing", total=None, done=0, unit="records")
                return await letters.requeue(
                    settings, stores.handled_dead_letters, broker, selected, dry_run=dry_run,
                    on_progress=lambda sent: progress.update(bar, done=sent),
                )  # fmt: skip
    finally:
        await broker.close()


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
    """Mark dead letters as handled, without sending them. Kafka keeps them until they expire."""
    selected = _selected(offsets, reason, service, everything=everything)
    if not dry_run:
        terminal.require_consent("Dropped dead letters are not shown or counted any more.", yes=yes)

    async def mark(settings: Settings, _: Mapping[str, Feed]) -> int:
        async with open_stores(settings) as stores:
            return await letters.drop(settings, stores.handled_dead_letters, selected, dry_run=dry_run)

    dropped = terminal.run(mark)
    if as_json:
        terminal.print_json({"dropped": dropped})
    else:
        would = f"{counted(dropped, 'dead letter')} would be"
        were = counted(dropped, "dead letter was", "dead letters were")
        terminal.print_line(f"{would if dry_run else were} dropped")


def _selected(offsets: list[int] | None, reason: str, service: str, *, everything: bool) -> DeadLetterFilter:
    """Return the filter that the options make.

    Ends the process if the filter selects all dead letters and `everything`, the option `--all`, is False.
    """
    selected = DeadLetterFilter(offsets=frozenset(offsets or ()), reason=reason, service=service)
    if selected == DeadLetterFilter() and not everything:
        terminal.fail("name offsets, or say --reason, --service or --all")
    return selected
