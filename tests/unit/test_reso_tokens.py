"""Is a token of an MLS requested once for all processes, renewed before its end, and kept secret?"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from shared.clock import utc_now
from shared.domain.reso_access import Auth, ResoAccess
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.sealing import seal, unseal
from shared.reso.token_endpoint import request_token
from shared.reso.tokens import TokenIssuer, TokenStores
from shared.stores.memory import MemoryLeases, MemoryTokens
from tests.builders import FEED, NOW, a_feed

SECRETS = {"ID": "client-1", "SECRET": "s3cret-of-the-client", "USER": "me", "PASSWORD": "s3cret-of-the-user"}
CLIENT = ResoAccess(
    auth=Auth.CLIENT_CREDENTIALS, token_url="", client_id_env="ID", client_secret_env="SECRET", scope="api"
)


class Endpoint:
    """A token endpoint on loopback that issues the tokens t1, t2, …; `answer`, if set, replaces its answer."""

    def __init__(self) -> None:
        self.forms: list[Mapping[str, Any]] = []
        self.authorisations: list[str] = []
        self.answer: Callable[[], web.Response] | None = None
        self.expires_in: Any = 3_600
        self.url = ""

    async def issue(self, request: web.Request) -> web.Response:
        self.forms.append(dict(await request.post()))
        self.authorisations.append(request.headers.get("Authorization", ""))
        if self.answer:
            return self.answer()
        return web.json_response({"access_token": f"t{len(self.forms)}", "expires_in": self.expires_in})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    app = web.Application()
    app.router.add_post("/token", found.issue)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/token"))
        yield found


class Processes:
    """Several processes that share stores. `now` is the time by the clocks of all of them."""

    def __init__(self, endpoint: Endpoint, access: ResoAccess = CLIENT) -> None:
        self.now, self.tokens = NOW, MemoryTokens()
        self._stores = TokenStores(self.tokens, MemoryLeases())
        fields = {name: getattr(access, name) for name in access.__slots__}
        self._feed = a_feed(reso_url="http://mls", reso=ResoAccess(**{**fields, "token_url": endpoint.url}))

    def issuer(self, holder: str = "one", secrets: Mapping[str, str] = SECRETS) -> TokenIssuer:
        return TokenIssuer(self._feed, secrets, self._stores, holder, lambda: self.now)


async def test_a_token_is_requested_with_the_clients_secrets_and_kept(endpoint: Endpoint) -> None:
    issuer = Processes(endpoint).issuer()
    assert [await issuer.token() for _ in range(3)] == ["t1"] * 3
    assert endpoint.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "s3cret-of-the-client",
            "scope": "api",
        }
    ]


async def test_the_password_grant_sends_the_users_name_and_password(endpoint: Endpoint) -> None:
    access = ResoAccess(auth=Auth.PASSWORD, username_env="USER", password_env="PASSWORD", client_id_env="ID")
    assert await Processes(endpoint, access).issuer().token() == "t1"
    assert endpoint.forms == [
        {"grant_type": "password", "username": "me", "password": "s3cret-of-the-user", "client_id": "client-1"}
    ]


async def test_all_processes_share_one_token(endpoint: Endpoint) -> None:
    processes = Processes(endpoint)
    issuers = [processes.issuer(f"process-{number}") for number in range(5)]
    assert await asyncio.gather(*(issuer.token() for issuer in issuers for _ in range(3))) == ["t1"] * 15
    assert len(endpoint.forms) == 1


@pytest.mark.parametrize(("life", "renewed_after"), [(3_600, 3_481), ("3600", 3_481), (40, 31), (None, 1_681)])
async def test_a_token_is_renewed_before_its_end(endpoint: Endpoint, life: Any, renewed_after: int) -> None:
    endpoint.expires_in = life
    processes = Processes(endpoint)
    issuer = processes.issuer()
    await issuer.token()
    processes.now += timedelta(seconds=renewed_after - 2)
    assert await issuer.token() == "t1"
    processes.now += timedelta(seconds=2)
    assert await issuer.token() == "t2"


async def test_a_refused_token_is_replaced_once_for_all_processes(endpoint: Endpoint) -> None:
    processes = Processes(endpoint)
    one, other = processes.issuer("one"), processes.issuer("other")
    assert [await one.token(), await other.token()] == ["t1", "t1"]
    assert [*await asyncio.gather(one.renewed("t1"), other.renewed("t1"))] == ["t2", "t2"]
    assert len(endpoint.forms) == 2


async def test_a_process_waits_while_another_requests_a_token_and_takes_over_if_that_dies(endpoint: Endpoint) -> None:
    processes = Processes(endpoint)
    issuer = processes.issuer()
    await processes.issuer()._stores.leases.hold(f"token {FEED}", "dead", NOW, NOW + timedelta(seconds=75))
    waiting = asyncio.ensure_future(issuer.token())
    await asyncio.sleep(0.05)
    assert (waiting.done(), len(endpoint.forms)) == (False, 0)
    processes.now += timedelta(seconds=76)
    assert await asyncio.wait_for(waiting, 10) == "t1"


async def test_the_stored_token_is_encrypted_and_of_no_use_with_other_secrets(endpoint: Endpoint) -> None:
    processes = Processes(endpoint)
    with capture_logs() as lines:
        assert await processes.issuer().token() == "t1"
    stored = await processes.tokens.get(FEED)
    assert stored
    assert "t1" not in f"{stored.sealed} {base64.b64decode(stored.sealed)!r}"
    assert await processes.issuer(secrets={**SECRETS, "SECRET": "rotated"}).token() == "t2"
    assert "t1" not in str([line for line in lines if line["event"] != "token-issued"])
    assert {"event", "log_level", "feed", "seconds"} == set(lines[-1])


def test_a_sealed_text_opens_with_its_secret_and_name_only() -> None:
    sealed = seal("text", "secret", "feed")
    assert unseal(sealed, "secret", "feed") == "text"
    assert unseal(sealed, "other", "feed") is None
    assert unseal(sealed, "secret", "other") is None
    assert unseal(("B" if sealed[0] == "A" else "A") + sealed[1:], "secret", "feed") is None
    assert unseal("", "secret", "feed") is None
    assert unseal("é", "secret", "feed") is None
    assert seal("text", "secret", "feed") != sealed


async def test_an_endpoint_that_wants_the_secrets_in_a_header_gets_them_there(endpoint: Endpoint) -> None:
    endpoint.answer = lambda: (
        web.json_response({"access_token": "t"}) if endpoint.authorisations[-1] else web.Response(status=401)
    )
    assert await Processes(endpoint).issuer().token() == "t"
    assert endpoint.authorisations == ["", "Basic Y2xpZW50LTE6czNjcmV0LW9mLXRoZS1jbGllbnQ="]
    assert endpoint.forms[1] == {"grant_type": "client_credentials", "scope": "api"}


@pytest.mark.parametrize(
    ("answer", "failure", "message", "wait"),
    [
        (
            lambda: web.json_response({"error": "invalid_client", "error_description": "s3cret"}, status=400),
            MlsFailure.REFUSED, "refused: the token endpoint answered 400 (invalid_client)", None,
        ),
        (
            lambda: web.Response(status=429, headers={"Retry-After": "30"}),
            MlsFailure.THROTTLED, "throttled: the token endpoint answered 429", 30.0,
        ),
        (lambda: web.Response(status=500), MlsFailure.MLS_ERROR, "mls-error: the token endpoint answered 500", None),
        (
            lambda: web.Response(text="<html>"),
            MlsFailure.BAD_ANSWER, "bad-answer: the token endpoint's answer has no token", None,
        ),
        (
            lambda: web.json_response({"access_token": "a b"}),
            MlsFailure.BAD_ANSWER, "bad-answer: the token endpoint's answer has no token", None,
        ),
    ],
)  # fmt: skip
async def test_an_endpoint_without_a_token_is_a_failure_that_quotes_no_secret(
    endpoint: Endpoint, answer: Callable[[], web.Response], failure: MlsFailure, message: str, wait: float | None
) -> None:
    endpoint.answer = answer
    with pytest.raises(MlsUnavailable) as raised:
        await Processes(endpoint).issuer().token()
    assert (raised.value.failure, str(raised.value), raised.value.wait_seconds) == (failure, message, wait)


async def test_an_endpoint_out_of_reach_is_a_failure(unused_tcp_port: int) -> None:
    with pytest.raises(MlsUnavailable, match="unreachable: the token endpoint: ConnectError"):
        await request_token(f"http://127.0.0.1:{unused_tcp_port}/token", {"client_secret": "s3cret"}, utc_now)


async def test_a_missing_secret_is_named_by_its_variable(endpoint: Endpoint) -> None:
    with pytest.raises(MlsUnavailable, match="no value for SECRET, which reso_client_secret_env names; set it"):
        await Processes(endpoint).issuer(secrets={"ID": "client-1"}).token()
