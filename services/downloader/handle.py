"""The whole story of one batch of `image-outdated`: gather, claim, download, settle, say so."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.downloader import decide, news
from services.downloader.answers import Answer
from services.downloader.decide import Settled
from services.downloader.ledger import Batch, Download, OriginBudget
from services.downloader.line import Asked, Line
from services.downloader.outcomes import Deferred, Ended, Outcome
from services.downloader.permit import Permit
from shared import log
from shared.clock import Clock
from shared.dead_letters import DeadLetters
from shared.domain import lifecycle
from shared.domain.failures import Failure, Reason
from shared.domain.feed import Feed
from shared.domain.image import Photo
from shared.domain.listing import Listing
from shared.domain.priority import Priority, most_urgent
from shared.events.codec import Event, Undecodable, decode
from shared.events.images import ImageOutdated
from shared.events.records import Record
from shared.kafka import BrokerUnavailable
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.documents import ListingId
from shared.stores.errors import Contention, StoreUnavailable
from shared.stores.listings import ListingRecords
from shared.stores.records import Attempts

T = TypeVar("T")
Attempting = Callable[[Feed, str, Photo, Permit], Coroutine[None, None, Outcome]]

_AT_ONCE = 3
"""Groups of a feed's photos: one downloads, one encodes, one waits for its turn in the budget."""
_VIEWED_AT_ONCE = 20
_HELD_SECONDS = 8.0
"""So long a group waits for all that it wants of the budget: about as long as what a scheduler releases lasts."""
_MOST_ROUNDS = 20
_MOST_RESUMED = 100
_LINGER_SECONDS = 1.5
"""How long a finished photo waits for others of its listing, to be settled in one write; not while people wait too."""
_STORAGE_AWAY = timedelta(seconds=10)
_LONGEST_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 300.0
"""Half of the time after which a consumer that finishes nothing is taken for stuck."""

_logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed photo and the download that the budget granted for it."""

    photo: Photo
    download: Download


class Handler:
    """Handles batches of both lanes; a photo is in work once, whoever asks for it."""

    def __init__(
        self,
        listings: ListingRecords,
        attempts: Attempts,
        publisher: Publisher,
        renderer: Renderer,
        dead_letters: DeadLetters,
        budget: OriginBudget,
        download: Attempting,
        storage_answers: Callable[[], Awaitable[None]],
        feeds: Mapping[str, Feed],
        superseded_for: timedelta,
        worker: str,
        clock: Clock,
        registry: CollectorRegistry,
    ) -> None:
        self._listings = listings
        self._attempts = attempts
        self._publisher = publisher
        self._renderer = renderer
        self._dead_letters = dead_letters
        self._budget = budget
        self._download = download
        self._storage_answers = storage_answers
        self._is_storage_away = False
        self._feeds = feeds
        self._lines = {name: Line(_AT_ONCE) for name in feeds}
        self._viewed_lines = {name: Line(_VIEWED_AT_ONCE) for name in feeds}
        self._superseded_for = superseded_for
        self._worker = worker
        self._clock = clock
        self._started_at = clock()
        self._at_work: set[str] = set()
        self._waiting: tuple[set[str], set[str]] = (set(), set())
        """Photos in hand until the budget grants them, of each lane: someone who views one takes it over."""
        self._downloads: set[asyncio.Task[Outcome]] = set()
        self._ending = asyncio.Event()
        self._results = Counter(
            "listing_images_attempts", "Attempts to get a copy, by result", ["feed", "result"], registry=registry
        )
        self._seconds = Histogram(
            "listing_images_attempt_seconds", "From the claim to the outcome", ["feed"], registry=registry
        )

    async def handle(self, records: Sequence[Record]) -> None:
        """See a batch through. Raises StoreUnavailable and BrokerUnavailable; the same batch again does no harm."""
        await self._handle(records, self._lines, is_viewed=False)

    async def handle_viewed(self, records: Sequence[Record]) -> None:
        """The same for photos that someone waits for, who stand in no line with the others."""
        await self._handle(records, self._viewed_lines, is_viewed=True)

    async def _handle(self, records: Sequence[Record], lines: Mapping[str, Line], *, is_viewed: bool) -> None:
        if self._is_storage_away:  # nothing is asked of an origin that could not be kept
            await self._storage_answers()
            self._is_storage_away = False
        asked, dead = self._read(records)
        await _all(
            lines[feed].see_through(of_feed, partial(self._of_feed, self._feeds[feed], is_viewed))
            for feed, of_feed in asked.items()
        )
        for record, reason in dead:
            await self._dead_letters.put(record, reason)
            _logger.warning("dead-letter", topic=record.topic, offset=record.offset, reason=reason)

    async def resume(self) -> None:
        """Put back what an earlier life of this worker had in hand: its events may be with another by now."""
        claimed = await self._listings.claimed_by(self._worker, _MOST_RESUMED)
        in_hand = self._at_work.union(*self._waiting)
        found = [(one, decide.abandoned(one, self._worker, in_hand, self._clock())) for one in claimed]
        await self._listings.write([listing.with_photos(photos) for listing, photos in found if photos])

    def drain(self) -> None:
        """Begin nothing new: what has not begun is put back, due at once."""
        self._budget.close()

    def cut_off(self) -> None:
        """End the downloads under way: their photos are put back, due at once, and nothing more is asked for."""
        self._ending.set()
        for download in self._downloads:
            download.cancel()

    def _read(
        self, records: Sequence[Record]
    ) -> tuple[dict[str, dict[ListingId, list[Event[ImageOutdated]]]], list[tuple[Record, str]]]:
        asked: dict[str, dict[ListingId, list[Event[ImageOutdated]]]] = {}
        dead: list[tuple[Record, str]] = []
        for record in records:
            event = decode(record.value, ImageOutdated, record.at)
            if isinstance(event, Undecodable):
                dead.append((record, event.reason))
            elif event.data.feed not in self._feeds:
                dead.append((record, f"the feed {event.data.feed[:100]!r} is not in feeds.toml"))
            else:
                one = event.data.feed, event.data.listing_key
                asked.setdefault(event.data.feed, {}).setdefault(one, []).append(event)
        return asked, dead

    async def _of_feed(self, feed: Feed, is_viewed: bool, asked: Asked) -> None:
        """Claim what is wanted and see it through; where another was faster, read and decide again.

        What the budget grants a moment later is waited for in hand: to put it back costs a write, and another release.
        """
        left, running = dict(asked), list[asyncio.Task[None]]()
        give_up = time.monotonic() + _HELD_SECONDS
        most_grants = sum(map(len, asked.values()))  # a round each, if the budget gives one at a time
        try:
            for _ in range(_MOST_ROUNDS + most_grants):
                known = await self._listings.get_many(list(left))
                await self._say_again(known, left)
                again = await self._claim(feed, is_viewed, known, left, running, give_up - time.monotonic())
                left = {one: left[one] for one in again}
                if not left:
                    return
            raise StoreUnavailable(f"{len(left)} listings changed under every attempt to claim their photos")
        except asyncio.CancelledError:
            for task in running:
                task.cancel()
            raise
        finally:
            await _all(running)

    async def _claim(
        self,
        feed: Feed,
        is_viewed: bool,
        known: Mapping[ListingId, Listing],
        asked: Asked,
        running: list[asyncio.Task[None]],
        wait_seconds: float,
    ) -> Iterable[ListingId]:
        """Claim what the budget grants and begin the work, or put all back where it grants nothing in that time.

        Returns the listings to look at again: some of their photos were not granted yet, or they changed meanwhile.
        """
        wanted = self._wanted(known, asked, self._taken(is_viewed))
        if not wanted:
            return ()
        waiting, in_hand = self._waiting[is_viewed], {photo.id for photos in wanted.values() for photo in photos}
        waiting |= in_hand
        work: Mapping[ListingId, Sequence[Turn]] = {}
        batch: Batch | None = None
        try:
            failed_before = all(photo.failure for photos in wanted.values() for photo in photos)
            batch = await self._budget.take(
                feed, len(in_hand), _urgency(wanted.values()), wait_seconds, failed_before=failed_before
            )
            if not batch.downloads:
                until = batch.earliest or self._clock()
                deferred = ((known[one], [lifecycle.defer(photo, until) for photo in wanted[one]]) for one in wanted)
                return await self._listings.write(listing.with_photos(photos) for listing, photos in deferred)
            work = await self._granted(feed, is_viewed, known, asked, wanted, batch.downloads)
            running.append(asyncio.create_task(self._see_through(feed, work, batch)))
        except BaseException:
            if batch:
                await self._budget.settle(batch)
            raise
        finally:
            waiting -= in_hand
            self._at_work |= {turn.photo.id for turns in work.values() for turn in turns}
        return [one for one, photos in wanted.items() if len(work.get(one, ())) < len(photos)]

    def _wanted(
        self, known: Mapping[ListingId, Listing], asked: Asked, at_work: Collection[str]
    ) -> dict[ListingId, list[Photo]]:
        now = self._clock()
        return {
            one: photos
            for one, listing in known.items()
            if (photos := decide.wanted(listing, asked[one], self._worker, at_work, now))
        }

    async def _granted(
        self,
        feed: Feed,
        is_viewed: bool,
        known: Mapping[ListingId, Listing],
        asked: Asked,
        wanted: Mapping[ListingId, Sequence[Photo]],
        downloads: Sequence[Download],
    ) -> dict[ListingId, list[Turn]]:
        """Claim as many photos as downloads were granted, the first of them.

        A grant is a moment to keep: where a listing changed since it was read, what it wants now is claimed.
        """
        claimed: dict[ListingId, list[Turn]] = {}
        ours = {photo.id for photos in wanted.values() for photo in photos}
        claiming = set[str]()
        try:
            for _ in range(_MOST_ROUNDS):
                turns = self._share_out(feed, wanted, downloads)
                changed = [known[one].with_photos([turn.photo for turn in some]) for one, some in turns.items()]
                # Before the write: the other lane may read the claim first, and take it for an earlier life's.
                claiming |= {turn.photo.id for some in turns.values() for turn in some}
                self._at_work |= claiming
                refused = await self._listings.write(changed)
                lost = {turn.photo.id for one in refused for turn in turns.get(one, ())}
                claiming -= lost
                self._at_work -= lost
                claimed |= {one: some for one, some in turns.items() if one not in refused}
                if not refused:
                    break
                used = {turn.download.slot for some in claimed.values() for turn in some}
                downloads = [download for download in downloads if download.slot not in used]
                known = await self._listings.get_many(refused)
                wanted = self._wanted(known, asked, self._taken(is_viewed, ours))
                # What came free meanwhile is not among them: it would have the grant of one that nobody looks at again.
                wanted = {one: [photo for photo in photos if photo.id in ours] for one, photos in wanted.items()}
        except BaseException:
            self._at_work -= claiming
            raise
        return claimed

    def _taken(self, is_viewed: bool, ours: Collection[str] = ()) -> set[str]:
        """Return what others have: photos at work or in hand, but for those of the other lane that someone views."""
        routine, viewed = self._waiting
        return self._at_work | (viewed.difference(ours) if is_viewed else viewed | routine.difference(ours))

    def _share_out(
        self, feed: Feed, wanted: Mapping[ListingId, Sequence[Photo]], downloads: Sequence[Download]
    ) -> dict[ListingId, list[Turn]]:
        now, found = self._clock(), [(one, photo) for one, some in wanted.items() for photo in some]
        photos = [(one, photo) for one, photo in found if photo.id not in self._at_work]  # the other lane was faster
        photos.sort(key=lambda each: each[1].failure is not None)  # a single grant may be the probe of an origin
        turns: dict[ListingId, list[Turn]] = {}
        for (one, photo), download in zip(photos, downloads, strict=False):
            download.image_id = photo.id
            turns.setdefault(one, []).append(Turn(lifecycle.claim(photo, self._worker, feed, now), download))
        return turns

    async def _see_through(self, feed: Feed, work: Mapping[ListingId, Sequence[Turn]], batch: Batch) -> None:
        try:
            await _all(self._of_listing(feed, one, turns, batch) for one, turns in work.items())
        finally:
            await self._budget.settle(batch)

    async def _of_listing(self, feed: Feed, one: ListingId, turns: Sequence[Turn], batch: Batch) -> None:
        """Download a listing's photos at once, and settle those together that end together."""
        pending = {asyncio.create_task(self._attempt(feed, one[1], turn, batch)) for turn in turns}
        left = {turn.photo.id for turn in turns}
        is_awaited = any(turn.photo.priority in (Priority.VIEWED, Priority.SEARCHED) for turn in turns)
        linger = 0.0 if is_awaited else _LINGER_SECONDS
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                if pending and linger:
                    more, pending = await asyncio.wait(pending, timeout=linger)
                    done |= more
                ended = [task.result() for task in done]
                # Both are seen through however long a server is away: else the origin would be asked again.
                settled = await _until_done(lambda ended=ended: self._settle(feed, one, ended))  # type: ignore[misc]
                # Not with the end of the batch: what is due again at once may be asked for before that.
                settled_ids = {each.photo.id for each in ended}
                self._at_work -= settled_ids
                left -= settled_ids
                await self._tell(one, ended, settled)
        finally:
            self._at_work -= left

    async def _attempt(self, feed: Feed, listing_key: str, turn: Turn, batch: Batch) -> Ended:
        began = self._clock()
        outcome = await self._outcome(feed, listing_key, turn, batch)
        seconds = (self._clock() - began).total_seconds()
        self._seconds.labels(feed.name).observe(seconds)
        return Ended(turn.photo, outcome, int(seconds * 1000))

    async def _outcome(self, feed: Feed, listing_key: str, turn: Turn, batch: Batch) -> Outcome:
        if self._ending.is_set():
            return self._put_back(turn.download, self._clock())
        permit = _BudgetPermit(self._budget, batch, turn.download)
        attempt = asyncio.create_task(self._download(feed, listing_key, turn.photo, permit))
        self._downloads.add(attempt)
        try:
            outcome = await attempt
        except asyncio.CancelledError:
            if not self._ending.is_set():
                raise
            return self._put_back(turn.download, self._clock())
        except (StoreUnavailable, OSError) as fault:
            self._is_storage_away = True
            _logger.warning("storage-unavailable", image_id=turn.photo.id, error=str(fault))
            return self._put_back(turn.download, self._clock() + _STORAGE_AWAY)
        except Exception:
            _logger.exception("attempt-failed", feed=feed.name, image_id=turn.photo.id)
            return Failure(Reason.INTERNAL_ERROR)
        finally:
            self._downloads.discard(attempt)
        return self._put_back(turn.download, turn.download.due_at) if turn.download.due_at else outcome

    @staticmethod
    def _put_back(download: Download, until: datetime) -> Deferred:
        return Deferred(until, url_is_used=download.sent_at is not None)

    async def _settle(self, feed: Feed, one: ListingId, ended: Sequence[Ended]) -> Sequence[Settled]:
        """Write the outcomes into the listing as it is now; return them, none where it is not recorded any more."""
        for _ in range(_MOST_ROUNDS):
            listing = await self._listings.get(*one)
            if listing is None:
                return ()
            settled = self._decide(listing, ended, feed)
            after = settled[-1].listing
            if after is listing or not await self._listings.write([after]):
                return settled
        raise StoreUnavailable("a listing changed under every attempt to settle it")

    async def _tell(self, one: ListingId, ended: Sequence[Ended], settled: Sequence[Settled]) -> None:
        """Say what is new, and keep the history."""
        now = self._clock()
        events = [
            news.image_downloaded(settled[-1].listing, done.photo.id, was.copy, self._renderer.url, changed=was.changed)
            for done, was in zip(ended, settled, strict=False)
            if was.copy
        ]
        history = [news.history(one, done, now) for done in ended if not isinstance(done.outcome, Deferred)]
        await _until_done(lambda: self._publisher.publish(event for event in events if event))
        await _until_done(lambda: self._attempts.add(history))
        for done in ended:
            self._results.labels(one[0], news.result(done.outcome)).inc()
            news.log_end(one, done)

    def _decide(self, listing: Listing, ended: Sequence[Ended], feed: Feed) -> list[Settled]:
        """Settle one outcome after the other; each of the listings returned holds those before it too."""
        now, settled = self._clock(), [Settled(listing)]
        for done in ended:
            settled.append(
                decide.settle(
                    settled[-1].listing,
                    done.photo,
                    done.outcome,
                    feed=feed,
                    superseded_for=self._superseded_for,
                    now=now,
                    jitter=random.random(),  # noqa: S311 - spreads retries, keeps no secret
                )
            )
        return settled[1:]

    async def _say_again(self, known: Mapping[ListingId, Listing], asked: Asked) -> None:
        """Say what a worker before this one finished, perhaps without living to say so."""
        events = [
            news.image_downloaded(listing, photo.id, photo.copy, self._renderer.url, changed=True)
            for one, listing in known.items()
            for photo in decide.left_unsaid(listing, asked[one], self._started_at)
            if photo.copy
        ]
        await self._publisher.publish(event for event in events if event)


