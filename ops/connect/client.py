"""The client with which `imagectl connect` asks an MLS's API.

It is the client that the services use too, but it keeps its tokens and leases in memory: MongoDB is not needed.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared import log
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.reso.odata import MlsClient
from shared.reso.tokens import TokenIssuer, TokenStores
from shared.stores.memory.leases import MemoryLeases
from shared.stores.memory.tokens import MemoryTokens

PAUSE_SECONDS = 0.6
"""The pause between two requests: MLS Grid, the strictest vendor, allows two a second."""


def client_of(feed: Feed, secrets: Mapping[str, str], pause_seconds: float) -> MlsClient:
    """Return a client of the feed's API, which the caller closes.

    `secrets` maps the names of the variables in the feed's table to their values. The client waits `pause_seconds`
    between two requests.
    """
    token: str | TokenIssuer = secrets.get(feed.reso_token_env, "")
    if feed.reso.auth.uses_token_endpoint:
        stores = TokenStores(MemoryTokens(), MemoryLeases())
        token = TokenIssuer(feed, secrets, stores, "imagectl connect", utc_now)
    return MlsClient(feed, token, pause_seconds=pause_seconds)


@asynccontextmanager
async def connected(feed: Feed, secrets: Mapping[str, str]) -> AsyncIterator[MlsClient]:
    """Yield a client of the feed's API, and close it at the end of the context.

    The client pauses between two requests as the strictest vendor wants. `secrets` is as in `client_of`.
    """
    client = client_of(feed, secrets, PAUSE_SECONDS)
    try:
        with log.silenced():
            yield client
    finally:
        await client.aclose()
