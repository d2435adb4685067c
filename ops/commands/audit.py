"""`imagectl audit`: compares records with stored objects, and repairs what differs."""

import dataclasses
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

import typer

from ops import audit as auditing
from ops import terminal
from ops.audit import Audited
from ops.words import counted
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
        typer.Option(min=1, metavar="N", help="Audit about N listings of each feed, and list no bucket."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Make lost copies due; remove orphans.")] = False,
    yes: terminal.Yes = False,
    as_json: terminal.Json = False,
) -> None:
    """Find what differs between records and stored objects.

    It finds objects that are missing, empty, of another size or of other bytes, and orphans: objects older than a day
    that no record names. `--repair` removes orphans, and makes photos with lost objects due: they are rebuilt from
    their originals, or downloaded again. At a terminal, the command audits all, asks, and audits all again to repair.
    """
    asks = repair and terminal.is_to_ask(yes=yes)
    audit_all = partial(_audit, feed, sample, quiet=as_json)
    audited = terminal.run(partial(audit_all, repair=repair and not asks))
    if asks and audited.drift:
        terminal.ask("\n".join([*auditing.in_words(audited), "Make lost copies due, and remove orphans?"]))
        audited = terminal.run(partial(audit_all, repair=True))
    if as_json:
        terminal.print_json(dataclasses.asdict(audited))
        return
    for line in auditing.in_words(audited):
        terminal.print_line(line)
    if repair:
        due = counted(audited.due_again, "photo is", "photos are")
        terminal.print_line(f"repaired: {due} due again, {counted(audited.removed, 'orphan')} removed")
    elif audited.drift:
        terminal.print_line("`imagectl audit --repair` makes lost copies due and removes orphans")


async def _audit(
    feed: str | None,
    sample: int | None,
    settings: Settings,
    feeds: Mapping[str, Feed],
    *,
    repair: bool,
    quiet: bool,
) -> Audited:
    """Audit one feed, or all if `feed` is None; repair the findings if `repair`; show the progress unless `quiet`.

    Returns what was found and repaired. `sample` is about how many listings of each feed are compared; None: all
    listings and both buckets. Raises StoreUnavailable; and Contention if others kept changing a listing.
    """
    names = [named.name for named in terminal.select_feeds(feed, feeds, settings)]
    async with AsyncExitStack() as closing:
        database = await closing.enter_async_context(
            mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db)
        )
        objects = MinioObjects(settings)
        closing.callback(objects.close)
        listings = mongo.MongoListings(database, Renderer(settings.public_root))
        total = sum([(await listings.counts(name, utc_now())).listings for name in names])
        every = max(1, total // (sample * len(names))) if sample else 1
        key_prefix = f"{keys.part(feed)}/" if feed else ""
        scope = AuditScope(feeds=names, with_buckets=sample is None, key_prefix=key_prefix, every=every)
        progress = closing.enter_context(terminal.progress(quiet=quiet))
        bar = progress.add_task("comparing", total=total // every, done=0, unit="listings")
        return await auditing.run(
            Walk(listings, objects, utc_now, scope),
            auditing.Repair(listings, objects, utc_now) if repair else None,
            lambda audited: progress.update(bar, completed=audited.listings, done=audited.listings),
        )
