"""How are settings read and checked? And do the example files list all of them, with their defaults?"""

import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from shared.domain.feed import Feed
from shared.domain.feed_file import FEED_FIELDS, RESO_FIELDS, parse_feeds
from shared.secret_values import read_secret
from shared.settings import Settings, SettingsInvalid, load, unknown_variables, worker_name

ROOT = Path(__file__).parents[2]
FEEDS = '[feeds.f]\nimage_hosts = ["photos.example.com"]\n'


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory, without any setting."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"IMAGES_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def faults() -> list[str]:
    with pytest.raises(SettingsInvalid) as raised:
        load()
    assert str(raised.value) == "\n".join(raised.value.faults)
    return raised.value.faults


def test_every_setting_has_a_default_but_feeds_must_exist() -> None:
    (fault,) = faults()
    assert fault.startswith("IMAGES_FEEDS: feeds.toml cannot be read")


def test_settings_are_read_from_the_environment_and_feeds_from_the_file_that_it_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "f.toml").write_text(FEEDS)
    monkeypatch.setenv("IMAGES_FEEDS", "f.toml")
    monkeypatch.setenv("IMAGES_MONGO_DB", "other")
    monkeypatch.setenv("IMAGES_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("IMAGES_SUPERSEDED_HOURS", "0.5")
    settings, feeds = load()
    assert (settings.mongo_db, settings.log_level, settings.superseded_hours) == ("other", "warning", 0.5)
    assert list(feeds) == ["f"]


def test_a_variable_wins_over_the_env_file_which_wins_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("IMAGES_MONGO_DB=of_the_file\nIMAGES_TOPIC_PREFIX=of-the-file.\nUNKNOWN=1\n")
    monkeypatch.setenv("IMAGES_MONGO_DB", "of_the_environment")
    settings = Settings()
    assert (settings.mongo_db, settings.topic_prefix) == ("of_the_environment", "of-the-file.")
    assert settings.topic("listing-seen") == "of-the-file.listing-seen"


def test_a_secret_is_read_from_the_environment_or_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_secret("A_TOKEN") == ""
    (tmp_path / ".env").write_text("A_TOKEN=of-the-file\n")
    assert read_secret("A_TOKEN") == "of-the-file"
    monkeypatch.setenv("A_TOKEN", "of-the-environment")
    assert read_secret("A_TOKEN") == "of-the-environment"


def test_a_secret_may_be_in_a_file_that_a_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" of-the-file\n")
    (tmp_path / ".env").write_text("A_TOKEN_FILE=token\n")
    assert read_secret("A_TOKEN") == "of-the-file"
    monkeypatch.setenv("A_TOKEN", "of-the-environment")
    assert read_secret("A_TOKEN") == "of-the-environment"
    monkeypatch.setenv("A_TOKEN_FILE", "token")
    assert read_secret("A_TOKEN") == "of-the-file"


def test_settings_that_hold_secrets_may_be_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "feeds.toml").write_text(FEEDS)
    for name in ("IMAGES_S3_ACCESS_KEY", "IMAGES_S3_SECRET_KEY", "IMAGES_DESK_TOKEN"):
        (tmp_path / name).write_text(f"{name}-of-the-file\n")
        monkeypatch.setenv(f"{name}_FILE", name)
    monkeypatch.setenv("IMAGES_DESK_TOKEN", "0123456789abcdef")
    settings, _ = load()
    assert settings.s3_access_key == "IMAGES_S3_ACCESS_KEY-of-the-file"
    assert settings.s3_secret_key.get_secret_value() == "IMAGES_S3_SECRET_KEY-of-the-file"
    assert settings.desk_token.get_secret_value() == "IMAGES_DESK_TOKEN-of-the-file"
    assert "of-the-file" not in f"{settings!r}".replace(settings.s3_access_key, "")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "is not a text"),
        (b" \n", "is empty; write the secret into it"),
    ],
)
def test_every_file_of_a_secret_that_cannot_be_used_is_named(
    content: bytes | None, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "feeds.toml").write_text(f'{FEEDS}token_env = "A_TOKEN"\n')
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    monkeypatch.setenv("IMAGES_MONGO_FILE", "secret")
    monkeypatch.setenv("A_TOKEN_FILE", "secret")
    found = faults()
    assert [each.partition(": ")[0] for each in found] == ["IMAGES_MONGO", "feeds.toml"]
    assert all(fault in each for each in found)
    assert "[feeds.f] token_env: A_TOKEN_FILE: secret" in found[1]


