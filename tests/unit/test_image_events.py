"""What do events about images say of a photo?"""

import pytest

from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.image import Photo
from shared.domain.priority import Priority
from shared.events.images import ImageOutdated, OutdatedReason
from tests.builders import FEED, KEY, NOW, a_downloaded_photo, a_listing, a_photo, after

FAILED = Failure(Reason.TIMEOUT)


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (a_photo(), OutdatedReason.MISSING),
        (a_photo(failure=FAILED), OutdatedReason.RETRY),
        (a_downloaded_photo(announced_at=after(1)), OutdatedReason.CHANGED),
        (a_downloaded_photo(announced_at=after(1), failure=FAILED), OutdatedReason.RETRY),
        (lifecycle.force(a_downloaded_photo(), Priority.ROUTINE, NOW), OutdatedReason.FORCED),
    ],
)
def test_an_event_says_why_the_photo_needs_an_attempt(photo: Photo, reason: OutdatedReason) -> None:
    assert ImageOutdated.of(a_listing(photo), photo).reason is reason


def test_an_event_names_the_photo_its_priority_and_the_event_that_announced_it() -> None:
    photo = a_photo(priority=Priority.SEARCHED, cause="e1")
    event = ImageOutdated.of(a_listing(photo), photo)
    assert (event.feed, event.listing_key, event.image_id) == (FEED, KEY, photo.id)
    assert (event.priority, event.correlation_id) == (Priority.SEARCHED, "e1")