def _urgency(wanted: Iterable[Sequence[Photo]]) -> Priority:
    """Return as what a batch takes from the budget: the reserve is for batches of viewed images alone."""
    priorities = {photo.priority for photos in wanted for photo in photos}
    return most_urgent(*priorities - {Priority.VIEWED}) if len(priorities) > 1 else most_urgent(*priorities)


class _BudgetPermit:
    """The permit of a photo that the budget granted a download."""

    def __init__(self, budget: OriginBudget, batch: Batch, download: Download) -> None:
        self._budget = budget
        self._batch = batch
        self._download = download
        self._is_first = True

    async def wait_for_request(self) -> Failure | None:
        # The grant planned a time for the first request. Each redirect's request needs a time of its own.
        wait = self._budget.at_turn if self._is_first else self._budget.permit
        self._is_first = False
        return _refusal(await wait(self._download))

    async def confirm_request(self) -> Failure | None:
        return _refusal(await self._budget.in_time(self._download))

    def count_received(self, size: int) -> None:
        self._download.receive(size)

    async def report_answer(self, answer: Answer) -> None:
        failure = answer if isinstance(answer, Failure) else None
        await self._budget.finished(self._download, failure, batch=self._batch)


def _refusal(allowed: bool) -> Failure | None:
    return None if allowed else Failure(Reason.THROTTLED, "the feed's budget is spent")


async def _until_done(act: Callable[[], Awaitable[T]]) -> T:
    """Do it again, ever more slowly, until the server that it needs is back; after minutes raise what is away."""
    wait, give_up = 0.2, time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await act()
        except (StoreUnavailable, Contention, BrokerUnavailable) as fault:
            if time.monotonic() > give_up:
                raise
            _logger.warning("waiting-for-infrastructure", error=str(fault), seconds=wait)
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_PAUSE_SECONDS)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """See all of it through, then raise the first fault."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
