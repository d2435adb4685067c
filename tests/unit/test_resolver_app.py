"""The resolver over HTTP, on stores in memory: encodings, origins, deadlines, floods, outages, and those who wait."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from services.resolver import decide
from services.resolver import news as news_module
from services.resolver import waiting as waiting_module
from services.resolver.catalog import Name, Question
from services.resolver.decide import Absent
from services.resolver.demand import Demand
from shared import compression
from shared.domain.failures import Failure, Reason
from shared.domain.image import image_id, url_key
from shared.domain.listing import RemovalReason
from shared.domain.priority import Priority
from shared.domain.throughput import Throughput
from shared.events.codec import encode
from shared.events.images import ImageRemoved
from shared.events.records import Record
from shared.events.topics import DEAD_LETTER, IMAGE_DOWNLOADED, IMAGE_REMOVED
from shared.stores.answers import ShownPhoto
from shared.stores.errors import Contention
from tests.answering import RENDERER, a_resolver
from tests.builders import FEED, KEY, NOW, a_copy, a_downloaded_photo, a_listing, a_photo, after, hidden
from tests.system import MAX_WAIT_SECONDS, until

LISTING = f"/api/listings/{KEY}/images"
FULL = a_listing(*(a_downloaded_photo(f"p{number}") for number in range(25)))


KEPT_TEXTS = [LISTING, "/api/openapi.json", "/api/docs", "/assets/listing-photos.js", "/assets/listing-photos.d.ts"]


@pytest.mark.parametrize("path", [*KEPT_TEXTS, "/metrics"])
async def test_a_long_text_is_compressed_for_those_who_take_it(path: str) -> None:
    async with a_resolver(FULL) as resolver:
        plain = await resolver.http.get(path, headers={"Accept-Encoding": "identity"})
        packed = await resolver.http.get(path, headers={"Accept-Encoding": "br, GZIP;q=0.8"})
        assert (plain.headers.get("Content-Encoding"), packed.headers["Content-Encoding"]) == (None, "gzip")
        text = gzip.decompress(await packed.read())
        assert text == await plain.read() or path == "/metrics", "once, and the same"
        assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
        assert int(packed.headers["Content-Length"]) < len(text) / 2
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        refused = await resolver.http.get(path, headers={"Accept-Encoding": "gzip;q=0, br"})
        assert "Content-Encoding" not in refused.headers
        head = await resolver.http.head(path, headers={"Accept-Encoding": "gzip"})
        assert (head.headers["Content-Encoding"], await head.read()) == ("gzip", b"")
        assert head.headers["Content-Length"] == packed.headers["Content-Length"] or path == "/metrics"


@pytest.mark.parametrize("path", ["/api/listings/X2/images", "/healthz", "/nothing", "/api/images/serve?id=x"])
async def test_a_short_text_is_sent_as_it_is(path: str) -> None:
    async with a_resolver(a_listing(key="X2")) as resolver:
        short = await resolver.http.get(path, headers={"Accept-Encoding": "gzip"})
        assert len(await short.read()) < 1_000
        assert "Content-Encoding" not in short.headers


@pytest.mark.parametrize("path", KEPT_TEXTS)
async def test_what_is_kept_is_compressed_once_however_often_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    packed, compressed = compression.gzipped, 0

    def counted(*given: Any) -> bytes:
        nonlocal compressed
        compressed += 1
        return packed(*given)

    monkeypatch.setattr(compression, "gzipped", counted)
    async with a_resolver(FULL) as resolver:
        for _ in range(3):
            answer = await resolver.http.get(path, headers={"Accept-Encoding": "gzip"})
            assert answer.headers["Content-Encoding"] == "gzip"
    assert compressed <= 1


@pytest.mark.parametrize("path", KEPT_TEXTS)
async def test_each_representation_has_its_validator_and_either_is_recognised(path: str) -> None:
    async with a_resolver(FULL) as resolver:
        tags, lives = {}, set()
        for coding in ("identity", "gzip"):
            answer = await resolver.http.get(path, headers={"Accept-Encoding": coding})
            tags[coding] = answer.headers["ETag"]
            lives.add(answer.headers["Cache-Control"])
        assert tags["identity"] != tags["gzip"]
        for given in (*tags.values(), f'W/{tags["gzip"]}, "x"', "*"):
            for coding in ("identity", "gzip"):
                asked = {"Accept-Encoding": coding, "If-None-Match": given}
                answer = await resolver.http.get(path, headers=asked)
                assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, tags[coding], b"")
                assert lives == {answer.headers["Cache-Control"]}
                assert answer.headers["Vary"] == "Accept-Encoding"
        assert (await resolver.http.get(path, headers={"If-None-Match": 'W/"other"'})).status == 200


async def test_a_redirect_is_recognised_by_its_validator() -> None:
    photo = a_downloaded_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:

        async def serve(**headers: str) -> aiohttp.ClientResponse:
            return await resolver.http.get(f"/api/images/serve?id={photo.id}", headers=headers, allow_redirects=False)

        first = await serve()
        etag, lives = first.headers["ETag"], first.headers["Cache-Control"]
        for given, status in ((etag, 304), (f'"x", W/{etag}', 304), ('"x"', 302)):
            answer = await serve(**{"If-None-Match": given})
            assert (answer.status, answer.headers["ETag"], answer.headers["Cache-Control"]) == (status, etag, lives)


@pytest.mark.parametrize("key", ["a b", "a/b", "{a}", "a%2Fb", "100%", "..", "a+b&c?d#e;f", "ä\u0308", "a\\b", "\n"])
async def test_a_listing_is_found_by_its_key_whatever_is_in_it(key: str) -> None:
    async with a_resolver(a_listing(a_downloaded_photo("a", key=key), key=key), a_listing(key="other")) as resolver:
        path = URL(f"/api/listings/{quote(key, safe='').replace('.', '%2E')}/images", encoded=True)
        found = await resolver.http.get(path, headers={"Accept-Encoding": "identity"})
        assert (found.status, (await found.json())["listing_key"]) == (200, key)


async def test_an_unchanged_answer_is_compressed_once_however_often_it_is_read() -> None:
    async with a_resolver(FULL) as resolver:
        question = Question(KEY, None, None)
        (first,) = (await resolver.parts.catalog.pages([question]))[question]
        resolver.parts.catalog.forget_all()
        (second,) = (await resolver.parts.catalog.pages([question]))[question]
        assert first is second
        assert resolver.listings.readings == 2


@pytest.mark.parametrize(
    ("setting", "origin", "allowed", "vary"),
    [
        ("*", "https://a.example.com", "*", "Accept-Encoding"),
        ("https://a.example.com, https://b.example.com", "https://b.example.com", "https://b.example.com", "Origin"),
        ("https://a.example.com", "https://evil.example.com", None, "Origin"),
        ("https://a.example.com", "", None, "Origin"),
        ("", "https://a.example.com", None, "Accept-Encoding"),
    ],
)
async def test_pages_of_the_sites_in_the_setting_may_read(
    setting: str, origin: str, allowed: str | None, vary: str
) -> None:
    async with a_resolver(FULL, cors_origins=setting) as resolver:
        answer = await resolver.http.get(LISTING, headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert answer.headers["Vary"].endswith(vary)
        assert ("ETag" in answer.headers.get("Access-Control-Expose-Headers", "")) is (allowed is not None)
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await resolver.http.options("/api/images/resolve", headers=asked)
        assert preflight.status == 204
        assert ("POST" in preflight.headers.get("Access-Control-Allow-Methods", "")) is (allowed is not None)


async def test_every_answer_carries_an_id_and_what_keeps_browsers_from_guessing() -> None:
    async with a_resolver(FULL) as resolver:
        for path, status in ((LISTING, 200), ("/nothing", 404), ("/api/images/serve?id=x", 404), ("/healthz", 200)):
            answer = await resolver.http.get(path, headers={"X-Request-Id": "abc-1.2_3"})
            assert (answer.status, answer.headers["X-Request-Id"]) == (status, "abc-1.2_3")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "aiohttp" not in answer.headers["Server"]
        for insane in ("a b", "x" * 65, "<script>", ""):
            made = (await resolver.http.get(LISTING, headers={"X-Request-Id": insane})).headers["X-Request-Id"]
            assert made != insane
            assert made.isalnum()


@pytest.mark.parametrize("known", [True, False])
async def test_head_is_get_without_its_body_at_every_address(known: bool) -> None:
    photo = FULL.photos[0] if known else a_photo("unknown")
    queries = {"/api/images/resolve": f"?url={photo.url}", "/api/images/serve": f"?id={photo.id}"}
    async with a_resolver(FULL) as resolver:
        routes = [route for route in resolver.app.router.routes() if route.method == "GET"]
        assert len(routes) > 8
        for route in routes:
            path = route.resource.canonical if route.resource else ""
            path = path.replace("{key}", KEY if known else "unknown") + queries.get(path, "")
            path = path.replace("{name}", "listing-photos.js" if known else "unknown")
            get = await resolver.http.get(path, allow_redirects=False)
            head = await resolver.http.head(path, allow_redirects=False)
            assert await head.read() == b""
            assert head.status == get.status, path
            assert head.status in (({200, 302} if known else {200, 404}) | {503}), path
            assert set(get.headers) - set(head.headers) <= {"Content-Length"}, path
            if path != "/metrics":
                assert head.headers.get("Content-Length", "0") == get.headers["Content-Length"], path


async def test_options_are_answered_and_other_methods_named() -> None:
    async with a_resolver(FULL) as resolver:
        options = await resolver.http.options(LISTING)
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
        assert (await resolver.http.options("/nothing")).status == 404
        wrong = await resolver.http.delete("/api/images/resolve")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("field", ["<script>", "constructor"])
async def test_a_field_that_the_client_made_up_is_not_repeated(field: str) -> None:
    async with a_resolver() as resolver:
        answer = await resolver.http.post("/api/images/resolve", json={"listing_keys": ["a"], field: 1})
        assert answer.status == 422
        assert field not in await answer.text()


async def test_while_the_database_is_away_answers_come_from_memory_and_say_so() -> None:
    async with a_resolver(FULL, a_listing(key="X2")) as resolver:
        assert "Warning" not in (await resolver.http.get(LISTING)).headers
        resolver.listings.is_away = True
        resolver.parts.catalog.forget_all()
        known = await resolver.http.get(LISTING)
        assert (known.status, known.headers["Warning"]) == (200, '110 - "Response is Stale"')
        unknown = await resolver.http.get("/api/listings/X2/images")
        assert (unknown.status, unknown.headers["Cache-Control"]) == (503, "no-store")
        assert int(unknown.headers["Retry-After"]) >= 1
        resolver.parts.catalog.forget(KEY, "p0", for_good=True)
        assert (await resolver.http.get(LISTING)).status == 503
        resolver.listings.is_away = False
        assert (await resolver.http.get("/api/listings/X2/images")).status == 200
        assert "Warning" not in (await resolver.http.get(LISTING)).headers


async def test_a_write_that_others_were_faster_than_each_time_is_a_503_to_try_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_resolver(FULL) as resolver:

        async def contended(*_: object) -> Any:
            raise Contention("others were faster")

        monkeypatch.setattr(resolver.listings, "answers", contended)
        answer = await resolver.http.get(LISTING)
        problem = await answer.json()
        assert (answer.status, problem["detail"]) == (503, "others change the same listing; try again")
        assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("2", "no-store")


async def test_answers_are_counted_by_route_and_memory_by_kind() -> None:
    async with a_resolver(FULL) as resolver:
        for _ in range(3):
            await resolver.http.get(LISTING)
        name, route = "listing_images_answer_seconds_count", "/api/listings/{key}/images"
        assert resolver.metric(name, route=route, status="200") == 3
        assert resolver.metric("listing_images_cache_hits_total", kind="page") == 2
        assert resolver.metric("listing_images_cache_misses_total", kind="page") == 1
        assert resolver.metric("listing_images_cache_bytes", kind="page") > 10_000


async def test_ten_thousand_views_of_a_cold_listing_are_one_event_a_photo() -> None:
    async with a_resolver(a_listing(a_photo("a"), a_photo("b"))) as resolver:
        question = Question(KEY, None, None)
        for _ in range(10_000):
            (page,) = (await resolver.parts.catalog.pages([question]))[question]
            resolver.parts.routes._ask_for_missing(page, Priority.VIEWED)

        async def said() -> bool:
            return len(resolver.said.records) == 2

        await until(said, "both events")
        await resolver.http.get(LISTING)
        assert len(resolver.said.records) == 2


async def test_a_flood_of_demand_is_dropped_and_counted() -> None:
    async with a_resolver() as resolver:
        parts = resolver.parts
        demand = Demand(
            resolver.listings,
            parts.demand._publisher,
            {FEED: parts.demand._feeds[FEED]},
            parts.demand._clock,
            type(parts.registry)(),
        )
        for number in range(10_500):
            demand.ask((FEED, f"X{number}"), ["i"], Priority.SEARCHED)
        assert len(demand._asked) == 10_000
        assert demand._dropped._value.get() == 500


async def test_ten_thousand_who_wait_for_one_photo_share_one_event_and_wake_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_module, "LOOK_SECONDS", 60)  # nothing but the event wakes them
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        found = await resolver.parts.catalog.image(Name(photo.id))
        assert found is not None
        absent = decide.find_copy(found, resolver.parts.routes._clock())
        assert isinstance(absent, Absent)
        waits = (resolver.parts.waiting.wait(found, absent, MAX_WAIT_SECONDS) for _ in range(10_000))
        waiting = [asyncio.create_task(one) for one in waits]

        async def all_wait() -> bool:
            return resolver.metric("listing_images_waiters") == 10_000 and len(resolver.said.records) == 1

        await until(all_wait, "ten thousand to wait")
        gone, staying, began = waiting[:5_000], waiting[5_000:], time.process_time()
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert time.process_time() - began < 0.5, "whoever leaves costs the same, however many wait"
        assert resolver.metric("listing_images_waiters") == 5_000
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        resolver.parts.catalog.forget(KEY, photo.id)
        resolver.parts.waiting.tell(photo.id)
        shown = await asyncio.gather(*staying)
        assert {type(one).__name__ for one in shown} == {"Copy"}
        assert len(resolver.said.records) == 1
        assert not resolver.parts.waiting._watches


async def test_an_event_that_comes_while_its_photo_is_looked_at_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "LOOK_SECONDS", 60)  # nothing but the event wakes them
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        read, looking, go_on = resolver.listings.showing, asyncio.Event(), asyncio.Event()

        async def slowly(*asked: Any) -> list[ShownPhoto]:
            found = await read(*asked)
            if resolver.said.records:
                looking.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(resolver.listings, "showing", slowly)
        asking = asyncio.create_task(resolver.http.get(f"/api/images/serve?id={photo.id}", allow_redirects=False))
        await looking.wait()
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        resolver.parts.catalog.forget(KEY, photo.id)
        resolver.parts.waiting.tell(photo.id)
        go_on.set()
        assert (await asking).status == 302


async def test_a_waiting_visitor_is_sent_to_the_copy_within_two_seconds_though_the_event_is_lost() -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        asking = await resolver.is_waited_for(photo)
        await resolver.record(photos=(replace(photo, copy=a_copy("a")),))
        async with asyncio.timeout(2):
            answer = await asking
        assert (answer.status, answer.headers["Location"]) == (302, RENDERER.url(a_copy("a").full.key))


async def test_a_visitor_who_leaves_is_forgotten() -> None:
    photo = a_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:
        with pytest.raises(TimeoutError):
            await resolver.http.get(f"/api/images/serve?id={photo.id}", timeout=aiohttp.ClientTimeout(0.3))

        async def nobody_waits() -> bool:
            return not resolver.parts.waiting._watches

        await until(nobody_waits, "the watch to end", seconds=5)


async def test_a_photo_that_failed_has_a_picture_and_the_time_that_it_is_due() -> None:
    gone = a_photo("g", failure=Failure(Reason.GONE))
    async with a_resolver(a_listing(gone), serve_wait_seconds=0) as resolver:
        answer = await resolver.http.get(f"/api/images/serve?id={gone.id}")
        assert (answer.status, answer.headers["Content-Type"]) == (404, "image/svg+xml")


@pytest.mark.parametrize(("measured", "expected"), [(0.5, 60), (None, 5)])
async def test_a_photo_that_waits_for_its_turn_says_when_that_is(
    monkeypatch: pytest.MonkeyPatch, measured: float | None, expected: int
) -> None:
    viewed = [a_photo(f"p{number}", priority=Priority.VIEWED, not_before=after(-60)) for number in range(30)]
    mine = a_photo("mine", key="X2", priority=Priority.VIEWED)
    listings = (a_listing(*viewed), a_listing(mine, key="X2"))
    async with a_resolver(*listings, clock=lambda: NOW, serve_wait_seconds=0) as resolver:
        if measured:
            await resolver.throughputs.put(FEED, Throughput(NOW, measured))
        readings, ahead_of = 0, resolver.listings.ahead_of

        async def counted(*asked: Any) -> int:
            nonlocal readings
            readings += 1
            return await ahead_of(*asked)

        monkeypatch.setattr(resolver.listings, "ahead_of", counted)
        asked = (resolver.http.get(f"/api/images/serve?id={mine.id}") for _ in range(50))
        answers = await asyncio.gather(*asked)
        assert {(answer.status, int(answer.headers["Retry-After"])) for answer in answers} == {(503, expected)}
        assert readings <= 2, "once a second, however many are told"


async def test_long_keys_that_nobody_has_take_their_share_of_the_memory() -> None:
    async with a_resolver() as resolver:
        for number in range(10):
            key = f"{number}{'x' * 5_000}"
            assert (await resolver.http.get(f"/api/listings/{key}/images")).status == 404
        assert resolver.metric("listing_images_cache_bytes", kind="page") > 10 * 5_000


async def test_a_photo_by_url_is_read_once_and_hidden_at_once() -> None:
    urls = [f"https://photos.example.com/{name}.jpg" for name in "ab"]
    listing = a_listing(a_downloaded_photo("a"), a_photo("b"))
    async with a_resolver(listing) as resolver:
        asked = [resolver.http.get("/api/images/resolve", params={"url": url}) for url in urls * 20]
        answers = await asyncio.gather(*asked)
        assert {answer.status for answer in answers} == {200}
        assert resolver.listings.readings <= 3
        assert [(await answer.json())["id"] for answer in answers[:2]] == [photo.id for photo in listing.photos]
        narrowed = {"url": urls[0], "listing": "X9"}
        assert (await resolver.http.get("/api/images/resolve", params=narrowed)).status == 404
        await resolver.record(hidden=hidden())
        resolver.parts.catalog.forget(KEY, listing.photos[0].id, for_good=True)
        assert (await resolver.http.get("/api/images/resolve", params={"url": urls[0]})).status == 404


async def test_of_several_photos_under_one_url_one_with_a_copy_is_answered_whatever_else_is_asked() -> None:
    keys = (url_key("u"),)
    several = [
        a_listing(a_photo("a", key="A", url_keys=keys), a_downloaded_photo("b", key="A", url_keys=keys), key="A"),
        a_listing(a_photo("c", key="B", url_keys=(url_key("v"),)), key="B"),
        a_listing(
            a_downloaded_photo("d", key="C"), a_downloaded_photo("e", key="C", url_keys=(url_key("v"),)), key="C"
        ),
    ]
    async with a_resolver(*several) as resolver:
        asked = [{"url": "u"}, {"url": "v"}, {"url": "https://photos.example.com/d.jpg"}]
        answers = await asyncio.gather(*(resolver.http.get("/api/images/resolve", params=one) for one in asked))
        found = [(await answer.json())["id"] for answer in answers]
        assert found == [image_id(FEED, *names) for names in (("A", "b"), ("C", "e"), ("C", "d"))]


@pytest.mark.parametrize("narrowed", [{}, {"listing": KEY}])
async def test_a_url_that_was_unknown_is_known_once_an_event_tells_of_its_listing(narrowed: Mapping[str, str]) -> None:
    async with a_resolver() as resolver:
        asked = {"url": "https://photos.example.com/a.jpg", **narrowed}
        assert (await resolver.http.get("/api/images/resolve", params=asked)).status == 404
        listing = a_listing(a_downloaded_photo("a"))
        await resolver.listings.write([listing])
        assert (await resolver.http.get("/api/images/resolve", params=asked)).status == 404, "what was read is kept"
        resolver.parts.catalog.forget(KEY, listing.photos[0].id)
        assert (await resolver.http.get("/api/images/resolve", params=asked)).status == 200


async def test_a_photo_is_found_in_its_listing_though_others_show_it_too() -> None:
    keys = (url_key("u"),)
    both = [
        a_listing(a_downloaded_photo("a", key="A", url_keys=keys), key="A"),
        a_listing(a_downloaded_photo("b", key="B"), a_downloaded_photo("a", key="B", url_keys=keys), key="B"),
    ]
    async with a_resolver(*both) as resolver:
        asked = [{"url": "u", "listing": "B"}, {"url": "https://photos.example.com/b.jpg"}, {"url": "u"}]
        answers = await asyncio.gather(*(resolver.http.get("/api/images/resolve", params=one) for one in asked))
        found = [(await answer.json())["id"] for answer in answers]
        assert found == [image_id(FEED, *names) for names in (("B", "a"), ("B", "b"), ("A", "a"))]


async def test_of_several_photos_under_a_url_one_with_a_copy_is_shown() -> None:
    keys = (url_key("u"),)
    bare = a_listing(a_photo("a", key="A", url_keys=keys), key="A")
    held = a_listing(a_downloaded_photo("b", key="B", url_keys=keys), key="B")
    async with a_resolver(bare, held) as resolver:
        found = await (await resolver.http.get("/api/images/resolve", params={"url": "u"})).json()
        assert found["id"] == held.photos[0].id
        narrowed = await resolver.http.get("/api/images/resolve", params={"url": "u", "listing": "A"})
        assert (await narrowed.json())["id"] == bare.photos[0].id


@pytest.mark.parametrize("topic", [IMAGE_DOWNLOADED, IMAGE_REMOVED])
async def test_news_that_cannot_be_read_is_set_aside_and_the_next_is_heard(
    monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    removed = ImageRemoved(
        feed=FEED, listing_key=KEY, image_id="x", reason=RemovalReason.OPT_OUT, removed_at=NOW, urls=()
    )
    values = [None, b"no JSON", encode(removed, source="janitor", now=NOW)]

    @asynccontextmanager
    async def follow(*_: object) -> AsyncIterator[AsyncIterator[Record]]:
        async def records() -> AsyncIterator[Record]:
            for offset, value in enumerate(values):
                yield Record(topic if value != values[-1] else IMAGE_REMOVED, 0, offset, NOW, b"key", value)

        yield records()

    monkeypatch.setattr(news_module, "follow", follow)
    async with a_resolver(FULL) as resolver:
        question = Question(KEY, None, None)
        await resolver.parts.catalog.pages([question])
        await resolver.parts.news.follow()
        assert resolver.parts.catalog.fresh_pages(question) is None
        assert [(one.topic, one.key, one.value) for one in resolver.said.records] == [
            (DEAD_LETTER, b"key", None),
            (DEAD_LETTER, b"key", b"no JSON"),
        ]
        heads = [dict(one.headers) for one in resolver.said.records]
        assert [(head["dead_letter_service"], head["dead_letter_topic"]) for head in heads] == [
            (b"resolver", topic.encode())
        ] * 2
