"""Gives requests to the RESO Web API of one feed's MLS the token that the MLS asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shared.domain.feed import Feed
from shared.domain.reso_access import Auth
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.tokens import TokenIssuer

_TOKEN_PARAMETER = "access_token"  # noqa: S105 - its name, as Bridge has it
"""The query parameter that holds the token if `reso_auth` is query."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """Holds the token of a request ("" for none), and the headers or query parameters, by name, that carry it."""

    token: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


class Authorisation:
    """Gives each request to one feed's MLS its token: a fixed one of the settings, or one that the MLS issues."""

    def __init__(self, feed: Feed, token: str | TokenIssuer) -> None:
        """`token` is the value of the variable that `reso_token_env` names, "" for none.

        If the feed's tokens come from a token endpoint (`reso_auth`), `token` is the TokenIssuer that requests them.
        """
        self._token = token
        self._token_env = feed.reso_token_env
        self._is_parameter = feed.reso.auth is Auth.QUERY
        self._is_safe = urlsplit(feed.reso_url).scheme == "https" or feed.allow_private_addresses

    async def authorise(self) -> Authorised:
        """Return the token of the next request, and the headers or parameters that carry it.

        If the feed has no token, all of them are empty. An issued token that ends soon is renewed first. Raises
        MlsUnavailable if the token has no value, would not go over https, or is not issued, and StoreUnavailable if the
        database does not answer.
        """
        is_issued = isinstance(self._token, TokenIssuer)
        if not is_issued and not self._token_env:
            return Authorised()
        if not self._token:
            raise MlsUnavailable(
                MlsFailure.REFUSED, f"there is no value for {self._token_env}, which reso_token_env names; set it"
            )
        if not self._is_safe:
            raise MlsUnavailable(MlsFailure.REFUSED, "a token goes over https only; make reso_url an https URL")
        token = await self._token.token() if isinstance(self._token, TokenIssuer) else self._token
        if self._is_parameter:
            return Authorised(token, parameters={_TOKEN_PARAMETER: token})
        return Authorised(token, headers={"Authorization": f"Bearer {token}"})

    async def renew(self, refused: str) -> bool:
        """Get another token than `refused`, which the MLS did not accept; return True if there is one.

        False means that the token is a fixed one of the settings. Raises MlsUnavailable if the MLS issues no other
        token, and StoreUnavailable if the database does not answer.
        """
        if not isinstance(self._token, TokenIssuer):
            return False
        await self._token.renewed(refused)
        return True
