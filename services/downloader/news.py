"""How is it told what came of a photo: as an event, in the history of attempts, in the log?"""

from collections.abc import Callable
from datetime import datetime

from services.downloader.outcomes import Deferred, Downloaded, Ended, Outcome, Unchanged
from shared import log, tracing
from shared.domain.failures import Failure
from shared.domain.image import Copy
from shared.domain.listing import Listing
from shared.events.images import ImageDownloaded, VariantDownloaded
from shared.stores.documents import ListingId
from shared.stores.records import Attempt

_logger = log.get(__name__)


def image_downloaded(
    listing: Listing, image_id: str, copy: Copy, url: Callable[[str], str], *, changed: bool
) -> ImageDownloaded | None:
    """Return the news of a copy; None where the listing no longer shows the photo. `url` makes keys public."""
    photo = listing.photo(image_id)
    if photo is None:
        return None
    full = copy.full
    return ImageDownloaded(
        feed=listing.feed,
        listing_key=listing.key,
        image_id=image_id,
        order=photo.order,
        url=url(full.key),
        content_type=full.content_type,
        width=full.width,
        height=full.height,
        file_size=full.file_size,
        sha256=copy.sha256,
        variants=tuple(
            VariantDownloaded(
                name=one.name, url=url(one.key), width=one.width, height=one.height, file_size=one.file_size
            )
            for one in copy.variants
        ),
        media_changed_at=copy.mls_changed_at,
        downloaded_at=copy.downloaded_at,
        changed=changed,
        correlation_id=photo.cause,
    )


def result(outcome: Outcome) -> str:
    """Return the one word for an outcome: a metric's label, and what the history holds."""
    match outcome:
        case Downloaded():
            return "downloaded"
        case Unchanged():
            return "unchanged"
        case Deferred():
            return "put-back"
        case Failure(reason):
            return reason.value


def history(one: ListingId, done: Ended, now: datetime) -> Attempt:
    """Return the line that the history of attempts gets."""
    feed, listing_key = one
    return Attempt(
        image_id=done.photo.id,
        feed=feed,
        listing_key=listing_key,
        at=now,
        result=result(done.outcome),
        detail=done.outcome.detail if isinstance(done.outcome, Failure) else "",
        milliseconds=done.milliseconds,
    )


def log_end(one: ListingId, done: Ended) -> None:
    """Write the line of the log, and the span of the trace."""
    feed, listing_key = one
    facts = {"feed": feed, "listing_key": listing_key, "image_id": done.photo.id, "ms": done.milliseconds}
    facts["correlation_id"] = done.photo.cause
    word, seconds = result(done.outcome), done.milliseconds / 1000
    tracing.record_span("download", done.photo.cause, seconds, result=word, image_id=done.photo.id)
    match done.outcome:
        case Downloaded(copy):
            _logger.info("image-downloaded", **facts, bytes=copy.file_size, pixels=copy.width * copy.height)
        case Failure(reason, detail):
            _logger.warning("image-failed", **facts, reason=reason.value, detail=detail)
        case Unchanged():
            _logger.info("image-unchanged", **facts)
        case Deferred(until):
            _logger.info("image-deferred", **facts, until=until.isoformat())
