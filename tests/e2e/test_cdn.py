"""The HTTP cache of docs/cdn.md in front of a running system: what it caches and for how long, and how it is purged."""

import asyncio
import dataclasses
import json
import os
import re
import runpy
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from local import ports
from local.sandbox import Sandbox
from tests.e2e.cdn import EXAMPLES, nginx
from tests.servers import Namespace
from tests.system import System, until


def record_of(mls: Sandbox, key: str) -> Mapping[str, Any]:
    return mls.market.property(mls.market.listing(key))


@pytest.fixture
async def cdn(whole: System) -> Any:
    """A client of the cache."""
    root = whole.env["IMAGES_PUBLIC_URL"].removesuffix("/photos")
    async with httpx.AsyncClient(base_url=root, trust_env=False, timeout=30) as client:
        yield client


async def test_answers_are_cached_for_seconds_and_conditional_requests_pass(
    whole: System, mls: Sandbox, cdn: httpx.AsyncClient, key: str
) -> None:
    await whole.publish_listings({**record_of(mls, key), "ListingKey": f"{key}/ä b"})
    path = f"/api/listings/{key}%2F%C3%A4%20b/images?context=search"

    async def cached() -> httpx.Response | None:
        answer = await cdn.get(path)
        return answer if answer.headers["X-Cache"] == "HIT" else None

    answer = await until(cached, "an answer from the cache")
    assert answer.json()["listing_key"] == f"{key}/ä b"
    assert answer.headers.get_list("Cache-Control") == ["public, max-age=1, stale-while-revalidate=1"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    from_a_page = await cdn.get(path, headers={"Origin": "https://a.example.com"})
    assert from_a_page.headers["X-Cache"] == "MISS", "an answer names the site that may read it"
    again = await cdn.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    is_same = again.headers["ETag"].removeprefix("W/") == answer.headers["ETag"].removeprefix("W/")
    assert again.status_code == (304 if is_same else 200)  # 200 if a photo was downloaded meanwhile


async def test_errors_and_placeholders_are_not_cached(
    whole: System, mls: Sandbox, cdn: httpx.AsyncClient, key: str
) -> None:
    mls.misbehave(kind="slow", listing=key, delay_seconds=20)
    await whole.publish_listings(record_of(mls, key))
    image = (await until(lambda: whole.images(key, context="search"), f"{key} to be recorded"))[0]
    for path, status in (
        ("/api/listings/nowhere/images", 404),
        ("/api/images/serve", 400),
        (image["url"], 503),
        ("/photos/sandbox/nothing/here.webp", 404),
    ):
        for _ in range(2):
            answer = await cdn.get(path)
            assert (answer.status_code, answer.headers["X-Cache"]) == (status, "MISS"), path
            if path.startswith("/api/"):
                assert answer.headers.get_list("Cache-Control") == ["no-store"]
    page = {"listing_keys": [key]}
    for _ in range(2):
        answer = await cdn.post("/api/images/resolve", json=page)
        assert (answer.status_code, answer.headers.get("X-Cache")) == (200, None)
        assert answer.headers["Cache-Control"] == "public, max-age=1, stale-while-revalidate=1"
    assert (await cdn.get("/metrics")).status_code == 404


async def test_a_photo_is_cached_whatever_query_or_header_a_request_has(
    whole: System, mls: Sandbox, cdn: httpx.AsyncClient, key: str
) -> None:
    await whole.publish_listings(record_of(mls, key))
    url = (await whole.wait_until_downloaded(key, 4))[0]["variants"][-1]["url"]
    first, second = await cdn.get(url), await cdn.get(f"{url}?list-type=2", headers={"Authorization": "x"})
    assert [first.headers["X-Cache"], second.headers["X-Cache"]] == ["MISS", "HIT"]
    assert first.content == second.content
    assert second.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert second.headers["Content-Type"] == "image/webp"
    again = await cdn.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await cdn.put(url, content=b"x")).status_code == 403


async def test_many_requests_for_a_photo_at_once_are_one_request_to_storage(
    namespace: Namespace, tmp_path: Path
) -> None:
    requests, has_another = 0, asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if requests > 1:
            has_another.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await has_another.wait()
        return web.Response(body=b"a photo", headers={"Cache-Control": "public, max-age=31536000, immutable"})

    app = web.Application()
    app.router.add_get("/{key:.+}", answer)
    port = ports.choose(set())
    async with TestServer(app) as storage:
        servers = dataclasses.replace(namespace.servers, s3_endpoint=str(storage.make_url("")))
        here = dataclasses.replace(namespace, servers=servers)
        limits = httpx.Limits(max_connections=None)
        async with (
            nginx(here, port, tmp_path),
            httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as client,
        ):
            url = f"http://127.0.0.1:{port}/photos/a.webp"
            answers = await asyncio.gather(*(client.get(url) for _ in range(200)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"a photo")}
    assert requests == 1


