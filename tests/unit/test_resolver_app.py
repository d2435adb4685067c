"""The resolver's answers over HTTP: encodings, ETags, CORS, methods, request ids, and what outages change."""

import gzip
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from shared import compression
from shared.domain.failures import Failure, Reason
from shared.stores.errors import Contention
from tests.answering import a_resolver
from tests.builders import KEY, a_downloaded_photo, a_listing, a_photo

LISTING = f"/api/listings/{KEY}/images"
FULL = a_listing(*(a_downloaded_photo(f"p{number}") for number in range(25)))


CACHED_TEXTS = [LISTING, "/api/openapi.json", "/api/docs", "/assets/listing-photos.js", "/assets/listing-photos.d.ts"]


@pytest.mark.parametrize("path", [*CACHED_TEXTS, "/metrics"])
async def test_a_long_text_is_gzipped_for_clients_that_accept_it(path: str) -> None:
    async with a_resolver(FULL) as resolver:
        plain = await resolver.http.get(path, headers={"Accept-Encoding": "identity"})
        gzipped = await resolver.http.get(path, headers={"Accept-Encoding": "br, GZIP;q=0.8"})
        assert (plain.headers.get("Content-Encoding"), gzipped.headers["Content-Encoding"]) == (None, "gzip")
        text = gzip.decompress(await gzipped.read())
        assert text == await plain.read() or path == "/metrics", "compressed once, from the same text"
        assert gzipped.headers["Content-Type"] == plain.headers["Content-Type"]
        assert int(gzipped.headers["Content-Length"]) < len(text) / 2
        assert plain.headers["Vary"] == gzipped.headers["Vary"] == "Accept-Encoding"
        refused = await resolver.http.get(path, headers={"Accept-Encoding": "gzip;q=0, br"})
        assert "Content-Encoding" not in refused.headers
        head = await resolver.http.head(path, headers={"Accept-Encoding": "gzip"})
        assert (head.headers["Content-Encoding"], await head.read()) == ("gzip", b"")
        assert head.headers["Content-Length"] == gzipped.headers["Content-Length"] or path == "/metrics"


@pytest.mark.parametrize("path", ["/api/listings/X2/images", "/healthz", "/nothing", "/api/images/serve?id=x"])
async def test_a_short_text_is_never_gzipped(path: str) -> None:
    async with a_resolver(a_listing(key="X2")) as resolver:
        short = await resolver.http.get(path, headers={"Accept-Encoding": "gzip"})
        assert len(await short.read()) < 1_000
        assert "Content-Encoding" not in short.headers


@pytest.mark.parametrize("path", CACHED_TEXTS)
async def test_a_cached_text_is_gzipped_once_however_often_it_is_requested(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    gzipped, calls = compression.gzipped, 0

    def counted(*given: Any) -> bytes:
        nonlocal calls
        calls += 1
        return gzipped(*given)

    monkeypatch.setattr(compression, "gzipped", counted)
    async with a_resolver(FULL) as resolver:
        for _ in range(3):
            answer = await resolver.http.get(path, headers={"Accept-Encoding": "gzip"})
            assert answer.headers["Content-Encoding"] == "gzip"
    assert calls <= 1


@pytest.mark.parametrize("path", CACHED_TEXTS)
async def test_each_representation_has_an_etag_of_its_own_and_either_gets_304(path: str) -> None:
    async with a_resolver(FULL) as resolver:
        etags, lifetimes = {}, set()
        for coding in ("identity", "gzip"):
            answer = await resolver.http.get(path, headers={"Accept-Encoding": coding})
            etags[coding] = answer.headers["ETag"]
            lifetimes.add(answer.headers["Cache-Control"])
        assert etags["identity"] != etags["gzip"]
        for given in (*etags.values(), f'W/{etags["gzip"]}, "x"', "*"):
            for coding in ("identity", "gzip"):
                headers = {"Accept-Encoding": coding, "If-None-Match": given}
                answer = await resolver.http.get(path, headers=headers)
                assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, etags[coding], b"")
                assert lifetimes == {answer.headers["Cache-Control"]}
                assert answer.headers["Vary"] == "Accept-Encoding"
        assert (await resolver.http.get(path, headers={"If-None-Match": 'W/"other"'})).status == 200


async def test_a_redirect_has_an_etag_that_gets_304() -> None:
    photo = a_downloaded_photo("a")
    async with a_resolver(a_listing(photo)) as resolver:

        async def serve(**headers: str) -> aiohttp.ClientResponse:
            return await resolver.http.get(f"/api/images/serve?id={photo.id}", headers=headers, allow_redirects=False)

        first = await serve()
        etag, lifetime = first.headers["ETag"], first.headers["Cache-Control"]
        for given, status in ((etag, 304), (f'"x", W/{etag}', 304), ('"x"', 302)):
            answer = await serve(**{"If-None-Match": given})
            assert (answer.status, answer.headers["ETag"], answer.headers["Cache-Control"]) == (status, etag, lifetime)


@pytest.mark.parametrize("key", ["a b", "a/b", "{a}", "a%2Fb", "100%", "..", "a+b&c?d#e;f", "ä\u0308", "a\\b", "\n"])
async def test_a_listing_is_found_by_its_key_whatever_characters_it_has(key: str) -> None:
    async with a_resolver(a_listing(a_downloaded_photo("a", key=key), key=key), a_listing(key="other")) as resolver:
        path = URL(f"/api/listings/{quote(key, safe='').replace('.', '%2E')}/images", encoded=True)
        found = await resolver.http.get(path, headers={"Accept-Encoding": "identity"})
        assert (found.status, (await found.json())["listing_key"]) == (200, key)


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
async def test_pages_of_the_origins_in_the_setting_may_read_answers(
    setting: str, origin: str, allowed: str | None, vary: str
) -> None:
    async with a_resolver(FULL, cors_origins=setting) as resolver:
        answer = await resolver.http.get(LISTING, headers={"Origin": origin})
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed
        assert answer.headers["Vary"].endswith(vary)
        assert ("ETag" in answer.headers.get("Access-Control-Expose-Headers", "")) is (allowed is not None)
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        preflight = await resolver.http.options("/api/images/resolve", headers=headers)
        assert preflight.status == 204
        assert ("POST" in preflight.headers.get("Access-Control-Allow-Methods", "")) is (allowed is not None)


