"""The tokens of MLSs in memory, for tests."""

from shared.stores.tokens import StoredToken


class MemoryTokens:
    """Keeps the tokens of MLSs in memory, for tests; implements Tokens."""

    def __init__(self) -> None:
        self._stored: dict[str, StoredToken] = {}

    async def get(self, feed: str) -> StoredToken | None:
        return self._stored.get(feed)

    async def put(self, feed: str, token: StoredToken) -> None:
        self._stored[feed] = token
