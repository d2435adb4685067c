"""Twenty thousand made-up requests: none gets a 500, and no answer repeats parts of its request."""

import asyncio
import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.answering import Resolver, a_resolver
from tests.builders import KEY, a_downloaded_photo, a_listing, a_photo

pytestmark = pytest.mark.slow

REQUESTS, CONNECTIONS = 20_000, 16
MARK = "zq7"
"""A part of everything that is made up, to recognise it in answers."""
NASTY = [
    "", "\x00", "\r\nX-Evil: 1", "\n", "..", "../../etc/passwd", "%00", "%zz", "%", "'", '"', "<script>alert(1)",
    "${jndi:ldap://x}", "{{7*7}}", "$ne", '{"$gt":""}', "http://169.254.169.254/", "file:///etc/passwd", "é", "家🏠",
    "\ud800", "\xff", "a" * 9_000, "-1", "1e999", "NaN", "null", "true", ";", "&&", "||", "\u202e", "//", "\\", "*",
]  # fmt: skip
LISTING = a_listing(a_downloaded_photo("a"), a_photo("b"))
IDS = [photo.id for photo in LISTING.photos]
PATHS = ["/api/listings/{}/images", "/api/images/resolve", "/api/images/serve", "/{}", "/api/{}", "/metrics/{}"]
FIELDS = ["feed", "context", "url", "listing", "id", "variant", "listing_keys", "photos_per_listing"]
METHODS = ["GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"]

READABLE = re.compile(rb"(GET|POST|HEAD|OPTIONS|PUT|DELETE|PATCH|TRACE) /[!-~]* HTTP/1.1\r\n")
"""A request line that a server must be able to parse; after any other line it may end the connection."""


class RequestMaker:
    """Makes up requests; the same at every run for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> bytes:
        """Return a request as bytes; most are well-formed."""
        choose = self._random.choice
        target = choose(PATHS).format(self._quoted()) if self._random.random() < 0.98 else self._quoted()
        pairs = [f"{choose(FIELDS)}={self._quoted()}" for _ in range(self._random.randrange(4))]
        body = self._body() if self._random.random() < 0.5 else b""
        lines = [
            f"{choose(METHODS)} {target}{'?' if pairs else ''}{'&'.join(pairs)} HTTP/1.1",
            "Host: x",
            f"Content-Length: {len(body)}",
            *(f"{name}: {self._header()}" for name in self._random.sample(HEADERS, 2)),
            *(["Expect: " + self._header()] if self._random.random() < 0.02 else []),
        ]
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body

    def _text(self) -> str:
        choose = self._random.choice
        return choose([KEY, *IDS, "full", "view", MARK]) if self._random.random() < 0.5 else MARK + choose(NASTY)

    def _quoted(self) -> str:
        text = self._text()
        if self._random.random() < 0.9:
            return quote(text, safe="", errors="surrogatepass")
        return re.sub(r"[\s\x00-\x20]", "", text).encode("ascii", "ignore").decode()

    def _header(self) -> str:
        return re.sub(
            r"[\r\n\x00]", "", self._random.choice([*NASTY[:-1], MARK, "gzip", "*", "https://a.example.com"])
        )[:200]

    def _body(self) -> bytes:
        kinds: list[Callable[[], bytes]] = [
            lambda: json.dumps(self._json(3)).encode(errors="surrogatepass"),
            lambda: json.dumps({"listing_keys": [self._text() for _ in range(3)], "context": "view"}).encode(),
            lambda: json.dumps({self._random.choice(FIELDS): self._json(2), "listing_keys": [KEY]}).encode(),
            lambda: self._random.randbytes(self._random.randrange(200)),
            lambda: b"[" * 3_000,
        ]
        return self._random.choice(kinds)()

    def _json(self, depth: int) -> object:
        kinds: list[Callable[[], object]] = [
            self._text, lambda: None, lambda: 2**70, lambda: -0.5, lambda: True,
            lambda: [self._json(depth - 1) for _ in range(2)] if depth else [],
            lambda: {self._text(): self._json(depth - 1)} if depth else {},
        ]  # fmt: skip
        return self._random.choice(kinds)()


HEADERS = ["Accept-Encoding", "If-None-Match", "Origin", "X-Request-Id", "Content-Type", "Range", "X-Forwarded-For"]


async def send(resolver: Resolver, maker: RequestMaker, count: int) -> None:
    """Send `count` requests and check their answers; open a new connection whenever the last has ended."""
    sent = 0
    while sent < count:
        reader, writer = await asyncio.open_connection("127.0.0.1", resolver.port)
        try:
            while sent < count:
                sent += 1
                request = maker.request()
                writer.write(request)
                if not await check_answer(reader, request):
                    break
        finally:
            writer.close()


async def check_answer(reader: asyncio.StreamReader, request: bytes) -> bool:
    """Read the answer to a request and assert that it is allowed. Return False if the connection ends with it."""
    async with asyncio.timeout(20):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise AssertionError(f"the connection was dropped: {request!r}") from error
        length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
        is_bare = request.startswith(b"HEAD ") or head[9:12] in (b"204", b"304")
        body = await reader.readexactly(int(length[1])) if length and not is_bare else b""
    status = int(head[9:12])
    assert status < 500 or status == 503, (request, head, body)
    assert status != 503 or b"image/svg+xml" in head, (request, head, body)
    assert b"X-Evil" not in head, (request, head)
    location = re.search(rb"(?i)^location: (.*?)\r", head, re.MULTILINE)
    assert location is None or location[1].startswith(b"https://cdn.example.com/"), (request, head)
    if status >= 400 and not is_bare:
        assert MARK.encode() not in body, (request, body)
        assert b"application/problem+json" in head or b"image/svg+xml" in head, (request, head)
    is_kept_alive = head.startswith(b"HTTP/1.1 ") and b"connection: close" not in head.lower()
    is_unmet = status == 417 and b"\r\nExpect: " in request
    assert is_kept_alive or is_unmet or (status == 400 and not READABLE.match(request)), (request, head)
    return is_kept_alive


async def test_no_made_up_request_gets_a_500_or_is_repeated_in_the_answer() -> None:
    async with a_resolver(LISTING, serve_wait_seconds=0, cors_origins="https://a.example.com") as resolver:
        each = REQUESTS // CONNECTIONS
        await asyncio.gather(*(send(resolver, RequestMaker(seed), each) for seed in range(CONNECTIONS)))
        assert (await resolver.http.get("/healthz")).status == 200
        counted = resolver.resources.registry.get_sample_value
        assert counted("listing_images_answer_seconds_count", {"route": "none", "status": "500"}) is None


async def test_the_api_answers_as_its_description_says(tmp_path: Path) -> None:
    """Schemathesis sends requests that the description allows and others, and compares the answers with it.

    OpenAPI cannot say that exactly one of `id` and `url` must be given, so a request that it allows may be refused.
    """
    async with a_resolver(LISTING, serve_wait_seconds=0) as resolver:
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).parent / "schemathesis", "--no-color", "run", "--seed=1", "--max-examples=30",
            "--phases=examples,coverage,fuzzing", "--exclude-checks=positive_data_acceptance",
            f"http://127.0.0.1:{resolver.port}/api/openapi.json",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
