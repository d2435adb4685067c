"""The route to which the site's ingest sends property records; they are published as `listing-seen`."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import IO

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from services.ingest import body, decide, requests
from services.ingest.decide import MalformedBody, Refusal, TooManyRecords
from shared import log, property_records
from shared.domain.feed import Feed
from shared.events.listings import ListingSeen
from shared.http_api.answers import ProblemFound, refuse
from shared.publisher import Publisher

_BATCH_SIZE = 100
_MAX_REQUESTS = 4
"""How many requests are read at a time: each may hold 16 MB on disk, and a batch of its records in memory."""
_RETRY_SECONDS = 2

_logger = log.get(__name__)


class ListingsRoute:
    """Publishes the property records in the body of a request, and answers once Kafka has stored them."""

    def __init__(self, publisher: Publisher, feeds: Mapping[str, Feed], registry: CollectorRegistry) -> None:
        """`feeds` are the feeds of feeds.toml by name. The counter of records is made in `registry`."""
        self._publisher = publisher
        self._feeds = feeds
        self._under_way = 0
        self._records = Counter(
            "listing_images_ingest_records", "Property records received, by outcome", ["outcome"], registry=registry
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the route `POST /api/listings` to add to the application."""
        return [web.post("/api/listings", self._accept)]

    async def _accept(self, request: web.Request) -> web.Response:
        """Publish the records of a request, and answer 202 with the number of accepted records and with the refusals.

        Raises ProblemFound: 400 if the body is not JSON, 413 if it is too large, 415 for another media type, 422 for an
        unknown feed or if no record can be used, 429 while too many requests are being read. Raises BrokerUnavailable
        if Kafka does not answer; some records may be published by then, and it does no harm if the client sends all of
        them again.
        """
        feed = requests.feed_of(request, self._feeds)
        if self._under_way >= _MAX_REQUESTS:
            raise ProblemFound(429, "too many requests are being read; send it again", retry_after=_RETRY_SECONDS)
        self._under_way += 1
        try:
            with await body.read(request) as file:
                accepted, refused = await _judged(file, feed)
                if not accepted:
                    refuse(422, _why_nothing(refused))
                await self._publish(file, feed, refused)
        finally:
            self._under_way -= 1
        self._records.labels("accepted").inc(accepted)
        self._records.labels("refused").inc(len(refused))
        _logger.info("listings-accepted", feed=feed.name, accepted=accepted, refused=len(refused))
        answer = {"accepted": accepted, "refused": [dataclasses.asdict(refusal) for refusal in refused]}
        return web.json_response(answer, status=202, headers={"Cache-Control": "no-store"})

    async def _publish(self, file: IO[bytes], feed: Feed, refused: Sequence[Refusal]) -> None:
        """Read the records of `file` again, and publish, batch by batch, the records that are not refused."""
        file.seek(0)
        records = decide.accepted(property_records.read(file), refused)
        while batch := await asyncio.to_thread(list, islice(records, _BATCH_SIZE)):
            await self._publisher.publish(ListingSeen(feed=feed.name, record=record) for record in batch)


async def _judged(file: IO[bytes], feed: Feed) -> tuple[int, Sequence[Refusal]]:
    """Return how many records of a body can be published, and the refusals of the others; the whole body is read.

    Raises ProblemFound: 400 if a part is not JSON, 413 if there are too many records.
    """
    try:
        return await asyncio.to_thread(decide.refusals, property_records.read(file), feed)
    except MalformedBody as error:
        refuse(400, str(error))
    except TooManyRecords:
        refuse(413, f"a request may have at most {decide.MAX_RECORDS:,} records; send them in parts")


def _why_nothing(refused: Sequence[Refusal]) -> str:
    if not refused:
        return "the body has no record"
    return f"none of the {len(refused):,} records can be used; the first: {refused[0].reason}"
