"""Tests that no URL, name or redirect leads to a refused host or address: a trap on loopback must see no connection."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.downloader.answers import Fetched
from services.downloader.fetch import Fetcher
from shared.domain.failures import Reason
from tests.origins import (
    PHOTO,
    PUBLIC,
    FakeDialer,
    FakeResolver,
    Origin,
    PhotoFetch,
    a_sandbox,
    answer,
    failed,
    redirect,
    running,
)

LISTED = ("127.0.0.1", "[::1]", "localhost", "photos.example.com", "*.example.com", "xn--bcher-kva.example")
LOOPBACK_ON_LISTED_PORT = "http://{}:{{port}}/secret"

# {trap} stands for the trap's host with port, {port} for its port. The feed lists each host of LISTED with that port.
NO_URL = [
    *("", "secret.jpg", "//{trap}/secret", "http:///secret", "https://", "http://:{port}/secret", "http://?@{trap}"),
    *("ftp://{trap}/secret", "file://{trap}/secret", "gopher://{trap}/secret", "ws://{trap}/secret"),
    *("httpss://{trap}/secret", "http+unix://{trap}/secret", "://{trap}/secret", "ｈttp://{trap}/secret"),  # noqa: RUF001
    *("http:/{trap}/secret", "http:{trap}/secret", "javascript:secret", "data:image/png;base64,secret"),
    *("http://user@{trap}/", "http://user:secret@{trap}/", "http://@{trap}/", "http://:secret@{trap}/"),
    *("http://photos.example.com:{port}@{trap}/secret", "http://secret%40{trap}/", "http://{trap}@{trap}/"),
    *("http://{trap}\\@photos.example.com/secret", "http:\\\\{trap}\\secret", "http://{trap}\\secret"),
    *("http://photos.example.com\\.evil.org/secret", "http://photos.example.com:{port}\\@evil.org/secret"),
    *(" http://{trap}/secret", "http://{trap}/secret ", "http://{trap}/secret b", "ht\ttp://{trap}/secret"),
    *("http://{trap}/secret\r\nX-Evil: 1", "http://{trap}/secret\x00", "http://{trap}/secret\x7f"),
    *("http://{trap}\n/secret", "http://{trap}/secret\u2028", "http://{trap}/secret\u200b", "http://{trap}/\ud800"),
    *("http://{trap}/secret\u202egpj.", "\ufeffhttp://{trap}/secret", "http://{trap}/secret" + "a" * 9000),
    *("http://127.0.0.1:99999/secret", "http://127.0.0.1:0/secret", "http://127.0.0.1:+{port}/secret"),
    *("http://127.0.0.1:{port}x/secret", "http://127.0.0.1:{port}:80/secret", "http://127.0.0.1:000{port}/secret"),
    *("http://127.0.0.1:-1/secret", "http://127.0.0.1:٨٠/secret", "http://[::1]evil.org:{port}/secret"),
]
DISGUISED = [
    *("127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01"),
    *("①②⑦.0.0.1", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "１27.0.0.1", "%31%32%37.0.0.1", "127.0.0.1%00"),  # noqa: RUF001
    *("[::1%25lo]", "[::1%lo]", "::1", "[::1", "[127.0.0.1]", "[::ffff:127.0.0.1%1]", "[v1.::1]", "127.0.0.1.."),
    *(
        "loc\u00adalhost",
        "local\u200bhost",
        "ⓛocalhost",
        "localhost..",
        ".localhost",
        "photos.example。com",
        "loc*host",
    ),
    *("photoſ.example.com", "ﬁles.example.com", "a..example.com", "-a.example.com", "*.example.com"),  # noqa: RUF001
]
UNLISTED = [
    *(f"http://{host}:{{port}}/secret" for host in ("0.0.0.0", "127.0.0.2", "[::]", "[::ffff:127.0.0.1]")),  # noqa: S104
    *(f"http://{host}:{{port}}/secret" for host in ("[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]")),
    *(f"http://{host}:{{port}}/secret" for host in ("evil.org", "example.com", "photos.example.com.evil.org")),
    *(f"http://{host}:{{port}}/secret" for host in ("evilexample.com", "photos-example.com", "phоtos.ехample.com")),  # noqa: RUF001
    *("http://127.0.0.1/secret", "https://127.0.0.1/secret", "http://photos.example.com:8080/secret"),
    *("http://localhost/secret", "http://169.254.169.254/latest/secret", "http://[fd00:ec2::254]/secret"),
    *("http://metadata.google.internal/secret", "http://bücher.exаmple:{port}/secret"),  # noqa: RUF001
]
LISTED_BUT_PRIVATE = [
    *("http://{trap}/secret", "https://{trap}/secret", "HTTP://127.0.0.1.:{port}/secret", "http://[::1]:{port}/secret"),
    *("http://[0:0:0:0:0:0:0:1]:{port}/secret", "http://localhost:{port}/secret", "http://LOCALHOST.:{port}/secret"),
    *("http://photos.example.com:{port}/secret", "http://a.b.example.com:{port}/secret"),
    *("http://xn--bcher-kva.example:{port}/secret", "http://bücher.example:{port}/secret#@evil.org"),
    *("http://xn--zzzzzz99.example.com:{port}/secret", "http://photos.example.com:{port}/@{trap}/secret"),
]
HOSTILE = [
    *((url, Reason.BAD_URL) for url in NO_URL),
    *((LOOPBACK_ON_LISTED_PORT.format(host), Reason.BAD_URL) for host in DISGUISED),
    *((url, Reason.REFUSED_HOST) for url in UNLISTED),
    *((url, Reason.REFUSED_ADDRESS) for url in LISTED_BUT_PRIVATE),
]


@pytest.fixture(scope="module")
async def trap() -> AsyncIterator[Origin]:
    async with running(Origin()) as started:
        yield started


@pytest.fixture(scope="module")
async def fetch_photo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PhotoFetch]:
    """A fetcher that resolves every name to loopback."""
    async with Fetcher({}, resolve=FakeResolver([["127.0.0.1"]])) as fetcher:
        yield PhotoFetch(fetcher, tmp_path_factory.mktemp("photos"))


@pytest.mark.parametrize(("url", "reason"), HOSTILE)
async def test_a_hostile_url_makes_no_connection_and_is_not_quoted(
    trap: Origin, fetch_photo: PhotoFetch, url: str, reason: Reason
) -> None:
    url = url.replace("{trap}", trap.host).replace("{port}", str(trap.port))
    before = trap.connections
    strict = a_sandbox(*(f"{host}:{trap.port}" for host in LISTED), name="strict", private=False)
    failure = failed(await fetch_photo(url, strict), reason)
    assert trap.connections == before
    assert "secret" not in failure.detail
    assert not url or url not in failure.detail
    assert list(fetch_photo.into.iterdir()) == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1.", "photos.example.com", "a.b.example.com", "bücher.example", "xn--z9.example.com"]
)
async def test_a_sandbox_feed_does_reach_the_trap(trap: Origin, fetch_photo: PhotoFetch, host: str) -> None:
    before = len(trap.requests)
    feed = a_sandbox(*(f"{listed}:{trap.port}" for listed in LISTED))
    outcome = await fetch_photo(f"http://{host}:{trap.port}/photo.jpg", feed)
    assert isinstance(outcome, Fetched)
    assert len(trap.requests) == before + 1
    outcome.path.unlink()


# FakeResolver


@pytest.mark.parametrize(
    "found",
    [
        *(["127.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]),
        *(["64:ff9b::7f00:1"], ["2002:7f00:1::"], ["2001:0:4136:e378::1"], ["0.0.0.0"], ["224.0.0.1"], ["fe80::1%lo"]),  # noqa: S104
    ],
)
async def test_a_name_with_only_refused_addresses_is_refused(trap: Origin, tmp_path: Path, found: list[str]) -> None:
    dial = FakeDialer(trap)
    async with Fetcher({}, resolve=FakeResolver([found]), dial=dial) as fetcher:
        url, feed = "http://photos.example.com/photo.jpg", a_sandbox("photos.example.com", private=False)
        failure = failed(await PhotoFetch(fetcher, tmp_path)(url, feed), Reason.REFUSED_ADDRESS)
    assert dial.dialled == []
    assert not any(address in failure.detail for address in found)


@pytest.mark.parametrize("found", [[PUBLIC, "10.0.0.1"], ["10.0.0.1", "64:ff9b::7f00:1", PUBLIC], ["::1", PUBLIC]])
async def test_a_refused_address_among_good_ones_is_skipped(trap: Origin, tmp_path: Path, found: list[str]) -> None:
    async with running(Origin()) as origin:
        dial = FakeDialer(origin)
        async with Fetcher({}, resolve=FakeResolver([found]), dial=dial) as fetcher:
            url, feed = "http://photos.example.com/photo.jpg", a_sandbox("photos.example.com", private=False)
            assert isinstance(await PhotoFetch(fetcher, tmp_path)(url, feed), Fetched)
    assert dial.dialled == [f"{PUBLIC} 80"]


async def test_only_the_checked_address_is_dialled_if_a_name_changes_its_answer(tmp_path: Path) -> None:
    resolver = FakeResolver([[PUBLIC], ["127.0.0.1"]])
    url, feed = "http://photos.example.com/photo.jpg", a_sandbox("photos.example.com", private=False)
    async with running(Origin({"/photo.jpg": answer(PHOTO, Connection="close")})) as origin:
        dial = FakeDialer(origin)
        async with Fetcher({}, resolve=resolver, dial=dial) as fetcher:
            fetch_photo = PhotoFetch(fetcher, tmp_path)
            assert isinstance(await fetch_photo(url, feed), Fetched)
            assert (resolver.hosts, dial.dialled) == (["photos.example.com"], [f"{PUBLIC} 80"])
            failed(await fetch_photo(url, feed), Reason.REFUSED_ADDRESS)
    assert dial.dialled == [f"{PUBLIC} 80"]
    assert "Host: photos.example.com\r\n" in origin.requests[0]


async def test_a_feed_never_reuses_a_connection_of_another_feed(trap: Origin, tmp_path: Path) -> None:
    async with Fetcher({}) as fetcher:
        fetch_photo = PhotoFetch(fetcher, tmp_path)
        assert isinstance(await fetch_photo(trap.url(), a_sandbox(trap.host)), Fetched)
        before = len(trap.requests)
        failed(
            await fetch_photo(trap.url(), a_sandbox(trap.host, name="strict", private=False)), Reason.REFUSED_ADDRESS
        )
    assert len(trap.requests) == before


# Redirects


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://{trap}/secret", Reason.REFUSED_HOST),
        ("//{trap}/secret", Reason.REFUSED_HOST),
        ("http://localhost:{port}/secret", Reason.REFUSED_HOST),
        ("http://photos.example.com:{port}/secret", Reason.REFUSED_HOST),
        ("http://photos.example.com.evil.org/secret", Reason.REFUSED_HOST),
        ("http://169.254.169.254/secret", Reason.REFUSED_HOST),
        ("http://photos.example.com@{trap}/secret", Reason.BAD_URL),
        ("http://user:secret@photos.example.com/", Reason.BAD_URL),
        ("http://{trap}\\.photos.example.com/secret", Reason.BAD_URL),
        ("http://2130706433:{port}/secret", Reason.BAD_URL),
        ("http://photos.example.com/\tsecret", Reason.BAD_URL),
        ("file:///etc/secret", Reason.BAD_URL),
        ("//[::1", Reason.BAD_URL),
        ("http://inside.example.com/secret", Reason.REFUSED_ADDRESS),
        ("https://inside.example.com/secret", Reason.REFUSED_ADDRESS),
    ],
)
async def test_a_redirect_is_checked_like_a_first_url(
    trap: Origin, tmp_path: Path, location: str, reason: Reason
) -> None:
    location = location.replace("{trap}", trap.host).replace("{port}", str(trap.port))
    trapped = trap.connections
    async with running(Origin({"/1": redirect(location)})) as origin:
        dial = FakeDialer(origin)
        async with Fetcher({}, resolve=FakeResolver([[PUBLIC], ["127.0.0.1"]]), dial=dial) as fetcher:
            feed = a_sandbox("photos.example.com", "inside.example.com", private=False)
            failure = failed(await PhotoFetch(fetcher, tmp_path)("http://photos.example.com/1", feed), reason)
        assert len(origin.requests) == 1
    assert dial.dialled == [f"{PUBLIC} 80"]
    assert trap.connections == trapped
    assert "secret" not in failure.detail
    assert location not in failure.detail
