"""Runs the attempts of claimed photos, and turns every error into an outcome."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Histogram

from services.downloader.answers import Answer
from services.downloader.claiming import ClaimedPhoto
from services.downloader.outcomes import Deferred, EndedAttempt, Outcome
from services.downloader.permit import Permit
from shared import log
from shared.clock import Clock
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.downloads import DownloadBatch, GrantedDownload
from shared.stores.errors import Contention, StoreUnavailable

DownloadPhoto = Callable[[Feed, str, Photo, Permit], Coroutine[None, None, Outcome]]
"""`Downloader.download`, or a test's fake of it."""

_STORAGE_RETRY_AFTER = timedelta(seconds=10)

_logger = log.get(__name__)


class Attempter:
    """Runs the attempts of all photos that this process has claimed. `cut_off` ends the attempts that are running."""

    def __init__(
        self,
        download: DownloadPhoto,
        ping_storage: Callable[[], Awaitable[None]],
        budget: OriginBudget,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        """`download` makes the attempt of one photo.

        `ping_storage` raises StoreUnavailable if object storage does not answer.
        """
        self._download = download
        self._ping_storage = ping_storage
        self._budget = budget
        self._clock = clock
        self._downloads: set[asyncio.Task[Outcome]] = set()
        self._cut_off = asyncio.Event()
        self._is_storage_unavailable = False
        self._seconds = Histogram(
            "listing_images_attempt_seconds", "From the claim to the outcome", ["feed"], registry=registry
        )

    async def check_storage(self) -> None:
        """Raise StoreUnavailable if an earlier attempt found object storage unavailable and it still does not answer.

        Called before photos are claimed, so that no origin is asked for bytes that could not be stored.
        """
        if self._is_storage_unavailable:
            await self._ping_storage()
            self._is_storage_unavailable = False

    async def attempt(self, feed: Feed, listing_key: str, claimed: ClaimedPhoto, batch: DownloadBatch) -> EndedAttempt:
        """Download the claimed photo of the listing `listing_key`; return it with the attempt's outcome and duration.

        `batch` is the batch to which the photo's granted download belongs. The outcome is Deferred if the budget
        refuses a request, a store cannot be reached or written, the disk is full, or `cut_off` was called. Any other
        error is logged, and the outcome is then a Failure (INTERNAL_ERROR). The listing is not written: the caller
        settles the outcome. Raises only CancelledError.
        """
        began = self._clock()
        outcome = await self._outcome(feed, listing_key, claimed, batch)
        seconds = (self._clock() - began).total_seconds()
        self._seconds.labels(feed.name).observe(seconds)
        return EndedAttempt(claimed.photo, outcome, int(seconds * 1000))

    async def end_batch(self, batch: DownloadBatch) -> None:
        """Free the batch's slots in the feed's ledger, and charge the feed's budget for the requests and bytes used.

        Called once all attempts of the batch have ended. If the ledger cannot be written, the error is logged; this
        process's next write of the feed's ledger then frees the slots and charges the budget.
        """
        await self._budget.give_back(batch)

    def cut_off(self) -> None:
        """End all running attempts of this process as Deferred, so that their photos are due at once.

        Attempts that start later end as Deferred too, without a request.
        """
        self._cut_off.set()
        for download in self._downloads:
            download.cancel()

    async def _outcome(self, feed: Feed, listing_key: str, claimed: ClaimedPhoto, batch: DownloadBatch) -> Outcome:
        photo, download = claimed.photo, claimed.download
        if self._cut_off.is_set():
            return _deferred(download, self._clock())
        permit = BudgetPermit(self._budget, batch, download, forgives_refusal=_is_first_refusal(feed, photo))
        task = asyncio.create_task(self._download(feed, listing_key, photo, permit))
        self._downloads.add(task)
        try:
            outcome = await task
        except asyncio.CancelledError:
            if not self._cut_off.is_set():
                raise
            return _deferred(download, self._clock())
        except (StoreUnavailable, Contention, OSError) as error:
            self._is_storage_unavailable = True
            _logger.warning("storage-unavailable", image_id=photo.id, error=str(error))
            return _deferred(download, self._clock() + _STORAGE_RETRY_AFTER)
        except Exception:
            _logger.exception("attempt-failed", feed=feed.name, image_id=photo.id)
            return Failure(Reason.INTERNAL_ERROR)
        finally:
            self._downloads.discard(task)
        return _deferred(download, download.due_at) if download.due_at else outcome


class BudgetPermit:
    """The Permit of one granted download.

    It asks the feed's budget before each request of the download, and reports the origin's answer to the budget.
    """

    def __init__(
        self, budget: OriginBudget, batch: DownloadBatch, download: GrantedDownload, *, forgives_refusal: bool
    ) -> None:
        """`batch` is the batch to which `download` belongs.

        `forgives_refusal` is True if a refusal (401 or 403) of this download does not count for the feed's breaker.
        """
        self._forgives_refusal = forgives_refusal
        self._budget = budget
        self._batch = batch
        self._download = download
        self._is_first = True

    async def wait_for_request(self) -> Failure | None:
        # The grant planned a time for the first request. Each redirect's request needs a time of its own.
        wait = self._budget.wait_for_planned_time if self._is_first else self._budget.wait_for_another_request
        self._is_first = False
        return _refusal(await wait(self._download))

    async def confirm_request(self) -> Failure | None:
        return _refusal(await self._budget.confirm_on_time(self._download))

    def count_received(self, size: int) -> None:
        self._download.receive(size)

    async def report_answer(self, answer: Answer) -> None:
        failure = answer if isinstance(answer, Failure) else None
        is_forgiven = self._forgives_refusal and failure is not None and failure.reason is Reason.FORBIDDEN
        await self._budget.record_end(self._download, failure, batch=self._batch, says_nothing=is_forgiven)


def _is_first_refusal(feed: Feed, photo: Photo) -> bool:
    """Return True if a refusal (401 or 403) of the photo may only mean that its URL has expired.

    The feed must read URLs anew before each fetch, so that the next attempt has a fresh URL. If the photo's last
    attempt failed with a refusal too, the result is False.
    """
    return feed.refreshes_urls and not (photo.failure and photo.failure.reason is Reason.FORBIDDEN)


def _refusal(is_allowed: bool) -> Failure | None:
    return None if is_allowed else Failure(Reason.THROTTLED, "the feed's budget is spent")


def _deferred(download: GrantedDownload, until: datetime) -> Deferred:
    return Deferred(until, url_is_used=download.sent_at is not None)
