"""Which plans does MongoDB choose? Each query is run over three thousand listings; none scans the collection."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest

from shared.clock import utc_now
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Claim, Status, image_id
from shared.domain.listing import UNTIL_DECIDED, Listing, RemovalReason, Unannounced
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.attempts import Attempt
from shared.stores.audits import Audit
from shared.stores.mongo import (
    Database,
    MongoAnswers,
    MongoAttempts,
    MongoAudits,
    MongoLeases,
    MongoLedgers,
    MongoListings,
    MongoRemovalHolds,
    MongoRemovals,
    MongoSweeps,
    MongoThroughputs,
)
from shared.stores.removal_holds import Decision, RemovalHold
from shared.stores.removals import Removal
from shared.stores.summaries import ListingFilter
from shared.stores.sweeps import SweepRequest, SweepState
from tests.builders import FEED, NOW, a_discard, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.servers import Servers, a_namespace

RENDERER = Renderer("https://cdn.example.com")
NEWER = Renderer("https://new.example.com")
LISTINGS = 3_000
Plan = dict[str, Any]


def many_listings() -> Iterator[Listing]:
    """Yield listings: most have nothing due; some have photos due, in flight, claimed or failed, or are hidden."""
    priorities = list(Priority)
    for index in range(LISTINGS):
        key, feed = f"X{index}", "other" if index % 10 == 9 else FEED
        held = a_downloaded_photo("h", key=key, feed=feed)
        wanted = a_photo(
            "w", key=key, feed=feed, not_before=after(-index), priority=priorities[index % 4], url_keys=(f"u{index}",)
        )
        match index % 8:
            case 0 | 1:
                yield a_listing(held, wanted, key=key, feed=feed)
            case 2 if index % 5 == 0:
                yield a_listing(held, lifecycle.release(wanted, NOW), key=key, feed=feed)
            case 3 if index % 5 == 0:
                claim = Claim(worker=f"w-{index % 7}", until=after(80))
                yield a_listing(held, a_photo("c", key=key, feed=feed, claim=claim), key=key, feed=feed)
            case 4 if index % 5 == 0:
                burst = replace(hidden(since=-index, remove_at=-index), held_until=UNTIL_DECIDED if index % 3 else None)
                yield a_listing(held, key=key, feed=feed, hidden=burst)
            case 6 if index % 5 == 0:
                failed = a_photo("f", key=key, feed=feed, failure=Failure(Reason.GONE))
                yield a_listing(held, failed, key=key, feed=feed)
            case 5 if index % 5 == 0:
                yield a_listing(held, key=key, feed=feed, discards=(a_discard(remove_at=after(-index)),))
            case _:
                yield a_listing(held, key=key, feed=feed)


def a_removal(index: int) -> Removal:
    return Removal(
        id=f"{index}", feed=FEED, listing_key=f"X{index % 300}", image_id="i", reason="opt-out",
        hidden_at=NOW, removed_at=after(index), objects=1,
    )  # fmt: skip


class Stores(NamedTuple):
    """The stores that are queried. `newer` has another public root, so that listings are rendered anew."""

    listings: MongoListings
    answers: MongoAnswers
    newer: MongoAnswers


@pytest.fixture(scope="module")
async def database(servers: Servers) -> AsyncIterator[Database]:
    """A database with its indexes, 3,000 listings, and as many attempts and removals."""
    namespace = a_namespace(servers)
    async with mongo.connect(servers.mongo, namespace.db) as found:
        await mongo.apply_indexes(found)
        everything = list(many_listings())
        for first in range(0, LISTINGS, 500):
            assert not await MongoListings(found, RENDERER).write(everything[first : first + 500])
        now = utc_now()
        await MongoAttempts(found).add(
            [
                Attempt(
                    image_id=f"i{index % 300}", feed=FEED, listing_key=f"X{index}", result="downloaded", detail="",
                    at=now - timedelta(seconds=index), milliseconds=1,
                )
                for index in range(LISTINGS)
            ]
        )  # fmt: skip
        await MongoRemovals(found).add([a_removal(index) for index in range(LISTINGS)])
        yield found
        await found.client.drop_database(namespace.db)


@pytest.fixture(scope="module")
async def stores(servers: Servers, database: Database) -> AsyncIterator[Stores]:
    async with mongo.connect_for_answers(servers.mongo, database.name) as reading:
        listings, anew = MongoListings(database, RENDERER), MongoListings(database, NEWER)
        yield Stores(listings, MongoAnswers(reading, listings, RENDERER), MongoAnswers(reading, anew, NEWER))


QUERIES: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "get": lambda on: on.listings.get(FEED, "X7"),
    "get_many": lambda on: on.listings.get_many([(FEED, f"X{index}") for index in range(50)]),
    "write": lambda on: on.listings.write([a_listing(key="X7"), a_listing(key="new"), a_listing(key="X8", revision=1)]),
    "page": lambda on: on.listings.page(FEED, "X1", 50),
    "due": lambda on: on.listings.due(FEED, NOW, 500),
    "oldest_due": lambda on: on.listings.oldest_due(FEED, NOW, 20),
    "in_flight": lambda on: on.listings.in_flight(FEED, NOW),
    "ahead_of": lambda on: on.listings.ahead_of(FEED, Priority.POPULAR, NOW, NOW),
    "recorded_states": lambda on: on.listings.recorded_states([(FEED, f"X{index}") for index in range(50)]),
    "displayed_keys": lambda on: on.listings.displayed_keys(FEED, "X1", 500),
    "recheck_due": lambda on: on.listings.recheck_due(FEED, NOW, 50),
    "recheck_count": lambda on: on.listings.recheck_count(FEED, NOW),
    "removal_due": lambda on: on.listings.removal_due(NOW, 20),
    "turned_hidden": lambda on: on.listings.turned_hidden(FEED, RemovalReason.LISTING_INACTIVE, after(-2_000), NOW),
    "feeds": lambda on: on.listings.feeds(),
    "quarantined_count": lambda on: on.listings.quarantined_count(FEED),
    "displayed_count": lambda on: on.listings.displayed_count(FEED),
    "held": lambda on: on.listings.held(FEED, RemovalReason.LISTING_INACTIVE, 500),
    "unannounced": lambda on: on.listings.unannounced(after(1), 100),
    "clear_unannounced": lambda on: on.listings.clear_unannounced(
        [((FEED, "X7"), Unannounced("i7", NOW, changed=True))]
    ),
    "claimed_by": lambda on: on.listings.claimed_by("w-3", 100),
    "by_key": lambda on: on.listings.by_key("X7"),
    "by_image": lambda on: on.listings.by_image(image_id(FEED, "X7", "h")),
    "photo_answers": lambda on: on.answers.photo_answers(["u8", "u16", "nothing"], every=True),
    "photo_answers first": lambda on: on.answers.photo_answers(["u8", "u16", "nothing"], every=False),
    "showing": lambda on: on.answers.showing([image_id(FEED, f"X{index}", "h") for index in range(50)], ["u8"]),
    "by_url_key": lambda on: on.listings.by_url_key("u8"),
    "answers": lambda on: on.answers.answers([f"X{index}" for index in range(50)], 1),
    "answers whole": lambda on: on.answers.answers([f"X{index}" for index in range(50)], None),
    "answers rendered anew": lambda on: on.newer.answers(["X7"], None),
    "counts": lambda on: on.listings.counts(FEED, NOW),
    "search": lambda on: on.listings.search(ListingFilter(feed=FEED), "X1", 50),
    "search by prefix": lambda on: on.listings.search(ListingFilter(feed=FEED, prefix="X12"), "X123", 50),
    "search by status": lambda on: on.listings.search(ListingFilter(feed=FEED, status=Status.PENDING), "X1", 50),
    "search by reason": lambda on: on.listings.search(ListingFilter(feed=FEED, reason=Reason.GONE), "", 50),
    "search by city": lambda on: on.listings.search(ListingFilter(feed=FEED, city="Guelph"), "X1", 50),
    "search by what is hidden": lambda on: on.listings.search(ListingFilter(feed=FEED, displayed=False), "X1", 50),
    "queue": lambda on: on.listings.queue(FEED, NOW, 50, by_age=False),
    "queue by age": lambda on: on.listings.queue(FEED, NOW, 50, by_age=True),
    "upcoming": lambda on: on.listings.upcoming(FEED, NOW, 50),
}
COVERED_BY_INDEX = {
    "ahead_of",
    "feeds",
    "in_flight",
    "counts",
    "displayed_count",
    "displayed_keys",
    "quarantined_count",
    "recheck_count",
}
SORTED = {
    "due",
    "oldest_due",
    "recheck_due",
    "removal_due",
    "displayed_keys",
    *(name for name in QUERIES if name.startswith(("search", "queue", "upcoming"))),
}


async def _all_of(found: AsyncIterator[Removal]) -> list[Removal]:
    return [removal async for removal in found]


async def explained(database: Database, query: Callable[[], Awaitable[object]]) -> list[Plan]:
    """Run a query, and return what MongoDB's profiler recorded of each operation: its plan, and what was read."""
    await database.command("profile", 0)
    await database.drop_collection("system.profile")
    await database.command("profile", 2)
    await query()
    await database.command("profile", 0)
    found: list[Plan] = await database["system.profile"].find({"op": {"$ne": "getmore"}}).to_list(None)
    return [
        plan for plan in found if plan["op"] in {"query", "update", "remove"} or "aggregate" in plan.get("command", {})
    ]


