"""Listings that come over HTTP are recorded and downloaded, and a refresh fetches their photos again."""

import json

import httpx
import pytest

from local.sandbox import Sandbox
from tests.servers import INGEST_TOKEN
from tests.system import System, until

pytestmark = pytest.mark.slow


async def test_a_listing_that_is_posted_is_downloaded_and_can_be_refreshed(
    whole: System, mls: Sandbox, key: str
) -> None:
    record = dict(mls.market.property(mls.market.listing(key)))
    headers = {"Authorization": f"Bearer {INGEST_TOKEN}"}
    async with httpx.AsyncClient(base_url=whole.url("ingest"), headers=headers, trust_env=False, timeout=20) as client:
        lines = f"{json.dumps(record)}\n{{}}\n"
        answer = await client.post(
            "/api/listings?feed=sandbox", content=lines, headers={"Content-Type": "application/x-ndjson"}
        )
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
        await whole.wait_until_downloaded(key, 4)
        requests = mls.image_requests
        refreshed = await client.post(f"/api/listings/{key}/refresh?feed=sandbox")
        assert (refreshed.status_code, refreshed.json()["queued"]) == (202, 4), refreshed.text

        async def are_asked_again() -> bool:
            return mls.image_requests >= requests + 4

        await until(are_asked_again, "the photos to be asked for again")
