"""How does an attempt of a photo go? The photo is released, claimed, and settled by the outcome; or it is deferred."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain import retry
from shared.domain.failures import Failure
from shared.domain.feed import Feed
from shared.domain.freshness import is_newer
from shared.domain.image import Claim, Copy, Photo, fresh_url_key, url_key
from shared.domain.listing import Listing, Unannounced
from shared.domain.priority import Priority

LEASE = timedelta(seconds=120)
"""How long a released photo may stay unclaimed. Then it is due again: its event was lost, or its worker died."""
_CLAIM_MARGIN = timedelta(seconds=60)
"""How long a claim lasts beyond the request's timeout: for waiting for a slot, for an encoder, and for storage."""


_CLOCK_SKEW = timedelta(seconds=30)
"""By how much the clock of the process that forced a photo may be ahead of this one's."""
ASK_AGAIN_AFTER = timedelta(seconds=90)
"""How long after the origin still had the former version of a changed photo it is asked once more."""


def release(photo: Photo, now: datetime) -> Photo:
    """Return the photo in flight since `now`, without a claim. The photo is due again when its lease (`LEASE`) ends."""
    return replace(photo, released_at=now, not_before=now + LEASE, claim=None)


def can_claim(listing: Listing, photo: Photo, worker: str | None, now: datetime) -> bool:
    """Return True if the worker may claim this photo: the photo wants an attempt, and is released, forced or due.

    `listing` is the photo's listing. Return False if the listing forbids an attempt of the photo
    (`Listing.photo_due_at`), or if another worker has a claim on the photo that has not ended at `now`. The worker may
    claim again what it has claimed itself: an earlier run of the worker made that claim. If `worker` is None, every
    claim that has not ended counts as another worker's. A photo that `settle_unchanged` forces to be asked for once
    more (`ASK_AGAIN_AFTER`) counts as forced only from that time on.
    """
    if listing.photo_due_at(photo) is None:
        return False
    if photo.claim is not None and photo.is_claimed(now) and photo.claim.worker != worker:
        return False
    is_forced = photo.forced_at is not None and photo.forced_at <= now + _CLOCK_SKEW
    return photo.released_at is not None or is_forced or photo.not_before <= now


def claim(photo: Photo, worker: str, feed: Feed, now: datetime) -> Photo:
    """Return the photo with a claim of the worker named `worker`, who is about to attempt the photo.

    The caller writes the photo. The claim ends a minute after the feed's request timeout, counted from `now`. A
    single-use URL counts as used from now on, because a worker that dies may have requested it. A rebuild requests no
    URL, so whether the URL counts as used does not change.
    """
    until = now + timedelta(milliseconds=int(feed.request_timeout_seconds * 1000)) + _CLAIM_MARGIN
    return replace(
        photo,
        claim=Claim(worker=worker, until=until),
        released_at=photo.released_at or now,
        not_before=until,
        used_url_key=_used_url_key(photo, feed) if feed.single_use_urls else None,
    )


def refresh_url(photo: Photo, url: str) -> Photo:
    """Return the photo with the fresh URL that was just read for the attempt that follows.

    `url_keys` stays as it is: the photo is found by its announced URLs.
    """
    return replace(photo, url=url)


def _used_url_key(photo: Photo, feed: Feed) -> str | None:
    if photo.wants_rebuild:
        return photo.used_url_key
    return fresh_url_key(photo.url) if feed.refreshes_urls else url_key(photo.url)


def defer(photo: Photo, until: datetime) -> Photo:
    """Return the photo due at `until`, not in flight and without a claim. Its count of attempts is unchanged."""
    return replace(photo, not_before=until, released_at=None, claim=None)


def settle_deferred(photo: Photo, until: datetime, *, url_is_used: bool) -> Photo:
    """Return the claimed photo after an attempt without a result: not in flight, without a claim, due at `until`.

    No attempt is counted. `url_is_used` is True if the origin was asked for the URL, so that a single-use URL stays
    used; if False, the next attempt can use the URL. After a rebuild, whether the URL counts as used does not change.
    """
    is_kept = url_is_used or photo.wants_rebuild
    return replace(defer(photo, until), used_url_key=photo.used_url_key if is_kept else None)


def settle_failed(
    photo: Photo, claimed: Photo, failure: Failure, feed: Feed, now: datetime, jitter: float
) -> Photo:  # fmt: skip
    """Return the claimed photo after a failed attempt: the attempt is counted, and the next is due as `retry` says.

    `photo` is the photo as recorded now, `claimed` the same photo as it was when the attempt began. If the MLS
    announced a newer version during the attempt, the photo is due now. An earlier copy stays. If this failure makes the
    photo given up, the photo is not forced any more. `jitter`, a random number from 0 to 1, makes the wait up to half
    longer.
    """
    was_given_up = photo.failure is not None and retry.is_given_up(photo.failure, photo.attempts, feed)
    attempts = 1 if was_given_up else photo.attempts + 1
    is_newer_announced = is_newer(photo.announced_at, claimed.announced_at)
    return replace(
        photo,
        released_at=None,
        claim=None,
        failure=failure,
        attempts=attempts,
        attempted_at=now,
        not_before=now if is_newer_announced else retry.next_attempt(failure, attempts, feed, now, jitter),
        forced_at=None if retry.is_given_up(failure, attempts, feed) else photo.forced_at,
    )


