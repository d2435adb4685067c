"""What an operator does from a terminal. Every command says what it did; `--json` says it to machines."""

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from dotenv import dotenv_values
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from ops import explain as explaining
from ops import listings_file
from ops import rebuild as rebuilding
from ops import status as standing
from ops.listings_file import Unusable
from shared import kafka
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.domain.variants import rendering
from shared.events.listings import ListingSeen
from shared.events.topics import MANIFEST, MOST_BYTES
from shared.kafka import Broker, BrokerUnavailable
from shared.publisher import Publisher
from shared.render import Renderer
from shared.settings import Settings, SettingsInvalid, load
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.listings import FeedCounts
from shared.stores.minio_objects import MinioObjects

Result = TypeVar("Result")
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

FAILED, UNUSABLE_SETTINGS = 1, 2
LOCAL_STACK = Path(".local/stack.env")
_SERVERS = ("IMAGES_KAFKA", "IMAGES_MONGO", "IMAGES_S3_ENDPOINT")
_HINT = "Is it running, and do the settings name it? `imagectl config` shows them; `make up` starts a stack."
_AT_ONCE = 100
_MOST_SHOWN = 20

app = typer.Typer(
    name="imagectl",
    help="Operate listing-images. Settings come from the environment and `.env`, or from the stack that `make up` "
    "started here where neither names a server.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
topics_app = typer.Typer(help="The Kafka topics and their manifest.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")

out = Console()
err = Console(stderr=True)


@app.command(epilog="Example: imagectl init")
def init(as_json: Json = False) -> None:
    """Create what is missing of topics, buckets and indexes. Running it again does no harm."""

    async def create(settings: Settings, _: Mapping[str, Feed]) -> dict[str, Any]:
        async with AsyncExitStack() as closing:
            objects = MinioObjects(settings)
            closing.callback(objects.close)
            database = await closing.enter_async_context(
                mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
            )
            return {
                "topics": await kafka.apply_topics(settings.kafka, settings.topic_prefix, MANIFEST),
                "buckets": list(await objects.apply_buckets()),
                "indexes": await mongo.apply_indexes(database),
            }

    done = _run(create)
    if as_json:
        _print_json(done)
    else:
        created = [name for name, what in done["topics"].items() if what == "created"]
        out.print(f"topics: {len(done['topics'])} as they should be, {len(created)} of them new")
        out.print(f"buckets: {', '.join(done['buckets'])}")
        out.print(f"indexes: {len(done['indexes'])} as they should be")


@app.command(epilog="Example: imagectl publish listings.ndjson --feed proptx-idx")
def publish(
    file: Annotated[Path, typer.Argument(help="NDJSON, a JSON array, or OData pages of RESO Property records.")],
    feed: Annotated[str, typer.Option(help="The feed in feeds.toml that they belong to.")],
    as_json: Json = False,
) -> None:
    """Publish listings from a file as `listing-seen` events, as an ingest would."""

    async def send(settings: Settings, feeds: Mapping[str, Feed]) -> tuple[int, list[Unusable]]:
        if feed not in feeds:
            _fail(f"there is no feed {feed!r} in {settings.feeds}; it has {', '.join(feeds)}")
        broker = Broker(settings.kafka)
        try:
            publisher = Publisher(broker, settings.topic_prefix, "imagectl", utc_now)
            with _progress(quiet=as_json) as progress:
                bar = progress.add_task("publishing", total=size, listings=0)
                return await _publish_file(publisher, file, feed, progress, bar)
        finally:
            await broker.close()

    if not file.is_file():
        _fail(f"{file} is not a file")
    size = file.stat().st_size
    published, unusable = _run(send)
    if as_json:
        _print_json({"published": published, "unusable": [dataclasses.asdict(one) for one in unusable]})
    else:
        for one in unusable[:_MOST_SHOWN]:
            err.print(f"{one.where}: {one.reason}", markup=False)
        out.print(f"published {published:,} listings" + (f", left out {len(unusable):,}" if unusable else ""))
    if unusable or not published:
        raise typer.Exit(FAILED)


async def _publish_file(
    publisher: Publisher, file: Path, feed: str, progress: Progress, bar: TaskID
) -> tuple[int, list[Unusable]]:
    unusable: list[Unusable] = []
    published = 0
    records = _usable(file, unusable, progress, bar)
    while batch := [ListingSeen(feed=feed, record=record) for record in islice(records, _AT_ONCE)]:
        await publisher.publish(batch)
        published += len(batch)
        progress.update(bar, listings=published)
    return published, unusable


def _usable(file: Path, unusable: list[Unusable], progress: Progress, bar: TaskID) -> Iterator[listings_file.Record]:
    for row in listings_file.read(file, lambda read: progress.update(bar, completed=read)):
        if isinstance(row, Unusable):
            unusable.append(row)
        elif len(json.dumps(row)) > MOST_BYTES - 1_000:
            name = str(row["ListingKey"])[:100]
            unusable.append(Unusable(name, f"larger than a record may be, {MOST_BYTES:,} bytes"))
        else:
            yield row


@app.command(epilog="Example: imagectl status --json | jq .feeds")
def status(as_json: Json = False) -> None:
    """Show every feed's listings, images and queue, what each service has yet to read, and the dead letters."""

    async def look(settings: Settings, feeds: Mapping[str, Feed]) -> standing.Status:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            return await standing.gather(settings, feeds, listings)

    found = _run(look)
    if as_json:
        _print_json(dataclasses.asdict(found))
    else:
        _print_status(found)


def _late(counts: FeedCounts, at: datetime) -> str:
    if counts.oldest_due_at is None or counts.oldest_due_at > at:
        return "-"
    return f"{(at - counts.oldest_due_at).total_seconds():,.0f} s late"


_ROWS: Mapping[str, Callable[[FeedCounts, datetime], str]] = {
    "listings": lambda counts, _: f"{counts.listings:,}",
    "  displayed": lambda counts, _: f"{counts.displayed:,}",
    **{f"images {one}": lambda counts, _, one=one: f"{counts.images.get(one, 0):,}" for one in Status},  # type: ignore[misc]
    **{f"queued {one}": lambda counts, _, one=one: f"{counts.queued.get(one, 0):,}" for one in Priority},  # type: ignore[misc]
    "  of them in work": lambda counts, _: f"{counts.in_work:,}",
    "oldest due": _late,
}


def _print_status(found: standing.Status) -> None:
    table = Table("", box=None, header_style="bold")
    for name in found.feeds:
        table.add_column(name, justify="right")
    for what, show in _ROWS.items():
        table.add_row(what, *(show(counts, found.at) for counts in found.feeds.values()))
    out.print(table)
    for service, topics in found.lag.items():
        behind = ", ".join(f"{topic} {records:,}" for topic, records in topics.items())
        out.print(f"{service}: to read {behind}", highlight=False)
    out.print(f"dead letters: {found.dead_letters:,}", highlight=False)


@app.command(epilog="Example: imagectl explain C12000001")
def explain(
    what: Annotated[str, typer.Argument(help="A ListingKey, an image's id, or a URL that the MLS announced.")],
    as_json: Json = False,
) -> None:
    """Say why a listing or a photo is as it is: what the MLS said, every attempt, what happens next and when."""

    async def look(settings: Settings, feeds: Mapping[str, Feed]) -> list[dict[str, Any]]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            renderer = Renderer(settings.public_root)
            found, image = await explaining.find(mongo.MongoListings(database, renderer), what)
            now, explained = utc_now(), list[dict[str, Any]]()
            for listing in found:
                attempts = await explaining.history(mongo.MongoAttempts(database), listing)
                feed = feeds.get(listing.feed) or Feed(name=listing.feed, image_hosts=())
                photos = [
                    dataclasses.asdict(explaining.of_photo(listing, photo, attempts, feed, renderer, now))
                    for photo in listing.photos
                    if image in (None, photo.id)
                ]
                facts = {"feed": listing.feed, "listing_key": listing.key, "displayed": listing.is_displayed}
                explained.append({**facts, "lines": list(explaining.of_listing(listing, now)), "photos": photos})
            return explained

    found = _run(look)
    if not found:
        _fail("nothing is recorded under this ListingKey, image id or URL; was the listing ever published?")
    if as_json:
        _print_json(found)
        return
    for listing in found:
        for line in [*listing["lines"], *(line for photo in listing["photos"] for line in photo["lines"])]:
            out.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example: imagectl config --json")
def config(as_json: Json = False) -> None:
    """Show every setting in force, secrets hidden, and each feed's rules."""
    settings, feeds = _load()
    shown = {f"IMAGES_{name.upper()}": _plain(value) for name, value in settings}
    shown["IMAGES_VARIANTS"] = ",".join(map(str, settings.variants))
    rules = {feed.name: _rules(feed) for feed in feeds.values()}
    if as_json:
        _print_json({"settings": shown, "feeds": rules})
        return
    for name, value in shown.items():
        out.print(f"{name}={value}", markup=False, highlight=False, soft_wrap=True)
    for name, feed_rules in rules.items():
        out.print(f"\n[feeds.{name}]", markup=False, highlight=False)
        for key, value in feed_rules.items():
            out.print(f"{key} = {json.dumps(value)}", markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example: imagectl rebuild --dry-run")
def rebuild(
    feed: Annotated[str | None, typer.Option(help="One feed of feeds.toml; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make the variants anew after IMAGES_VARIANTS changed, from the stored originals, without asking the MLS."""

    async def go_through(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, rebuilding.Rebuilt]:
        if feed is not None and feed not in feeds:
            _fail(f"there is no feed {feed!r} in {settings.feeds}; it has {', '.join(feeds)}")
        names = [feed] if feed else list(feeds)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            total = sum([(await listings.counts(name, utc_now())).listings for name in names])
            wanted, done = rendering(settings.variants), dict[str, rebuilding.Rebuilt]()
            with _progress(quiet=as_json) as progress:
                bar = progress.add_task("looking", total=total, listings=0)
                for name in names:
                    before = sum(one.looked_at for one in done.values())

                    def tell(so_far: rebuilding.Rebuilt, before: int = before) -> None:
                        looked_at = before + so_far.looked_at
                        progress.update(bar, completed=looked_at, listings=looked_at)

                    done[name] = await rebuilding.rebuild(listings, name, wanted, utc_now, dry_run=dry_run, tell=tell)
        return done

    done = _run(go_through)
    if as_json:
        _print_json({name: dataclasses.asdict(one) for name, one in done.items()})
        return
    for name, one in done.items():
        what = "would be made anew" if dry_run else "are due, to be made anew"
        out.print(f"{name}: {one.photos:,} photos of {one.listings:,} listings {what}", highlight=False)


@topics_app.command("apply", epilog="Example: imagectl topics apply")
def topics_apply(as_json: Json = False) -> None:
    """Create the topics that are missing and set the retention of all."""

    async def apply(settings: Settings, _: Mapping[str, Feed]) -> dict[str, str]:
        return await kafka.apply_topics(settings.kafka, settings.topic_prefix, MANIFEST)

    done = _run(apply)
    if as_json:
        _print_json(done)
    else:
        for name, what in done.items():
            out.print(f"{name}: {what}", highlight=False)


def _run(command: Callable[[Settings, Mapping[str, Feed]], Awaitable[Result]]) -> Result:
    """Run a command with the settings; what is out of reach is said in one line, not as a traceback."""
    settings, feeds = _load()

    async def run() -> Result:
        return await command(settings, feeds)

    try:
        return asyncio.run(run())
    except (BrokerUnavailable, StoreUnavailable) as fault:
        _fail(f"{fault}\n{_HINT}")
    except OSError as fault:
        _fail(str(fault))
    except KeyboardInterrupt:
        _fail("interrupted; running it again does no harm", code=130)


def _load() -> tuple[Settings, Mapping[str, Feed]]:
    _use_local_stack()
    try:
        return load()
    except SettingsInvalid as invalid:
        _fail("\n".join(invalid.faults), code=UNUSABLE_SETTINGS)


def _use_local_stack() -> None:
    """Take the settings of the stack that was started here, unless a server is named."""
    if not any(name in os.environ or dotenv_values(".env").get(name) for name in _SERVERS):
        for name, value in dotenv_values(LOCAL_STACK).items():
            os.environ.setdefault(name, value or "")


def _fail(message: str, code: int = FAILED) -> NoReturn:
    err.print(f"imagectl: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _progress(*, quiet: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[listings]:,} listings"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, disable=quiet)


def _rules(feed: Feed) -> dict[str, Any]:
    """A feed's table; the values of its headers are hidden, for one may carry a key."""
    hidden = dataclasses.replace(feed, headers=dict.fromkeys(feed.headers, "**********"))
    return {key: _plain(value) for key, value in dataclasses.asdict(hidden).items() if key != "name"}


def _plain(value: Any) -> Any:
    """Make a value fit for JSON; a secret prints as asterisks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, (bool, int, float)) else str(value)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, default=str, indent=2) + "\n")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
