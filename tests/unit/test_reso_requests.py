"""What does the client add to its queries, and what does it do when the MLS refuses a token or the quota?"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.clock import utc_now
from shared.domain.reso_access import Auth, ResoAccess, Vendor
from shared.origin_budget.budget import OriginBudget
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.odata import MlsClient
from shared.reso.quota import ApiQuota
from shared.reso.tokens import TokenIssuer, TokenStores
from shared.stores.memory import MemoryLeases, MemoryLedgers, MemoryTokens
from tests.builders import FEED, a_feed

FIXED = "fixed"
ISSUED: dict[str, Any] = {
    "auth": Auth.CLIENT_CREDENTIALS, "client_id_env": "ID", "client_secret_env": "SECRET", "requests_per_second": 0,
}  # fmt: skip


class Mls:
    """An MLS with a chain of three pages, whose token endpoint issues t1, t2, …; `accepted` are the valid tokens.

    `answer`, if set, replaces the answer to each query.
    """

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.issued = 0
        self.accepted: set[str] = set()
        self.answer: Callable[[], web.Response] | None = None
        self.url = ""

    async def issue(self, _: web.Request) -> web.Response:
        self.issued += 1
        self.accepted.add(f"t{self.issued}")
        return web.json_response({"access_token": f"t{self.issued}", "expires_in": 3_600})

    async def page(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.answer:
            return self.answer()
        if self.accepted and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.accepted:
            return web.json_response({"error": {}}, status=401)
        number = int(request.query.get("page", "1"))
        link = f"{request.path}?$skip=%2410&page={number + 1}" if number < 3 else None
        return web.json_response({"value": [{"ListingKey": f"C{number}"}], "@odata.nextLink": link})

    def client(self, token: str | TokenIssuer = FIXED, quota: ApiQuota | None = None, **access: Any) -> MlsClient:
        return MlsClient(self.feed(**access), token, quota=quota, pause_seconds=0.0)

    def feed(self, **access: Any) -> Any:
        reso = ResoAccess(**{"token_url": f"{self.url}/token", **access})
        return a_feed(reso_url=f"{self.url}/odata", allow_private_addresses=True, reso_token_env="T", reso=reso)

    def issuer(self) -> TokenIssuer:
        stores = TokenStores(MemoryTokens(), MemoryLeases())
        return TokenIssuer(self.feed(**ISSUED), {"ID": "i", "SECRET": "s"}, stores, "one", utc_now)


@pytest.fixture
async def mls() -> AsyncIterator[Mls]:
    found = Mls()
    app = web.Application()
    app.router.add_post("/token", found.issue)
    app.router.add_get("/{path:.*}", found.page)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/")).rstrip("/")
        yield found


async def keys(client: MlsClient, **options: str) -> list[str]:
    try:
        first = await client.page("Property", {f"${name}": value for name, value in options.items()})
        return [row["ListingKey"] async for page in client.following(first) for row in page.rows]
    finally:
        await client.aclose()


@pytest.mark.parametrize(
    ("given", "added", "sent"),
    [
        (None, "A eq 'x'", "A eq 'x'"),
        ("B gt 1", "", "B gt 1"),
        ("B gt 1", "A eq 'x'", "A eq 'x' and B gt 1"),
        ("B gt 1 or C eq 2", "A eq 'x' or A eq 'y'", "(A eq 'x' or A eq 'y') and (B gt 1 or C eq 2)"),
    ],
)
async def test_the_feeds_condition_is_added_to_every_query(mls: Mls, given: str | None, added: str, sent: str) -> None:
    await keys(mls.client(filter=added), **({"filter": given} if given else {}))
    assert mls.requests[0].query["$filter"] == sent


async def test_the_feeds_parameters_are_added_to_every_request_and_its_next_links_stay_as_they_are(mls: Mls) -> None:
    await keys(mls.client(query={"PrettyEnums": "true", "Page": "9"}))
    assert mls.requests[0].query == {"PrettyEnums": "true", "Page": "9"}
    assert mls.requests[1].raw_path == "/odata/Property?$skip=%2410&page=2&PrettyEnums=true"


async def test_the_token_may_be_a_parameter_of_every_request(mls: Mls) -> None:
    assert await keys(mls.client("a b", auth=Auth.QUERY)) == ["C1", "C2", "C3"]
    assert [request.query["access_token"] for request in mls.requests] == ["a b"] * 3
    assert not any("Authorization" in request.headers for request in mls.requests)


async def test_a_token_that_ends_in_the_middle_of_a_chain_is_renewed_once(mls: Mls) -> None:
    client = mls.client(mls.issuer(), **ISSUED)
    first = await client.page("Property", {})
    mls.accepted = {"none"}
    assert [row["ListingKey"] async for page in client.following(first) for row in page.rows] == ["C1", "C2", "C3"]
    await client.aclose()
    assert mls.issued == 2
    assert [request.headers["Authorization"] for request in mls.requests] == [
        f"Bearer {token}" for token in ("t1", "t1", "t2", "t2")
    ]


async def test_an_mls_that_refuses_a_new_token_too_is_not_asked_a_third_time(mls: Mls) -> None:
    mls.answer = lambda: web.Response(status=401)
    with pytest.raises(MlsUnavailable) as raised:
        await keys(mls.client(mls.issuer(), **ISSUED))
    assert raised.value.failure is MlsFailure.REFUSED
    assert (mls.issued, len(mls.requests)) == (2, 2)


@pytest.mark.parametrize(
    ("vendor", "headers", "seconds"),
    [
        (Vendor.MLSGRID, {}, 900.0),
        (Vendor.MLSGRID, {"Retry-After": "120"}, 120.0),
        (Vendor.BRIDGE, {"Application-RateLimit-Remaining": "0", "Application-RateLimit-Reset": "600"}, 600.0),
        (Vendor.GENERIC, {"Retry-After": "600000"}, 600.0),
    ],
)
async def test_after_a_429_the_mls_gets_no_request_for_as_long_as_it_says_or_its_vendor_is_known_to_suspend(
    mls: Mls, vendor: Vendor, headers: dict[str, str], seconds: float
) -> None:
    mls.answer = lambda: web.Response(status=429, text="<h1>No</h1>", content_type="text/html", headers=headers)
    access: dict[str, Any] = {"profile": vendor, "requests_per_second": 0}
    quota = ApiQuota(mls.feed(**access), OriginBudget(MemoryLedgers(), "one"), utc_now, max_wait_seconds=0.0)
    with pytest.raises(MlsUnavailable) as raised:
        await keys(mls.client(quota=quota, **access))
    assert raised.value.wait_seconds is not None
    assert seconds - 2 < raised.value.wait_seconds <= seconds
    with pytest.raises(MlsUnavailable, match="quota: the limits of the MLS's API allow no request now"):
        await keys(mls.client(quota=quota, **access))
    assert len(mls.requests) == 1


async def test_requests_of_a_client_are_counted_in_the_ledger_of_the_api(mls: Mls) -> None:
    ledgers = MemoryLedgers()
    quota = ApiQuota(mls.feed(requests_per_second=0), OriginBudget(ledgers, "one"), utc_now)
    await keys(mls.client(quota=quota))
    ledger = (await ledgers.get(f"{FEED}:api")).ledger
    assert sum(amount for _, amount in ledger.hour_requests) == 3
