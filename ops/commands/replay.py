"""`imagectl replay` and `export`: events once more, or into a file."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops import estimate, replay_plan, terminal, words
from ops import export as exporting
from ops import replay as replaying
from ops import stores as opening
from ops.export import NotExported
from ops.replay import CARRIES, Filter, Replayed, Source
from ops.replay_plan import Plan
from shared import kafka
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.events.topics import MANIFEST
from shared.kafka import Broker, OffsetRange
from shared.origin_budget.reading import read_use
from shared.settings import Settings

app = typer.Typer()

_Since = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="From when: 2026-11-23T09:00 (UTC), or how long ago, as 2h."),
]
_Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Until when, the same way; now if not given.")]
_Topic = Annotated[str, typer.Argument(metavar="TOPIC", help=f"One of {', '.join(CARRIES)}.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asked for."""

    topic: str
    since: datetime | None
    until: datetime | None
    file: Path | None = None
    resume: Sequence[OffsetRange] | None = None
    wanted: Filter = field(default_factory=Filter)


@app.command(epilog="Example: imagectl replay listing-seen --from 6h --feed proptx-idx --dry-run")
def replay(
    topic: _Topic,
    since: _Since = None,
    until: _Until = None,
    listing: Annotated[str | None, typer.Option(metavar="LISTING", help="Only the events of this ListingKey.")] = None,
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="Only the events of this feed.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the events from a file that `export` wrote.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, metavar="N", help="At most so many a second; 0 is as fast as Kafka takes them.")
    ] = 200.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change and what it costs, publish nothing.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="SPANS", help="Go on where an interrupted replay said that it stopped.")
    ] = None,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Publish events again, value and key unchanged.

    That is for after a fault, a lost database, a repaired feed. It does no harm: what is recorded already changes
    nothing. The dry run says what the rest would cost.
    """
    if topic not in CARRIES:
        terminal.fail(f"{topic!r} cannot be replayed; there is {', '.join(CARRIES)}. Dead letters are requeued.")
    if not (since or file or resume):
        terminal.fail("say --from, --file or --resume")
    if file and not file.is_file():
        terminal.fail(f"{file} is not a file")
    left = terminal.read_as(replaying.parse_spans, resume) if resume else None
    asked = _Asked(topic, _moment(since), _moment(until), file, left, Filter(listing_key=listing, feed=feed))
    try:
        if dry_run:
            plan = terminal.run(lambda settings, feeds: _plan(settings, feeds, asked, quiet=as_json))
            _show_plan(*plan, as_json=as_json)
        else:
            terminal.confirm(f"The events of {topic} are published again.", yes=yes)
            _publish(asked, rate, as_json=as_json)
    except NotExported as fault:
        terminal.fail(f"{file}: {fault}")


def _publish(asked: _Asked, rate: float, *, as_json: bool) -> None:
    done = Replayed([])
    terminal.run(
        lambda settings, _: _run(settings, asked, rate, done, quiet=as_json),
        lambda: f"{done.published:,} published; go on with --resume {replaying.spans_text(done.left)}",
    )
    if as_json:
        terminal.print_json({"published": done.published, "looked_at": done.looked_at})
    else:
        terminal.say(f"published {done.published:,} of {words.many(done.looked_at, 'event')} again")


@app.command(epilog="Example: imagectl export listing-seen --from 2h > listings.ndjson")
def export(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Any topic of this system, dead-letter too.")],
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Write events to standard output, a JSON object a line.

    That is as `replay --file` reads them. Replayed, an event is as old as its `at`: take that out of a line that you
    change, and it is said now.
    """
    names = [one.name for one in MANIFEST]
    if topic not in names:
        terminal.fail(f"there is no topic {topic!r}; there is {', '.join(names)}")
    asked = _Asked(topic, _moment(since), _moment(until))

    async def write(settings: Settings, _: Mapping[str, Feed]) -> None:
        source = await _source(settings, asked)
        with terminal.progress(quiet=sys.stdout.isatty()) as progress:
            bar = progress.add_task("exporting", total=source.events, done=0, unit="events")
            written = 0
            async for records in source.read(source.spans):
                sys.stdout.buffer.write(b"".join(map(exporting.line, records)))
                written += len(records)
                progress.update(bar, completed=written, done=written)
        sys.stdout.buffer.flush()

    terminal.run(write)


def _moment(text: str | None) -> datetime | None:
    return terminal.read_as(lambda given: words.moment(given, utc_now()), text) if text else None


async def _source(settings: Settings, asked: _Asked) -> Source:
    """Find the events asked for. Raises BrokerUnavailable and OSError."""
    full = settings.topic(asked.topic)
    if asked.file:
        source = exporting.from_file(asked.file)
        return Source(asked.resume or source.spans, source.read)
    spans = asked.resume or await kafka.offset_ranges(settings.kafka, full, asked.since, asked.until)
    return replaying.from_topic(settings.kafka, full, spans)


async def _plan(
    settings: Settings, feeds: Mapping[str, Feed], asked: _Asked, *, quiet: bool
) -> tuple[Plan, dict[str, dict[str, Any]]]:
    """Plan, and say what the downloads of each feed cost."""
    async with opening.opened(settings) as stores:
        source = await _source(settings, asked)
        with terminal.progress(quiet=quiet) as progress:
            bar = progress.add_task("planning", total=source.events, done=0, unit="events")
            found = await replay_plan.plan(
                asked.topic, source, asked.wanted, stores.listings, feeds, utc_now(),
                lambda done: progress.update(bar, completed=done, done=done),
            )  # fmt: skip
        costs = dict[str, dict[str, Any]]()
        for name, downloads in found.downloads.items():
            use, expected = await read_use(stores.ledgers, feeds[name]), found.bytes_expected(name)
            seconds = estimate.seconds_for(max(0, downloads), expected, feeds[name], use)
            costs[name] = {"downloads": downloads, "bytes_expected": expected, "seconds_at_least": seconds}
    return found, costs


async def _run(settings: Settings, asked: _Asked, rate: float, done: Replayed, *, quiet: bool) -> None:
    source, broker = await _source(settings, asked), Broker(settings.kafka)
    done.left = list[OffsetRange](source.spans)
    try:
        with terminal.progress(quiet=quiet) as progress:
            bar = progress.add_task("publishing", total=source.events, done=0, unit="events")
            await replaying.run(
                asked.topic, settings.topic(asked.topic), source, asked.wanted, broker, rate, done,
                lambda: progress.update(bar, completed=done.looked_at, done=done.published),
            )  # fmt: skip
    finally:
        await broker.close()


def _show_plan(found: Plan, costs: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json({**dataclasses.asdict(found), "downloads": costs})
        return
    terminal.say(f"{words.many(found.events, 'event')}: {found.changing:,} with news, {found.unchanged:,} without")
    for name, cost in costs.items():
        much = f"about {words.size(cost['bytes_expected'])}, at least {words.lasting(cost['seconds_at_least'])}"
        terminal.say(f"{name}: {words.many(cost['downloads'], 'download')} more, {much} within the budget")
    effects = (
        (found.listings_hidden, "listing", "would be hidden, and every copy removed"),
        (found.listings_shown, "hidden listing", "would be shown"),
        (found.photos_withdrawn, "photo", "would be withdrawn, and every copy removed"),
    )
    for count, what, effect in effects:
        if count:
            terminal.say(f"{words.many(count, what)} {effect}")
    for reason, count in found.unreadable.most_common():
        terminal.say(f"{count:,} cannot be read, and would become dead letters: {reason}")
