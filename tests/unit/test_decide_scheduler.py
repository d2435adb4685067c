"""What does a sweep conclude of a listing: is it unrecorded, is it gone, which copies must be rechecked?"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.scheduler import decide, schedule
from shared.domain import announcement
from shared.domain.freshness import Version
from shared.domain.image import Photo
from shared.domain.listing import RecordedState, RemovalReason
from tests.builders import (
    NOW,
    Row,
    a_copy,
    a_downloaded_photo,
    a_feed,
    a_listing,
    a_photo,
    a_record,
    a_row,
    after,
    announced,
    hidden,
    stamp,
    without,
)

GONE, OPT_OUT = RemovalReason.LISTING_INACTIVE, RemovalReason.OPT_OUT


def recorded(
    modified: float | None = 0, media: float | None = 0, hidden_by: RemovalReason | None = None
) -> RecordedState:
    version = Version(
        modified_at=None if modified is None else after(modified),
        media_changed_at=None if media is None else after(media),
        position=None,
    )
    return RecordedState(version, is_displayed=hidden_by is None, hidden_by=hidden_by)


@pytest.mark.parametrize(
    ("record", "recorded_state", "is_unrecorded"),
    [
        (a_record(), None, True),
        (a_record(StandardStatus="Closed"), None, False),
        (a_record(), recorded(), False),
        (a_record(at=1), recorded(), True),
        (a_record(at=-1), recorded(), False),
        (a_record(ModificationTimestamp="2026-11-23T09:00:00.000001Z"), recorded(), True),
        (a_record(MediaChangeTimestamp="2026-11-23T09:00:00.000001Z"), recorded(), True),
        (a_record(MediaChangeTimestamp=None), recorded(), False),
        (a_record(), recorded(modified=None, media=None), True),
        (a_record(at=None), recorded(), False),
        (a_record(StandardStatus="Closed"), recorded(), True),
        (a_record(), recorded(hidden_by=GONE), True),
        (a_record(StandardStatus="Closed"), recorded(hidden_by=GONE), False),
        (a_record(), recorded(hidden_by=OPT_OUT), False),
        (a_record(at=1), recorded(hidden_by=OPT_OUT), True),
        (a_record(ModificationTimestamp="2099-01-01T00:00:00Z"), recorded(), False),
        (a_record(), recorded(modified=400 * 86_400), True),
    ],
)
def test_an_announcement_is_unrecorded_if_version_or_visibility_differ(
    record: Row, recorded_state: RecordedState | None, is_unrecorded: bool
) -> None:
    announced = announcement.read(a_feed(), without(record, "Media"))
    assert decide.is_unrecorded(announced, recorded_state, NOW) is is_unrecorded


def test_a_gone_listing_is_hidden_at_once_and_shown_when_the_mls_has_it_again() -> None:
    feed = a_feed(keep_after_inactive_hours=24.0)
    shown = announced(a_record(a_row()), feed=feed, offset=1)
    gone = announced(decide.gone_record("X1"), shown, feed=feed, offset=2)
    assert gone is not None
    assert gone.hidden is not None
    assert (gone.hidden.reason, gone.hidden.remove_at <= after(5), len(gone.photos)) == (GONE, True, 1)
    back = announced(a_record(a_row()), gone, feed=feed, offset=3)
    assert back is not None
    assert back.is_displayed
    assert announced(decide.gone_record("X1"), back, feed=feed, offset=2) is None, "replayed, it is stale"


def checked(name: str, days: float, **facts: Any) -> Photo:
    """Return a downloaded photo whose copy was last checked `days` days before NOW."""
    photo = a_downloaded_photo(name, copy=a_copy(name, checked_at=NOW - timedelta(days=days)))
    return replace(photo, **facts)


def test_old_copies_are_rechecked_at_their_listings_time() -> None:
    feed, week_ago = a_feed(sweep_hours=4.0), NOW - timedelta(days=7)
    listing = a_listing(checked("old", 8), checked("exactly", 7), checked("new", 6), a_photo("missing"))
    result = decide.schedule_rechecks(listing, feed, week_ago, NOW, NOW)
    forced = [photo for photo in result.listing.photos if photo.forced_at]
    assert (result.photos, [photo.object_id for photo in forced]) == (2, ["old", "exactly"])
    assert {photo.not_before for photo in forced} == {schedule.slot(feed, "X1", NOW)}
    assert decide.schedule_rechecks(result.listing, feed, week_ago, NOW, NOW) == decide.Rechecked(result.listing, 0)


def test_a_recheck_whose_time_is_over_is_due_now_and_hidden_or_due_photos_get_none() -> None:
    feed = a_feed(sweep_hours=4.0)
    result = decide.schedule_rechecks(a_listing(checked("a", 8)), feed, NOW, NOW - timedelta(hours=9), NOW)
    assert result.listing.due_at == NOW
    for listing in (
        a_listing(checked("a", 8), hidden=hidden()),
        a_listing(checked("a", 8, announced_at=after(1))),
        a_listing(checked("a", 8, forced_at=after(-5))),
    ):
        assert decide.schedule_rechecks(listing, feed, NOW, NOW, NOW) == decide.Rechecked(listing, 0)


@pytest.mark.parametrize(
    ("at", "fields", "recorded_state", "times"),
    [
        (-60, {}, recorded(), (NOW, NOW)),
        (-60, {"MediaChangeTimestamp": stamp(60)}, recorded(), (NOW, after(60))),
        (-60, {"MediaChangeTimestamp": None}, recorded(), (NOW, None)),
        (60, {}, recorded(), (after(60), after(60))),
        (-60, {}, recorded(hidden_by=GONE), (after(-60), after(-60))),
        (-60, {}, None, (after(-60), after(-60))),
        (None, {}, recorded(), (None, None)),
    ],
)
def test_a_record_that_hides_a_displayed_listing_is_published_as_new_as_the_recorded_one(
    at: float | None, fields: Row, recorded_state: RecordedState | None, times: tuple[object, object]
) -> None:
    record = without(a_record(at=at, StandardStatus="Closed", **fields), "Media")
    announced = announcement.read(a_feed(), record)
    current = announcement.read(a_feed(), decide.as_current(record, announced, recorded_state))
    assert (current.version.modified_at, current.version.media_changed_at) == times
    assert current.hidden_by is GONE
