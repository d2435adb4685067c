"""Keeps the token of a feed's MLS: requests it, shares it among processes, and renews it before its end.

All processes of a feed use one token, since some MLSs end a token when they issue another. A lease lets one process at
a time request a token; the others wait for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import log
from shared.clock import Clock
from shared.domain.feed import Feed
from shared.domain.reso_access import Auth
from shared.reso import sealing
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.token_endpoint import IssuedToken, request_token
from shared.stores.leases import Leases
from shared.stores.tokens import StoredToken, Tokens

_LEASE = timedelta(seconds=75)
"""Longer than a request for a token takes. If the process dies, another one requests a token after this time."""
_POLL_SECONDS = 0.2
_MAX_WAIT = timedelta(seconds=90)
_MAX_MARGIN = timedelta(minutes=2)
"""How long before its end a token is renewed: longer than a request to the MLS may take."""
_MARGIN_SHARE = 4
"""A short-lived token is renewed when this part of its life is left."""

_logger = log.get(__name__)

RequestToken = Callable[[str, Mapping[str, str], Clock], Awaitable[IssuedToken]]


@dataclass(frozen=True, slots=True)
class TokenStores:
    """Holds the stores through which processes share tokens, and the lease on the right to request a token."""

    tokens: Tokens
    leases: Leases


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    issued_at: datetime
    ends_at: datetime

    def is_usable(self, now: datetime) -> bool:
        """Return True if the token is valid for long enough after `now` to be used without renewal.

        That is two minutes, or a quarter of the token's whole life if that is less.
        """
        return now < self.ends_at - min(_MAX_MARGIN, (self.ends_at - self.issued_at) / _MARGIN_SHARE)


class TokenIssuer:
    """Gives requests to one feed's MLS their token, and gets a new one if it ends soon or the MLS refuses it."""

    def __init__(
        self,
        feed: Feed,
        secrets: Mapping[str, str],
        stores: TokenStores,
        holder: str,
        clock: Clock,
        request: RequestToken = request_token,
    ) -> None:
        """`secrets` are values of environment variables by name: of all variables that the feed's settings name.

        `holder` is the name of this process. `request` requests a token from the token endpoint; tests replace it.
        """
        self._feed = feed
        self._secrets = secrets
        self._stores = stores
        self._holder = holder
        self._clock = clock
        self._request = request
        self._token: _Token | None = None
        self._renewing = asyncio.Lock()

    async def token(self) -> str:
        """Return the token for the next request; if it ends soon, get a new one first.

        Raises MlsUnavailable if no new token is issued, and StoreUnavailable if the database does not answer.
        """
        if self._token and self._token.is_usable(self._clock()):
            return self._token.value
        return await self.renewed(refused=None)

    async def renewed(self, refused: str | None) -> str:
        """Return a token other than `refused`, the one that the MLS did not accept; None if it refused none.

        If another process has stored a newer token, that token is returned. Otherwise this process requests one, or
        waits while another process does. Raises MlsUnavailable if no token is issued, or not within 90 seconds by
        another process, and StoreUnavailable if the database does not answer.
        """
        async with self._renewing:
            give_up_at = self._clock() + _MAX_WAIT
            while self._clock() < give_up_at:
                if found := await self._shared(refused):
                    return self._cached(found)
                if await self._hold_lease():
                    try:
                        # Another process may have stored a token between the reading and the lease.
                        return self._cached(await self._shared(refused) or await self._issued())
                    finally:
                        await self._stores.leases.release(self._lease_name, self._holder)
                await asyncio.sleep(_POLL_SECONDS)
        raise MlsUnavailable(MlsFailure.TIMEOUT, "another process requests a token, and has none yet")

    @property
    def _lease_name(self) -> str:
        return f"token {self._feed.name}"

    def _cached(self, token: _Token) -> str:
        self._token = token
        return token.value

    async def _hold_lease(self) -> bool:
        now = self._clock()
        return await self._stores.leases.hold(self._lease_name, self._holder, now, now + _LEASE)

    async def _shared(self, refused: str | None) -> _Token | None:
        """Return the stored token; None if there is none, it cannot be decrypted, it ends soon, or it is `refused`."""
        stored = await self._stores.tokens.get(self._feed.name)
        value = stored and sealing.unseal(stored.sealed, self._sealing_secret(), self._feed.name)
        if not stored or not value or value == refused:
            return None
        token = _Token(value, stored.issued_at, stored.ends_at)
        return token if token.is_usable(self._clock()) else None

    async def _issued(self) -> _Token:
        """Request a token from the MLS's token endpoint, store it for all processes, and return it."""
        requested_at = self._clock()
        issued = await self._request(self._feed.reso.token_url, self._form(), self._clock)
        token = _Token(issued.value, requested_at, requested_at + timedelta(seconds=issued.seconds))
        sealed = sealing.seal(token.value, self._sealing_secret(), self._feed.name)
        await self._stores.tokens.put(self._feed.name, StoredToken(sealed, token.issued_at, token.ends_at))
        _logger.info("token-issued", feed=self._feed.name, seconds=round(issued.seconds))
        return token

    def _form(self) -> dict[str, str]:
        reso, form = self._feed.reso, dict[str, str]()
        if reso.auth is Auth.PASSWORD:
            form = {
                "grant_type": "password",
                "username": self._secret("reso_username_env"),
                "password": self._secret("reso_password_env"),
            }
        else:
            form = {"grant_type": "client_credentials"}
        if reso.client_id_env:
            form["client_id"] = self._secret("reso_client_id_env")
        if reso.client_secret_env:
            form["client_secret"] = self._secret("reso_client_secret_env")
        return form | ({"scope": reso.scope} if reso.scope else {})

    def _sealing_secret(self) -> str:
        is_password = self._feed.reso.auth is Auth.PASSWORD
        return self._secret("reso_password_env" if is_password else "reso_client_secret_env")

    def _secret(self, key: str) -> str:
        return secret_of(self._feed, self._secrets, key)


def secret_of(feed: Feed, secrets: Mapping[str, str], key: str) -> str:
    """Return the value of the environment variable that the feed's setting `key` names, such as `reso_password_env`.

    `secrets` are the values of environment variables by name. Raises MlsUnavailable if the variable is not set.
    """
    name = feed.reso_secret_names[key]
    if not secrets.get(name):
        raise MlsUnavailable(MlsFailure.REFUSED, f"there is no value for {name}, which {key} names; set it")
    return secrets[name]
