"""`imagectl replay` and `imagectl export`: publish events again, or write them to standard output."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops import estimate, replay_plan, terminal, words
from ops import export as exporting
from ops import replay as replaying
from ops.export import NotExported
from ops.replay import EVENT_TYPES, EventFilter, EventSource, Replay, ReplayProgress
from ops.replay_plan import ReplayPlan
from ops.stores import open_stores
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
_Topic = Annotated[str, typer.Argument(metavar="TOPIC", help=f"One of {', '.join(EVENT_TYPES)}.")]


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """The arguments and options of `imagectl replay`, as Typer reads them."""

    topic: _Topic
    since: _Since = None
    until: _Until = None
    listing: Annotated[str | None, typer.Option(metavar="LISTING", help="Only the events of this ListingKey.")] = None
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="Only the events of this feed.")] = None
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the events from a file that `export` wrote.")
    ] = None
    rate: Annotated[
        float, typer.Option(min=0, metavar="N", help="The most events published in a second; 0: no limit.")
    ] = 200.0
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change and what it costs, publish nothing.")
    ] = False
    resume: Annotated[
        str | None, typer.Option(metavar="SPANS", help="The offsets that an interrupted replay printed.")
    ] = None
    yes: terminal.Yes = False
    as_json: terminal.Json = False


@dataclass(frozen=True, slots=True)
class _Range:
    """Names the events of one replay: those of a topic in a period, those of a file, or what is left of either.

    `topic` has no prefix. `since` and `until` are the period's begin and end; None means no bound. If `file` is given,
    the events are read from the file instead of the topic. `resume` has the offsets that an interrupted replay has not
    published yet: only these events are read, whatever the period is. `resume` is None for a new replay.
    """

    topic: str
    since: datetime | None
    until: datetime | None
    file: Path | None = None
    resume: Sequence[OffsetRange] | None = None

    async def source(self, settings: Settings) -> EventSource:
        """Return the source of these events: the file, or the topic in Kafka. No event is read yet.

        The offsets of a period are asked of Kafka: raises BrokerUnavailable if Kafka does not answer. Raises OSError if
        the file cannot be read.
        """
        if self.file:
            source = exporting.from_file(self.file)
            return EventSource(self.resume or source.ranges, source.read)
        full_topic = settings.topic(self.topic)
        ranges = self.resume or await kafka.offset_ranges(settings.kafka, full_topic, self.since, self.until)
        return replaying.from_topic(settings.kafka, full_topic, ranges)


@app.command(epilog="Example: imagectl replay listing-seen --from 6h --feed proptx-idx --dry-run")
@terminal.with_options(ReplayOptions)
def replay(options: ReplayOptions) -> None:
    """Publish events again, value and key unchanged.

    Run it after a fault, a lost database or a repaired feed. It does no harm: events that are recorded already change
    nothing. The dry run says what the others would change and cost.
    """
    events = _checked(options)
    try:
        if options.dry_run:
            plan, costs = terminal.run(lambda settings, feeds: _plan(settings, feeds, events, options))
            _print_plan(plan, costs, as_json=options.as_json)
        else:
            terminal.require_consent(f"The events of {options.topic} are published again.", yes=options.yes)
            _publish(events, options)
    except NotExported as error:
        terminal.fail(f"{options.file}: {error}")


def _checked(options: ReplayOptions) -> _Range:
    """Return the range of events that the options name. Ends the process if the options are incomplete or wrong."""
    if options.topic not in EVENT_TYPES:
        topics = ", ".join(EVENT_TYPES)
        terminal.fail(f"{options.topic!r} cannot be replayed; there is {topics}. Dead letters are requeued.")
    if not (options.since or options.file or options.resume):
        terminal.fail("say --from, --file or --resume")
    if options.file and not options.file.is_file():
        terminal.fail(f"{options.file} is not a file")
    resume = terminal.parse(replaying.parse_ranges, options.resume) if options.resume else None
    return _Range(options.topic, _time(options.since), _time(options.until), options.file, resume)


def _time(text: str | None) -> datetime | None:
    return terminal.parse(lambda given: words.parse_time(given, utc_now()), text) if text else None


async def _replay(settings: Settings, events: _Range, options: ReplayOptions) -> Replay:
    source = await events.source(settings)
    return Replay(events.topic, source, EventFilter(listing_key=options.listing, feed=options.feed))


async def _plan(
    settings: Settings, feeds: Mapping[str, Feed], events: _Range, options: ReplayOptions
) -> tuple[ReplayPlan, dict[str, dict[str, Any]]]:
    """Return the plan of the replay, and the cost of its downloads by the feeds' names; show the progress.

    A cost has `downloads`, their number; `bytes_expected`, about how many bytes they receive (None if unknown); and
    `seconds_at_least`, how long they take at least. A feed without downloads may be absent. Raises BrokerUnavailable
    if Kafka does not answer, and StoreUnavailable if MongoDB does not. Raises OSError if the events' file cannot be
    read, and NotExported for a wrong line in it.
    """
    async with open_stores(settings) as stores:
        replay = await _replay(settings, events, options)
        with terminal.progress(quiet=options.as_json) as progress:
            bar = progress.add_task("planning", total=replay.source.size, done=0, unit="events")
            plan = await replay_plan.plan(
                replay, stores.listings, feeds, utc_now(),
                lambda planned: progress.update(bar, completed=planned, done=planned),
            )  # fmt: skip
        costs = dict[str, dict[str, Any]]()
        for name, downloads in plan.downloads.items():
            expected = plan.bytes_expected(name)
            use = await read_use(stores.ledgers, feeds[name])
            seconds = estimate.seconds_for(max(0, downloads), expected, feeds[name], use)
            costs[name] = {"downloads": downloads, "bytes_expected": expected, "seconds_at_least": seconds}
    return plan, costs


def _publish(events: _Range, options: ReplayOptions) -> None:
    """Publish the events again, and print how many. A replay that is interrupted prints how to resume it."""
    progress = ReplayProgress([])
    terminal.run(
        lambda settings, _: _publish_all(settings, events, options, progress),
        lambda: f"{progress.published:,} published; go on with --resume {replaying.ranges_text(progress.remaining)}",
    )
    if options.as_json:
        terminal.print_json({"published": progress.published, "looked_at": progress.read})
    else:
        terminal.print_line(f"published {progress.published:,} of {words.counted(progress.read, 'event')} again")


async def _publish_all(settings: Settings, events: _Range, options: ReplayOptions, progress: ReplayProgress) -> None:
    replay, broker = await _replay(settings, events, options), Broker(settings.kafka)
    progress.remaining = list(replay.source.ranges)
    try:
        with terminal.progress(quiet=options.as_json) as bars:
            bar = bars.add_task("publishing", total=replay.source.size, done=0, unit="events")
            await replaying.publish(
                replay, settings.topic(replay.topic), broker, options.rate, progress,
                lambda: bars.update(bar, completed=progress.read, done=progress.published),
            )  # fmt: skip
    finally:
        await broker.close()


def _print_plan(plan: ReplayPlan, costs: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        terminal.print_json(replay_plan.to_json(plan, costs))
        return
    terminal.print_line(
        f"{words.counted(plan.events, 'event')}: {plan.changing:,} with news, {plan.unchanged:,} without"
    )
    for name, cost in costs.items():
        size_and_time = (
            f"about {words.size_text(cost['bytes_expected'])}, at least {words.duration_text(cost['seconds_at_least'])}"
        )
        terminal.print_line(
            f"{name}: {words.counted(cost['downloads'], 'download')} more, {size_and_time} within the budget"
        )
    effects = (
        (plan.listings_hidden, "listing", "would be hidden, and every copy removed"),
        (plan.listings_shown, "hidden listing", "would be shown"),
        (plan.photos_withdrawn, "photo", "would be withdrawn, and every copy removed"),
    )
    for count, what, effect in effects:
        if count:
            terminal.print_line(f"{words.counted(count, what)} {effect}")
    for reason, count in plan.unreadable.most_common():
        terminal.print_line(f"{count:,} cannot be read, and would become dead letters: {reason}")


@app.command(epilog="Example: imagectl export listing-seen --from 2h > listings.ndjson")
def export(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Any topic of this system, dead-letter too.")],
    since: _Since = None,
    until: _Until = None,
) -> None:
    """Write events to standard output, a JSON object a line.

    `replay --file` reads these lines. A replayed event keeps the time in `at`. Remove `at` from a line that you
    change: the event then has the time of the replay.
    """
    names = [manifest_topic.name for manifest_topic in MANIFEST]
    if topic not in names:
        terminal.fail(f"there is no topic {topic!r}; there is {', '.join(names)}")
    events = _Range(topic, _time(since), _time(until))

    async def write(settings: Settings, _: Mapping[str, Feed]) -> None:
        source = await events.source(settings)
        with terminal.progress(quiet=sys.stdout.isatty()) as progress:
            bar = progress.add_task("exporting", total=source.size, done=0, unit="events")
            written = 0
            async for records in source.read(source.ranges):
                sys.stdout.buffer.write(b"".join(map(exporting.to_line, records)))
                written += len(records)
                progress.update(bar, completed=written, done=written)
        sys.stdout.buffer.flush()

    terminal.run(write)
