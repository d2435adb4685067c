"""Tests feeds with single-use URLs: each URL is requested once, and then the photo waits for a new URL."""

from dataclasses import replace
from typing import Any, cast

import pytest

from services.downloader.decide import claimable, settle
from services.downloader.download import Downloader
from services.downloader.no_photos import KnownNoPhotos
from services.downloader.outcomes import Deferred, Downloaded, Outcome
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Photo, Status
from shared.domain.listing import Listing
from shared.domain.variants import parse_variants
from shared.stores.memory import MemoryNoPhotos, MemoryObjects
from tests.builders import NOW, a_copy, a_feed, a_listing, a_photo, a_record, a_row, after, announced, stamp
from tests.origins import FakePermit

SINGLE = a_feed(single_use_urls=True)


def settled(outcome: Outcome, photo: Photo | None = None) -> tuple[Listing, Photo]:
    """Return the listing after its photo was claimed and the outcome settled."""
    claimed = lifecycle.claim(photo or a_photo(), "w", SINGLE, NOW)
    listing = settle(
        a_listing(claimed), claimed, outcome, feed=SINGLE, superseded_for=after(1) - NOW, now=after(1), jitter=0.0
    ).listing
    return listing, listing.photos[0]


@pytest.mark.parametrize("reason", [Reason.THROTTLED, Reason.ORIGIN_ERROR, Reason.TIMEOUT, Reason.BROKEN_IMAGE])
def test_after_a_failure_the_url_is_not_requested_again(reason: Reason) -> None:
    listing, photo = settled(Failure(reason))
    assert photo.waits_for_new_url
    assert (photo.status, listing.due_at) == (Status.FAILED, None)
    assert claimable(listing, [], "w", (), after(1_000_000)) == []


def test_a_url_that_was_not_requested_can_still_be_used() -> None:
    listing, photo = settled(Deferred(after(9)))
    assert not photo.waits_for_new_url
    assert listing.due_at == after(9)


def test_a_url_that_was_requested_is_used_even_if_its_bytes_were_lost() -> None:
    assert settled(Deferred(after(9), url_is_used=True))[1].waits_for_new_url


TO_REBUILD = lifecycle.rebuild(replace(settled(Downloaded(a_copy()))[1], claim=None, not_before=NOW), after(1))


def test_a_rebuild_uses_the_stored_original_although_the_url_is_used() -> None:
    assert a_listing(TO_REBUILD).due_at == after(1)
    assert lifecycle.claim(TO_REBUILD, "w", SINGLE, after(1)).used_url_key == TO_REBUILD.used_url_key
    for outcome in (Deferred(after(9)), Failure(Reason.ENCODER_KILLED)):
        assert settled(outcome, TO_REBUILD)[1].waits_for_new_url
    assert settled(Downloaded(a_copy()), TO_REBUILD)[0].due_at is None


async def test_a_rebuild_without_its_original_fails_without_a_request() -> None:
    unused, permit = cast("Any", None), FakePermit()  # neither a fetcher nor an encoder is called
    downloader = Downloader(
        unused,
        unused,
        MemoryObjects(lambda: NOW),
        KnownNoPhotos(MemoryNoPhotos()),
        parse_variants("full=300:webp:80"),
        lambda: NOW,
    )
    outcome = await downloader.download(SINGLE, "X1", TO_REBUILD, permit)
    assert isinstance(outcome, Failure)
    assert (outcome.reason, len(permit.answers)) == (Reason.INTERNAL_ERROR, 1)


def test_a_rebuild_uses_no_url() -> None:
    with_new_url = replace(TO_REBUILD, url="https://photos.example.com/signed-anew.jpg")
    assert not lifecycle.claim(with_new_url, "w", SINGLE, after(1)).waits_for_new_url
    assert not settled(Downloaded(a_copy()), with_new_url)[1].waits_for_new_url


def test_a_newer_version_is_no_rebuild_of_the_old_original() -> None:
    newer = replace(TO_REBUILD, announced_at=after(50))
    assert (newer.wants_rebuild, newer.due_at) == (False, None)


def test_a_claim_alone_counts_the_url_as_used() -> None:
    claimed = lifecycle.claim(a_photo(), "w", SINGLE, NOW)
    assert a_listing(claimed).due_at is None


def test_a_new_url_is_due_at_once() -> None:
    listing, _ = settled(Failure(Reason.FORBIDDEN))
    record = a_record(a_row("a", MediaURL="https://images.example.com/signed-anew.jpg"))
    again = announced(record, listing, feed=SINGLE, offset=9, now=after(5))
    assert again is not None
    assert again.due_at == after(5)


def test_a_newer_version_under_the_used_url_waits_for_a_new_url() -> None:
    listing, photo = settled(Downloaded(a_copy()))
    record = a_record(a_row("a", MediaURL=photo.url, MediaModificationTimestamp=stamp(50)), at=50)
    again = announced(record, listing, feed=SINGLE, now=after(5))
    assert again is not None
    assert again.photos[0].status is Status.OUTDATED
    assert again.due_at is None


def test_feeds_without_single_use_urls_request_a_url_again() -> None:
    usual = a_feed()
    claimed = lifecycle.claim(a_photo(), "w", usual, NOW)
    assert not claimed.waits_for_new_url
    assert claimed.due_at is not None
