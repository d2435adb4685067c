"""The resolver alone hides a listing that `listing-seen` hides, although no other service records it."""

from pathlib import Path

from shared.clock import utc_now
from tests import system
from tests.listing_writer import FEEDS, a_version, listing_writer
from tests.servers import Namespace
from tests.system import until

KEY = "H1"


async def test_a_listing_is_hidden_by_its_event_while_nothing_records_it(namespace: Namespace, tmp_path: Path) -> None:
    async with system.running(namespace, FEEDS, tmp_path, "resolver") as ours, listing_writer(namespace) as writer:
        await writer.record(KEY, a_version(KEY, 1))

        async def status() -> int:
            return (await ours.http.get(f"/api/listings/{KEY}/images")).status_code

        async def is_hidden() -> bool:
            await ours.publish_listings(
                {"ListingKey": KEY, "StandardStatus": "Closed", "ModificationTimestamp": utc_now().isoformat()}
            )
            return await status() == 404

        assert await status() == 200
        await until(is_hidden, "the listing to be hidden")
        assert (await writer.listings.by_key(KEY))[0].is_displayed, "MongoDB still displays it"
