"""`imagectl init`: what must be there before anything else."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import typer

from ops import terminal
from shared import kafka
from shared.domain.feed import Feed
from shared.events.topics import MANIFEST
from shared.settings import Settings
from shared.stores import mongo
from shared.stores.minio_objects import MinioObjects

app = typer.Typer()
_INDEX_SECONDS = 3_600.0


@app.command(epilog="Example: imagectl init")
def init(as_json: terminal.Json = False) -> None:
    """Create what is missing of topics, buckets and indexes. Running it again does no harm."""

    async def create(settings: Settings, _: Mapping[str, Feed]) -> dict[str, Any]:
        async with AsyncExitStack() as closing:
            objects = MinioObjects(settings)
            closing.callback(objects.close)
            database = await closing.enter_async_context(
                mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db, call_seconds=_INDEX_SECONDS)
            )
            return {
                "topics": await kafka.apply_topics(settings.kafka, settings.topic_prefix, MANIFEST),
                "buckets": list(await objects.apply_buckets()),
                "indexes": await mongo.apply_indexes(database),
            }

    done = terminal.run(create)
    if as_json:
        terminal.print_json(done)
    else:
        created = [name for name, what in done["topics"].items() if what == "created"]
        terminal.say(f"topics: {len(done['topics'])} as they should be, {len(created)} of them new")
        terminal.say(f"buckets: {', '.join(done['buckets'])}")
        terminal.say(f"indexes: {len(done['indexes'])} as they should be")
