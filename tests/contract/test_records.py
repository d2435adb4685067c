"""Both stores, in memory and in MongoDB, of attempts, evidence, leases, holds, audits and marks have one contract."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.clock import utc_now
from shared.domain.listing import RemovalReason
from shared.stores import mongo
from shared.stores.attempts import Attempt, Attempts
from shared.stores.audits import Audit, Audits
from shared.stores.handled_dead_letters import HandledDeadLetters, RecordPlace
from shared.stores.leases import Leases
from shared.stores.ledgers import Ledgers
from shared.stores.memory import (
    MemoryAttempts,
    MemoryAudits,
    MemoryHandledDeadLetters,
    MemoryLeases,
    MemoryLedgers,
    MemoryNoPhotos,
    MemoryRemovalHolds,
    MemoryRemovals,
)
from shared.stores.mongo import (
    MongoAttempts,
    MongoAudits,
    MongoHandledDeadLetters,
    MongoLeases,
    MongoLedgers,
    MongoNoPhotos,
    MongoRemovalHolds,
    MongoRemovals,
)
from shared.stores.no_photos import NoPhoto, NoPhotos
from shared.stores.removal_holds import Decision, RemovalHold, RemovalHolds
from shared.stores.removals import Removal, RemovalCursor, Removals
from tests.builders import FEED, KEY, NOW, after
from tests.servers import Namespace


@dataclass(frozen=True)
class Stores:
    """One store of each kind."""

    attempts: Attempts
    removals: Removals
    leases: Leases
    ledgers: Ledgers
    marks: HandledDeadLetters
    removal_holds: RemovalHolds
    audits: Audits
    no_photos: NoPhotos


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    """Empty stores, in memory or in MongoDB."""
    if request.param == "memory":
        yield Stores(
            MemoryAttempts(),
            MemoryRemovals(),
            MemoryLeases(),
            MemoryLedgers(),
            MemoryHandledDeadLetters(),
            MemoryRemovalHolds(),
            MemoryAudits(),
            MemoryNoPhotos(),
        )
        return
    namespace: Namespace = request.getfixturevalue("namespace")
    async with mongo.connect(namespace.servers.mongo, namespace.db) as database:
        await mongo.apply_indexes(database)
        yield Stores(
            MongoAttempts(database),
            MongoRemovals(database),
            MongoLeases(database),
            MongoLedgers(database),
            MongoHandledDeadLetters(database),
            MongoRemovalHolds(database),
            MongoAudits(database),
            MongoNoPhotos(database),
        )
        await database.client.drop_database(namespace.db)


def attempt(image: str, at: datetime, result: str = "downloaded") -> Attempt:
    return Attempt(
        image_id=image, feed=FEED, listing_key=KEY, at=at, result=result, detail="é answered 404", milliseconds=12
    )


def removal(name: str, removed_at: datetime = NOW, **facts: Any) -> Removal:
    plain = Removal(
        id=name, feed=FEED, listing_key=KEY, image_id="i", reason="opt-out", hidden_at=after(-9),
        removed_at=removed_at, objects=3,
    )  # fmt: skip
    return replace(plain, **facts)


async def test_attempts_are_counted_by_minute_and_result(stores: Stores) -> None:
    # Recent times, since MongoDB deletes old attempts.
    minute = utc_now().replace(second=0, microsecond=0)
    moments = [minute - timedelta(minutes=9), *(minute + timedelta(seconds=second) for second in (0, 1, 59, 60))]
    await stores.attempts.add([attempt("a", at) for at in moments])
    await stores.attempts.add([attempt("b", minute, "gone")])
    counted = await stores.attempts.by_minute(minute, minute + timedelta(minutes=1))
    assert sorted((tally.minute, tally.result, tally.count) for tally in counted) == [
        (minute, "downloaded", 3),
        (minute, "gone", 1),
    ]


async def test_latest_attempts_are_returned_newest_first(stores: Stores) -> None:
    now = utc_now()
    await stores.attempts.add(
        [attempt(name, now - timedelta(seconds=at)) for name, at in (("a", 3), ("b", 1), ("c", 2))]
    )
    assert [attempt.image_id for attempt in await stores.attempts.latest(2)] == ["b", "c"]


async def test_attempts_of_images_are_returned_newest_first(stores: Stores) -> None:
    # Recent times, since MongoDB deletes old attempts.
    now = utc_now()
    old, middle, new = (attempt("a", now - timedelta(seconds=seconds)) for seconds in (9, 5, 1))
    other = attempt("b", now - timedelta(seconds=3), "timeout")
    await stores.attempts.add([middle, old])
    await stores.attempts.add([new, other, attempt("c", now)])
    await stores.attempts.add([])
    assert list(await stores.attempts.of_images(["a"], 9)) == [new, middle, old]
    assert list(await stores.attempts.of_images(["a", "b"], 2)) == [new, other]
    assert list(await stores.attempts.of_images(["nothing"], 9)) == []
    assert list(await stores.attempts.of_images([], 9)) == []


async def test_a_listings_evidence_is_returned_oldest_first(stores: Stores) -> None:
    first, second = removal("1", after(1)), removal("2", after(2), reason="superseded")
    elsewhere = [removal("3", feed="other"), removal("4", listing_key="X2")]
    await stores.removals.add([second, *elsewhere])
    await stores.removals.add([first])
    await stores.removals.add([])
    assert list(await stores.removals.of_listing(FEED, KEY)) == [first, second]
    assert list(await stores.removals.of_listing("other", "X2")) == []


async def test_evidence_with_a_stored_id_changes_nothing(stores: Stores) -> None:
    await stores.removals.add([removal("1", after(1)), removal("2", after(2))])
    await stores.removals.add([removal("1", after(9)), removal("3", after(3))])
    found = await stores.removals.of_listing(FEED, KEY)
    assert [(removal.id, removal.removed_at) for removal in found] == [
        ("1", after(1)),
        ("2", after(2)),
        ("3", after(3)),
    ]


async def test_evidence_is_read_as_it_was_written(stores: Stores) -> None:
    full = removal(
        "1", mls_status="Closed", off_market_at=after(-60), unshown_at=after(-1), remained=("f/l/p/1/a", "f/l/p/1/b")
    )
    await stores.removals.add([full])
    assert list(await stores.removals.of_listing(FEED, KEY)) == [full]


async def test_evidence_of_a_period_without_its_end_is_returned_oldest_first(stores: Stores) -> None:
    first, second = removal("1", after(1), listing_key="X2"), removal("2", after(2), feed="other")
    await stores.removals.add([removal("4", after(9)), second, removal("3", after(0.999)), first])
    period = after(1), after(9)
    assert [removal async for removal in stores.removals.between(*period, None)] == [first, second]
    assert [removal async for removal in stores.removals.between(*period, "other")] == [second]
    assert [removal async for removal in stores.removals.between(*period, "nobody")] == []


async def test_pages_of_evidence_have_each_removal_once_newest_first(stores: Stores) -> None:
    at_once = [removal(f"{number}", after(4)) for number in range(5)]  # one batch removes many
    other, outside = removal("a", after(4), feed="other"), [removal("z", after(9)), removal("y", after(0.999))]
    first, last = removal("first", after(1)), removal("last", after(8))
    await stores.removals.add([*at_once, other, *outside, first, last])
    for feed, expected in (
        (None, [last, other, *reversed(at_once), first]), (FEED, [last, *reversed(at_once), first]),
        ("nobody", []),
    ):  # fmt: skip
        behind: RemovalCursor | None = None
        found: list[Removal] = []
        while page := await stores.removals.newest(after(1), after(9), feed, behind, 2):
            assert len(page) <= 2
            found += page
            behind = page[-1].removed_at, page[-1].id
        assert found == expected


def a_hold(feed: str = FEED, reason: RemovalReason = RemovalReason.LISTING_INACTIVE, at: float = 0) -> RemovalHold:
    return RemovalHold(
        feed=feed, reason=reason, at=after(at), since=after(at - 3_600), hidden=60, displayed=40, by_sweep=True
    )


async def test_a_hold_is_in_force_until_it_has_a_decision(stores: Stores) -> None:
    inactive, opt_out, other = a_hold(), a_hold(reason=RemovalReason.OPT_OUT), a_hold("other")
    assert list(await stores.removal_holds.all()) == []
    for hold in (other, inactive, opt_out):
        assert await stores.removal_holds.begin(hold)
    assert list(await stores.removal_holds.all()) == [other, inactive, opt_out]
    assert not await stores.removal_holds.begin(a_hold(at=9))
    assert await stores.removal_holds.decide(FEED, Decision.DISCARD, after(10)) == 2
    decided = replace(inactive, decision=Decision.DISCARD, decided_at=after(10))
    assert (await stores.removal_holds.all())[1] == decided
    assert await stores.removal_holds.decide(FEED, Decision.RESUME, after(11)) == 0
    assert await stores.removal_holds.decide("nobody", Decision.RESUME, after(11)) == 0
    again = a_hold(at=20)
    assert await stores.removal_holds.begin(again)
    assert list(await stores.removal_holds.all())[1] == again


async def test_one_of_many_concurrent_holds_is_stored(stores: Stores) -> None:
    begun = await asyncio.gather(*(stores.removal_holds.begin(a_hold(at=number)) for number in range(8)))
    assert begun.count(True) == 1


async def test_audits_are_returned_newest_first_as_last_saved(stores: Stores) -> None:
    old = Audit(started_at=after(0), finished_at=after(5), listings=9, objects=99, drift={"missing": 1})
    new = Audit(started_at=after(10), feed=FEED, after="X 1", listings=1, objects=12, drift={})
    assert list(await stores.audits.newest(2)) == []
    for audit in (new, replace(old, finished_at=None), old):
        await stores.audits.save(audit)
    assert list(await stores.audits.newest(9)) == [new, old]
    assert list(await stores.audits.newest(1)) == [new]


async def test_a_lease_has_one_holder_until_it_ends(stores: Stores) -> None:
    hold = stores.leases.hold
    assert await hold("release", "a", after(0), after(10))
    assert not await hold("release", "b", after(5), after(15))
    assert await hold("release", "a", after(6), after(16))
    assert not await hold("release", "b", after(15.999), after(30))
    assert await hold("release", "b", after(16), after(30))
    assert not await hold("release", "a", after(17), after(40))


async def test_leases_with_different_names_are_independent(stores: Stores) -> None:
    assert await stores.leases.hold("release", "a", NOW, after(10))
    assert await stores.leases.hold("removal", "b", NOW, after(10))


async def test_only_the_holder_can_release_a_lease(stores: Stores) -> None:
    await stores.leases.hold("release", "a", NOW, after(10))
    await stores.leases.release("release", "b")
    assert not await stores.leases.hold("release", "b", NOW, after(10))
    await stores.leases.release("release", "a")
    assert await stores.leases.hold("release", "b", NOW, after(10))
    await stores.leases.release("unknown", "a")


@pytest.mark.parametrize("has_ended", [False, True])
async def test_one_of_many_concurrent_callers_gets_a_lease(stores: Stores, has_ended: bool) -> None:
    if has_ended:
        await stores.leases.hold("release", "gone", after(-20), after(-10))
    got = await asyncio.gather(*(stores.leases.hold("release", f"w-{number}", NOW, after(10)) for number in range(8)))
    assert got.count(True) == 1


async def test_a_ledger_is_empty_before_the_first_write(stores: Stores) -> None:
    before = utc_now()
    stored = await stores.ledgers.get(FEED)
    assert (dict(stored.document), stored.revision) == ({}, 0)
    # The server's clock may differ, but here it is the same machine's.
    assert abs(stored.now - before) < timedelta(minutes=5)
    assert stored.now.tzinfo is not None


async def test_a_ledger_is_read_as_it_was_written(stores: Stores) -> None:
    ledger = {"spent": [1, 2.5], "until": NOW, "batches": {"w-1": {"granted": 8}}, "frozen": None}
    await stores.ledgers.get(FEED)
    assert await stores.ledgers.replace(FEED, ledger, 0)
    stored = await stores.ledgers.get(FEED)
    assert (dict(stored.document), stored.revision) == (ledger, 1)
    assert (await stores.ledgers.get("other")).revision == 0


async def test_a_stale_ledger_is_refused(stores: Stores) -> None:
    await stores.ledgers.get(FEED)
    assert await stores.ledgers.replace(FEED, {"by": "first"}, 0)
    assert not await stores.ledgers.replace(FEED, {"by": "second"}, 0)
    assert not await stores.ledgers.replace(FEED, {"by": "third"}, 2)
    assert dict((await stores.ledgers.get(FEED)).document) == {"by": "first"}


async def test_no_spending_is_lost_among_many_workers(stores: Stores) -> None:
    async def spend() -> None:
        while True:
            stored = await stores.ledgers.get(FEED)
            spent = stored.document.get("spent", 0)
            assert isinstance(spent, int)
            if await stores.ledgers.replace(FEED, {"spent": spent + 1}, stored.revision):
                return

    await asyncio.gather(*(spend() for _ in range(12)))
    stored = await stores.ledgers.get(FEED)
    assert (dict(stored.document), stored.revision) == ({"spent": 12}, 12)


async def test_a_handled_dead_letter_keeps_its_own_mark(stores: Stores) -> None:
    # The database lets marks of long ago expire.
    now = utc_now()
    place, earlier = RecordPlace(0, 7, now), RecordPlace(0, 7, now - timedelta(days=2))
    await stores.marks.add([], "dropped")
    await stores.marks.add([place, earlier], "dropped")
    await stores.marks.add([place], "requeued")
    assert set(await stores.marks.since(earlier.at)) == {place, earlier}
    assert set(await stores.marks.since(now - timedelta(days=1))) == {place}


async def test_a_picture_is_no_photo_of_a_feed_from_its_mark_until_it_is_unmarked(stores: Stores) -> None:
    first, second, other = NoPhoto(FEED, "aa", NOW), NoPhoto(FEED, "bb", after(1)), NoPhoto("other", "aa", NOW)
    for marked in (other, second, first, replace(first, marked_at=after(9))):
        await stores.no_photos.mark(marked)
    assert list(await stores.no_photos.all()) == [other, first, second]
    assert set(await stores.no_photos.hashes(FEED)) == {"aa", "bb"}
    assert await stores.no_photos.unmark(FEED, "aa")
    assert not await stores.no_photos.unmark(FEED, "aa")
    assert set(await stores.no_photos.hashes(FEED)) == {"bb"}
    assert set(await stores.no_photos.hashes("other")) == {"aa"}