def settle_unchanged(
    photo: Photo, claimed: Photo, etag: str | None, last_modified: str | None, priority: Priority, now: datetime
) -> Photo:
    """Return the claimed photo after the origin confirmed in an attempt that the photo's copy is up to date.

    `photo` is the photo as recorded now, `claimed` the same photo as it was when the attempt began. `etag` and
    `last_modified` replace the copy's validators; None if the origin gave none. The photo gets `priority`, the priority
    of the listing's area, even if a view or a search had raised its priority. Failure and count of attempts are
    cleared.

    If the attempt was for a newer version by the photo's own timestamp, another attempt is due after `ASK_AGAIN_AFTER`,
    because caches may still give the former version. Until that attempt, the copy counts as up to date. A single-use
    URL is not asked for again.
    """
    assert photo.copy is not None  # noqa: S101 - only the holder of the claim replaces a copy
    copy = replace(
        photo.copy,
        etag=etag,
        last_modified=last_modified,
        source_url_key=url_key(claimed.url),
        mls_changed_at=_version_fetched(photo, claimed),
        checked_at=now,
    )
    settled = _succeeded(photo, claimed, copy, priority, now)
    if not (claimed.is_outdated and claimed.has_own_timestamp) or settled.waits_for_new_url or settled.forced_at:
        return settled
    ask_again_at = now + ASK_AGAIN_AFTER
    return replace(settled, not_before=ask_again_at, forced_at=ask_again_at)


def settle_downloaded(photo: Photo, claimed: Photo, copy: Copy, priority: Priority, now: datetime) -> Photo:
    """Return the claimed photo with the new `copy`, whose objects the attempt has stored, in place of any earlier copy.

    `photo` is the photo as recorded now, `claimed` the same photo as it was when the attempt began. The photo gets
    `priority`, the priority of the listing's area, even if a view or a search had raised its priority. Failure and
    count of attempts are cleared. The caller then calls `supersede`, which discards the earlier copy's objects.
    """
    mls_changed_at, source = _version_fetched(photo, claimed), _source_url_key(claimed, copy)
    copy = replace(copy, mls_changed_at=mls_changed_at, source_url_key=source)
    return _succeeded(photo, claimed, copy, priority, now)


def _source_url_key(claimed: Photo, copy: Copy) -> str | None:
    """Return the key (`image.url_key`) of the URL from which the validators of the new copy came.

    `claimed` is the photo as it was when the attempt began. The result is the key of its URL. But if the bytes and the
    validators are those of the former copy, the new copy may come from a rebuild, which made no request; the result
    then is the key that the former copy has, None if it has none.
    """
    former = claimed.copy
    if former and (former.sha256, former.etag, former.last_modified) == (copy.sha256, copy.etag, copy.last_modified):
        return former.source_url_key
    return url_key(claimed.url)


def mark_unannounced(listing: Listing, image_id: str, now: datetime, *, changed: bool) -> Listing:
    """Return the listing with a mark that `image-downloaded` is still to be published for a photo's copy.

    The mark is written together with the copy, and removed once Kafka has the event. So the event is published even if
    this process dies in between. `changed` is False if the copy has the same bytes as the copy before.
    """
    others = tuple(mark for mark in listing.unannounced if mark.image_id != image_id)
    return replace(listing, unannounced=(*others, Unannounced(image_id, now, changed)))


def _version_fetched(photo: Photo, claimed: Photo) -> datetime | None:
    """Return the MLS's timestamp of the version that an attempt fetched; None if the MLS gave none.

    `photo` is the photo as recorded now, `claimed` as it was when the attempt began. If the MLS announced a newer
    version during the attempt, the attempt fetched the version of `claimed`. Otherwise it is the version of `photo`,
    whose timestamp the MLS may have corrected.
    """
    return claimed.announced_at if is_newer(photo.announced_at, claimed.announced_at) else photo.announced_at


def _succeeded(photo: Photo, claimed: Photo, copy: Copy, priority: Priority, now: datetime) -> Photo:
    return replace(
        photo,
        released_at=None,
        claim=None,
        copy=copy,
        failure=None,
        attempts=0,
        attempted_at=now,
        not_before=now,
        priority=priority,
        forced_at=None if photo.forced_at == claimed.forced_at else photo.forced_at,
    )
