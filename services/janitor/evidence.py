"""Reports removals: stores evidence, publishes `image-removed` for caches and the CDN, counts and logs."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter

from services.janitor.photo_objects import DeletedDiscard
from shared import log
from shared.domain.freshness import to_millisecond
from shared.events.images import ImageRemoved
from shared.publisher import Publisher
from shared.render import Renderer
from shared.stores.removals import Removal, Removals

_MAX_LOGGED_KEYS = 5

_logger = log.get(__name__)


class RemovalReports:
    """Reports removals of photos: stores evidence in MongoDB, publishes `image-removed` to Kafka, counts and logs."""

    def __init__(
        self, removals: Removals, publisher: Publisher, renderer: Renderer, registry: CollectorRegistry
    ) -> None:
        self._removals = removals
        self._publisher = publisher
        self._renderer = renderer
        self._removed = Counter("listing_images_removed", "Images removed, by reason", ["reason"], registry=registry)
        self._refused = Counter(
            "listing_images_removal_refused", "Objects that storage refused to delete", registry=registry
        )

    async def record(self, deleted: Sequence[DeletedDiscard], now: datetime) -> None:
        """Store the evidence of removals. Then publish `image-removed` for each discard whose objects were all deleted.

        `deleted` are the discards whose objects were deleted, and `now` is the time of the deletion. If the call is
        repeated, the stored evidence does not change, and the events are published again. Raises StoreUnavailable if
        the database does not answer, and BrokerUnavailable if Kafka does not answer.
        """
        await self._removals.add([_evidence(each, now) for each in deleted])
        await self._publisher.publish(self._event(each, now) for each in deleted if not each.remained)

    def count(self, deleted: Iterable[DeletedDiscard]) -> None:
        """Log each discard, and count it in the metrics as removed.

        If storage refused to delete objects of a discard, the discard is not counted; these objects are counted as
        refused.
        """
        for each in deleted:
            facts = {
                "feed": each.listing.feed,
                "listing_key": each.listing.key,
                "image_id": each.discard.image_id,
                "reason": each.discard.reason.value,
                "objects": each.object_count,
            }
            if each.remained:
                self._refused.inc(len(each.remained))
                _logger.error("removal-refused", **facts, remained=each.remained[:_MAX_LOGGED_KEYS])
            else:
                self._removed.labels(each.discard.reason).inc()
                _logger.info("image-removed", **facts)

    def _event(self, deleted: DeletedDiscard, now: datetime) -> ImageRemoved:
        return ImageRemoved(
            feed=deleted.listing.feed,
            listing_key=deleted.listing.key,
            image_id=deleted.discard.image_id,
            reason=deleted.discard.reason,
            removed_at=now,
            urls=tuple(self._renderer.url(key) for key in deleted.discard.public_keys),
        )


def _evidence(deleted: DeletedDiscard, now: datetime) -> Removal:
    """Return the evidence of one removal; the caller stores it.

    `now` is the time at which the objects were deleted. If a removal is repeated and storage refuses to delete the same
    objects again, the evidence has the same id as before, and the store keeps it once.
    """
    discard, remained = deleted.discard, sorted(deleted.remained)
    identity = "|".join([discard.image_id, discard.reason, discard.since.isoformat(), *remained])
    return Removal(
        id=hashlib.sha256(identity.encode()).hexdigest()[:32],
        feed=deleted.listing.feed,
        listing_key=deleted.listing.key,
        image_id=discard.image_id,
        reason=discard.reason.value,
        mls_status=deleted.listing.standard_status,
        off_market_at=to_millisecond(discard.off_market_at) if discard.off_market_at else None,
        hidden_at=discard.since,
        unshown_at=discard.unshown_at or discard.since,
        removed_at=now,
        objects=deleted.object_count,
        remained=tuple(remained),
    )
