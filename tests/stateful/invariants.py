"""Checks the invariants of ARCHITECTURE.md, whose numbers messages have: after each step, and once all is done."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import floor

import orjson
import structlog

from services.resolver.decide import Absent
from shared.domain import retry
from shared.domain.image import Copy, Photo, Status
from shared.domain.keys import listing_prefix
from shared.domain.listing import UNTIL_DECIDED, Listing, copy_keys
from shared.events import topics
from shared.stores.documents import ListingId, from_document
from shared.stores.objects import Bucket
from tests.stateful.mls import SIGNATURE
from tests.stateful.world import FEEDS, LISTINGS, RENDERER, TOPICS_READ, World

MAX_ANSWER_AGE = timedelta(seconds=2)
_PUBLIC_TOPICS = (topics.IMAGE_DOWNLOADED, topics.IMAGE_REMOVED, topics.IMAGE_OUTDATED, topics.IMAGE_OUTDATED_VIEWED)
_MAX_ROUNDS = 400
_OVERDUE_AFTER = timedelta(seconds=31)
"""After this time, any downloader announces a copy whose worker has not done it."""
_MAX_SETTLING = timedelta(days=3)


class Invariants:
    """Checks that the invariants hold in a world, and keeps the observations that the checks need.

    Each check raises AssertionError if an invariant is broken. `garbage` counts the unreadable records that were
    published, by topic; `has_forced` is True once an operator has forced a download.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.garbage: Counter[str] = Counter()
        self.has_forced = False
        self._seen: list[str] = []
        self._checked: dict[str, int] = {}
        """By topic: how many records were checked."""
        self._disturbances, self._undisturbed_since = 0, world.clock()
        self._logs = structlog.testing.LogCapture()
        structlog.configure(processors=[self._logs], cache_logger_on_first_use=False)

    # What visitors see, checked when they see it

    def check_answers(self, bodies: Sequence[bytes]) -> None:
        """Check answers for a listing: no URL of the MLS, no photo that may not be shown, and URLs that open.

        `bodies` are the answers' JSON.
        """
        for body in bodies:
            assert SIGNATURE.encode() not in body, "4: the MLS's URL in an answer"
            for image in orjson.loads(body)["images"]:
                self._check_is_shown(image["id"])
                urls = [image["url"], *(variant["url"] for variant in image["variants"])] if image["variants"] else []
                self._check_opens(image["id"], urls)

    def check_photo(self, image_id: str, shown: Copy | Absent | None) -> None:
        """Check the answer for a photo: `shown` is its copy, its absence, or None if the photo is unknown.

        It must not be a photo that may not be shown, and the URLs of its variants must open.
        """
        if shown is not None:
            self._check_is_shown(image_id)
        if isinstance(shown, Copy):
            self._check_opens(image_id, [RENDERER.url(variant.key) for variant in shown.variants])

    def _check_is_shown(self, image_id: str) -> None:
        since = self._world.listings.not_shown_since.get(image_id)
        assert since is None or self._world.clock() - since < MAX_ANSWER_AGE, "2: shown after it was to be hidden"

    def _check_opens(self, image_id: str, urls: Sequence[str]) -> None:
        if image_id not in self._world.listings.not_shown_since:
            held = {RENDERER.url(key) for key in self._world.objects.contents[Bucket.PUBLIC]}
            assert set(urls) <= held, "a shown URL does not open"

    # After every step

    def check(self) -> None:
        """Check all that must hold at any time. To be called after each step."""
        world = self._world
        assert not world.bugs, f"8: {world.bugs[0]!r}"
        assert not world.listings.violations, f"3: {world.listings.violations[0]}"
        for listing in self._listings():
            self._check_listing(listing)
        self._check_nothing_is_forgotten()
        self._check_budgets()
        self._check_secrets()

    def _listings(self) -> list[Listing]:
        return [from_document(document) for document in self._world.listings.documents.values()]

    def _check_listing(self, listing: Listing) -> None:
        held = self._world.objects.contents
        rendered = self._world.listings.documents[listing.feed, listing.key]["rendered"]
        assert isinstance(rendered, list)
        assert len(rendered) == (len(listing.photos) if listing.is_displayed else 0), "2: an answer of a hidden listing"
        for photo in listing.photos:
            if photo.copy and not any(map(self._world.objects.is_left_to_audit, copy_keys(photo.copy))):
                original = held[Bucket.ORIGINALS].get(photo.copy.original_key)
                assert original is not None, "3: the original of a recorded copy is gone"
                assert hashlib.sha256(original).hexdigest() == photo.copy.sha256
                for variant in photo.copy.variants:
                    assert variant.key in held[Bucket.PUBLIC], "3: a variant of a recorded copy is gone"
            if listing.is_displayed:
                is_leaving = any(discard.whole and discard.image_id == photo.id for discard in listing.discards)
                assert photo.status is Status.DOWNLOADED or listing.photo_due_at(photo) or is_leaving, "1: forgotten"

    def _check_nothing_is_forgotten(self) -> None:
        """Check that no released photo waits for the end of its lease, unless something was lost or stopped meanwhile.

        Without such a disturbance, whoever gets a released photo settles it or defers it.
        """
        world = self._world
        if world.disturbances != self._disturbances:
            self._disturbances, self._undisturbed_since = world.disturbances, world.clock()
        if world.is_busy:
            return
        for listing in self._listings():
            for photo in listing.released:
                since = photo.released_at
                assert since is None or since <= self._undisturbed_since, (
                    f"1: released, and nobody attempts it: {photo}"
                )

    def _check_budgets(self) -> None:
        for name, feed in FEEDS.items():
            origin, rate = self._world.mls.origins[name], feed.requests_per_second
            times = origin.requests
            assert _most_in(1 / min(rate, 1.0), times) <= max(1, floor(rate)), f"5: too many in a second: {times[-9:]}"
            if feed.requests_per_hour:
                assert _most_in(3_600, times) <= feed.requests_per_hour, "5: too many in an hour"
            assert origin.most_running <= feed.concurrency, "5: too many at a time"
            assert not origin.broke_silence, "5: a request while the origin asked for silence"

    def _check_secrets(self) -> None:
        for topic in _PUBLIC_TOPICS:
            records = self._world.topics.all(topic)
            for record in records[self._checked.get(topic, 0) :]:
                assert SIGNATURE.encode() not in (record.value or b""), f"4: the MLS's URL on {topic}"
            self._checked[topic] = len(records)
        for entry in self._logs.entries:
            assert SIGNATURE not in repr(entry), f"4: the MLS's URL in the log: {entry}"
        self._logs.entries.clear()

    # At rest

    def check_at_rest(self) -> None:
        """End all trouble, announce all listings, work until nothing is left to do, and check the result."""
        world = self._world
        for process in world.processes.values():
            process.heal()
        for origin in world.mls.origins.values():
            origin.failure, origin.redirects, origin.slow = None, False, 0.0
        for listing_id in LISTINGS:
            world.mls.set_late(listing_id, ())
            world.mls.write_record(listing_id)
            world.announce(listing_id, world.mls.listings[listing_id].records[-1])
        self._settle()
        for listing_id in LISTINGS:
            self._check_is_as_at_the_mls(listing_id)
        self._check_removals()
        self._check_downloads_are_announced()
        self._check_dead_letters()
        self._check_replay_changes_nothing()

    def _settle(self) -> None:
        """Let the processes work until nothing is left to do, and check the invariants at each round.

        Fail after three days.
        """
        began = self._world.clock()
        for _ in range(_MAX_ROUNDS):
            assert self._world.clock() - began < _MAX_SETTLING, f"1: still not at rest: {self._due_times()}"
            self._world.work(with_second=False)
            self._world.elapse(2.0)
            self.check()
            if not self._world.is_busy and not self._wait_until_due():
                return
        raise AssertionError(f"1: still not at rest: {self._due_times()}")

    def _wait_until_due(self) -> bool:
        """Let time pass until the next attempt or removal is due; return False, at once, if none is."""
        now, due_times = self._world.clock(), self._due_times()
        if not due_times:
            return False
        self._world.elapse(max(0.0, (min(due_times) - now).total_seconds()))
        return True

    def _due_times(self) -> list[datetime]:
        times: list[datetime] = []
        for listing in self._listings():
            removal_due_at = listing.removal_due_at
            times += [removal_due_at] if removal_due_at and removal_due_at < UNTIL_DECIDED else []
            times += [mark.at + _OVERDUE_AFTER for mark in listing.unannounced]
            times += [
                due_at
                for photo in listing.photos
                if (due_at := listing.photo_due_at(photo)) and self._can_succeed(listing, photo)
            ]  # fmt: skip
        return times

    def _can_succeed(self, listing: Listing, photo: Photo) -> bool:
        """Return False for a given up photo that cannot be decoded, because each attempt fails again; else True."""
        is_given_up = photo.failure and retry.is_given_up(photo.failure, photo.attempts, FEEDS[listing.feed])
        return not is_given_up or self._world.mls.is_good((listing.feed, listing.key), photo.object_id)

    def _check_is_as_at_the_mls(self, listing_id: ListingId) -> None:
        at_mls = self._world.mls.listings[listing_id]
        listing = next(listing for listing in self._listings() if (listing.feed, listing.key) == listing_id)
        assert listing.is_displayed == at_mls.is_displayed
        if not at_mls.is_displayed:
            assert at_mls.keeps_photos or not listing.photos, "7: photos of a hidden listing"
            return
        assert [photo.object_id for photo in listing.photos] == list(map(at_mls.key, at_mls.photos)), (
            "1: not the photos of the MLS"
        )
        for photo in listing.photos:
            if self._world.mls.is_good(listing_id, photo.object_id):
                body = self._world.mls.bytes_of(listing_id, photo.object_id) or b""
                assert photo.status is Status.DOWNLOADED, f"1: {photo}"
                assert photo.copy is not None
                assert photo.copy.sha256 == hashlib.sha256(body).hexdigest(), "1: not the newest version"
            else:
                assert photo.failure is not None, f"1: {photo}"

    def _check_removals(self) -> None:
        """Check that only objects in use are stored, and that each other one ever recorded has evidence and an event.

        Objects that a stopped process stored, and that nobody recorded, may be left.
        """
        world = self._world
        used = {
            key
            for listing in self._listings()
            for photo in listing.photos
            if photo.copy
            for key in copy_keys(photo.copy)
        }
        stored = {key for bucket in Bucket for key in world.objects.contents[bucket]}
        for key in stored - used:
            listing_id = next(listing_id for listing_id in LISTINGS if key.startswith(listing_prefix(*listing_id)))
            # Objects that a stopped process stored and nobody recorded are for the audit to find.
            assert world.objects.last_stored_by[key].stops, f"7: an object that nothing uses: {listing_id} {key}"
        events = [orjson.loads(record.value or b"")["data"] for record in world.topics.all(topics.IMAGE_REMOVED)]
        announced = {url for event in events for url in event["urls"]}
        for bucket in Bucket:
            for key in (world.objects.ever[bucket] & world.listings.ever_recorded.keys()) - stored:
                listing_id, image_id = world.listings.ever_recorded[key]
                assert bucket is Bucket.ORIGINALS or RENDERER.url(key) in announced, "7: removed without an event"
                evidence = world.loop.run_until_complete(world.removals.of_listing(*listing_id))
                assert image_id in {line.image_id for line in evidence}, "7: removed without evidence"

    def _check_downloads_are_announced(self) -> None:
        """Check that each copy that a photo has was announced, although processes died after they recorded it."""
        events = [
            orjson.loads(record.value or b"")["data"] for record in self._world.topics.all(topics.IMAGE_DOWNLOADED)
        ]
        announced = {(event["image_id"], event["sha256"]) for event in events}
        for listing in self._listings():
            for photo in listing.photos:
                assert photo.copy is None or (photo.id, photo.copy.sha256) in announced, f"1: unannounced: {photo.id}"

    def _check_dead_letters(self) -> None:
        """Check that each reader of `listing-seen`, of which no record is lost, has reported all garbage."""
        readers = sum(topics.LISTING_SEEN in names for names in TOPICS_READ.values())
        dead = len(self._world.topics.all(topics.DEAD_LETTER))
        assert dead >= readers * self.garbage[topics.LISTING_SEEN], "8: bad bytes were dropped"

    def _check_replay_changes_nothing(self) -> None:
        """Announce earlier records again, read all topics twice from the beginning, and check that nothing changes."""
        world = self._world
        if self.has_forced:  # a photo forced while its listing was hidden is attempted when its event is read again
            self._read_again()
        before, requests = world.listings.documents, self._request_counts()
        for listing_id in LISTINGS:
            *earlier, last = world.mls.listings[listing_id].records
            for record in (*reversed([former for former in earlier if _is_older(former, last)]), last):
                world.announce(listing_id, record)
        for _ in range(2):
            self._read_again()
        self.check()
        assert world.listings.documents == before, "6: reading again changed something"
        assert self._request_counts() == requests, "6: reading again fetched"

    def _request_counts(self) -> list[int]:
        return [len(origin.requests) for origin in self._world.mls.origins.values()]

    def _read_again(self) -> None:
        """Let all groups read all topics again from the beginning, until nothing is left to do."""
        for subscription in self._world.subscriptions.values():
            subscription.at = [0 for _ in subscription.at]
        for _ in range(_MAX_ROUNDS):
            self._world.work()
            self._world.elapse(1.0)
            if not self._world.is_busy:
                return
        raise AssertionError("6: reading again never ends")


def _is_older(record: Mapping[str, object], last: Mapping[str, object]) -> bool:
    return record["ModificationTimestamp"] != last["ModificationTimestamp"]


def _most_in(seconds: float, times: Sequence[float]) -> int:
    """Return the largest number of the times that fall into any window of `seconds`."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - seconds + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most
