"""The desk over HTTP: signing in, the headers of every page, and what operators see and change."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest

from local.sandbox import Sandbox
from shared.domain.failures import REASONS, Reason
from shared.stores import mongo
from shared.stores.removals import Removal
from tests.desks import a_browser, asked_for, csrf_of, sign_in
from tests.servers import DESK_TOKEN
from tests.system import System, until

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}"
ACTIONS = ["force", "freeze", "thaw", "rebuild", "requeue", "drop", "remove", "allow", "resume", "discard"]
PAGES = [
    "/", "/live", "/listings", "/photos", "/queue", "/dead-letters", "/removals", "/search?q=x",
    "/listing?feed=a&key=b", "/dead-letter?offset=0", "/do/freeze?feed=sandbox", "/config", "/nowhere",
]  # fmt: skip


def record_of(mls: Sandbox, key: str, **fields: object) -> dict[str, Any]:
    return {**mls.market.property(mls.market.listing(key)), **fields}


@pytest.fixture
async def stranger(whole: System) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has not signed in."""
    async with a_browser(whole) as browser:
        yield browser


@pytest.fixture
async def desk(stranger: httpx.AsyncClient) -> httpx.AsyncClient:
    """A browser that has signed in."""
    await sign_in(stranger)
    return stranger


async def do(desk: httpx.AsyncClient, action: str, **about: str) -> str:
    """Confirm an action on its page; return the text of the page that follows."""
    return await (await asked_for(desk, action, **about)).click(**about)


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_is_shown_to_a_stranger(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login?next=/")
    assert (await stranger.get(path, headers={"Accept": "application/json"})).status_code == 401
    part = await stranger.get(path, headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Refresh"], part.content) == (401, "true", b"")


@pytest.mark.parametrize("path", [*PAGES, "/login", "/static/desk.css", "/healthz"])
async def test_every_answer_forbids_content_of_other_origins(desk: httpx.AsyncClient, path: str) -> None:
    answer = await desk.get(path)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["form-action"]) == ("'self'", "'self'", "'self'")
    assert (policy["base-uri"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    is_static = path.startswith("/static/")
    assert ("no-store" in answer.headers["Cache-Control"]) != is_static
    if not is_static:
        assert not re.search(r"<script(?! src=\"/static/)| style=| on[a-z]+=\"|href=\"http|src=\"//", answer.text)


@pytest.mark.parametrize("path", ["/logout", *(f"/do/{action}" for action in ACTIONS)])
async def test_nothing_is_changed_without_the_sessions_own_token(desk: httpx.AsyncClient, path: str) -> None:
    other = httpx.AsyncClient(base_url=desk.base_url, trust_env=False)
    await other.post("/login", data={"token": DESK_TOKEN})
    theirs = csrf_of(await other.get("/queue"))
    await other.aclose()
    about = {"feed": "sandbox", "key": "x", "offset": "0", "reason": "none"}
    for given in ({}, {"csrf": ""}, {"csrf": theirs}):
        assert (await desk.post(path, data={**about, **given})).status_code == 403
    ours = csrf_of(await desk.get("/queue"))
    elsewhere = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}
    for name, value in elsewhere.items():
        answer = await desk.post(path, data={**about, "csrf": ours}, headers={name: value})
        assert answer.status_code == 403
    assert (await desk.get("/queue")).status_code == 200


async def test_the_cookie_is_for_this_site_and_no_script(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/login", data={"token": DESK_TOKEN})
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    behind_tls = await stranger.post("/login", data={"token": DESK_TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind_tls.headers["Set-Cookie"]


async def test_signing_out_ends_the_session(desk: httpx.AsyncClient) -> None:
    session = desk.cookies["desk_session"]
    assert (await desk.post("/logout", data={"csrf": csrf_of(await desk.get("/queue"))})).status_code == 303
    desk.cookies.set("desk_session", session)
    assert (await desk.get("/queue")).status_code == 303


async def test_a_program_may_look_with_the_token_but_change_nothing(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/queue", headers={"Authorization": f"Bearer {DESK_TOKEN}"})).status_code == 200
    assert (await stranger.get("/queue", auth=("anyone", DESK_TOKEN))).status_code == 200
    answer = await stranger.post("/do/thaw", auth=("anyone", DESK_TOKEN), data={"feed": "sandbox"})
    assert answer.status_code == 403


async def test_sign_in_redirects_to_the_requested_page_of_the_desk_only(stranger: httpx.AsyncClient) -> None:
    for target, followed in (("/queue?feed=other", "/queue?feed=other"), ("//evil.example.com", "/")):
        answer = await stranger.post("/login", data={"token": DESK_TOKEN, "next": target})
        assert answer.headers["Location"] == followed


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/listing?feed=sandbox&key=nowhere", 404),
        ("/listings?feed=nobody", 404),
        ("/listings?status=fine", 400),
        ("/listings?key=%00%FF%FE", 200),
        (f"/listings?key={'x' * 7_000}", 200),
        ("/listings?after=%F4%8F%BF%BF", 200),
        ("/removals?from=yesterday", 400),
        ("/removals?after=yesterday", 400),
        ("/removals?after=0001-01-01T00:00:00%2B09:00 x", 400),
        ("/dead-letter?offset=-1", 404),
        ("/dead-letter?offset=999999999999999999", 404),
        ("/do/nothing", 404),
        ("/do/force?feed=nobody&key=x", 404),
        ("/do/force?feed=sandbox&key=nowhere", 404),
        ("/do/resume?feed=sandbox", 409),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
    ],
)
async def test_what_is_wrong_is_said(desk: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await desk.get(path)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


async def test_a_listing_without_photos_says_why_first(
    whole: System, mls: Sandbox, desk: httpx.AsyncClient, key: str
) -> None:
    mls.misbehave(kind="status", status=404, listing=key)
    await whole.publish_listings(record_of(mls, key))

    async def all_failed() -> httpx.Response | None:
        found = await desk.get("/search", params={"q": key}, follow_redirects=True)
        return found if "4 photos: gone" in found.text else None

    page = await until(all_failed, "four failures")
    first, rest = page.text.split('aria-label="Why it is as it is"')[1].split("<h2>Photos</h2>")
    assert "4 photos: gone" in first
    assert REASONS[Reason.GONE].meaning in first
    assert rest.count(">failed<") == 4
    for row in record_of(mls, key)["Media"]:
        assert row["MediaURL"] not in page.text, "the MLS's own URL"
    gone = await desk.get("/photos", params={"feed": "sandbox", "reason": "gone", "key": key})
    assert gone.text.count(f"key={key}#photo-") == 4

    mls.behave()
    after = await do(desk, "force", feed="sandbox", key=key)
    assert "4 photos of listing" in after
    await whole.wait_until_downloaded(key, 4)


async def test_text_of_the_mls_is_escaped(whole: System, mls: Sandbox, desk: httpx.AsyncClient, key: str) -> None:
    record = record_of(mls, key, ListingKey=f"{HOSTILE}{key}", City=HOSTILE, StandardStatus="Active")
    for row in record["Media"]:
        row["ShortDescription"] = HOSTILE
    await whole.publish_listings(record)
    await whole.send("listing-seen", f'{{"type":"{"<b>x</b>"}","data":{{}}}}'.encode(), key=HOSTILE.encode())

    async def is_recorded() -> httpx.Response | None:
        found = await desk.get("/listing", params={"feed": "sandbox", "key": record["ListingKey"]})
        return found if found.status_code == 200 else None

    pages = [await until(is_recorded, "the listing")]
    for path, query in (
        ("/listings", {"city": HOSTILE}), ("/photos", {"key": HOSTILE}), ("/search", {"q": HOSTILE}),
        ("/do/force", {"feed": "sandbox", "key": record["ListingKey"]}), ("/dead-letters", {"names": HOSTILE}),
        ("/login", {"next": f"/{HOSTILE}"}), ("/removals", {"to": "2026-01-01"}), ("/dead-letters", {}),
    ):  # fmt: skip
        pages.append(await desk.get(path, params=query))
    for page in pages:
        assert page.status_code in (200, 404), page.url
        assert "<img src=x" not in page.text, page.url
        assert "<b>x</b>" not in page.text
        assert "49" not in re.findall(r"&#39;&amp;(\w+)", page.text)


async def test_an_operator_freezes_and_thaws_a_feed(whole: System, desk: httpx.AsyncClient) -> None:
    answer = await do(desk, "freeze", feed="strict", reason="they asked", lasting="2h")
    assert "The requests of strict are paused for 2h." in answer
    queue = await desk.get("/queue", params={"feed": "strict"})
    assert "paused by an operator" in queue.text
    assert "they asked" in queue.text
    assert "The requests of strict are allowed again." in await do(desk, "thaw", feed="strict")
    assert "paused by an operator" not in (await desk.get("/queue", params={"feed": "strict"})).text
    page = await desk.get("/do/freeze", params={"feed": "strict"})
    wrong = await desk.post(
        "/do/freeze", data={"csrf": csrf_of(page), "feed": "strict", "reason": "x", "lasting": "soon"}
    )
    assert (wrong.status_code, "is not a duration" in wrong.text) == (400, True)


async def test_dead_letters_are_shown_without_urls_and_dropped(
    whole: System, desk: httpx.AsyncClient, key: str
) -> None:
    url = "https:\\/\\/secret.example.com\\/signed\\/1.jpg"
    event = (
        f'{{"type":"listing-seen.v1","data":{{"feed":"gone-feed","property":{{"ListingKey":"{key}","u":"{url}"}}}}}}'
    )
    await whole.send("listing-seen", event.encode(), key=key.encode())

    async def are_there() -> Sequence[str]:
        found = await desk.get("/dead-letters", params={"names": key})
        offsets = re.findall(r"/dead-letter\?offset=(\d+)", found.text)
        return offsets if len(offsets) == 2 else []

    offsets = await until(are_there, "a dead letter of each reader")
    page = await desk.get("/dead-letter", params={"offset": offsets[0]})
    assert "https://secret.example.com/…" in unescape(page.text)
    assert "signed" not in page.text
    for offset in offsets:
        assert "Dropped: 1 dead letter." in await do(desk, "drop", offset=offset)
    assert not await are_there()


async def test_a_listing_is_removed_for_good_and_allowed_again(
    whole: System, mls: Sandbox, desk: httpx.AsyncClient, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    await whole.wait_until_downloaded(key, 4)
    assert "stays away" in await do(desk, "remove", feed="sandbox", key=key)
    await whole.wait_until_hidden(key)

    async def is_proved() -> bool:
        page = await desk.get("/listing", params={"feed": "sandbox", "key": key})
        return page.text.count("forced") >= 4 and "Evidence of removals" in page.text

    await until(is_proved, "the evidence")
    assert "an operator had it removed" in (await desk.get("/search", params={"q": key}, follow_redirects=True)).text
    evidence = await desk.get("/removals", params={"feed": "sandbox"})
    assert evidence.text.count(f'key={key}"') == 4
    assert "is allowed" in await do(desk, "allow", feed="sandbox", key=key)


async def test_evidence_is_paged_through_newest_first(whole: System, desk: httpx.AsyncClient) -> None:
    last_year = datetime(2025, 1, 1, tzinfo=UTC)
    evidence = [
        Removal(
            id=f"paged-{number:03}", feed="strict", listing_key=f"P{number:03}", image_id="i", reason="opt-out",
            hidden_at=last_year, removed_at=last_year + timedelta(seconds=number // 30), objects=1,
        )
        for number in range(250)
    ]  # fmt: skip
    async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:
        await mongo.MongoRemovals(database).add(evidence)
    page = await desk.get("/removals", params={"feed": "strict", "from": "2025-01-01", "to": "2025-01-02"})
    keys, pages = re.findall(r"key=(P\d+)", page.text), 1
    while following := re.search(r'rel="next" href="([^"]+)"', page.text):
        page = await desk.get(unescape(following[1]))
        keys += re.findall(r"key=(P\d+)", page.text)
        pages += 1
    assert (keys, pages) == ([removal.listing_key for removal in reversed(evidence)], 3)


async def test_the_overview_counts_and_refreshes(whole: System, desk: httpx.AsyncClient) -> None:
    page = await desk.get("/")
    part = await desk.get("/live", headers={"HX-Request": "true"})
    for words in ("Photos here", "Attempts a minute", "Latest attempts", "sandbox", "image-outdated.viewed"):
        assert words in page.text
        assert words in part.text
    assert 'hx-get="/live"' in page.text
    assert "htmx" not in (await desk.get("/?live=off")).text
    assert "<html" not in part.text
    metrics = (await desk.get("/metrics")).text
    assert 'listing_images_desk_answer_seconds_count{route="/",status="200"}' in metrics


async def test_wrong_tokens_from_one_address_are_slowed_down(whole: System) -> None:
    """The wrong guesses come from an address of their own, so that the other tests are not slowed down."""
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.9")
    async with httpx.AsyncClient(base_url=whole.url("desk"), transport=transport) as guesser:
        wrong = [await guesser.post("/login", data={"token": f"guess {number}"}) for number in range(6)]
        assert [answer.status_code for answer in wrong] == [401, 401, 401, 401, 401, 429]
        assert (await guesser.post("/login", data={"token": DESK_TOKEN})).status_code == 429
        assert (await guesser.get("/", headers={"Authorization": f"Bearer {DESK_TOKEN}"})).status_code == 429
        assert (await guesser.get("/healthz")).status_code == 200
