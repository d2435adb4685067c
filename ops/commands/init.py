"""`imagectl init`: creates topics, buckets and indexes, which the services need before they start."""

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

    created = terminal.run(create)
    if as_json:
        terminal.print_json(created)
    else:
        new_topics = [name for name, what in created["topics"].items() if what == "created"]
        terminal.print_line(f"topics: {len(created['topics'])} as they should be, {len(new_topics)} of them new")
        terminal.print_line(f"buckets: {', '.join(created['buckets'])}")
        terminal.print_line(f"indexes: {len(created['indexes'])} as they should be")
