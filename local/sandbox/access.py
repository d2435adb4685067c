"""Checks the headers and bearer tokens of requests to the sandbox's Web API, and issues tokens at a token endpoint."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from local.sandbox.odata import BadQuery
from local.sandbox.vendors.rules import VendorRules
from shared.clock import Clock

CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret"


@dataclass(slots=True)
class Gate:
    """Refuses requests to the Web API of the emulated vendor that lack a required header or a valid token.

    `token` is the static bearer token; "" if none is required. A vendor with a token endpoint accepts only the tokens
    that this endpoint has issued.
    """

    vendor: VendorRules
    clock: Clock
    token: str
    issued: int = 0
    """How many tokens the endpoint has issued."""
    _ends_at: dict[str, datetime] = field(default_factory=dict)
    """The time when each issued token expires, by the token."""

    def check(self, request: web.Request) -> None:
        """Raise BadQuery if a request to the Web API lacks a header that the vendor requires, or a valid token."""
        rules = self.vendor.access
        if rules.gzip and "gzip" not in request.headers.get("Accept-Encoding", ""):
            raise BadQuery("COMPRESSION REQUIRED", rule="gzip")
        if rules.agent_header and rules.agent_header not in request.headers:
            raise BadQuery(f"{rules.agent_header} is required", 403, rule="header")
        if rules.accept_json and "application/json" not in request.headers.get("Accept", ""):
            raise BadQuery("Accept: application/json is required", 400, rule="header")
        self._check_token(self._token_of(request))

    def _token_of(self, request: web.Request) -> str:
        option = self.vendor.access.query_option
        if option and option in request.query:
            return request.query[option]
        return request.headers.get("Authorization", "").removeprefix("Bearer ")

    def _check_token(self, token: str) -> None:
        if self.vendor.access.kind != "client-credentials":
            if self.token and token != self.token:
                raise BadQuery("a bearer token is required", 401, rule="token")
            return
        if token not in self._ends_at:
            raise BadQuery("a bearer token is required", 401, rule="token")
        if self._ends_at[token] <= self.clock():
            raise BadQuery("the token has ended", 401, rule="ended")

    def expire_tokens(self) -> None:
        """End all tokens that the token endpoint has issued: requests with such a token get 401 from now on."""
        self._ends_at = dict.fromkeys(self._ends_at, self.clock())

    async def issue(self, request: web.Request) -> web.Response:
        """Answer a request to the token endpoint: with a new token, or with 400 if the credentials are wrong.

        The grant is that of client credentials (RFC 6749, 4.4).
        """
        form, rules = await request.post(), self.vendor.access
        if form.get("grant_type") != "client_credentials":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return web.json_response({"error": "invalid_client"}, status=400)
        if rules.scope and form.get("scope") != rules.scope:
            return web.json_response({"error": "invalid_scope"}, status=400)
        token = secrets.token_urlsafe(24)
        self.issued += 1
        self._ends_at[token] = self.clock() + timedelta(seconds=rules.token_seconds)
        return web.json_response({"access_token": token, "expires_in": rules.token_seconds, "token_type": "Bearer"})
