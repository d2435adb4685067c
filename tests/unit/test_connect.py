"""`imagectl connect` against the emulators of all vendors: what it says, writes, and never does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dotenv import dotenv_values
from typer.testing import CliRunner, Result

from local.sandbox import Sandbox
from ops.imagectl import app
from shared.domain.feed_file import parse_feeds
from tests.unit.test_vendor_reading import Fast
from tests.vendor_feeds import secrets_of, target_of

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands in an empty directory, and without the pauses that a real MLS needs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IMAGES_FEEDS", raising=False)
    monkeypatch.setattr("ops.connect.client.PAUSE_SECONDS", 0.02)


@asynccontextmanager
async def playing(vendor: str, path: Path, *switches: str, listings: int = 30) -> AsyncIterator[Sandbox]:
    mls = Sandbox(listings=listings, photos=2, widest=160, cache=path, vendor=vendor, switches=switches, clock=Fast())
    async with mls:
        yield mls


async def connect(mls: Sandbox, *options: str, secrets: dict[str, str] | None = None) -> Result:
    """Run `imagectl connect` for a running emulator, as a script would."""
    target = target_of(mls)
    arguments = ["connect", mls.web_api, "--profile", mls.vendor.name, "--yes", *options]
    if target.filter:
        arguments += ["--filter", target.filter]
    return await asyncio.to_thread(RUNNER.invoke, app, arguments, env=secrets_of(mls) if secrets is None else secrets)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def facts_in(path: Path) -> dict[str, object]:
    line = next(line for line in path.read_text().splitlines() if line.startswith("# imagectl connect found: "))
    return dict(json.loads(line.partition(": ")[2]))


@pytest.mark.parametrize(
    ("vendor", "found"),
    [
        ("proptx", {"page_rows": 1000, "expand": "no", "media_resource": "yes", "sorting": "timestamp and key"}),
        ("mlsgrid", {"expand": "on request", "operator_in": "no", "sorting": "timestamp", "urls_change": "yes"}),
        (
            "trestle",
            {"expand": "on request", "operator_in": "yes", "page_rows": 1000, "categories": ["Photo", "Video"]},
        ),
        ("bridge", {"expand": "always", "operator_in": "no", "page_rows": 200, "row_keys": "MediaObjectID"}),
        ("spark", {"page_rows": 25, "next_link": "yes", "row_keys": "MediaKey", "sorting": "timestamp"}),
        ("ddf", {"expand": "always", "page_rows": 100, "picture_categories": ["Property Photo"]}),
    ],
)
async def test_a_vendor_is_connected_and_its_quotas_and_urls_are_respected(
    vendor: str, found: dict[str, object], tmp_path: Path
) -> None:
    async with playing(vendor, tmp_path / "pictures") as mls:
        done = await connect(mls)
        assert done.exit_code == 0, done.output
        feed = parse_feeds((tmp_path / "feeds.toml").read_text())[vendor]
        assert (feed.reso_url, feed.reso.profile, feed.image_hosts[0]) == (mls.web_api, vendor, mls.host)
        assert (mls.other_host in feed.image_hosts) is mls.vendor.pictures.redirects
        assert mls.meter.refused == {}
        assert not {"used", "agent", "authorization", "gzip", "token"} & mls.refused.keys()
        assert mls.image_requests == (0 if vendor == "mlsgrid" else 2)
    secrets = secrets_of(mls)
    assert dotenv_values(tmp_path / ".env") == secrets
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert not [
        name for name, secret in secrets.items() if secret in done.output + (tmp_path / "feeds.toml").read_text()
    ]
    facts = facts_in(tmp_path / "feeds.toml")
    assert {name: facts[name] for name in found} == found


async def test_a_cut_in_silence_is_noticed(tmp_path: Path) -> None:
    async with playing("generic", tmp_path / "pictures", "caps-25") as mls:
        done = await connect(mls, secrets={"MLS_TOKEN": "any"})
    assert "cuts pages at 25 rows in silence" in done.output


async def test_a_second_feed_leaves_the_first_as_it_is_and_a_name_is_used_once(tmp_path: Path) -> None:
    async with playing("bridge", tmp_path / "pictures") as mls:
        await connect(mls)
        before = (tmp_path / "feeds.toml").read_bytes()
        again = await connect(mls)
        other = await connect(mls, "--feed", "two", "--token-env", "BRIDGE_TOKEN")
    assert (again.exit_code, other.exit_code) == (1, 0)
    assert "--feed" in again.output
    after = (tmp_path / "feeds.toml").read_bytes()
    assert after.startswith(before)
    assert list(parse_feeds(after.decode())) == ["bridge", "two"]


async def test_a_file_that_cannot_be_parsed_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "feeds.toml").write_text("[feeds.x\n")
    async with playing("ddf", tmp_path / "pictures") as mls:
        done = await connect(mls)
    assert (done.exit_code, mls.requests.total()) == (2, 0)
    assert contents(tmp_path) == {"feeds.toml": b"[feeds.x\n"}


async def test_a_refused_token_writes_nothing(tmp_path: Path) -> None:
    async with playing("spark", tmp_path / "pictures") as mls:
        done = await connect(mls, secrets={"SPARK_TOKEN": "wrong-token"})
    assert done.exit_code == 1
    assert "Check the token" in done.output
    assert "wrong-token" not in done.output
    assert contents(tmp_path) == {}


async def test_without_a_terminal_a_missing_answer_is_named(tmp_path: Path) -> None:
    async with playing("mlsgrid", tmp_path / "pictures") as mls:
        bare = ["connect", mls.web_api, "--profile", "mlsgrid", "--yes"]
        no_filter = await asyncio.to_thread(RUNNER.invoke, app, bare)
        no_token = await connect(mls, secrets={})
    assert (no_filter.exit_code, no_token.exit_code) == (1, 1)
    assert "--filter" in no_filter.output
    assert "MLSGRID_TOKEN has no value" in no_token.output


async def test_check_says_what_has_changed_at_the_mls_and_writes_nothing(tmp_path: Path) -> None:
    async with playing("ddf", tmp_path / "pictures") as mls:
        await connect(mls)
        before = contents(tmp_path)
        same = await asyncio.to_thread(RUNNER.invoke, app, ["connect", "--check", "ddf"])
        paging = mls.vendor.paging.model_copy(update={"most": 50})
        mls.api.vendor = mls.vendor.model_copy(update={"paging": paging})
        other = await asyncio.to_thread(RUNNER.invoke, app, ["connect", "--check", "ddf", "--json"])
    assert (same.exit_code, other.exit_code) == (0, 1), same.output + other.output
    assert "nothing has changed" in same.output
    assert json.loads(other.stdout) == {"feed": "ddf", "changed": ["page rows: was 100, is 50"]}
    assert contents(tmp_path) == before
