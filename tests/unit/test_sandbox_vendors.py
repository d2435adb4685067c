"""Test the vendors that the sandbox plays: each rule cites a row of the facts, and refuses what the vendor refuses."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from local.sandbox import Sandbox, vendors
from local.sandbox.access import CLIENT_ID, CLIENT_SECRET

FACTS = Path(__file__).parents[2] / "docs" / "mls-vendors.md"
VENDORS = [name for name in vendors.NAMES if name != "generic"]


class Watch:
    """A clock that tests move; it stands at the first second of an hour at first."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 28, 9, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@asynccontextmanager
async def playing(
    vendor: str, watch: Watch, cache: Path, *switches: str, listings: int = 5, photos: int = 2
) -> AsyncIterator[tuple[Sandbox, httpx.AsyncClient]]:
    """Run a vendor's emulator, and yield it with a client that sends what the vendor requires."""
    mls = Sandbox(
        listings=listings, photos=photos, widest=160, cache=cache, vendor=vendor, switches=switches, clock=watch
    )
    async with mls, httpx.AsyncClient(trust_env=False) as client:
        client.base_url = mls.web_api
        client.headers = httpx.Headers({"Accept": "application/json", "Accept-Encoding": "gzip"})
        client.headers["Authorization"] = f"Bearer {mls.token or await token_of(mls, client)}"
        yield mls, client


async def token_of(mls: Sandbox, client: httpx.AsyncClient, **wrong: str) -> str:
    access = mls.vendor.access
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    answer = await client.post(mls.url + access.token_path, data=form | {"scope": access.scope} | wrong)
    return str(answer.json().get("access_token", answer.status_code))


async def query(client: httpx.AsyncClient, resource: str = "/Property", **options: object) -> httpx.Response:
    return await client.get(resource, params={f"${name}": str(value) for name, value in options.items()})


async def rows(client: httpx.AsyncClient, resource: str = "/Property", **options: object) -> list[Any]:
    answer = await query(client, resource, **options)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["value"])


# The tables


