"""Turns listings into MongoDB documents and back. The names of fields here are stored in MongoDB: they never change.

A document has the listing's facts, and fields computed from the facts, which indexes and answers need. Only this module
computes these fields, anew for each write of a listing. MLS timestamps are stored as text: BSON cuts a date to the
millisecond, and two versions may lie closer together.
"""

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from shared.domain.failures import Failure, Reason
from shared.domain.freshness import Position, Version
from shared.domain.image import Category, Claim, Copy, Photo, Status, Variant, url_key
from shared.domain.listing import Discard, Hidden, Listing, RecordedState, RemovalReason, SetAside, Unannounced
from shared.domain.priority import Priority
from shared.render import Renderer

Document = dict[str, Any]
ListingId = tuple[str, str]
"""The feed and the ListingKey of a listing."""


def document_id(feed: str, listing_key: str) -> str:
    """Return the `_id` of the MongoDB document of a listing.

    It is unique: feed and ListingKey are joined by a line break, which no feed's name has.
    """
    return f"{feed}\n{listing_key}"


def to_document(listing: Listing, revision: int, renderer: Renderer) -> Document:
    """Return the MongoDB document of a listing, to be written as its revision `revision`.

    The document has the listing's facts, the fields computed from them, and the photos' JSON fragments, which
    `renderer` makes.
    """
    due_at = listing.due_at
    queued = listing.queued
    released = listing.released
    return {
        "_id": document_id(listing.feed, listing.key),
        "feed": listing.feed,
        "listing_key": listing.key,
        "revision": revision,
        "standard_status": listing.standard_status,
        "city": listing.city,
        "modified_at": _text(listing.modified_at),
        "media_changed_at": _text(listing.media_changed_at),
        "position": _position(listing.position),
        "seen_at": listing.seen_at,
        "displayed": listing.is_displayed,
        "hidden": _hidden(listing.hidden),
        "priority": listing.priority.value,
        "queue": {priority.value: {"due_at": first, "photos": photos} for priority, (first, photos) in queued.items()},
        "wanting": sum(photos for _, photos in queued.values()),
        "missing": _missing_orders(listing),
        "counts": {status.value: count for status, count in listing.counts.items()},
        "photos": [_photo(photo) for photo in listing.photos],
        "discards": [_discard(discard) for discard in listing.discards],
        "set_aside": [{"media_key": row.media_key, "reason": row.reason} for row in listing.set_aside],
        "is_blocked": listing.is_removed_by_operator,
        "blocked": listing.removed_image_ids,
        "rendered": _rendered(listing, renderer),
        "rendered_by": renderer.version,
        # Absent rather than null: the partial indexes hold only listings with something to do.
        **({"due_at": due_at} if due_at else {}),
        **({"in_work": len(released), "leased_until": max(photo.not_before for photo in released)} if released else {}),
        **({"checked_at": listing.checked_at} if listing.checked_at else {}),
        **({"removal_due_at": listing.removal_due_at} if listing.removal_due_at else {}),
        **(
            {"unannounced": [unannounced_document(mark) for mark in listing.unannounced]} if listing.unannounced else {}
        ),
    }


def unannounced_document(mark: Unannounced) -> Document:
    """Return a mark as it is stored in a listing's MongoDB document: an element of the list `unannounced`."""
    return {"id": mark.image_id, "at": mark.at, "changed": mark.changed}


RECORDED_STATE_FIELDS = (
    "feed",
    "listing_key",
    "modified_at",
    "media_changed_at",
    "position",
    "displayed",
    "hidden.reason",
)
"""The fields that `read_recorded_state` reads, and the listing's feed and ListingKey."""


def read_recorded_state(document: Mapping[str, Any]) -> RecordedState:
    """Return a listing's recorded version, and whether the listing is displayed, or else why it is hidden.

    `document` is the listing's MongoDB document; it needs to have only the fields in RECORDED_STATE_FIELDS.
    """
    hidden = document.get("hidden")
    return RecordedState(
        version=Version(
            modified_at=_moment(document["modified_at"]),
            media_changed_at=_moment(document["media_changed_at"]),
            position=_read_position(document["position"]),
        ),
        is_displayed=document["displayed"],
        hidden_by=RemovalReason(hidden["reason"]) if hidden else None,
    )