async def test_a_removed_photo_is_purged_and_its_listing_expires(
    whole: System, mls: Sandbox, cdn: httpx.AsyncClient, key: str, cache: Path
) -> None:
    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    urls = [variant["url"] for image in images for variant in image["variants"]]
    for url in urls:
        assert (await cdn.get(url)).status_code == 200
    assert (await cdn.get(f"/api/listings/{key}/images")).status_code == 200
    await whole.publish_listings(mls.withdraw(key))

    async def is_hidden() -> bool:
        return (await cdn.get(f"/api/listings/{key}/images")).status_code == 404

    async def are_published() -> bool:
        return len(await whole.events("image-removed", key)) == 4

    await until(is_hidden, f"{key} to be hidden by the cache, too")
    await until(are_published, "the removals")
    assert (await cdn.get(urls[0])).headers["X-Cache"] == "HIT"  # without a purge it would be cached for a year

    purging = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "purge.py"),
        env={**os.environ, **whole.env, "PURGE_NGINX": str(cache / "photos"), "PURGE_SETTLE_SECONDS": "0"},
    )  # fmt: skip
    try:

        async def are_gone() -> bool:
            return {(await cdn.get(url)).status_code for url in urls} <= {403, 404}

        await until(are_gone, "the purge")
    finally:
        purging.terminate()
        await purging.wait()


async def test_urls_are_purged_from_cloudflare_in_batches_of_100(monkeypatch: pytest.MonkeyPatch) -> None:
    purged: list[tuple[str, str, Sequence[str]]] = []

    async def purge_cache(request: web.Request) -> web.Response:
        purged.append((request.path, request.headers["Authorization"], (await request.json())["files"]))
        return web.json_response({"success": True})

    app = web.Application()
    app.router.add_post("/zones/{zone}/purge_cache", purge_cache)
    async with TestServer(app) as server:
        monkeypatch.setenv("CLOUDFLARE_API", str(server.make_url("")).rstrip("/"))
        purge = runpy.run_path(str(EXAMPLES / "purge.py"))["purge_cloudflare"]
        urls = [f"https://cdn.example.com/photos/{number}.webp" for number in range(230)]
        await asyncio.to_thread(purge, "z1", "secret", urls)
    assert [len(files) for _, _, files in purged] == [100, 100, 30]
    assert [url for _, _, files in purged for url in files] == urls
    assert {call[:2] for call in purged} == {("/zones/z1/purge_cache", "Bearer secret")}


async def test_the_cloudflare_rules_cover_all_paths_of_the_system(whole: System, mls: Sandbox, key: str) -> None:
    rules = json.loads((EXAMPLES / "cloudflare-cache-rules.json").read_text())
    assert (rules["kind"], rules["phase"]) == ("zone", "http_request_cache_settings")
    path_prefix = re.compile(
        r'\(http\.host eq "cdn\.example\.com" and starts_with\(http\.request\.uri\.path, "(.+?)"\)\)'
    )
    by_prefix = {prefix: rule for rule in rules["rules"] for prefix in path_prefix.findall(rule["expression"])}
    assert len(by_prefix) == len(rules["rules"])

    def settings(path: str) -> Mapping[str, Any]:
        """Return the cache settings of the one rule that applies to a path."""
        (rule,) = [rule for prefix, rule in by_prefix.items() if path.startswith(prefix)]
        assert rule["action"] == "set_cache_settings"
        return dict(rule["action_parameters"])

    await whole.publish_listings(record_of(mls, key))
    images = await whole.wait_until_downloaded(key, 4)
    photos = settings(urlsplit(images[0]["url"]).path)
    assert (photos["cache"], photos["edge_ttl"]["mode"]) == (True, "respect_origin")
    assert photos["edge_ttl"]["status_code_ttl"] == [{"status_code_range": {"from": 300, "to": 599}, "value": -1}]
    described = (await whole.http.get("/api/openapi.json")).json()["paths"]
    paths = [path for path in described if path.startswith("/api/")]
    assert len(paths) > 2
    assert not any(settings(path)["cache"] for path in paths), "answers are not cached"
    assert settings("/assets/listing-photos.js")["cache"]


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        (b'{"data":{"urls":["http://x/a.webp"]}}', ["http://x/a.webp"]),
        *((value, []) for value in (None, b"", b"{", b"[]", b'{"data":null}', b'{"data":{"urls":[1]}}', b"\xff")),
        (b'{"data":{"urls":["http://[x"]}}', []),
        (b'{"data":{"urls":["http://x/\\ud800"]}}', []),
    ],
)
def test_a_record_that_is_no_event_does_not_end_the_purging(value: bytes | None, urls: list[str]) -> None:
    assert runpy.run_path(str(EXAMPLES / "purge.py"))["urls_of"](value) == urls