@pytest.mark.parametrize(
    ("public_url", "root"),
    [
        ("", "http://127.0.0.1:9000/listing-images"),
        ("https://cdn.example.com", "https://cdn.example.com"),
        ("https://cdn.example.com/photos/", "https://cdn.example.com/photos"),
    ],
)
def test_public_urls_begin_with_the_public_url_or_else_the_buckets_address(public_url: str, root: str) -> None:
    assert Settings(public_url=public_url).public_root == root


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("KAFKA", "", "at least 1 character"),
        ("MONGO", "127.0.0.1:27017", "must be a URI such as mongodb://"),
        ("MONGO", "", "must be a URI such as mongodb://"),
        ("MONGO_DB", "a.b", "pattern"),
        ("MONGO_DB", "", "pattern"),
        ("S3_ENDPOINT", "127.0.0.1:9000", "must be an http(s) URL"),
        ("S3_ENDPOINT", "ftp://127.0.0.1:9000", "must be an http(s) URL"),
        ("S3_ENDPOINT", "http://", "must be an http(s) URL"),
        ("S3_ENDPOINT", "http://[::1", "it must be an http(s) URL"),
        ("S3_ENDPOINT", "", "must be an http(s) URL"),
        ("S3_ENDPOINT", "http://127.0.0.1:abc", "must be an http(s) URL"),
        ("S3_ENDPOINT", "http://127.0.0.1:99999", "must be an http(s) URL"),
        ("S3_ENDPOINT", "http://127.0.0.1:9000/path", "must be an http(s) URL"),
        ("KAFKA", "127.0.0.1:9092,,", "separated by commas"),
        ("MONGO", "mongodb://", "must be a URI such as mongodb://"),
        ("S3_ACCESS_KEY", "", "at least 1 character"),
        ("PUBLIC_URL", "cdn.example.com", "must be an http(s) URL"),
        ("PUBLIC_URL", "https://cdn.example.com?a=b", "must be an http(s) URL"),
        ("TOPIC_PREFIX", "a b", "pattern"),
        ("BUCKET", "A", "pattern"),
        ("BUCKET", "-ab", "pattern"),
        ("ORIGINALS_BUCKET", "a_b", "pattern"),
        ("SERVE_WAIT_SECONDS", "-1", "greater than or equal to 0"),
        ("SERVE_WAIT_SECONDS", "61", "less than or equal to 60"),
        ("SERVE_WAIT_SECONDS", "soon", "valid number"),
        ("SERVE_WAIT_SECONDS", "nan", ""),
        ("SUPERSEDED_HOURS", "-0.1", "greater than or equal to 0"),
        ("SUPERSEDED_HOURS", "inf", "less than or equal to 8760"),
        ("SUPERSEDED_HOURS", "nan", ""),
        ("RESOLVER_PORT", "0", "greater than or equal to 1"),
        ("DOWNLOADER_PORT", "65536", "less than or equal to 65535"),
        ("SCHEDULER_PORT", "http", "valid integer"),
        ("JANITOR_PORT", "", "valid integer"),
        ("HOST", "", "at least 1 character"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LOG_FORMAT", "xml", "'json' or 'console'"),
        ("VARIANTS", "thumb=320:webp:75", "a variant named 'full' is required"),
        ("VARIANTS", "", "a variant named 'full' is required"),
        ("VARIANTS", "full=1600:gif:80", "the format must be one of webp, jpeg"),
        ("VARIANTS", "full=0:webp:80", "the width must be a whole number from 16 to 16383"),
        ("VARIANTS", "full=1600:webp:101", "the quality must be a whole number from 1 to 100"),
        ("VARIANTS", "full=1600:webp", "must read name=width:format:quality"),
        ("VARIANTS", "Full=1600:webp:80", "a variant's name is of a-z, 0-9 and '-'"),
        ("VARIANTS", "full=1600:webp:80,full=800:webp:80", "the variant 'full' is given twice"),
        ("FEEDS", "", "cannot be read"),
        ("FEEDS", "nowhere/feeds.toml", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_named_with_a_reason(
    name: str, value: str, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "feeds.toml").write_text(FEEDS)
    monkeypatch.setenv(f"IMAGES_{name}", value)
    (found,) = faults()
    assert found.startswith(f"IMAGES_{name}: ")
    assert fault in found


def test_every_fault_of_the_settings_and_of_the_feeds_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[feeds.f]\nconcurrency = 0\n")
    monkeypatch.setenv("IMAGES_FEEDS", "mine.toml")
    monkeypatch.setenv("IMAGES_MONGO", "wrong")
    monkeypatch.setenv("IMAGES_RESOLVER_PORT", "wrong")
    monkeypatch.setenv("IMAGES_VARIANTS", "a=1:webp:80,b=1600:gif:80")
    found = faults()
    for name in ("IMAGES_MONGO", "IMAGES_RESOLVER_PORT", "'a=1:webp:80'", "'b=1600:gif:80'"):
        assert any(name in fault for fault in found), name
    assert any("[feeds.f] image_hosts is missing" in fault for fault in found)
    assert any("[feeds.f] concurrency" in fault for fault in found)


@pytest.mark.parametrize(
    ("name", "value"), [("IMAGES_ORIGINALS_BUCKET", "listing-images"), ("IMAGES_BUCKET", "listing-originals")]
)
@pytest.mark.parametrize("port", ["8080", "wrong"])
def test_the_two_buckets_must_differ_whatever_else_is_wrong(
    name: str, value: str, port: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "feeds.toml").write_text(FEEDS)
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGES_RESOLVER_PORT", port)
    found = faults()
    assert "IMAGES_BUCKET and IMAGES_ORIGINALS_BUCKET must differ" in found[0]
    assert len(found) == (1 if port == "8080" else 2)


def test_a_feeds_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "feeds.toml").write_bytes(b"\xff")
    (found,) = faults()
    assert found.startswith("IMAGES_FEEDS: feeds.toml cannot be read")


def test_no_secret_is_part_of_a_text_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES_MONGO", "mongodb://user:hunter2@db.example.com")
    monkeypatch.setenv("IMAGES_S3_SECRET_KEY", "hunter2")
    settings = Settings()
    assert "hunter2" not in f"{settings!r} {settings}"
    monkeypatch.setenv("IMAGES_MONGO", "postgres://user:hunter2@db.example.com")
    assert not any("hunter2" in fault for fault in faults())


def test_an_unknown_variable_is_named_with_the_most_similar_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("IMAGES_RESOLVR_PORT=9999\nIMAGES_HOST=0.0.0.0\n#IMAGES_COMMENT=1\nTOKEN=t\n")
    monkeypatch.setenv("IMAGES_LOGLEVEL", "debug")
    monkeypatch.setenv("IMAGES_MONGO_FILE", "secret")
    monkeypatch.setenv("IMAGES_FEEDS_FILE", "feeds.toml")
    assert unknown_variables() == {
        "IMAGES_LOGLEVEL": "IMAGES_LOG_LEVEL",
        "IMAGES_RESOLVR_PORT": "IMAGES_RESOLVER_PORT",
    }


def test_a_worker_is_named_by_its_host_service_and_port() -> None:
    assert worker_name(Settings(), "downloader").endswith("-downloader-8081")
    assert worker_name(Settings(downloader_port=9), "downloader").endswith("-downloader-9")


def example_lines() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert all(line.startswith("#") for line in lines if line), "copied as it is, it changes nothing"
    pairs = [line.removeprefix("#").partition("=") for line in lines if line.startswith("#IMAGES_")]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name: value for name, _, value in pairs}