def stages(plan: object) -> list[str]:
    """Return the names of all stages of a plan, at any depth."""
    if isinstance(plan, dict):
        here = [plan["stage"]] if isinstance(plan.get("stage"), str) else []
        return here + [stage for inner in plan.values() for stage in stages(inner)]
    return [stage for inner in plan for stage in stages(inner)] if isinstance(plan, list) else []


def test_every_method_of_the_stores_has_a_query_here() -> None:
    members = [*inspect.getmembers(MongoListings), *inspect.getmembers(MongoAnswers)]
    methods = {name for name, member in members if inspect.isfunction(member) and not name.startswith("_")}
    assert {name.split()[0] for name in QUERIES} == methods


@pytest.mark.parametrize("name", QUERIES)
async def test_no_query_scans_the_collection(database: Database, stores: Stores, name: str) -> None:
    plans = await explained(database, lambda: QUERIES[name](stores))
    assert plans
    for plan in plans:
        assert "COLLSCAN" not in plan.get("planSummary", ""), plan["command"]
        assert "COLLSCAN" not in stages(plan.get("execStats")), plan["command"]
        assert plan["planSummary"], plan["command"]
        # The index finds what is returned: hardly any other document is read.
        if plan["op"] == "query":
            assert plan["docsExamined"] <= max(plan["nreturned"], 1) * 2, plan["command"]


