"""The listings in memory, for tests: the documents that MongoDB would store, in a dictionary."""

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from shared.domain.image import Status
from shared.domain.listing import UNTIL_DECIDED, Listing, RecordedState, RemovalReason
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores import summaries
from shared.stores.answers import Answer, PhotoAnswer, ShownPhoto
from shared.stores.documents import (
    Document,
    ListingId,
    from_document,
    read_fragments,
    read_recorded_state,
    rendered_under_urls,
    to_document,
)
from shared.stores.listing_reports import FeedCounts
from shared.stores.summaries import ListingFilter, ListingSummary


class MemoryListings:
    """Implements all that MongoListings implements, and Answers."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._documents: dict[ListingId, Document] = {}

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        return (await self.get_many([(feed, listing_key)])).get((feed, listing_key))

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        return {one: from_document(self._documents[one]) for one in ids if one in self._documents}

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        refused: set[ListingId] = set()
        for one in listings:
            known = self._documents.get((one.feed, one.key))
            if known and known["revision"] != one.revision:
                refused.add((one.feed, one.key))
            else:
                self._documents[one.feed, one.key] = to_document(one, one.revision + 1, self._renderer)
        return refused

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        ours = self._where(lambda one: one.feed == feed and one.key > after)
        return sorted(ours, key=lambda one: one.key)[:limit]

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        return [from_document(one) for one in self._most_urgent(feed, now)[:limit]]

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        return [from_document(one) for one in self._by_age(feed, lambda due_at: due_at <= now)[:limit]]

    def _most_urgent(self, feed: str, now: datetime) -> list[Document]:
        return sorted(self._by_age(feed, lambda due_at: due_at <= now), key=lambda one: self._urgency(one, now))

    def _urgency(self, document: Document, now: datetime) -> tuple[int, datetime]:
        due = {Priority(name): one["due_at"] for name, one in document["queue"].items() if one["due_at"] <= now}
        return min((priority.rank, due_at) for priority, due_at in due.items())

    def _by_age(self, feed: str, is_wanted: Callable[[datetime], bool]) -> list[Document]:
        ours = [one for one in self._documents.values() if one["feed"] == feed and "due_at" in one]
        return sorted((one for one in ours if is_wanted(one["due_at"])), key=operator.itemgetter("due_at"))

    async def in_flight(self, feed: str, now: datetime) -> int:
        ours = [one for one in self._documents.values() if one["feed"] == feed and "leased_until" in one]
        return sum(one["in_work"] for one in ours if one["leased_until"] > now)

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        queued = [item for one in self._documents.values() if one["feed"] == feed for item in one["queue"].items()]
        return sum(
            one["photos"]
            for name, one in queued
            if (Priority(name).rank < priority.rank and one["due_at"] <= max(due_at, now))
            or (name == priority and one["due_at"] < due_at)
        )

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        return {one: read_recorded_state(self._documents[one]) for one in ids if one in self._documents}

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        ours = self._where(lambda one: one.feed == feed and one.is_displayed and one.key > after)
        return sorted(one.key for one in ours)[:limit]

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        ours = [one for one in self._documents.values() if one["feed"] == feed and "checked_at" in one]
        due = sorted((one for one in ours if one["checked_at"] <= before), key=operator.itemgetter("checked_at"))
        return [from_document(one) for one in due[:limit]]

    async def recheck_count(self, feed: str, before: datetime) -> int:
        return len(await self.recheck_due(feed, before, len(self._documents)))

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        due = [one for one in self._documents.values() if "removal_due_at" in one and one["removal_due_at"] <= now]
        return [from_document(one) for one in sorted(due, key=operator.itemgetter("removal_due_at"))[:limit]]

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        hidden = [one["hidden"] for one in self._documents.values() if one["feed"] == feed and one["hidden"]]
        return sum(
            one["reason"] == reason and "was_displayed" in one and since < one["since"] <= until for one in hidden
        )

    async def feeds(self) -> Sequence[str]:
        return sorted({one["feed"] for one in self._documents.values()})

    async def displayed_count(self, feed: str) -> int:
        return sum(one["feed"] == feed and one["displayed"] for one in self._documents.values())

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        hidden = [one for one in self._documents.values() if one["feed"] == feed and one["hidden"]]
        waiting = [one for one in hidden if one["hidden"].get("held_until") == UNTIL_DECIDED]
        return [from_document(one) for one in waiting if one["hidden"]["reason"] == reason][:limit]

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        return self._where(lambda one: any(p.claim is not None and p.claim.worker == worker for p in one.photos))[
            :limit
        ]

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        return self._where(lambda one: one.key == listing_key)

    async def by_image(self, image_id: str) -> Listing | None:
        return next(iter(self._where(lambda one: one.photo(image_id) is not None)), None)

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        return self._where(lambda one: any(url_key in photo.url_keys for photo in one.photos))

    def _where(self, is_wanted: Callable[[Listing], bool]) -> Sequence[Listing]:
        return [one for one in map(from_document, self._documents.values()) if is_wanted(one)]

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        return [
            ShownPhoto(one.feed, one.key, photo, one.photo_due_at(photo))
            for one in self._where(lambda one: one.is_displayed)
            for photo in one.photos
            if photo.id in image_ids or not set(url_keys).isdisjoint(photo.url_keys)
        ]

    async def photo_answers(self, url_keys: Collection[str], *, every: bool) -> Sequence[PhotoAnswer]:
        return [
            PhotoAnswer.from_documents(document, rendered)
            for document in self._documents.values()
            if document["displayed"]
            for rendered in rendered_under_urls(document, frozenset(url_keys))[: None if every else 1]
        ]

    async def answers(self, listing_keys: Collection[str], photos: int | None) -> Sequence[Answer]:
        return [
            Answer(one["feed"], one["listing_key"], read_fragments(one, photos), one["missing"])
            for one in self._documents.values()
            if one["listing_key"] in listing_keys and one["displayed"]
        ]

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        ours = [one for one in self._documents.values() if one["feed"] == feed]
        queued = {
            priority.value: sum(one["queue"][priority]["photos"] for one in ours if priority in one["queue"])
            for priority in Priority
        }
        return FeedCounts(
            listings=len(ours),
            displayed=sum(one["displayed"] for one in ours),
            images={status: sum(one["counts"].get(status, 0) for one in ours) for status in Status},
            queued={priority: photos for priority, photos in queued.items() if photos},
            in_flight=await self.in_flight(feed, now),
            oldest_due_at=min((one["due_at"] for one in ours if "due_at" in one), default=None),
        )

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        found = [
            one for one in self._documents.values() if summaries.matches(one, wanted) and one["listing_key"] > after
        ]
        return [summaries.from_document(one) for one in sorted(found, key=operator.itemgetter("listing_key"))[:limit]]

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        found = self._by_age(feed, lambda due_at: due_at <= now) if by_age else self._most_urgent(feed, now)
        return [summaries.from_document(one) for one in found[:limit]]

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        return [summaries.from_document(one) for one in self._by_age(feed, lambda due_at: due_at > now)[:limit]]