def test_the_example_lists_every_setting() -> None:
    assert set(example_lines()) == {f"IMAGES_{name.upper()}" for name in Settings.model_fields}


def test_the_example_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings()
    for name, value in example_lines().items():
        monkeypatch.setenv(name, value)
    assert Settings() == defaults


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = Settings()
    assert (settings.mongo_db, settings.bucket, settings.originals_bucket) == (
        "listing_images", "listing-images", "listing-originals",
    )  # fmt: skip
    assert [str(variant) for variant in settings.variants] == [
        "full=1600:webp:80",
        "card=800:webp:78",
        "thumb=320:webp:75",
    ]
    assert (settings.serve_wait_seconds, settings.superseded_hours) == (8, 24)
    ports = (settings.resolver_port, settings.downloader_port, settings.scheduler_port, settings.janitor_port)
    assert ports == (8080, 8081, 8082, 8083)


@pytest.mark.parametrize("token", ["short", "x" * 15])
def test_the_desks_token_has_at_least_16_characters_or_is_empty(token: str) -> None:
    assert Settings().desk_token.get_secret_value() == ""
    with pytest.raises(ValidationError, match="at least 16 characters"):
        Settings(desk_token=SecretStr(token))


def test_the_example_of_feeds_lists_every_key_with_its_default() -> None:
    text = (ROOT / "feeds.example.toml").read_text()
    (feed,) = parse_feeds(text).values()
    (table,) = tomllib.loads(text)["feeds"].values()
    assert set(table) == {*FEED_FIELDS, *RESO_FIELDS}
    plain = Feed(name=feed.name, image_hosts=feed.image_hosts, popular_areas=feed.popular_areas)
    assert feed == plain
