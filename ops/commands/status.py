"""`imagectl status`: how everything stands."""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime

import typer
from rich.table import Table

from ops import status as standing
from ops import terminal
from shared.domain.feed import Feed
from shared.domain.image import Status
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.listings import FeedCounts

app = typer.Typer()


@app.command(epilog="Example: imagectl status --json | jq .feeds")
def status(as_json: terminal.Json = False) -> None:
    """Show every feed's listings, images and queue, what each service has yet to read, and the dead letters."""

    async def look(settings: Settings, feeds: Mapping[str, Feed]) -> standing.Status:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            return await standing.gather(settings, feeds, listings)

    found = terminal.run(look)
    if as_json:
        terminal.print_json(dataclasses.asdict(found))
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
    terminal.out.print(table)
    for service, topics in found.lag.items():
        behind = ", ".join(f"{topic} {records:,}" for topic, records in topics.items())
        terminal.out.print(f"{service}: to read {behind}", highlight=False)
    terminal.out.print(f"dead letters: {found.dead_letters:,}", highlight=False)
