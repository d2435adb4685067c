"""What must hold after every step, and what must hold once nothing is left to do. The numbers are ARCHITECTURE.md's."""

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
from shared.domain.listing import Listing, copy_keys
from shared.events import topics
from shared.stores.documents import ListingId, from_document
from shared.stores.objects import Bucket
from tests.stateful.mls import SIGNATURE
from tests.stateful.world import FEEDS, HEARS, LISTINGS, RENDERER, World

ANSWERS_ARE_OLD = timedelta(seconds=2)
_OUTSIDE = (topics.IMAGE_DOWNLOADED, topics.IMAGE_REMOVED, topics.IMAGE_OUTDATED, topics.IMAGE_OUTDATED_VIEWED)
_ROUNDS = 400
_LONGEST_REST = timedelta(days=3)


class Invariants:
    """The promises, and what is remembered to judge them by."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.garbage: Counter[str] = Counter()
        self.has_forced = False
        self._seen: list[str] = []
        self._told: dict[str, int] = {}
        self._disturbances, self._undisturbed_since = 0, world.clock()
        self._logs = structlog.testing.LogCapture()
        structlog.configure(processors=[self._logs], cache_logger_on_first_use=False)

    # What people see, judged when they do

    def page_seen(self, one: ListingId, bodies: Sequence[bytes]) -> None:
        """A listing's answer."""
        for body in bodies:
            assert SIGNATURE.encode() not in body, "4: the MLS's URL in an answer"
            for image in orjson.loads(body)["images"]:
                self._may_be_shown(image["id"])
                urls = [image["url"], *(variant["url"] for variant in image["variants"])] if image["variants"] else []
                self._open(image["id"], urls)

    def photo_seen(self, image: str, shown: Copy | Absent | None) -> None:
        """What is said of one photo."""
        if shown is not None:
            self._may_be_shown(image)
        if isinstance(shown, Copy):
            self._open(image, [RENDERER.url(variant.key) for variant in shown.variants])

    def _may_be_shown(self, image: str) -> None:
        since = self._world.listings.not_shown_since.get(image)
        assert since is None or self._world.clock() - since < ANSWERS_ARE_OLD, "2: shown after it was to be hidden"

    def _open(self, image: str, urls: Sequence[str]) -> None:
        if image not in self._world.listings.not_shown_since:
            held = {RENDERER.url(key) for key in self._world.objects.held[Bucket.PUBLIC]}
            assert set(urls) <= held, "a shown URL does not open"

    # After every step

    def hold(self) -> None:
        """Judge what can be judged at any moment."""
        world = self._world
        assert not world.bugs, f"8: {world.bugs[0]!r}"
        assert not world.listings.faults, f"3: {world.listings.faults[0]}"
        for listing in self._listings():
            self._is_sound(listing)
        self._leaves_nothing_behind()
        self._keeps_budgets()
        self._keeps_secrets()

    def _listings(self) -> list[Listing]:
        return [from_document(document) for document in self._world.listings.documents.values()]

    def _is_sound(self, listing: Listing) -> None:
        held = self._world.objects.held
        rendered = self._world.listings.documents[listing.feed, listing.key]["rendered"]
        assert isinstance(rendered, list)
        assert len(rendered) == (len(listing.photos) if listing.is_displayed else 0), "2: an answer of a hidden listing"
        for photo in listing.photos:
            if photo.copy and not any(map(self._world.objects.is_for_the_audit, copy_keys(photo.copy))):
                original = held[Bucket.ORIGINALS].get(photo.copy.original_key)
                assert original is not None, "3: the original of a recorded copy is gone"
                assert hashlib.sha256(original).hexdigest() == photo.copy.sha256
                for variant in photo.copy.variants:
                    assert variant.key in held[Bucket.PUBLIC], "3: a variant of a recorded copy is gone"
            if listing.is_displayed:
                is_leaving = any(gone.whole and gone.image_id == photo.id for gone in listing.discards)
                assert photo.status is Status.DOWNLOADED or listing.photo_due_at(photo) or is_leaving, "1: forgotten"

    def _leaves_nothing_behind(self) -> None:
        """Leases are for what is lost: where nothing was, whoever hears of a photo sees it through or puts it back."""
        world = self._world
        if world.disturbances != self._disturbances:
            self._disturbances, self._undisturbed_since = world.disturbances, world.clock()
        if world.is_busy:
            return
        for listing in self._listings():
            for photo in listing.released:
                since = photo.released_at
                assert since is None or since <= self._undisturbed_since, (
                    f"1: in nobody's hands until its lease ends: {photo}"
                )

    def _keeps_budgets(self) -> None:
        for name, feed in FEEDS.items():
            origin, rate = self._world.mls.origins[name], feed.requests_per_second
            times = origin.requests
            assert _most_in(1 / min(rate, 1.0), times) <= max(1, floor(rate)), f"5: too many in a moment: {times[-9:]}"
            if feed.requests_per_hour:
                assert _most_in(3_600, times) <= feed.requests_per_hour, "5: too many in an hour"
            assert origin.most_running <= feed.concurrency, "5: too many at a time"
            assert not origin.broke_silence, "5: a request while the origin asked for silence"

    def _keeps_secrets(self) -> None:
        for topic in _OUTSIDE:
            records = self._world.topics.all(topic)
            for record in records[self._told.get(topic, 0) :]:
                assert SIGNATURE.encode() not in (record.value or b""), f"4: the MLS's URL on {topic}"
            self._told[topic] = len(records)
        for entry in self._logs.entries:
            assert SIGNATURE not in repr(entry), f"4: the MLS's URL in the log: {entry}"
        self._logs.entries.clear()

    # At rest

    def hold_at_rest(self) -> None:
        """Mend what is broken, tell what the MLS says now, wait until nothing is left to do, and judge the end."""
        world = self._world
        for process in world.processes.values():
            process.heal()
        for origin in world.mls.origins.values():
            origin.fault, origin.redirects, origin.slow = None, False, 0.0
        for one in LISTINGS:
            world.mls.speak(one)
            world.announce(one, world.mls.listings[one].said[-1])
        self._comes_to_rest()
        for one in LISTINGS:
            self._is_as_at_the_mls(one)
        self._is_removed()
        self._went_to_the_dead_letters()
        self._stays_as_it_is()

    def _comes_to_rest(self) -> None:
        began = self._world.clock()
        for _ in range(_ROUNDS):
            assert self._world.clock() - began < _LONGEST_REST, f"1: still not at rest: {self._waiting()}"
            self._world.work(twins=False)
            self._world.elapse(2.0)
            self.hold()
            if not self._world.is_busy and not self._wait_for_what_is_due():
                return
        raise AssertionError(f"1: still not at rest: {self._waiting()}")

    def _wait_for_what_is_due(self) -> bool:
        """Let time pass until the next thing is due; False where nothing is."""
        now, waiting = self._world.clock(), self._waiting()
        if not waiting:
            return False
        self._world.elapse(max(0.0, (min(waiting) - now).total_seconds()))
        return True

    def _waiting(self) -> list[datetime]:
        found: list[datetime] = []
        for listing in self._listings():
            found += [listing.removal_due_at] if listing.removal_due_at else []
            found += [
                due
                for photo in listing.photos
                if (due := listing.photo_due_at(photo)) and self._can_be_had(listing, photo)
            ]  # fmt: skip
        return found

    def _can_be_had(self, listing: Listing, photo: Photo) -> bool:
        """Whether it is not given up for good: what cannot be decoded is tried anew every day, to no avail."""
        is_given_up = photo.failure and retry.is_given_up(photo.failure, photo.attempts, FEEDS[listing.feed])
        return not is_given_up or self._world.mls.is_good((listing.feed, listing.key), photo.object_id)

    def _is_as_at_the_mls(self, one: ListingId) -> None:
        there = self._world.mls.listings[one]
        listing = next(known for known in self._listings() if (known.feed, known.key) == one)
        assert listing.is_displayed == there.is_displayed
        if not there.is_displayed:
            assert not listing.photos, "7: photos of a hidden listing"
            return
        assert [photo.object_id for photo in listing.photos] == list(there.photos), "1: not the photos of the MLS"
        for photo in listing.photos:
            if self._world.mls.is_good(one, photo.object_id):
                body = self._world.mls.bytes_of(one, photo.object_id) or b""
                assert photo.status is Status.DOWNLOADED, f"1: {photo}"
                assert photo.copy is not None
                assert photo.copy.sha256 == hashlib.sha256(body).hexdigest(), "1: not the newest version"
            else:
                assert photo.failure is not None, f"1: {photo}"

    def _is_removed(self) -> None:
        world, listings = self._world, {(one.feed, one.key): one for one in self._listings()}
        used = {
            key for one in listings.values() for photo in one.photos if photo.copy for key in copy_keys(photo.copy)
        }  # fmt: skip
        held = {key for bucket in Bucket for key in world.objects.held[bucket]}
        for key in held - used:
            one = next(known for known in LISTINGS if key.startswith(listing_prefix(*known)))
            # What a process that died had stored and nobody recorded is for the audit to find.
            assert world.objects.last_stored_by[key].stops, f"7: an object that nothing uses: {one} {key}"
        events = [orjson.loads(record.value or b"")["data"] for record in world.topics.all(topics.IMAGE_REMOVED)]
        said = {url for event in events for url in event["urls"]}
        for bucket in Bucket:
            for key in (world.objects.ever[bucket] & world.listings.ever_recorded.keys()) - held:
                one, image = world.listings.ever_recorded[key]
                assert bucket is Bucket.ORIGINALS or RENDERER.url(key) in said, "7: removed without saying so"
                evidence = world.loop.run_until_complete(world.removals.of_listing(*one))
                assert image in {line.image_id for line in evidence}, "7: removed without evidence"

    def _went_to_the_dead_letters(self) -> None:
        """Of `listing-seen`, of which nothing is ever lost: each reader says what it could not read."""
        readers = sum(topics.LISTING_SEEN in heard for heard in HEARS.values())
        dead = len(self._world.topics.all(topics.DEAD_LETTER))
        assert dead >= readers * self.garbage[topics.LISTING_SEEN], "8: bad bytes were dropped"

    def _stays_as_it_is(self) -> None:
        """Everything is read again from the beginning, twice over, and what the MLS said before is said once more."""
        world = self._world
        if self.has_forced:  # what was asked for while its listing was hidden is done when it is read again, once
            self._reads_again()
        before, asked = world.listings.documents, [len(origin.requests) for origin in world.mls.origins.values()]
        for one in LISTINGS:
            *earlier, last = world.mls.listings[one].said
            for record in (*reversed([old for old in earlier if _is_older(old, last)]), last):
                world.announce(one, record)
        for _ in range(2):
            self._reads_again()
        self.hold()
        assert world.listings.documents == before, "6: reading again changed something"
        assert [len(origin.requests) for origin in world.mls.origins.values()] == asked, "6: reading again fetched"

    def _reads_again(self) -> None:
        for lane in self._world.subscriptions.values():
            lane.at = [0 for _ in lane.at]
        for _ in range(_ROUNDS):
            self._world.work()
            self._world.elapse(1.0)
            if not self._world.is_busy:
                return
        raise AssertionError("6: reading again never ends")


def _is_older(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return one["ModificationTimestamp"] != other["ModificationTimestamp"]


def _most_in(window: float, times: Sequence[float]) -> int:
    """The most that any window of so many seconds holds."""
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - window + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most
