"""Both stores of listings, in memory and in MongoDB, count feeds and show queues in the same way."""

import pytest

from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Status
from shared.domain.priority import Priority
from tests.builders import FEED, NOW, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.contract.conftest import Listings
from tests.contract.listings import due, summary_keys


async def test_feeds_with_recorded_listings_are_named_in_order(listings: Listings) -> None:
    assert await listings.feeds() == []
    await listings.write(
        a_listing(key=key, feed=feed, hidden=hidden() if key == "X2" else None)
        for key, feed in (("X1", "b"), ("X1", "a-b"), ("X2", "c"), ("X3", "b"))
    )
    assert await listings.feeds() == ["a-b", "b", "c"]


@pytest.mark.parametrize("batch_size", [1, 2, 5_000])
async def test_counts_of_a_feed_are_the_same_for_every_batch_size(
    listings: Listings, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.stores.mongo.listing_reports._COUNT_BATCH_SIZE", batch_size)
    failed = a_photo("f", failure=Failure(Reason.TIMEOUT), not_before=after(60))
    outdated = a_downloaded_photo("o", announced_at=after(1), priority=Priority.VIEWED, not_before=after(5))
    await listings.write(
        [
            a_listing(a_photo("p"), failed, a_downloaded_photo("d"), a_downloaded_photo("e"), key="X1"),
            a_listing(outdated, lifecycle.release(a_photo("p"), NOW), key="X2"),
            a_listing(a_photo("p", not_before=after(-9)), a_downloaded_photo("d"), key="X3", hidden=hidden()),
            a_listing(key="X4"),
            a_listing(a_photo("p", not_before=after(-99)), feed="other"),
        ]
    )
    found = await listings.counts(FEED, NOW)
    assert (found.listings, found.displayed, found.in_flight, found.oldest_due_at) == (4, 3, 1, NOW)
    assert found.images == {Status.PENDING: 3, Status.FAILED: 1, Status.DOWNLOADED: 3, Status.OUTDATED: 1}
    assert found.queued == {Priority.VIEWED.value: 1, Priority.ROUTINE.value: 3}


async def test_counts_of_a_feed_without_listings_are_zero(listings: Listings) -> None:
    found = await listings.counts(FEED, NOW)
    assert (found.listings, found.displayed, found.in_flight, found.oldest_due_at) == (0, 0, 0, None)
    assert set(found.images.values()) == {0}
    assert found.queued == {}


async def test_the_queue_is_sorted_by_priority_or_by_age(listings: Listings) -> None:
    await listings.write(
        [
            due("late", -9),
            due("later", -1),
            due("seen", -1, Priority.VIEWED),
            due("soon", 5, Priority.VIEWED),
            due("far", 50),
            due("other", -1, feed="other"),
        ]
    )
    assert summary_keys(await listings.queue(FEED, NOW, 10, by_age=False)) == ["seen", "late", "later"]
    assert summary_keys(await listings.queue(FEED, NOW, 2, by_age=False)) == ["seen", "late"]
    assert summary_keys(await listings.queue(FEED, NOW, 1, by_age=True)) == ["late"]
    assert summary_keys(await listings.upcoming(FEED, NOW, 10)) == ["soon", "far"]