@pytest.mark.parametrize("name", sorted(SORTED))
async def test_sorted_queries_read_the_index_in_order(database: Database, stores: Stores, name: str) -> None:
    for plan in await explained(database, lambda: QUERIES[name](stores)):
        assert "SORT" not in stages(plan["execStats"])
        assert not plan.get("hasSortStage")
        # A key or two more for each range of the index after the first.
        assert plan["keysExamined"] <= plan["nreturned"] + 8


@pytest.mark.parametrize("name", sorted(COVERED_BY_INDEX))
async def test_counts_are_answered_by_an_index_alone(database: Database, stores: Stores, name: str) -> None:
    for plan in await explained(database, lambda: QUERIES[name](stores)):
        assert plan["docsExamined"] == 0, plan["command"]


async def test_queries_of_the_other_collections_use_indexes(database: Database) -> None:
    attempts, removals, leases = MongoAttempts(database), MongoRemovals(database), MongoLeases(database)
    ledgers, throughputs, sweeps = MongoLedgers(database), MongoThroughputs(database), MongoSweeps(database)
    removal_holds, audits = MongoRemovalHolds(database), MongoAudits(database)
    freeze = RemovalHold(
        feed=FEED, reason=RemovalReason.OPT_OUT, at=NOW, since=after(-3_600), hidden=50, displayed=9
    )  # fmt: skip
    queries: list[Callable[[], Awaitable[object]]] = [
        lambda: attempts.of_images(["i7"], 10),
        lambda: attempts.of_images(["i7", "i8", "i9"], 10),
        lambda: attempts.latest(10),
        lambda: attempts.by_minute(utc_now() - timedelta(minutes=9), utc_now()),
        lambda: removals.of_listing(FEED, "X7"),
        lambda: removals.add([a_removal(7)]),
        lambda: _all_of(removals.between(after(10), after(20), None)),
        lambda: _all_of(removals.between(after(10), after(20), FEED)),
        lambda: removals.newest(after(10), after(20), None, (after(15), "x"), 5),
        lambda: removals.newest(after(10), after(20), FEED, (after(15), "x"), 5),
        removal_holds.all,
        lambda: removal_holds.begin(freeze),
        lambda: removal_holds.decide(FEED, Decision.RESUME, NOW),
        lambda: audits.newest(2),
        lambda: audits.save(Audit(started_at=NOW, drift={})),
        lambda: leases.hold("release", "w", NOW, after(9)),
        lambda: leases.release("release", "w"),
        lambda: throughputs.put(FEED, Throughput(NOW, 5.0)),
        lambda: throughputs.get(FEED),
        lambda: sweeps.request(FEED, SweepRequest(at=NOW)),
        lambda: sweeps.get(FEED),
        lambda: sweeps.write(SweepState(feed=FEED)),
        lambda: ledgers.get(FEED),
        lambda: ledgers.replace(FEED, {}, 0),
    ]
    for query in queries:
        for plan in await explained(database, query):
            assert "COLLSCAN" not in stages(plan.get("execStats")), plan["command"]
            assert plan.get("planSummary") != "COLLSCAN", plan["command"]


@pytest.mark.parametrize("feed", [None, FEED])
async def test_a_page_of_evidence_is_read_from_the_index_in_order(database: Database, feed: str | None) -> None:
    removals = MongoRemovals(database)
    for behind in (None, (after(1_500), "x")):
        (plan,) = await explained(database, partial(removals.newest, NOW, after(LISTINGS), feed, behind, 50))
        assert (plan["nreturned"], "SORT" in stages(plan["execStats"])) == (50, False)
        assert max(plan["docsExamined"], plan["keysExamined"]) <= 51, plan["command"]


async def test_a_query_without_an_index_is_seen_as_a_scan(database: Database) -> None:
    plans = await explained(database, lambda: database["listings"].find({"city": "Guelph"}).to_list(1))
    assert "COLLSCAN" in stages([plan["execStats"] for plan in plans])


async def test_applying_the_indexes_twice_changes_nothing(database: Database) -> None:
    names = await mongo.apply_indexes(database)
    assert names == await mongo.apply_indexes(database)
    assert len(set(names)) == len(names)
