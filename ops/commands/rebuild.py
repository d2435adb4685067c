"""`imagectl rebuild`: has variants made again from the stored originals."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated

import typer

from ops import rebuild as rebuilding
from ops import terminal
from ops.rebuild import Rebuilt
from ops.words import counted
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.variants import current_renderings
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.errors import Contention

app = typer.Typer()


@app.command(epilog="Example: imagectl rebuild --dry-run")
def rebuild(
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed of feeds.toml; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Make the variants again from the stored originals.

    Run it after IMAGES_VARIANTS has changed. No request is sent to an origin. At a terminal, the command counts first
    and then asks.
    """
    asks = not dry_run and terminal.is_to_ask(yes=yes)
    rebuild_all = partial(_rebuild, feed, quiet=as_json)
    rebuilt = terminal.run(partial(rebuild_all, dry_run=dry_run or asks))
    if asks and any(counts.photos for counts in rebuilt.values()):
        terminal.ask("\n".join([*_in_words(rebuilt, dry_run=True), "Make them anew?"]))
        rebuilt = terminal.run(partial(rebuild_all, dry_run=False))
    if as_json:
        terminal.print_json({name: dataclasses.asdict(counts) for name, counts in rebuilt.items()})
        return
    for line in _in_words(rebuilt, dry_run=dry_run):
        terminal.print_line(line)


async def _rebuild(
    feed: str | None, settings: Settings, feeds: Mapping[str, Feed], *, dry_run: bool, quiet: bool
) -> dict[str, Rebuilt]:
    """Mark for a rebuild the photos of one feed, or of all feeds if `feed` is None; return the counts by feed.

    A dry run only counts. The progress is shown unless `quiet`. Raises StoreUnavailable. Raises Contention, after the
    last feed, if others kept changing a listing.
    """
    names = [named.name for named in terminal.select_feeds(feed, feeds, settings)]
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        listings = mongo.MongoListings(database, Renderer(settings.public_root))
        total = sum([(await listings.counts(name, utc_now())).listings for name in names])
        renderings, rebuilt, contentions = current_renderings(settings.variants), dict[str, Rebuilt](), list[str]()
        with terminal.progress(quiet=quiet) as progress:
            bar = progress.add_task("looking", total=total, done=0, unit="listings")
            for name in names:
                before = sum(counts.looked_at for counts in rebuilt.values())

                def on_progress(counts: Rebuilt, before: int = before) -> None:
                    progress.update(bar, completed=before + counts.looked_at, done=before + counts.looked_at)

                try:
                    rebuilt[name] = await rebuilding.rebuild(
                        listings, name, renderings, utc_now, dry_run=dry_run, on_progress=on_progress
                    )
                except Contention as error:
                    contentions.append(str(error))
    if contentions:
        raise Contention("\n".join(contentions))
    return rebuilt


def _in_words(rebuilt: Mapping[str, Rebuilt], *, dry_run: bool) -> Iterator[str]:
    what = "would be made anew" if dry_run else "due, to be made anew"
    for name, counts in rebuilt.items():
        yield f"{name}: {counted(counts.photos, 'photo')} of {counted(counts.listings, 'listing')} {what}"
