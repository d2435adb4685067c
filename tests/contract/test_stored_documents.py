"""Documents that MongoDB's stores write keep their names, types and units, and those of older releases are read.

Each store writes its examples; the raw documents are compared with golden files. The golden documents, put into
another database as they are, are then read by each store.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId

from shared.origin_budget import codec
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.removal_holds import Decision
from shared.stores.tokens import StoredToken
from shared.stores.workers import Worker
from tests import examples, golden_files
from tests.builders import FEED, KEY, NOW, after
from tests.servers import Namespace

RENDERER = Renderer("https://cdn.example.com")
FOREVER = NOW - timedelta(days=1), NOW + timedelta(days=1)


@pytest.fixture
async def database(namespace: Namespace) -> AsyncIterator[mongo.Database]:
    """A database without documents or indexes."""
    async with mongo.connect(namespace.servers.mongo, namespace.db) as opened:
        await mongo.apply_indexes(opened)
        yield opened
        await opened.client.drop_database(namespace.db)


async def check(database: mongo.Database, collection: str) -> None:
    """Compare a collection's raw documents with its golden file; ids that MongoDB makes up are left out."""
    found = await database[collection].find({}).sort("_id").to_list(None)
    for document in found:
        if isinstance(document["_id"], ObjectId):
            del document["_id"]
    golden_files.check(f"mongo/{collection}", found)


async def put_golden(database: mongo.Database, collection: str) -> None:
    """Store the golden documents as they are."""
    await database[collection].insert_many(golden_files.read(f"mongo/{collection}"))


async def test_listings_go_through_mongodb_unchanged(database: mongo.Database) -> None:
    store, given = mongo.MongoListings(database, RENDERER), examples.listings()
    revisions = {listing.key: listing.revision for listing in given.values() if listing.revision}
    golden: dict[str, Any] = golden_files.read("mongo/listings")
    ids = {
        document["_id"]: document["revision"] - 1
        for document in golden.values()
        if document["listing_key"] in revisions
    }
    await database["listings"].insert_many(
        [{"_id": document_id, "revision": revision} for document_id, revision in ids.items()]
    )
    assert not await store.write(given.values())
    written = {document["_id"]: document for document in await database["listings"].find({}).to_list(None)}
    assert golden_files.to_json(written) == golden_files.to_json(
        {document["_id"]: document for document in golden.values()}
    )
    for listing in given.values():
        found = await store.get(listing.feed, listing.key)
        assert found
        assert found.photos == listing.photos


async def test_budgets(database: mongo.Database) -> None:
    store = mongo.MongoLedgers(database)
    for name, ledger in (("busy", examples.ledgers()["busy"]), ("all", examples.ledgers()["all fields"])):
        assert (await store.get(name)).revision == 0
        assert await store.replace(name, codec.to_document(ledger), 0)
    await store.get("never used")
    await check(database, "budgets")


async def test_stored_budgets_are_read(database: mongo.Database) -> None:
    await put_golden(database, "budgets")
    store = mongo.MongoLedgers(database)
    stored = await store.get("all")
    assert codec.from_document(stored.document) == examples.ledgers()["all fields"]
    assert (stored.revision, (await store.get("never used")).document) == (1, {})


async def test_paces(database: mongo.Database) -> None:
    await mongo.MongoThroughputs(database).put(FEED, examples.THROUGHPUT)
    await check(database, "paces")


async def test_stored_paces_are_read(database: mongo.Database) -> None:
    await put_golden(database, "paces")
    assert await mongo.MongoThroughputs(database).get(FEED) == examples.THROUGHPUT


async def test_attempts(database: mongo.Database) -> None:
    await mongo.MongoAttempts(database).add(examples.ATTEMPTS)
    await check(database, "attempts")


async def test_stored_attempts_are_read(database: mongo.Database) -> None:
    await put_golden(database, "attempts")
    store = mongo.MongoAttempts(database)
    assert await store.of_images([examples.IMAGE], 9) == await store.latest(9) == examples.ATTEMPTS
    tallies = await store.by_minute(*FOREVER)
    assert {(tally.result, tally.count) for tally in tallies} == {("downloaded", 1), ("forbidden", 1)}


async def test_removals(database: mongo.Database) -> None:
    await mongo.MongoRemovals(database).add(examples.REMOVALS)
    await check(database, "removals")


async def test_stored_removals_are_read(database: mongo.Database) -> None:
    await put_golden(database, "removals")
    store = mongo.MongoRemovals(database)
    assert await store.of_listing(FEED, KEY) == examples.REMOVALS
    assert [removal async for removal in store.between(*FOREVER, FEED)] == examples.REMOVALS
    newest = await store.newest(*FOREVER, None, (after(6), "removal-2"), 9)
    assert newest == examples.REMOVALS[:1]


