"""Reports ended attempts: as events, in the history of attempts, in metrics, the log and traces."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter

from services.downloader.announcements import Announcements
from services.downloader.decide import Settled
from services.downloader.events import image_downloaded
from services.downloader.outcomes import Deferred, Downloaded, EndedAttempt, Unchanged, result_of
from services.downloader.retrying import until_available
from shared import log, tracing
from shared.clock import Clock
from shared.domain.failures import Failure
from shared.events.images import ImageDownloaded
from shared.publisher import Publisher
from shared.stores.attempts import Attempt, Attempts
from shared.stores.documents import ListingId

_logger = log.get(__name__)


class Reporter:
    """Reports ended attempts of all feeds: to Kafka, to the stored history of attempts, to metrics, logs and traces."""

    def __init__(
        self,
        publisher: Publisher,
        announcements: Announcements,
        attempts: Attempts,
        url: Callable[[str], str],
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        """`attempts` stores the history of attempts; `url` takes an object's key and returns its public URL."""
        self._publisher = publisher
        self._announcements = announcements
        self._attempts = attempts
        self._url = url
        self._clock = clock
        self._results = Counter(
            "listing_images_attempts", "Attempts to get a copy, by result", ["feed", "result"], registry=registry
        )

    async def report(self, listing_id: ListingId, ended: Sequence[EndedAttempt], settled: Sequence[Settled]) -> None:
        """Publish `image-downloaded` for each copy that an attempt made or confirmed; add the attempts to the history.

        `settled` are the results of settling the attempts `ended`, in the same order, or empty if the listing is no
        longer recorded. All attempts are also counted, logged and added to their photos' traces. Deferred attempts are
        not added to the history. If Kafka or the database is unavailable, publishing or adding is repeated for up to
        five minutes. After that, raises BrokerUnavailable or StoreUnavailable.
        """
        now = self._clock()
        events = [
            image_downloaded(settled[-1].listing, attempt.photo.id, result.copy, self._url, changed=result.changed)
            for attempt, result in zip(ended, settled, strict=False)
            if result.copy
        ]
        history = [
            Attempt(
                image_id=attempt.photo.id,
                feed=listing_id[0],
                listing_key=listing_id[1],
                at=now,
                result=result_of(attempt.outcome),
                detail=attempt.outcome.detail if isinstance(attempt.outcome, Failure) else "",
                milliseconds=attempt.milliseconds,
            )
            for attempt in ended
            if not isinstance(attempt.outcome, Deferred)
        ]
        await until_available(lambda: self._publish(events))
        if settled:
            ids = {attempt.photo.id for attempt, result in zip(ended, settled, strict=True) if result.copy}
            unannounced = settled[-1].listing.unannounced
            self._announcements.published(listing_id, (mark for mark in unannounced if mark.image_id in ids))
        await until_available(lambda: self._attempts.add(history))
        for attempt in ended:
            self._results.labels(listing_id[0], result_of(attempt.outcome)).inc()
            _log(listing_id, attempt)

    async def _publish(self, events: Iterable[ImageDownloaded | None]) -> None:
        await self._publisher.publish(event for event in events if event)


def _log(listing_id: ListingId, attempt: EndedAttempt) -> None:
    """Write the log line of an attempt, and add a span for the attempt to the photo's trace."""
    feed, listing_key = listing_id
    photo, milliseconds = attempt.photo, attempt.milliseconds
    facts = {"feed": feed, "listing_key": listing_key, "image_id": photo.id, "ms": milliseconds}
    facts["correlation_id"] = photo.cause
    result = result_of(attempt.outcome)
    tracing.record_span("download", photo.cause, milliseconds / 1000, result=result, image_id=photo.id)
    match attempt.outcome:
        case Downloaded(copy):
            _logger.info("image-downloaded", **facts, bytes=copy.file_size, pixels=copy.width * copy.height)
        case Failure(reason, detail):
            _logger.warning("image-failed", **facts, reason=reason.value, detail=detail)
        case Unchanged():
            _logger.info("image-unchanged", **facts)
        case Deferred(until):
            _logger.info("image-deferred", **facts, until=until.isoformat())