def from_document(document: Mapping[str, Any]) -> Listing:
    """Return the listing of a MongoDB document. Only the facts are read; the computed fields may be missing."""
    return Listing(
        feed=document["feed"],
        key=document["listing_key"],
        revision=document["revision"],
        standard_status=document["standard_status"],
        city=document["city"],
        modified_at=_moment(document["modified_at"]),
        media_changed_at=_moment(document["media_changed_at"]),
        position=_read_position(document["position"]),
        seen_at=document["seen_at"],
        hidden=_read_hidden(document["hidden"]),
        photos=tuple(_read_photo(photo) for photo in document["photos"]),
        discards=tuple(_read_discard(discard) for discard in document["discards"]),
        set_aside=tuple(SetAside(media_key=row["media_key"], reason=row["reason"]) for row in document["set_aside"]),
        is_removed_by_operator=document.get("is_blocked", False),
        removed_image_ids=tuple(document.get("blocked", ())),
        unannounced=tuple(
            Unannounced(mark["id"], mark["at"], mark["changed"]) for mark in document.get("unannounced", ())
        ),
    )


def _missing_orders(listing: Listing) -> Document:
    """Return the places of those photos of a listing that lack their newest version, by image id.

    A photo lacks its newest version if the photo wants an attempt and the version is not downloaded. The listing's
    first photo has the place 0. The result is stored as a field of the document: when a visitor views or searches the
    listing, the priority of these photos is raised. The result is empty if no photo lacks its newest version.
    """
    return {
        photo.id: order
        for order, photo in enumerate(listing.photos)
        if photo.status is not Status.DOWNLOADED and listing.photo_due_at(photo)
    }


def _rendered(listing: Listing, renderer: Renderer) -> list[Document]:
    """Return the JSON fragments of a listing's photos, in the photos' order, each with its photo's id and URL keys.

    By the id or a URL key, a query can find a single fragment. The list is empty if the listing is not displayed.
    """
    return [
        {"id": photo.id, "url_keys": photo.url_keys, "has_copy": photo.copy is not None, "json": fragment}
        for photo, fragment in zip(listing.photos, renderer.fragments(listing), strict=False)
    ]


def rendered_under_urls(document: Mapping[str, Any], url_keys: Set[str]) -> list[Document]:
    """Return the elements of the list `rendered` in a listing's MongoDB document that have a URL key in `url_keys`.

    Each element has the JSON fragment of one photo, and the photo's id.
    """
    return [rendered for rendered in document["rendered"] if not url_keys.isdisjoint(rendered["url_keys"])]


def _photo(photo: Photo) -> Document:
    return {
        "id": photo.id,
        "photo": photo.object_id,
        "media_key": photo.media_key,
        "url": photo.url,
        "url_keys": photo.url_keys,
        "order": photo.order,
        "caption": photo.caption,
        "status": photo.status.value,
        "announced_at": _text(photo.announced_at),
        "has_own_timestamp": photo.has_own_timestamp,
        "priority": photo.priority.value,
        "not_before": photo.not_before,
        "released_at": photo.released_at,
        "forced_at": photo.forced_at,
        "attempts": photo.attempts,
        "attempted_at": photo.attempted_at,
        "failure": _failure(photo.failure),
        "cause": photo.cause,
        "spent_url": photo.used_url_key,
        "copy": _copy(photo.copy) if photo.copy else None,
        **({"category": photo.category.value} if photo.category is not Category.PHOTO else {}),
        **({"claim": {"worker": photo.claim.worker, "until": photo.claim.until}} if photo.claim else {}),
    }


def _read_photo(document: Mapping[str, Any]) -> Photo:
    claim, failure, copy = document.get("claim"), document["failure"], document["copy"]
    return Photo(
        id=document["id"],
        object_id=document["photo"],
        media_key=document["media_key"],
        url=document["url"],
        url_keys=tuple(document["url_keys"]),
        order=document["order"],
        caption=document["caption"],
        announced_at=_moment(document["announced_at"]),
        has_own_timestamp=document["has_own_timestamp"],
        priority=Priority(document["priority"]),
        not_before=document["not_before"],
        released_at=document["released_at"],
        claim=Claim(worker=claim["worker"], until=claim["until"]) if claim else None,
        forced_at=document["forced_at"],
        attempts=document["attempts"],
        attempted_at=document["attempted_at"],
        failure=_read_failure(failure) if failure else None,
        cause=document.get("cause", ""),
        used_url_key=document.get("spent_url"),
        # If an older record of a copy lacks the URL of its validators, the photo's recorded URL counts as that URL.
        copy=_read_copy(copy, document["url"]) if copy else None,
        category=Category(document.get("category", Category.PHOTO)),
    )