async def test_every_answer_has_a_request_id_and_the_security_headers() -> None:
    async with a_resolver(FULL) as resolver:
        for path, status in ((LISTING, 200), ("/nothing", 404), ("/api/images/serve?id=x", 404), ("/healthz", 200)):
            answer = await resolver.http.get(path, headers={"X-Request-Id": "abc-1.2_3"})
            assert (answer.status, answer.headers["X-Request-Id"]) == (status, "abc-1.2_3")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert "aiohttp" not in answer.headers["Server"]
        for unfit in ("a b", "x" * 65, "<script>", ""):
            made = (await resolver.http.get(LISTING, headers={"X-Request-Id": unfit})).headers["X-Request-Id"]
            assert made != unfit
            assert made.isalnum()


@pytest.mark.parametrize("is_known", [True, False])
async def test_head_is_answered_like_get_without_a_body_on_every_route(is_known: bool) -> None:
    photo = FULL.photos[0] if is_known else a_photo("unknown")
    queries = {"/api/images/resolve": f"?url={photo.url}", "/api/images/serve": f"?id={photo.id}"}
    async with a_resolver(FULL) as resolver:
        routes = [route for route in resolver.app.router.routes() if route.method == "GET"]
        assert len(routes) > 8
        for route in routes:
            path = route.resource.canonical if route.resource else ""
            path = path.replace("{key}", KEY if is_known else "unknown") + queries.get(path, "")
            path = path.replace("{name}", "listing-photos.js" if is_known else "unknown")
            get = await resolver.http.get(path, allow_redirects=False)
            head = await resolver.http.head(path, allow_redirects=False)
            assert await head.read() == b""
            assert head.status == get.status, path
            assert head.status in (({200, 302} if is_known else {200, 404}) | {503}), path
            assert set(get.headers) - set(head.headers) <= {"Content-Length"}, path
            if path != "/metrics":
                assert head.headers.get("Content-Length", "0") == get.headers["Content-Length"], path


async def test_options_is_answered_and_a_wrong_method_gets_405_with_the_allowed_ones() -> None:
    async with a_resolver(FULL) as resolver:
        options = await resolver.http.options(LISTING)
        assert (options.status, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
        assert (await resolver.http.options("/nothing")).status == 404
        wrong = await resolver.http.delete("/api/images/resolve")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("field", ["<script>", "constructor"])
async def test_an_unknown_field_of_a_body_is_refused_without_its_name(field: str) -> None:
    async with a_resolver() as resolver:
        answer = await resolver.http.post("/api/images/resolve", json={"listing_keys": ["a"], field: 1})
        assert answer.status == 422
        assert field not in await answer.text()


async def test_while_the_database_is_unavailable_stale_answers_carry_a_warning() -> None:
    async with a_resolver(FULL, a_listing(key="X2")) as resolver:
        assert "Warning" not in (await resolver.http.get(LISTING)).headers
        resolver.listings.is_unavailable = True
        resolver.parts.cache.invalidate_all()
        answer = await resolver.http.get(LISTING)
        assert (answer.status, answer.headers["Warning"]) == (200, '110 - "Response is Stale"')
        unknown = await resolver.http.get("/api/listings/X2/images")
        assert (unknown.status, unknown.headers["Cache-Control"]) == (503, "no-store")
        assert int(unknown.headers["Retry-After"]) >= 1
        resolver.parts.cache.invalidate(KEY, "p0", remove=True)
        assert (await resolver.http.get(LISTING)).status == 503
        resolver.listings.is_unavailable = False
        assert (await resolver.http.get("/api/listings/X2/images")).status == 200
        assert "Warning" not in (await resolver.http.get(LISTING)).headers


async def test_contention_is_answered_with_503_and_retry_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_resolver(FULL) as resolver:

        async def contend(*_: object) -> Any:
            raise Contention("others were faster")

        monkeypatch.setattr(resolver.listings, "answers", contend)
        answer = await resolver.http.get(LISTING)
        problem = await answer.json()
        assert (answer.status, problem["detail"]) == (503, "others change the same listing; try again")
        assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("2", "no-store")


async def test_answers_are_counted_by_route_and_the_cache_by_kind() -> None:
    async with a_resolver(FULL) as resolver:
        for _ in range(3):
            await resolver.http.get(LISTING)
        name, route = "listing_images_answer_seconds_count", "/api/listings/{key}/images"
        assert resolver.metric(name, route=route, status="200") == 3
        assert resolver.metric("listing_images_cache_hits_total", kind="page") == 2
        assert resolver.metric("listing_images_cache_misses_total", kind="page") == 1
        assert resolver.metric("listing_images_cache_bytes", kind="page") > 10_000


async def test_a_photo_that_is_gone_at_the_origin_gets_404_with_a_placeholder() -> None:
    gone = a_photo("g", failure=Failure(Reason.GONE))
    async with a_resolver(a_listing(gone), serve_wait_seconds=0) as resolver:
        answer = await resolver.http.get(f"/api/images/serve?id={gone.id}")
        assert (answer.status, answer.headers["Content-Type"]) == (404, "image/svg+xml")
