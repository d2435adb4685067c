"""The client with which `imagectl connect` asks an MLS's API: the one that reads the feed later, without servers."""

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

    `secrets` are the values of the variables that the feed names, by variable.
    """
    token: str | TokenIssuer = secrets.get(feed.reso_token_env, "")
    if feed.reso.auth.uses_token_endpoint:
        stores = TokenStores(MemoryTokens(), MemoryLeases())
        token = TokenIssuer(feed, secrets, stores, "imagectl connect", utc_now)
    return MlsClient(feed, token, pause_seconds=pause_seconds)


@asynccontextmanager
async def connected(feed: Feed, secrets: Mapping[str, str]) -> AsyncIterator[MlsClient]:
    """Yield a client as `client_of` returns it, which pauses as the strictest vendor wants, and close it."""
    client = client_of(feed, secrets, PAUSE_SECONDS)
    try:
        with log.silenced():
            yield client
    finally:
        await client.aclose()
