"""Reads the records whose keys an MLS has pushed to the service `ingest`, and publishes them."""

from collections.abc import Collection, Sequence

from services.scheduler import decide
from services.scheduler.change_filter import ChangeFilter
from services.scheduler.sweep_record import SweepRecord
from shared.domain.feed import Feed
from shared.reso.feed_reader import FeedReader
from shared.stores.pushed_keys import PushedKey, PushedKeys, Resource
from shared.stores.release_queue import ReleaseQueue

_GROUP_SIZE = 50
"""How many pushed keys are read in a round. The sweep of the same feed waits until they are read."""
_MAX_WITNESSES = 5


class PushedChanges:
    """Publishes the property records of one feed whose keys its MLS has pushed, a group in each call."""

    def __init__(
        self,
        feed: Feed,
        reader: FeedReader,
        listings: ReleaseQueue,
        pushed_keys: PushedKeys,
        changes: ChangeFilter,
        record: SweepRecord,
    ) -> None:
        self._feed = feed
        self._reader = reader
        self._listings = listings
        self._pushed_keys = pushed_keys
        self._changes = changes
        self._record = record

    async def publish_group(self) -> None:
        """Read the records of the oldest pushed keys from the MLS, publish them as `listing-seen`, and remove the keys.

        A displayed listing that the MLS no longer has is published as gone. A key that is pushed again meanwhile is not
        removed. If the MLS filters by no ListingKey, the keys are removed and nothing is read: ChangeFollower publishes
        these listings. Without stored keys, nothing happens.

        Raises MlsUnavailable if the MLS gives no usable answer, Superseded if another scheduler has taken over,
        StoreUnavailable if the database does not answer, and BrokerUnavailable if Kafka does not answer. The keys then
        stay for a later call.
        """
        pushed = await self._pushed_keys.oldest(self._feed.name, _GROUP_SIZE)
        if not pushed:
            return
        keys = await self._listing_keys([key for key, _ in pushed]) if self._reader.filters_keys else []
        answer = await self._reader.records(keys) if keys else None
        await self._record.check_lease()
        if answer:
            await self._changes.publish(list(answer.records.values()), "pushed")
            await self._publish_gone(answer.absent)
        await self._pushed_keys.remove(self._feed.name, pushed)

    async def _listing_keys(self, pushed: Sequence[PushedKey]) -> Sequence[str]:
        """Return the ListingKeys of pushed keys, each once; for a key of Media, the ListingKey of the photo's listing.

        A photo that the MLS no longer has is left out: ChangeFollower publishes its listing.
        """
        keys = {key.key: None for key in pushed if key.resource is Resource.PROPERTY}
        media_keys = [key.key for key in pushed if key.resource is Resource.MEDIA]
        return list(keys | dict.fromkeys(await self._reader.owners(media_keys)) if media_keys else keys)

    async def _publish_gone(self, absent: Collection[str]) -> None:
        """Publish the displayed listings among `absent` as gone, if the MLS still has another displayed listing.

        `absent` are ListingKeys of which the MLS has no record. An MLS that has no record of any listing is at fault.
        """
        states = await self._listings.recorded_states([(self._feed.name, key) for key in absent])
        displayed = [key for _, key in states if states[self._feed.name, key].is_displayed]
        if displayed and await self._has_witness(absent):
            await self._changes.publish([decide.gone_record(key) for key in displayed], "gone")

    async def _has_witness(self, absent: Collection[str]) -> bool:
        """Return True if the MLS has a record of a displayed listing that is not among `absent`.

        It is asked for up to five such listings, each alone.
        """
        keys = await self._listings.displayed_keys(self._feed.name, "", len(absent) + _MAX_WITNESSES)
        for witness in [key for key in keys if key not in absent][:_MAX_WITNESSES]:
            if witness in (await self._reader.records([witness])).records:
                return True
        return False