def rules_of(value: object) -> Iterable[BaseModel]:
    """Yield all rules of a vendor that its file sets, but the names."""
    if isinstance(value, BaseModel):
        if "source" in type(value).model_fields and value.model_fields_set:
            yield value
        for name in type(value).model_fields:
            yield from rules_of(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from rules_of(item)


@pytest.mark.parametrize("name", VENDORS)
def test_each_rule_cites_rows_that_exist(name: str) -> None:
    facts = FACTS.read_text("utf-8")
    sections = dict(re.findall(r"^## (\d+)\. .*\n((?:(?!## ).*\n?)*)", facts, re.MULTILINE))
    for rule in rules_of(vendors.load(name)):
        source = rule.source  # type: ignore[attr-defined]
        assert source, f"{name}: {rule!r} cites nothing"
        for citation in source.split("; "):
            section, _, row = citation.partition(" ")
            assert f"\n| {row} |" in sections[section], f"{name}: there is no row {row!r} in section {section}"


@pytest.mark.parametrize("name", vendors.NAMES)
def test_every_switch_of_a_vendor_can_be_set(name: str) -> None:
    for switch in vendors.switches_of(name):
        assert vendors.load(name, [switch]) != vendors.load(name)


def test_the_error_for_an_unknown_vendor_or_switch_lists_what_exists() -> None:
    with pytest.raises(ValueError, match="mlsgrid"):
        vendors.load("other")
    with pytest.raises(ValueError, match="expands"):
        vendors.load("proptx", ["other"])


# Who may ask


@pytest.mark.parametrize("name", VENDORS)
async def test_every_vendor_answers_its_token_and_refuses_others(name: str, watch: Watch, tmp_path: Path) -> None:
    wanted = "OriginatingSystemName eq 'actris'" if name == "mlsgrid" else "StandardStatus eq 'Active'"
    async with playing(name, watch, tmp_path) as (mls, client):
        assert len(await rows(client, filter=wanted)) == 5
        for headers in ({"Authorization": "Bearer no"}, {"Authorization": ""}):
            assert (await client.get("/Property", headers=headers)).status_code == 401
        assert mls.refused == {"token": 2}


@pytest.mark.parametrize(("name", "seconds"), [("trestle", 28_800), ("ddf", 3_600)])
async def test_tokens_are_issued_to_the_client_and_end(name: str, seconds: int, watch: Watch, tmp_path: Path) -> None:
    async with playing(name, watch, tmp_path) as (mls, client):
        assert [await token_of(mls, client, **{key: "no"}) for key in ("client_secret", "scope", "grant_type")] == [
            *["400"] * 3
        ]
        watch.move(seconds=seconds - 1)
        assert (await query(client)).status_code == 200
        watch.move(seconds=1)
        assert (await query(client)).status_code == 401
        client.headers["Authorization"] = f"Bearer {await token_of(mls, client)}"
        assert (await query(client)).status_code == 200
        mls.expire_tokens()
        assert (await query(client)).status_code == 401


async def test_mls_grid_requires_gzip_before_it_looks_at_the_token(watch: Watch, tmp_path: Path) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (_, client):
        plain = await client.get("/Property", headers={"Accept-Encoding": "identity", "Authorization": ""})
        assert (plain.status_code, plain.json()["error"]) == (400, {"code": 400, "message": "COMPRESSION REQUIRED"})


async def test_bridge_takes_its_token_in_the_query_too(watch: Watch, tmp_path: Path) -> None:
    async with playing("bridge", watch, tmp_path) as (mls, client):
        answer = await client.get("/Property", params={"access_token": mls.token}, headers={"Authorization": ""})
        assert answer.status_code == 200


async def test_spark_requires_accept_and_wraps_errors(watch: Watch, tmp_path: Path) -> None:
    async with playing("spark", watch, tmp_path) as (_, client):
        for headers, status, code in [({"Accept": "*/*"}, 400, 1016), ({"Authorization": "Bearer no"}, 401, 1000)]:
            answer = await client.get("/Property", headers=headers)
            assert (answer.status_code, answer.json()["D"]["Code"]) == (status, code)


# Queries

OSN = "OriginatingSystemName eq 'actris'"


@pytest.mark.parametrize(
    ("name", "resource", "options", "status", "rule"),
    [
        ("proptx", "/Property", {"expand": "Media"}, 400, "expand"),
        ("proptx", "/Property", {"select": "NoField"}, 400, "select"),
        ("proptx", "/Property", {"skip": 100_001}, 400, "skip"),
        ("mlsgrid", "/Property", {}, 400, "required"),
        ("mlsgrid", "/Property", {"filter": f"{OSN} and {OSN}"}, 400, "required"),
        ("mlsgrid", "/Property", {"filter": f"{OSN} and ListingKey gt 'A'"}, 400, "filter"),
        ("mlsgrid", "/Property", {"filter": f"{OSN} and PhotosChangeTimestamp gt 2026-01-01T00:00:00Z"}, 400, "filter"),
        ("mlsgrid", "/Property", {"filter": f"{OSN} and ({' or '.join(['MlgCanView eq true'] * 7)})"}, 400, "or"),
        ("mlsgrid", "/Property", {"filter": OSN, "orderby": "ListingKey"}, 400, "order"),
        ("mlsgrid", "/Property", {"filter": OSN, "orderby": "ModificationTimestamp desc"}, 400, "order"),
        ("mlsgrid", "/Property", {"filter": OSN, "top": 5_001}, 400, "top"),
        ("mlsgrid", "/Property", {"filter": OSN, "top": 1_001, "expand": "Media"}, 400, "top"),
        ("mlsgrid", "/Property", {"filter": OSN, "select": "NoField"}, 400, "select"),
        ("mlsgrid", "/Media", {}, 404, "missing"),
        ("trestle", "/Property", {"top": 1_001}, 400, "top"),
        ("trestle", "/Property", {"filter": "StandardStatus eq 'Active Under Contract'"}, 400, "status"),
        ("bridge", "/Property", {"top": 201}, 400, "top"),
        ("bridge", "/Property", {"filter": "ListingKey in ('a')"}, 400, "operator"),
        ("bridge", "/Property/replication", {"orderby": "ListingKey"}, 400, "replication"),
        ("bridge", "/Property/replication", {"top": 2_001}, 400, "top"),
        ("spark", "/Property", {"top": 26}, 400, "top"),
        ("spark", "/Property", {"skiptoken": "", "filter": "ListingKey gt 'a'"}, 400, "filter"),
        ("spark", "/Property", {"orderby": "ListingKey"}, 400, "order"),
        ("spark", "/Media", {}, 404, "missing"),
        ("ddf", "/Property", {"top": 101}, 400, "top"),
        ("ddf", "/Property", {"expand": "Media"}, 400, "expand"),
        ("ddf", "/Property/PropertyReplication()", {"top": 1}, 400, "replication"),
        ("ddf", "/Media", {}, 404, "missing"),
    ],
)
async def test_a_vendor_refuses_a_query(
    name: str, resource: str, options: dict[str, object], status: int, rule: str, watch: Watch, tmp_path: Path
) -> None:
    async with playing(name, watch, tmp_path) as (mls, client):
        assert (await query(client, resource, **options)).status_code == status
        assert mls.refused == {rule: 1}


async def test_proptx_cuts_pages_in_silence_and_ignores_what_follows_in(watch: Watch, tmp_path: Path) -> None:
    async with playing("proptx", watch, tmp_path, listings=12) as (_, client):
        keys = ",".join(f"'{row['ListingKey']}'" for row in await rows(client))
        answer = (await query(client, "/Media", filter=f"ResourceRecordKey in ({keys})", top=1_000)).json()
        assert (len(answer["value"]), "@odata.nextLink" in answer) == (100, False)
        last = answer["value"][-1]["MediaKey"]
        again = f"ResourceRecordKey in ({keys}) and MediaKey eq '{last}'"
        assert len(await rows(client, "/Media", filter=again, top=1_000)) == 100
        first = f"MediaKey eq '{last}' and ResourceRecordKey in ({keys})"
        assert len(await rows(client, "/Media", filter=first)) == 1


async def test_a_next_link_of_mls_grid_goes_stale(watch: Watch, tmp_path: Path) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (_, client):
        link = (await query(client, filter=OSN, top=2)).json()["@odata.nextLink"]
        assert (await client.get(link)).status_code == 200
        watch.move(minutes=5, seconds=1)
        assert (await client.get(link)).status_code == 400


async def test_mls_grid_compares_times_without_milliseconds(watch: Watch, tmp_path: Path) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (mls, client):
        watch.move(days=1)
        stamps = [str(mls.touch(key)["ModificationTimestamp"]) for key in list(mls.market.listings)[:2]]
        later = f"{OSN} and ModificationTimestamp gt {stamps[0]}"
        assert stamps[1] > stamps[0]
        assert await rows(client, filter=later) == []
        assert len(await rows(client, filter=later.replace("gt", "ge"))) == 2


async def test_bridge_replicates_with_links_in_a_header(watch: Watch, tmp_path: Path) -> None:
    async with playing("bridge", watch, tmp_path) as (_, client):
        answer = await client.get("/Property/replication", params={"$top": "2"})
        found = answer.json()["value"]
        while following := answer.links.get("next"):
            assert "@odata.nextLink" not in answer.json()
            answer = await client.get(following["url"])
            found += answer.json()["value"]
        stamps = [record["ModificationTimestamp"] for record in found]
        assert (len(found), stamps) == (5, sorted(stamps))


async def test_trestle_replicates_by_a_cursor_that_ends_at_an_empty_page_or_idle(watch: Watch, tmp_path: Path) -> None:
    async with playing("trestle", watch, tmp_path) as (_, client):
        answer = (await client.get("/Property/replication", params={"$top": "3"})).json()
        sizes = [len(answer["value"])]
        while link := answer.get("@odata.nextLink"):
            answer = (await client.get(link)).json()
            sizes.append(len(answer["value"]))
        assert sizes == [3, 2, 0]
        link = (await client.get("/Property/replication")).json()["@odata.nextLink"]
        watch.move(minutes=6)
        assert (await client.get(link)).status_code == 400


async def test_spark_walks_by_skip_tokens_and_gives_the_photos_of_one_listing(watch: Watch, tmp_path: Path) -> None:
    async with playing("spark", watch, tmp_path, listings=27) as (_, client):
        answer = (await client.get("/Property", params={"$skiptoken": ""})).json()
        more = (await client.get(answer["@odata.nextLink"])).json()
        keys = [record["ListingKey"] for record in [*answer["value"], *more["value"]]]
        assert (len(answer["value"]), len(keys), "@odata.nextLink" in more) == (25, 27, False)
        assert keys == sorted(set(keys))
        assert len(await rows(client, f"/Property('{keys[0]}')/Media")) == 2


async def test_ddf_has_a_master_list_of_what_is_on_the_market(watch: Watch, tmp_path: Path) -> None:
    async with playing("ddf", watch, tmp_path, listings=25) as (mls, client):
        assert len(await rows(client)) == 20
        mls.withdraw("C12000001")
        listed = await rows(client, "/Property/PropertyReplication")
        assert (len(listed), set(listed[0])) == (24, {"ListingKey", "ModificationTimestamp"})


# Records


async def test_media_rows_are_as_each_vendor_writes_them(watch: Watch, tmp_path: Path) -> None:
    wanted: dict[str, dict[str, object]] = {
        "bridge": {"Order": "1", "MediaObjectID": "1_1", "MimeType": "image/jpeg"},
        "ddf": {"Order": 1, "MediaCategory": "Property Photo", "MediaKey": "210000001_1_1"},
    }
    for name, fields in wanted.items():
        async with playing(name, watch, tmp_path) as (_, client):
            row = (await rows(client))[0]["Media"][0]
            assert fields.items() <= row.items()
            assert not {"MediaStatus", "MediaModificationTimestamp"} & set(row)
    async with playing("trestle", watch, tmp_path) as (_, client):
        first, *_, last = (await rows(client, expand="Media"))[0]["Media"]
        assert (first["MediaObjectID"], first["MediaStatus"], last["MediaCategory"]) == (None, None, "Video")
        assert first["MediaModificationTimestamp"].endswith("-00:00")
    async with playing("trestle", watch, tmp_path, photos=0) as (_, client):
        assert (await rows(client, expand="Media"))[1]["Media"] is None
    async with playing("proptx", watch, tmp_path) as (_, client):
        assert len(await rows(client, "/Media", filter="ResourceRecordKey eq 'C12000001'")) == 10
    async with playing("spark", watch, tmp_path, listings=8) as (_, client):
        listed = await rows(client, expand="Media")
        assert listed[7]["StandardStatus"].startswith("b__")
        assert listed[0]["Media"][0]["MediaCategory"].startswith("b__")


async def test_bridge_gives_ten_expanded_rows_unless_asked_for_more(watch: Watch, tmp_path: Path) -> None:
    async with playing("bridge", watch, tmp_path, listings=1, photos=12) as (_, client):
        numbers = [len((await rows(client, expand=text))[0]["Media"]) for text in ("Media", "Media($top=20)")]
        assert numbers == [10, 12]
        assert len((await rows(client))[0]["Media"]) == 12


@pytest.mark.parametrize(("name", "is_moved"), [("proptx", False), ("bridge", False), ("mlsgrid", True)])
async def test_a_changed_photo_moves_the_record_or_not(name: str, is_moved: bool, watch: Watch, tmp_path: Path) -> None:
    async with playing(name, watch, tmp_path) as (mls, _):
        before = mls.properties()[0]
        watch.move(hours=1)
        after = mls.change_photo("C12000001")
        assert after["PhotosChangeTimestamp"] != before["PhotosChangeTimestamp"]
        assert (after["ModificationTimestamp"] != before["ModificationTimestamp"]) is is_moved


async def test_a_withdrawn_listing_is_flagged_for_seven_days_at_mls_grid_and_absent_elsewhere(
    watch: Watch, tmp_path: Path
) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (mls, client):
        mls.withdraw("C12000001")
        flags = [record["MlgCanView"] for record in await rows(client, filter=OSN)]
        watch.move(days=7, seconds=1)
        assert (flags, len(await rows(client, filter=OSN))) == ([False, *[True] * 4], 4)
    for name in ("trestle", "bridge", "spark", "ddf"):
        async with playing(name, watch, tmp_path) as (mls, client):
            key = mls.records.bare(mls.market.listing("C12000001"))["ListingKey"]
            assert (await client.get(f"/Property('{key}')")).status_code == 200
            mls.withdraw("C12000001")
            assert len(await rows(client)) == 4
            assert (await client.get(f"/Property('{key}')")).status_code == 404


# Pictures


async def urls(client: httpx.AsyncClient, **options: Any) -> list[str]:
    record = (await rows(client, **options))[0]
    return [row["MediaURL"] for row in record["Media"]]


async def statuses(client: httpx.AsyncClient, url: str, **headers: str) -> int:
    client.headers.pop("Authorization", None)
    return (await client.get(url, headers=headers)).status_code


async def test_an_image_url_of_mls_grid_works_once_for_the_token_as_agent(watch: Watch, tmp_path: Path) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (mls, client):
        asked: dict[str, Any] = {"filter": OSN, "expand": "Media"}
        (url, second), (again, _) = await urls(client, **asked), await urls(client, **asked)
        watch.move(seconds=1)
        broken = (await urls(client, select="ListingId", **asked))[0]
        agent = {"User-Agent": mls.token}
        assert url != again
        assert await statuses(client, url, **agent, Authorization=f"Bearer {mls.token}") == 403
        watch.move(seconds=1)
        assert await statuses(client, url) == 429
        assert [await statuses(client, url, **agent), await statuses(client, url, **agent)] == [200, 429]
        watch.move(seconds=1)
        assert await statuses(client, again, **agent) == 429
        assert await statuses(client, second.replace("expires=1", "expires=2"), **agent) == 403
        assert "/undefined/" in broken
        assert await statuses(client, broken, **agent) == 404
        watch.move(hours=1)
        assert await statuses(client, second, **agent) == 400
        assert mls.refused == {"authorization": 1, "agent": 1, "used": 2, "expired": 1}


async def test_an_image_url_of_trestle_leads_to_another_host_and_ends(watch: Watch, tmp_path: Path) -> None:
    async with playing("trestle", watch, tmp_path) as (mls, client):
        url = (await urls(client, expand="Media"))[0]
        answer = await client.get(url)
        assert (answer.status_code, mls.other_host in answer.headers["Location"]) == (302, True)
        assert (await client.get(answer.headers["Location"])).content.startswith(b"\xff\xd8")
        watch.move(hours=1, seconds=1)
        assert (await client.get(url)).status_code == 403
        assert (await client.get(answer.headers["Location"])).status_code == 403


@pytest.mark.parametrize(("name", "is_same"), [("bridge", True), ("spark", False), ("ddf", False)])
async def test_a_new_picture_has_the_same_url_or_another(
    name: str, is_same: bool, watch: Watch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"expand": "Media"} if name == "spark" else {}
    async with playing(name, watch, tmp_path) as (mls, client):
        old = (await urls(client, **asked))[0]
        before = (await client.get(old)).content
        watch.move(minutes=1)
        mls.change_photo("C12000001")
        new = (await urls(client, **asked))[0]
        assert before.startswith(b"\xff\xd8")
        assert (await client.get(new)).content not in (b"", before)
        assert (new == old, (await client.get(old)).status_code) == (is_same, 200 if is_same else 404)


# Quotas


async def test_mls_grid_suspends_the_token_for_the_rest_of_the_hour(watch: Watch, tmp_path: Path) -> None:
    async with playing("mlsgrid", watch, tmp_path) as (mls, client):
        url = (await urls(client, filter=OSN, expand="Media"))[0]
        got = [(await query(client, filter=OSN)).status_code for _ in range(4)]
        assert got == [200, 200, 200, 429]
        watch.move(minutes=59)
        assert await statuses(client, url, **{"User-Agent": mls.token}) == 429
        assert (mls.meter.refused, mls.refused) == ({"all 1 s": 1, "suspended": 1}, {"quota": 2})
        watch.move(minutes=1)
        assert await statuses(client, url, **{"User-Agent": mls.token}) != 429


@pytest.mark.parametrize(
    ("name", "most", "minutes"), [("proptx", 1200, 10), ("trestle", 180, 1), ("spark", 1200, 10), ("ddf", 1200, 10)]
)
async def test_a_quota_is_counted(name: str, most: int, minutes: int, watch: Watch, tmp_path: Path) -> None:
    async with playing(name, watch, tmp_path, listings=1, photos=0) as (mls, client):
        for _ in range(most):
            assert mls.meter.admit("api")
        assert (await query(client)).status_code == 429
        watch.move(minutes=minutes)
        assert (await query(client)).status_code == 200


async def test_bridge_and_trestle_tell_what_is_left(watch: Watch, tmp_path: Path) -> None:
    async with playing("bridge", watch, tmp_path) as (_, client):
        headers = (await query(client)).headers
        assert (headers["Burst-RateLimit-Remaining"], headers["Application-RateLimit-Limit"]) == ("333", "5000")
    async with playing("trestle", watch, tmp_path) as (_, client):
        headers = (await query(client)).headers
        assert (headers["Minute-Quota-Limit"], headers["QuotaType"]) == ("180.0", "Api")
