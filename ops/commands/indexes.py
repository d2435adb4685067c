"""`imagectl indexes`: creates MongoDB's indexes."""

from collections.abc import Mapping

import typer

from ops import terminal
from shared.domain.feed import Feed
from shared.settings import Settings
from shared.stores import mongo

app = typer.Typer(help="Create MongoDB's indexes.", epilog="Example: imagectl indexes apply", no_args_is_help=True)


@app.callback()
def indexes() -> None:
    """Create MongoDB's indexes."""


@app.command("apply", epilog="Example: imagectl indexes apply")
def apply(as_json: terminal.Json = False) -> None:
    """Create the indexes that are missing. None is dropped."""

    async def apply(settings: Settings, _: Mapping[str, Feed]) -> list[str]:
        async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
            missing = await mongo.missing_indexes(database)
            await mongo.apply_indexes(database)
            return missing

    created = terminal.run(apply)
    if as_json:
        terminal.print_json({"created": created})
    else:
        terminal.print_line(f"created {', '.join(created)}" if created else "every index is there")