async def test_removals_of_the_oldest_release_are_read(database: mongo.Database) -> None:
    later = {"mls_status", "left_at", "record_gone_at", "remained"}
    stored = [removal for removal in golden_files.read("mongo/removals") if removal["_id"] == "removal-1"]
    await database["removals"].insert_many(
        [{name: removal[name] for name in removal.keys() - later} for removal in stored]
    )
    assert await mongo.MongoRemovals(database).of_listing(FEED, KEY) == examples.REMOVALS[:1]


async def test_marks_of_dead_letters(database: mongo.Database) -> None:
    for how, place in examples.MARKED.items():
        await mongo.MongoHandledDeadLetters(database).add([place], how)
    await check(database, "dead_letters")


async def test_stored_marks_of_dead_letters_are_read(database: mongo.Database) -> None:
    await put_golden(database, "dead_letters")
    assert await mongo.MongoHandledDeadLetters(database).since(NOW) == set(examples.MARKED.values())


async def test_sweeps(database: mongo.Database) -> None:
    store = mongo.MongoSweeps(database)
    for sweep in examples.SWEEPS:
        for revision in range(sweep.revision + 1):
            assert await store.write(replace(sweep, revision=revision))
    await store.request(FEED, examples.SWEEP_REQUEST)
    await store.request("only asked for", examples.SWEEP_REQUEST)
    await check(database, "sweeps")


async def test_stored_sweeps_are_read(database: mongo.Database) -> None:
    await put_golden(database, "sweeps")
    store = mongo.MongoSweeps(database)
    never, swept = examples.SWEEPS
    assert await store.get(never.feed) == replace(never, revision=1)
    assert await store.get(FEED) == replace(swept, revision=swept.revision + 1, request=examples.SWEEP_REQUEST)
    assert (await store.get("only asked for")).open_request == examples.SWEEP_REQUEST


async def test_audits(database: mongo.Database) -> None:
    for audit in examples.AUDITS:
        await mongo.MongoAudits(database).save(audit)
    await check(database, "audits")


async def test_stored_audits_are_read(database: mongo.Database) -> None:
    await put_golden(database, "audits")
    assert await mongo.MongoAudits(database).newest(9) == examples.AUDITS


async def test_freezes(database: mongo.Database) -> None:
    store = mongo.MongoRemovalHolds(database)
    for freeze in (*examples.REMOVAL_HOLDS, replace(examples.REMOVAL_HOLDS[0], feed="decided")):
        assert await store.begin(freeze)
    assert await store.decide("decided", Decision.RESUME, after(9)) == 1
    await check(database, "freezes")


async def test_stored_freezes_are_read(database: mongo.Database) -> None:
    await put_golden(database, "freezes")
    decided = replace(examples.REMOVAL_HOLDS[0], feed="decided", decision=Decision.RESUME, decided_at=after(9))
    assert await mongo.MongoRemovalHolds(database).all() == [decided, *examples.REMOVAL_HOLDS]


async def test_leases(database: mongo.Database) -> None:
    store = mongo.MongoLeases(database)
    assert await store.hold("release", "scheduler-1", NOW, examples.DATE)
    assert await store.hold("removal", "janitor-1", NOW, after(10))
    await check(database, "leases")


async def test_stored_leases_are_read(database: mongo.Database) -> None:
    await put_golden(database, "leases")
    store = mongo.MongoLeases(database)
    assert await store.holders(NOW) == {"release": "scheduler-1", "removal": "janitor-1"}
    assert not await store.hold("removal", "janitor-2", NOW, after(20))


async def test_tokens(database: mongo.Database) -> None:
    store, token = mongo.MongoTokens(database), StoredToken("c2VhbGVk", NOW, after(3_600))
    assert await store.get(FEED) is None
    await store.put(FEED, StoredToken("b2xk", NOW, NOW))
    await store.put(FEED, token)
    assert await store.get(FEED) == token
    await check(database, "tokens")


async def test_stored_tokens_are_read(database: mongo.Database) -> None:
    await put_golden(database, "tokens")
    assert await mongo.MongoTokens(database).get(FEED) == StoredToken("c2VhbGVk", NOW, after(3_600))


async def test_workers(database: mongo.Database) -> None:
    store, worker = (
        mongo.MongoWorkers(database),
        Worker("host-downloader-8081", "http://127.0.0.1:8081", "0123456789abcdef"),
    )
    assert await store.get(worker.name) is None
    await store.put(replace(worker, token="of the process before"))
    await store.put(worker)
    assert await store.get(worker.name) == worker
    await check(database, "workers")


async def test_the_indexes_that_mongodb_has_are_those_of_the_golden_file(database: mongo.Database) -> None:
    golden = golden_files.read("mongo/indexes")
    for collection, indexes in golden.items():
        found = await database[collection].index_information()
        assert found.keys() - {"_id_"} == indexes.keys()
        for name, index in indexes.items():
            assert [list(field) for field in found[name]["key"]] == index["key"], name
    assert not await mongo.missing_indexes(database)