def _copy(copy: Copy) -> Document:
    return {
        "sha256": copy.sha256,
        "original_key": copy.original_key,
        "content_type": copy.content_type,
        "width": copy.width,
        "height": copy.height,
        "file_size": copy.file_size,
        "variants": [_variant(variant) for variant in copy.variants],
        "rendering": copy.rendering,
        "thumbhash": copy.thumbhash,
        "etag": copy.etag,
        "last_modified": copy.last_modified,
        "mls_changed_at": _text(copy.mls_changed_at),
        "downloaded_at": copy.downloaded_at,
        "checked_at": copy.checked_at,
        "validators_of": copy.source_url_key,
    }


def _read_copy(document: Mapping[str, Any], url: str) -> Copy:
    return Copy(
        sha256=document["sha256"],
        original_key=document["original_key"],
        content_type=document["content_type"],
        width=document["width"],
        height=document["height"],
        file_size=document["file_size"],
        variants=tuple(_read_variant(variant) for variant in document["variants"]),
        rendering=document["rendering"],
        thumbhash=document["thumbhash"],
        etag=document["etag"],
        last_modified=document["last_modified"],
        mls_changed_at=_moment(document["mls_changed_at"]),
        downloaded_at=document["downloaded_at"],
        checked_at=document["checked_at"],
        source_url_key=document["validators_of"] if "validators_of" in document else url_key(url),
    )


def _variant(variant: Variant) -> Document:
    document: Document = {
        "name": variant.name,
        "key": variant.key,
        "content_type": variant.content_type,
        "width": variant.width,
        "height": variant.height,
        "file_size": variant.file_size,
    }
    return document | {"is_cropped": True} if variant.is_cropped else document


def _read_variant(document: Mapping[str, Any]) -> Variant:
    return Variant(
        name=document["name"],
        key=document["key"],
        content_type=document["content_type"],
        width=document["width"],
        height=document["height"],
        file_size=document["file_size"],
        is_cropped=document.get("is_cropped", False),
    )


def _discard(discard: Discard) -> Document:
    return {
        "image_id": discard.image_id,
        "photo": discard.object_id,
        "reason": discard.reason.value,
        "since": discard.since,
        "remove_at": discard.remove_at,
        "public_keys": discard.public_keys,
        "original_keys": discard.original_keys,
        "whole": discard.whole,
        "removing": discard.removing,
        "left_at": _text(discard.off_market_at),
        "record_gone_at": discard.unshown_at,
    }


def _read_discard(document: Mapping[str, Any]) -> Discard:
    return Discard(
        image_id=document["image_id"],
        object_id=document["photo"],
        reason=RemovalReason(document["reason"]),
        since=document["since"],
        remove_at=document["remove_at"],
        public_keys=tuple(document["public_keys"]),
        original_keys=tuple(document["original_keys"]),
        whole=document["whole"],
        removing=document.get("removing", False),
        off_market_at=_moment(document.get("left_at")),
        unshown_at=document.get("record_gone_at"),
    )


def _failure(failure: Failure | None) -> Document | None:
    if failure is None:
        return None
    validators = {"etag": failure.etag, "last_modified": failure.last_modified}
    given = {name: value for name, value in {**validators, "may_come": failure.may_come}.items() if value}
    return {"reason": failure.reason.value, "detail": failure.detail, **given}


def _read_failure(document: Mapping[str, Any]) -> Failure:
    return Failure(
        Reason(document["reason"]),
        document["detail"],
        etag=document.get("etag"),
        last_modified=document.get("last_modified"),
        may_come=document.get("may_come", False),
    )


def _hidden(hidden: Hidden | None) -> Document | None:
    if hidden is None:
        return None
    return {
        "reason": hidden.reason.value,
        "since": hidden.since,
        "remove_at": hidden.remove_at,
        "left_at": _text(hidden.off_market_at),
        # Absent rather than false or null: the partial indexes hold only listings that were displayed, or are held.
        **({"was_displayed": True} if hidden.was_displayed else {}),
        **({"held_until": hidden.held_until} if hidden.held_until else {}),
    }


def _read_hidden(document: Mapping[str, Any] | None) -> Hidden | None:
    if document is None:
        return None
    return Hidden(
        reason=RemovalReason(document["reason"]),
        since=document["since"],
        remove_at=document["remove_at"],
        off_market_at=_moment(document.get("left_at")),
        was_displayed=document.get("was_displayed", False),
        held_until=document.get("held_until"),
    )


def _position(position: Position | None) -> Document | None:
    if position is None:
        return None
    return {"at": _text(position.at), "partition": position.partition, "offset": position.offset}


def _read_position(document: Mapping[str, Any] | None) -> Position | None:
    if document is None:
        return None
    at = _moment(document["at"])
    assert at is not None  # noqa: S101 - written by _position
    return Position(at, document["partition"], document["offset"])


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
