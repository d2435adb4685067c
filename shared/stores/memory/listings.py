"""The listings in memory, for tests: the documents that MongoDB would store, in a dictionary."""

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from shared.domain.image import Status
from shared.domain.listing import UNTIL_DECIDED, Listing, RecordedState, RemovalReason, Unannounced
from shared.domain.priority import Priority
from shared.render import Renderer
from shared.stores import summaries
from shared.stores.answers import Answer, PhotoAnswer, ShownPhoto
from shared.stores.documents import (
    Document,
    ListingId,
    from_document,
    read_recorded_state,
    rendered_under_urls,
    to_document,
    unannounced_document,
)
from shared.stores.listing_reports import FeedCounts
from shared.stores.summaries import ListingFilter, ListingSummary


class MemoryListings:
    """Keeps the documents of listings in memory, for tests, as MongoDB would store them.

    `renderer` makes the JSON fragments in the documents. Implements ListingRecords, ReleaseQueue, RemovalQueue,
    ListingSearch, ListingReports and Answers.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._documents: dict[ListingId, Document] = {}

    async def get(self, feed: str, listing_key: str) -> Listing | None:
        return (await self.get_many([(feed, listing_key)])).get((feed, listing_key))

    async def get_many(self, ids: Collection[ListingId]) -> Mapping[ListingId, Listing]:
        return {listing_id: from_document(self._documents[listing_id]) for listing_id in ids if self._has(listing_id)}

    async def write(self, listings: Iterable[Listing]) -> Collection[ListingId]:
        refused: set[ListingId] = set()
        for listing in listings:
            listing_id = listing.feed, listing.key
            if self._has(listing_id) and self._documents[listing_id]["revision"] != listing.revision:
                refused.add(listing_id)
            else:
                self._documents[listing_id] = to_document(listing, listing.revision + 1, self._renderer)
        return refused

    async def recorded_states(self, ids: Collection[ListingId]) -> Mapping[ListingId, RecordedState]:
        return {
            listing_id: read_recorded_state(self._documents[listing_id]) for listing_id in ids if self._has(listing_id)
        }

    async def page(self, feed: str, after: str, limit: int) -> Sequence[Listing]:
        found = self._where(lambda listing: listing.feed == feed and listing.key > after)
        return sorted(found, key=lambda listing: listing.key)[:limit]

    async def displayed_keys(self, feed: str, after: str, limit: int) -> Sequence[str]:
        found = self._where(lambda listing: listing.feed == feed and listing.is_displayed and listing.key > after)
        return sorted(listing.key for listing in found)[:limit]

    async def unannounced(self, before: datetime, limit: int) -> Sequence[Listing]:
        return self._where(lambda listing: any(mark.at < before for mark in listing.unannounced))[:limit]

    async def clear_unannounced(self, announced: Iterable[tuple[ListingId, Unannounced]]) -> None:
        for listing_id, mark in announced:
            document = self._documents.get(listing_id, {})
            if "unannounced" in document:
                remaining = [stored for stored in document["unannounced"] if stored != unannounced_document(mark)]
                self._documents[listing_id] = {**document, "unannounced": remaining}

    async def claimed_by(self, worker: str, limit: int) -> Sequence[Listing]:
        return self._where(
            lambda listing: any(photo.claim and photo.claim.worker == worker for photo in listing.photos)
        )[:limit]

    async def due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        return [from_document(document) for document in self._most_urgent(feed, now)[:limit]]

    async def oldest_due(self, feed: str, now: datetime, limit: int) -> Sequence[Listing]:
        due = self._by_time(feed, "due_at", lambda due_at: due_at <= now)
        return [from_document(document) for document in due[:limit]]

    async def in_flight(self, feed: str, now: datetime) -> int:
        return sum(
            document["in_work"]
            for document in self._documents_of(feed)
            if "leased_until" in document and document["leased_until"] > now
        )

    async def ahead_of(self, feed: str, priority: Priority, due_at: datetime, now: datetime) -> int:
        queued = [item for document in self._documents_of(feed) for item in document["queue"].items()]
        return sum(
            queue["photos"]
            for name, queue in queued
            if (Priority(name).rank < priority.rank and queue["due_at"] <= max(due_at, now))
            or (name == priority and queue["due_at"] < due_at)
        )

    async def recheck_due(self, feed: str, before: datetime, limit: int) -> Sequence[Listing]:
        due = self._by_time(feed, "checked_at", lambda checked_at: checked_at <= before)
        return [from_document(document) for document in due[:limit]]

    async def recheck_count(self, feed: str, before: datetime) -> int:
        return len(await self.recheck_due(feed, before, len(self._documents)))

    async def removal_due(self, now: datetime, limit: int) -> Sequence[Listing]:
        due = [
            document
            for document in self._documents.values()
            if "removal_due_at" in document and document["removal_due_at"] <= now
        ]
        due.sort(key=operator.itemgetter("removal_due_at"))
        return [from_document(document) for document in due[:limit]]

    async def held(self, feed: str, reason: RemovalReason, limit: int) -> Sequence[Listing]:
        hidden = [document for document in self._documents_of(feed) if document["hidden"]]
        held = [document for document in hidden if document["hidden"].get("held_until") == UNTIL_DECIDED]
        return [from_document(document) for document in held if document["hidden"]["reason"] == reason][:limit]

    async def turned_hidden(self, feed: str, reason: RemovalReason, since: datetime, until: datetime) -> int:
        hidden = [document["hidden"] for document in self._documents_of(feed) if document["hidden"]]
        return sum(
            facts["reason"] == reason and "was_displayed" in facts and since < facts["since"] <= until
            for facts in hidden
        )

    async def displayed_count(self, feed: str) -> int:
        return sum(document["displayed"] for document in self._documents_of(feed))

    async def by_key(self, listing_key: str) -> Sequence[Listing]:
        return self._where(lambda listing: listing.key == listing_key)

    async def by_image(self, image_id: str) -> Listing | None:
        return next(iter(self._where(lambda listing: listing.photo(image_id) is not None)), None)

    async def by_url_key(self, url_key: str) -> Sequence[Listing]:
        return self._where(lambda listing: any(url_key in photo.url_keys for photo in listing.photos))

    async def search(self, wanted: ListingFilter, after: str, limit: int) -> Sequence[ListingSummary]:
        found = [
            document
            for document in self._documents.values()
            if summaries.matches(document, wanted) and document["listing_key"] > after
        ]
        found.sort(key=operator.itemgetter("listing_key"))
        return [summaries.from_document(document) for document in found[:limit]]

    async def quarantined_count(self, feed: str) -> int:
        return sum("quarantined" in document for document in self._documents_of(feed))

    async def feeds(self) -> Sequence[str]:
        return sorted({document["feed"] for document in self._documents.values()})

    async def counts(self, feed: str, now: datetime) -> FeedCounts:
        documents = self._documents_of(feed)
        queued = {
            priority.value: sum(
                document["queue"][priority]["photos"] for document in documents if priority in document["queue"]
            )
            for priority in Priority
        }
        return FeedCounts(
            listings=len(documents),
            displayed=sum(document["displayed"] for document in documents),
            images={status: sum(document["counts"].get(status, 0) for document in documents) for status in Status},
            queued={priority: photos for priority, photos in queued.items() if photos},
            in_flight=await self.in_flight(feed, now),
            oldest_due_at=min((document["due_at"] for document in documents if "due_at" in document), default=None),
        )

    async def queue(self, feed: str, now: datetime, limit: int, *, by_age: bool) -> Sequence[ListingSummary]:
        by_time = self._by_time(feed, "due_at", lambda due_at: due_at <= now)
        found = by_time if by_age else self._most_urgent(feed, now)
        return [summaries.from_document(document) for document in found[:limit]]

    async def upcoming(self, feed: str, now: datetime, limit: int) -> Sequence[ListingSummary]:
        found = self._by_time(feed, "due_at", lambda due_at: due_at > now)
        return [summaries.from_document(document) for document in found[:limit]]

    async def showing(self, image_ids: Collection[str], url_keys: Collection[str]) -> Sequence[ShownPhoto]:
        return [
            ShownPhoto(listing.feed, listing.key, photo, listing.photo_due_at(photo))
            for listing in self._where(lambda listing: listing.is_displayed)
            for photo in listing.photos
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
            Answer.from_document(document, photos)
            for document in self._documents.values()
            if document["listing_key"] in listing_keys and document["displayed"]
        ]

    def _has(self, listing_id: ListingId) -> bool:
        return listing_id in self._documents

    def _documents_of(self, feed: str) -> list[Document]:
        return [document for document in self._documents.values() if document["feed"] == feed]

    def _where(self, is_wanted: Callable[[Listing], bool]) -> Sequence[Listing]:
        return [listing for listing in map(from_document, self._documents.values()) if is_wanted(listing)]

    def _by_time(self, feed: str, field: str, is_wanted: Callable[[datetime], bool]) -> list[Document]:
        """Return those documents of a feed whose time in `field` is wanted, sorted by that time.

        `is_wanted` gets the time, and returns True if it is wanted. Documents without the field are left out.
        """
        found = [document for document in self._documents_of(feed) if field in document and is_wanted(document[field])]
        return sorted(found, key=operator.itemgetter(field))

    def _most_urgent(self, feed: str, now: datetime) -> list[Document]:
        """Return the documents of a feed's listings with photos due at `now`, the most urgent first.

        Of listings with the same priority, the one that is due longest comes first.
        """

        def urgency(document: Document) -> tuple[int, datetime]:
            queues = document["queue"].items()
            return min((Priority(name).rank, queue["due_at"]) for name, queue in queues if queue["due_at"] <= now)

        return sorted(self._by_time(feed, "due_at", lambda due_at: due_at <= now), key=urgency)
