"""`imagectl audit`: do records and objects agree?"""

import dataclasses
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import typer

from ops import audit as auditing
from ops import terminal
from ops.words import many
from shared.audit import AuditScope, Walk
from shared.clock import utc_now
from shared.domain import keys
from shared.domain.feed import Feed
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects

app = typer.Typer()


@app.command(epilog="Example: imagectl audit --feed proptx-idx --sample 1000")
def audit(
    feed: Annotated[str | None, typer.Option(metavar="FEED", help="One feed of feeds.toml; all if not given.")] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Look at about so many listings of each feed, and at no bucket as a whole."
        ),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make lost copies due; remove orphans.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Find what differs between records and stored objects.

    That is what is missing, empty, of another size or other bytes, or known to no record. An object that no record
    knows of counts after a day. `--repair` removes it, and has lost copies made anew from their originals, or fetched
    again; at a terminal it goes through all twice: to look, and once it may, to repair.
    """

    async def look(settings: Settings, feeds: Mapping[str, Feed], *, repair: bool) -> auditing.Audited:
        names = [one.name for one in terminal.feeds_named(feed, feeds, settings)]
        async with AsyncExitStack() as closing:
            database = await closing.enter_async_context(
                mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
            )
            objects = MinioObjects(settings)
            closing.callback(objects.close)
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            total = sum([(await listings.counts(name, utc_now())).listings for name in names])
            every = max(1, total // (sample * len(names))) if sample else 1
            scope = AuditScope(
                feeds=names, with_buckets=sample is None, key_prefix=f"{keys.part(feed)}/" if feed else "", every=every
            )
            walk = Walk(listings, objects, utc_now, scope)
            bar = closing.enter_context(terminal.progress(quiet=as_json))
            task = bar.add_task("comparing", total=total // every, done=0, unit="listings")

            def on_progress(done: auditing.Audited) -> None:
                bar.update(task, completed=done.listings, done=done.listings)

            repairing = auditing.Repair(listings, objects, utc_now) if repair else None
            return await auditing.run(walk, repairing, on_progress)

    asking = repair and terminal.asks(yes=yes)
    done = terminal.run(partial(look, repair=repair and not asking))
    if asking and done.drift:
        terminal.ask("\n".join([*auditing.in_words(done), "Make lost copies due, and remove orphans?"]))
        done = terminal.run(partial(look, repair=True))
    if as_json:
        terminal.print_json(dataclasses.asdict(done))
        return
    for line in auditing.in_words(done):
        terminal.say(line)
    if repair:
        due = many(done.due_again, "photo is", "photos are")
        terminal.say(f"repaired: {due} due again, {many(done.removed, 'orphan')} removed")
    elif done.drift:
        terminal.say("`imagectl audit --repair` makes lost copies due and removes orphans")
