"""`imagectl rebuild`: other variants from the stored originals."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated

import typer

from ops import rebuild as rebuilding
from ops import terminal
from ops.words import many
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.variants import rendering
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo

app = typer.Typer()


@app.command(epilog="Example: imagectl rebuild --dry-run")
def rebuild(
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed of feeds.toml; all if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Make the variants anew from the stored originals.

    That is for after IMAGES_VARIANTS changed; the MLS is not asked. At a terminal it counts first, and asks.
    """

    async def go_through(
        settings: Settings, feeds: Mapping[str, Feed], *, dry_run: bool
    ) -> dict[str, rebuilding.Rebuilt]:
        names = [one.name for one in terminal.feeds_named(feed, feeds, settings)]
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            total = sum([(await listings.counts(name, utc_now())).listings for name in names])
            wanted, done = rendering(settings.variants), dict[str, rebuilding.Rebuilt]()
            with terminal.progress(quiet=as_json) as progress:
                bar = progress.add_task("looking", total=total, done=0, unit="listings")
                for name in names:
                    before = sum(one.looked_at for one in done.values())

                    def on_progress(so_far: rebuilding.Rebuilt, before: int = before) -> None:
                        looked_at = before + so_far.looked_at
                        progress.update(bar, completed=looked_at, done=looked_at)

                    done[name] = await rebuilding.rebuild(
                        listings, name, wanted, utc_now, dry_run=dry_run, on_progress=on_progress
                    )
        return done

    asking = not dry_run and terminal.asks(yes=yes)
    done = terminal.run(partial(go_through, dry_run=dry_run or asking))
    if asking and any(one.photos for one in done.values()):
        terminal.ask("\n".join([*_in_words(done, dry_run=True), "Make them anew?"]))
        done = terminal.run(partial(go_through, dry_run=False))
    if as_json:
        terminal.print_json({name: dataclasses.asdict(one) for name, one in done.items()})
        return
    for line in _in_words(done, dry_run=dry_run):
        terminal.say(line)


def _in_words(done: Mapping[str, rebuilding.Rebuilt], *, dry_run: bool) -> Iterator[str]:
    what = "would be made anew" if dry_run else "due, to be made anew"
    for name, one in done.items():
        yield f"{name}: {many(one.photos, 'photo')} of {many(one.listings, 'listing')} {what}"
