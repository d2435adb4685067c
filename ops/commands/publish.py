"""`imagectl publish`: publishes the property records of a file, as an ingest would."""

import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import Progress, TaskID

from ops import terminal
from ops.words import counted
from shared import property_records
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.events.listings import ListingSeen
from shared.kafka import Broker
from shared.property_records import PropertyRecord, Unusable
from shared.publisher import Publisher
from shared.settings import Settings

_BATCH_SIZE = 100
_MAX_LINES = 20
_STANDARD_INPUT = Path("-")

app = typer.Typer()


@app.command(epilog="Example: imagectl publish listings.ndjson --feed proptx-idx")
def publish(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="NDJSON, a JSON array, or OData pages of RESO Property records; - for standard input."
        ),
    ],
    feed: Annotated[str, typer.Option(metavar="FEED", help="The feed in feeds.toml that the records belong to.")],
    as_json: terminal.Json = False,
) -> None:
    """Publish listings from a file, as an ingest would. Each is a `listing-seen` event."""

    async def send(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[int, list[Unusable]]:
        terminal.select_feeds(feed, feeds, settings)
        broker = Broker(settings.kafka)
        try:
            publisher = Publisher(broker, settings.topic_prefix, "imagectl", utc_now)
            with _opened(file) as records, terminal.progress(quiet=as_json) as progress:
                size = records.seek(0, 2)
                records.seek(0)
                bar = progress.add_task("publishing", total=size, done=0, unit="listings")
                return await _publish_file(publisher, records, feed, progress, bar)
        finally:
            await broker.close()

    if file != _STANDARD_INPUT and not file.is_file():
        terminal.fail(f"{file} is not a file")
    published, unusable = terminal.run(send)
    if as_json:
        terminal.print_json({"published": published, "unusable": [dataclasses.asdict(part) for part in unusable]})
    else:
        for part in unusable[:_MAX_LINES]:
            terminal.err.print(f"{part.where}: {part.reason}", markup=False, highlight=False, soft_wrap=True)
        terminal.print_line(
            f"published {counted(published, 'listing')}" + (f", left out {len(unusable):,}" if unusable else "")
        )
    if unusable or not published:
        raise typer.Exit(terminal.FAILED)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and close it at the end of the context.

    For `-`, copy standard input to a temporary file, and yield the temporary file: the reader of records must be able
    to seek.
    """
    if file != _STANDARD_INPUT:
        with file.open("rb") as opened:
            yield opened
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        yield copy


async def _publish_file(
    publisher: Publisher, file: IO[bytes], feed: str, progress: Progress, bar: TaskID
) -> tuple[int, list[Unusable]]:
    """Publish a file's records in batches; return how many were published, and the parts that cannot be used.

    `feed` is the name of the feed that the records belong to. `bar` is the task of `progress` that shows how many
    records are published and how many bytes are read. Raises BrokerUnavailable if Kafka does not take a record, and
    OSError if the file cannot be read.
    """
    unusable: list[Unusable] = []
    published = 0
    records = _usable(file, unusable, progress, bar)
    while batch := [ListingSeen(feed=feed, record=record) for record in islice(records, _BATCH_SIZE)]:
        await publisher.publish(batch)
        published += len(batch)
        progress.update(bar, done=published)
    return published, unusable


def _usable(file: IO[bytes], unusable: list[Unusable], progress: Progress, bar: TaskID) -> Iterator[PropertyRecord]:
    """Yield the records of a file that can be published; append each other part, with its reason, to `unusable`.

    The list `unusable` is complete once the last record was yielded. `bar` is the task of `progress` that shows how
    many bytes are read. Raises OSError if the file cannot be read.
    """
    for row in property_records.read(file, lambda read_bytes: progress.update(bar, completed=read_bytes)):
        if isinstance(row, Unusable):
            unusable.append(row)
        elif fault := property_records.why_unsendable(row):
            name = str(row["ListingKey"])[:100].encode(errors="replace").decode()
            unusable.append(Unusable(name, fault))
        else:
            yield row
