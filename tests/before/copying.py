"""Copy every document through the stores into another database: is any field lost?"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.origin_budget import codec
from shared.render import Renderer
from shared.stores import mongo

Document = dict[str, Any]

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_MOST = 10_000
_NOT_KEPT = {
    "listings": {"rendered_by"},  # newer rules may render a listing again
    "budgets": {"revision"},
    "sweeps": {"revision"},
    "attempts": {"_id"},  # chosen by the server
}
"""By collection: fields whose value may differ once the document is written again."""
_HELD_BRIEFLY = {"leases"}
"""Collections whose documents are overwritten all the time."""


async def lost(before: mongo.Database, after: mongo.Database, public_root: str) -> Sequence[str]:
    """Copy every document of `before` through today's stores into `after`, which is empty; return what got lost.

    Each entry names a collection, a document and a field. Fields that are new are no loss.
    """
    await _copy_listings(before, after, public_root)
    await _copy_by_feed(before, after)
    await _copy_records(before, after)
    return [
        f"{name}: {fault}"
        for name in sorted(await before.list_collection_names())
        if name not in _HELD_BRIEFLY
        for fault in _compared(await _documents(before, name), await _documents(after, name))
    ]


async def _copy_listings(before: mongo.Database, after: mongo.Database, public_root: str) -> None:
    renderer = Renderer(public_root)
    ids = [(listing["feed"], listing["listing_key"]) async for listing in before["listings"].find({})]
    found = await mongo.MongoListings(before, renderer).get_many(ids)
    as_read = [replace(listing, revision=listing.revision - 1) for listing in found.values()]
    assert not await mongo.MongoListings(after, renderer).write(as_read)


async def _copy_by_feed(before: mongo.Database, after: mongo.Database) -> None:
    """Copy ledgers, throughputs, sweeps with their requests, and removal holds, all of which are stored by feed."""
    ledgers, paces, sweeps = mongo.MongoLedgers(after), mongo.MongoThroughputs(after), mongo.MongoSweeps(after)
    for feed in await before["budgets"].distinct("_id"):
        ledger = (await mongo.MongoLedgers(before).get(feed)).ledger
        assert await ledgers.replace(feed, codec.to_document(ledger), (await ledgers.get(feed)).revision)
    for feed in await before["paces"].distinct("_id"):
        pace = await mongo.MongoThroughputs(before).get(feed)
        assert pace is not None
        await paces.put(feed, pace)
    for feed in await before["sweeps"].distinct("_id"):
        sweep = await mongo.MongoSweeps(before).get(feed)
        assert await sweeps.write(replace(sweep, revision=0))
        if sweep.request:
            await sweeps.request(feed, sweep.request)
    for freeze in await mongo.MongoRemovalHolds(before).all():
        assert await mongo.MongoRemovalHolds(after).begin(freeze)


async def _copy_records(before: mongo.Database, after: mongo.Database) -> None:
    """Copy attempts, evidence of removals, audits, and the marks of handled dead letters."""
    images = await before["attempts"].distinct("image_id")
    await mongo.MongoAttempts(after).add(await mongo.MongoAttempts(before).of_images(images, _MOST))
    async for group in before["removals"].aggregate([{"$group": {"_id": ["$feed", "$listing_key"]}}]):
        await mongo.MongoRemovals(after).add(await mongo.MongoRemovals(before).of_listing(*group["_id"]))
    for audit in await mongo.MongoAudits(before).newest(_MOST):
        await mongo.MongoAudits(after).save(audit)
    how = await before["dead_letters"].distinct("how")
    assert len(how) == 1, "the store does not return which mark is of a requeued and which of a dropped record"
    await mongo.MongoHandledDeadLetters(after).add(
        list(await mongo.MongoHandledDeadLetters(before).since(_LONG_AGO)), how[0]
    )


async def _documents(database: mongo.Database, name: str) -> dict[str, Document]:
    """Return the documents of a collection by id, without the fields in `_NOT_KEPT`; by content if that has the id."""
    found: dict[str, Document] = {}
    async for document in database[name].find({}):
        compared = {field: value for field, value in document.items() if field not in _NOT_KEPT.get(name, ())}
        found[str(compared.get("_id", sorted(compared.items(), key=str)))] = compared
    return found


def _compared(before: dict[str, Document], after: dict[str, Document]) -> Iterator[str]:
    for name, document in before.items():
        if name not in after:
            yield f"{name!r} is not there"
        else:
            yield from (f"{name!r}: {fault}" for fault in differences(document, after[name]))


def differences(before: object, after: object, path: str = "") -> Iterator[str]:
    """Yield the path of each value of `before` that `after` lacks or changes. More values in `after` are ignored."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name not in after:
                yield f"{path}.{name} is missing"
            else:
                yield from differences(_read(name, value), _read(name, after[name]), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{path}[{place}]")
    elif before != after:
        yield f"{path} was {before!r} and is {after!r}"


def _read(name: str, value: object) -> object:
    """Read an answer that is recorded as JSON."""
    return json.loads(value) if name == "json" and isinstance(value, str) else value
