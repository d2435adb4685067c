"""`imagectl placeholders`: marks the pictures that origins send in place of photos that they do not have."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import typer

from ops import placeholders, terminal
from ops.words import counted
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.render import Renderer
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.no_photos import NoPhoto

app = typer.Typer(
    help='Mark "no photo" pictures of a feed.',
    epilog="Example: imagectl placeholders list",
    no_args_is_help=True,
)

_FeedName = Annotated[str, typer.Argument(metavar="FEED", help="A feed of feeds.toml.")]
_Picture = Annotated[
    str, typer.Argument(metavar="PICTURE", help="The SHA-256 of its file, or the id of an image that shows it.")
]


@app.command("list", epilog="Example: imagectl placeholders list --json")
def list_(as_json: terminal.Json = False) -> None:
    """Show the marked pictures of all feeds."""

    async def read(settings: Settings, _: Mapping[str, Feed]) -> list[NoPhoto]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            return list(await mongo.MongoNoPhotos(database).all())

    marked = terminal.run(read)
    if as_json:
        terminal.print_json([dataclasses.asdict(no_photo) for no_photo in marked])
        return
    for no_photo in marked:
        terminal.print_line(f"{no_photo.feed} {no_photo.sha256}: marked {no_photo.marked_at:%Y-%m-%d %H:%M} UTC")
    if not marked:
        terminal.print_line("no picture is marked")


@app.command(epilog="Example: imagectl placeholders shared proptx-idx")
def shared(
    feed: _FeedName,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=1_000, help="How many pictures at most.")] = 20,
    as_json: terminal.Json = False,
) -> None:
    """Show the pictures that most listings of a feed share.

    Look at each before you mark it: condominiums share photos of their lobby too.
    """

    async def read(settings: Settings, feeds: Mapping[str, Feed]) -> list[placeholders.SharedPicture]:
        terminal.select_feeds(feed, feeds, settings)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            return list(await placeholders.most_shared(listings, feed, limit))

    pictures = terminal.run(read)
    if as_json:
        terminal.print_json([dataclasses.asdict(picture) for picture in pictures])
        return
    for picture in pictures:
        terminal.print_line(f"{picture.sha256}: {counted(picture.listings, 'listing')}, such as {picture.listing_key}")
    if not pictures:
        terminal.print_line(f"no two listings of {feed} share a picture")


@app.command(epilog="Example: imagectl placeholders mark proptx-idx 5f3c0d9e…")
def mark(feed: _FeedName, picture: _Picture, as_json: terminal.Json = False) -> None:
    """Mark a picture of a feed as no photo.

    From now on it replaces no copy, and is no copy of a photo that has none. Copies made of it before stay until the
    origin sends another picture.
    """

    async def write(settings: Settings, feeds: Mapping[str, Feed]) -> NoPhoto:
        terminal.select_feeds(feed, feeds, settings)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            listings = mongo.MongoListings(database, Renderer(settings.public_root))
            sha256 = await placeholders.find_hash(listings, feed, picture)
            if sha256 is None:
                terminal.fail(f"{picture!r} is neither a SHA-256 in hex nor the id of an image of {feed} with a copy")
            no_photo = NoPhoto(feed, sha256, utc_now())
            await mongo.MongoNoPhotos(database).mark(no_photo)
            return no_photo

    _print(terminal.run(write), as_json, "is no photo from now on")


@app.command(epilog="Example: imagectl placeholders unmark proptx-idx 5f3c0d9e…")
def unmark(feed: _FeedName, picture: _Picture, as_json: terminal.Json = False) -> None:
    """Undo `mark`.

    `imagectl force --feed FEED --failed no-photo` then fetches the photos again that failed for it.
    """

    async def write(settings: Settings, feeds: Mapping[str, Feed]) -> NoPhoto:
        terminal.select_feeds(feed, feeds, settings)
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            if not await mongo.MongoNoPhotos(database).unmark(feed, picture):
                terminal.fail(f"{picture!r} is not marked for {feed}; see imagectl placeholders list")
            return NoPhoto(feed, picture, utc_now())

    _print(terminal.run(write), as_json, "is not marked any more")


def _print(no_photo: NoPhoto, as_json: bool, outcome: str) -> None:
    if as_json:
        terminal.print_json({"feed": no_photo.feed, "sha256": no_photo.sha256})
    else:
        terminal.print_line(f"{no_photo.feed} {no_photo.sha256}: {outcome}")
