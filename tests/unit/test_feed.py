"""Is feeds.toml valid? All errors are named at once, and the ranges are the contract's."""

import contextlib
import re
import tomllib
from dataclasses import fields
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.config import PROJECT
from shared.domain.feed import PHOTO_CATEGORIES, EnvironmentVariable, Feed
from shared.domain.feed_file import FEED_FIELDS, RESO_FIELDS, FeedsInvalid, parse_feeds
from shared.domain.reso_access import Auth, ResoAccess, Vendor
from shared.domain.reso_profiles import DEFAULTS

HEADERS = 'a table of header names and values, in ASCII without line breaks; a value may be { env = "NAME" }'
TOKEN_KEYS = ("reso_token_url", "reso_client_secret_env")
HOSTS = 'image_hosts = ["photos.example.com"]'


def errors(text: str) -> list[str]:
    with pytest.raises(FeedsInvalid) as raised:
        parse_feeds(text)
    assert str(raised.value) == "\n".join(raised.value.errors)
    return raised.value.errors


def one_feed(*lines: str) -> str:
    return "\n".join(["[feeds.f]", HOSTS, *lines])


def test_a_feed_needs_image_hosts_only() -> None:
    assert parse_feeds(one_feed()) == {"f": Feed(name="f", image_hosts=("photos.example.com",))}


def test_the_defaults_are_the_contracts() -> None:
    feed = Feed(name="f", image_hosts=())
    assert {item.name: getattr(feed, item.name) for item in fields(Feed)} == {
        "name": "f",
        "image_hosts": (),
        "allow_private_addresses": False,
        "concurrency": 8,
        "batch_size": 8,
        "batch_pause_seconds": 0.5,
        "requests_per_second": 16.0,
        "requests_per_hour": 0,
        "requests_per_day": 0,
        "bytes_per_hour": 0,
        "viewed_reserve": 0.2,
        "max_file_bytes": 30_000_000,
        "max_pixels": 60_000_000,
        "request_timeout_seconds": 20.0,
        "max_attempts": 6,
        "single_use_urls": False,
        "retry_base_seconds": 30.0,
        "retry_max_seconds": 21_600.0,
        "displayed_statuses": ("Active", "Active Under Contract", "Coming Soon", "Pending"),
        "never_sizes": ("LargestNoWatermark",),
        "permissions": ("Public", "Idx", "Vow"),
        "popular_areas": (),
        "keep_after_inactive_hours": 0.0,
        "removal_freeze_share": 0.2,
        "headers": {},
        "token_env": "",
        "reso_url": "",
        "reso_token_env": "",
        "sweep_at": "02:00",
        "time_zone": "America/Toronto",
        "sweep_hours": 4.0,
        "recheck_days": 0.0,
        "photo_categories": PHOTO_CATEGORIES,
        "refresh_urls": False,
        "refresh_url_hook": "",
        "reso": ResoAccess(),
        "records_time_zone": "UTC",
        "records_day_first": False,
    }


def test_the_defaults_of_the_api_are_the_contracts() -> None:
    access = ResoAccess()
    assert {item.name: getattr(access, item.name) for item in fields(ResoAccess)} == {
        "profile": "generic",
        "auth": "bearer",
        "token_url": "",
        "client_id_env": "",
        "client_secret_env": "",
        "username_env": "",
        "password_env": "",
        "scope": "",
        "filter": "",
        "query": {},
        "overlap_minutes": 20.0,
        "requests_per_second": 2.0,
        "requests_per_hour": 0,
        "requests_per_day": 0,
    }


def test_several_feeds_each_have_their_rules() -> None:
    feeds = parse_feeds(
        f'[feeds.a]\n{HOSTS}\nheaders = {{ Accept = "image/*" }}\nkeep_after_inactive_hours = 1.5\n'
        f'[feeds."b.c_d-9"]\n{HOSTS}\nnever_sizes = []\npopular_areas = ["Toronto"]'
    )
    assert feeds["a"].headers == {"Accept": "image/*"}
    assert feeds["a"].keep_after_inactive == timedelta(hours=1.5)
    assert (feeds["b.c_d-9"].never_sizes, feeds["b.c_d-9"].popular_areas) == ((), ("Toronto",))


@pytest.mark.parametrize("value", [0, 1.5, 60])
def test_a_whole_number_is_a_number(value: float) -> None:
    assert parse_feeds(one_feed(f"batch_pause_seconds = {value}"))["f"].batch_pause_seconds == value


RANGES = [
    ("concurrency", 1, 64),
    ("batch_size", 1, 10),
    ("batch_pause_seconds", 0, 60),
    ("requests_per_second", 0, None),
    ("requests_per_hour", 0, None),
    ("requests_per_day", 0, None),
    ("bytes_per_hour", 0, None),
    ("viewed_reserve", 0, 0.9),
    ("max_file_bytes", 1_000, 500_000_000),
    ("max_pixels", 10_000, 500_000_000),
    ("request_timeout_seconds", 0.5, 300),
    ("max_attempts", 1, 100),
    ("retry_base_seconds", 0.1, 3_600),
    ("removal_freeze_share", 0, 1),
    ("sweep_hours", 0, 20),
    ("recheck_days", 0, 3_650),
    ("reso_overlap_minutes", 0, 10_080),
    ("reso_requests_per_second", 0, None),
    ("reso_requests_per_hour", 0, None),
    ("reso_requests_per_day", 0, None),
]


def value_of(feed: Feed, key: str) -> object:
    return getattr(feed, key) if key in FEED_FIELDS else getattr(feed.reso, RESO_FIELDS[key].name)


def one_step(key: str) -> float:
    return 1 if {**FEED_FIELDS, **RESO_FIELDS}[key].type is int else 0.001


@pytest.mark.parametrize(("key", "least", "most"), RANGES)
def test_the_ends_of_a_range_are_allowed(key: str, least: float, most: float | None) -> None:
    for value in (least, 1_000_000_000 if most is None else most):
        assert value_of(parse_feeds(one_feed(f"{key} = {value}"))["f"], key) == value


@pytest.mark.parametrize(("key", "least", "most"), RANGES)
def test_a_value_beyond_its_range_is_an_error(key: str, least: float, most: float | None) -> None:
    for value in (least - one_step(key), *([] if most is None else [most + one_step(key)]), -(10**30)):
        (error,) = errors(one_feed(f"{key} = {value}"))
        assert error.startswith(f"feeds.toml: [feeds.f] {key} is {value}; it must be ")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("concurrency = 8.0", "concurrency is 8.0; it must be a whole number"),
        ("concurrency = true", "concurrency is True; it must be a whole number"),
        ('concurrency = "8"', "concurrency is '8'; it must be a whole number"),
        ("batch_pause_seconds = nan", "batch_pause_seconds is nan; it must be a number"),
        ("batch_pause_seconds = true", "batch_pause_seconds is True; it must be a number"),
        ("requests_per_second = inf", "requests_per_second is inf; it must be at least 0"),
        ("keep_after_inactive_hours = inf", "keep_after_inactive_hours is inf; it must be between 0 and 87,600"),
        ("allow_private_addresses = 1", "allow_private_addresses is 1; it must be true or false"),
        ('never_sizes = "Largest"', "never_sizes is 'Largest'; it must be a list of texts"),
        ("permissions = [1]", "permissions is [1]; it must be a list of texts"),
        ("headers = []", f"headers is []; it must be {HEADERS}"),
        ("headers = { A = 1 }", f"headers must be {HEADERS}"),
        ('headers = { A = "a\\r\\nB: b" }', f"headers must be {HEADERS}"),
        ('headers = { A = { env = "" } }', f"headers must be {HEADERS}"),
        ('headers = { A = { env = "B", other = "C" } }', f"headers must be {HEADERS}"),
        (
            'headers = { A = { env = "eyJ.0" } }',
            "headers has an env that must be the name of an environment variable, not its value: letters, digits and "
            "underscores",
        ),
        ("token_env = 5", "token_env must be a text"),
        (
            'reso_token_env = "eyJhbGci.oiJIUzI1NiJ9"',
            "must be the name of an environment variable, not its value: letters, digits and underscores",
        ),
        (
            'reso_password_env = "IMAGES_MONGO"',
            "is 'IMAGES_MONGO'; give the secret a variable of its own, because IMAGES_… variables hold our own secrets",
        ),
        ('reso_auth = "basic"', "reso_auth is 'basic'; it must be bearer, client-credentials, password, query"),
        (
            'reso_profile = "MLSGrid"',
            "reso_profile is 'MLSGrid'; it must be generic, proptx, mlsgrid, trestle, bridge, spark, ddf",
        ),
        *(
            (f'reso_filter = "{text}"', "its quotes and brackets must be in pairs")
            for text in ("A eq 'b", "A eq 1) or (B eq 2", "(A eq 1", "A eq 'it''s' )")
        ),
        ("reso_query = { A = [] }", "reso_query must be a table of parameters and their values"),
        (
            'reso_query = { "$Filter" = "A eq 1" }',
            "reso_query has $Filter, which we set ourselves; a condition goes into reso_filter",
        ),
        ('refresh_url_hook = "ftp://x?key=s3cret"', "refresh_url_hook must be an http(s) URL or empty"),
        (
            "refresh_urls = true",
            "refresh_urls needs to know where to read Media rows; set reso_url, or refresh_url_hook",
        ),
        (
            'records_time_zone = "Toronto"',
            "records_time_zone is 'Toronto'; it must be an IANA time zone such as \"America/Toronto\"",
        ),
        *(
            (f'sweep_at = "{time}"', f"sweep_at is '{time}'; it must be a time of day such as \"02:00\"")
            for time in ("24:00", "2:00", "02:60", "02:00:00", "2 am", "")
        ),
        ("sweep_at = 02:00:00", "sweep_at is datetime.time(2, 0); it must be a text"),
        *(
            (
                f'time_zone = "{zone}"',
                f"time_zone is '{zone}'; it must be an IANA time zone such as \"America/Toronto\"",
            )
            for zone in ("Toronto", "EST5EDT4", "../../etc/passwd", "America", "")
        ),
        *(
            (f'reso_url = "{url}"', f"reso_url is '{url}'; it must be an http(s) URL or empty")
            for url in ("https://", "https://x:0", "https://[x", "https://x/?a=b", "https://me:secret@x", "//x")
        ),
        ('reso_url = "ftp://x"', "reso_url is 'ftp://x'; it must be an http(s) URL or empty"),
        ("retry_max_seconds = 29.9", "retry_max_seconds is 29.9; it must be at least retry_base_seconds (30.0)"),
        ("concurency = 4", "concurency is not a known key"),
        ('name = "x"', "name is not a known key"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(line: str, error: str) -> None:
    (found,) = errors(one_feed(line))
    assert found.startswith("feeds.toml: [feeds.f] ")
    assert found.endswith(error)


@pytest.mark.parametrize(
    ("hosts", "error"),
    [
        ("[]", "image_hosts is missing"),
        ('""', "image_hosts is missing"),
        ('"photos.example.com"', "image_hosts is 'photos.example.com'; it must be a list of texts"),
        ('["https://photos.example.com"]', "image_hosts has 'https://photos.example.com': is more than a host"),
        ('["ok.example.com", "*"]', "image_hosts has '*'"),
        ('[""]', "image_hosts has ''"),
    ],
)
def test_a_wrong_host_is_named(hosts: str, error: str) -> None:
    found = errors(f"[feeds.f]\nimage_hosts = {hosts}")
    assert any(error in fault for fault in found)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no feed"),
        ("[feeds]", "no feed"),
        ("feeds = 5", "no feed"),
        ("[feeds.f", "not valid TOML"),
        (f"[feeds.f]\n{HOSTS}\n{HOSTS}", "not valid TOML"),
        ("feeds.f = 5", "[feeds.f] must be a table"),
        (f'[feeds."a b"]\n{HOSTS}', "the name may have letters, digits, dots, dashes and underscores only"),
        (f'[feeds.""]\n{HOSTS}', "the name may have"),
        (f'[feeds."a/b"]\n{HOSTS}', "the name may have"),
        (f'[feeds."{"a" * 101}"]\n{HOSTS}', "the name may have"),
        (f"[feeds.f]\n{HOSTS}\n[feed.g]\n{HOSTS}", "feed is not known; feeds are tables named [feeds.NAME]"),
        ("[feeds.f]", "image_hosts is missing"),
    ],
)
def test_a_file_without_feeds_is_refused_with_the_reason(text: str, error: str) -> None:
    (found,) = errors(text)
    assert error in found


def test_all_errors_of_all_feeds_are_named_at_once() -> None:
    found = errors(
        """
        extra = 1
        [feeds.a]
        concurrency = 0
        batch_size = 11
        spelled_wrong = true
        [feeds.b]
        image_hosts = ["photos.example.com:99999"]
        viewed_reserve = 1.0
        headers = 5
        [feeds."not ok"]
        image_hosts = ["photos.example.com"]
        [feeds.right]
        image_hosts = ["photos.example.com"]
        """
    )
    named = [
        "extra is not known",
        "[feeds.a] image_hosts is missing",
        "[feeds.a] concurrency",
        "[feeds.a] batch_size",
        "[feeds.a] spelled_wrong",
        "[feeds.b] image_hosts",
        "[feeds.b] viewed_reserve",
        "[feeds.b] headers",
        "[feeds.not ok] the name",
    ]
    assert len(found) == len(named)
    for name in named:
        assert sum(name in error for error in found) == 1, name


TOML_VALUES = st.sampled_from(
    ["1", "-1", "0.5", "nan", "inf", "true", '"x"', "[]", '["x"]', "[1]", "{}", "{ a = 1 }", "2026-11-23", "[[]]"]
)
LINES = st.dictionaries(st.sampled_from([*FEED_FIELDS, *RESO_FIELDS, "name", "reso", "other"]), TOML_VALUES, max_size=6)


@given(LINES)
def test_any_text_is_read_or_its_errors_are_named(lines: dict[str, str]) -> None:
    text = "\n".join(["[feeds.f]", *(f"{key} = {value}" for key, value in lines.items())])
    with contextlib.suppress(FeedsInvalid):
        feed = parse_feeds(text)["f"]
        assert all(hash(value_of(feed, key)) is not None for key in lines if key not in ("headers", "reso_query"))


def test_a_value_of_a_header_may_be_that_of_a_variable() -> None:
    feed = parse_feeds(one_feed('token_env = "T"', 'headers = { "User-Agent" = { env = "AGENT" }, Accept = "*/*" }'))[
        "f"
    ]
    assert feed.headers == {"User-Agent": EnvironmentVariable("AGENT"), "Accept": "*/*"}
    assert feed.image_secret_names == {"token_env": "T", "headers.User-Agent": "AGENT"}


def test_the_keys_of_the_api_are_read() -> None:
    feed = parse_feeds(
        one_feed(
            'reso_url = "https://mls.example.com/odata"',
            'reso_auth = "client-credentials"',
            'reso_token_url = "https://mls.example.com/token"',
            'reso_client_id_env = "ID"',
            'reso_client_secret_env = "SECRET"',
            "reso_filter = \"OriginatingSystemName eq 'it''s (a) x'\"",
            'reso_query = { PrettyEnums = true, limit = 5, a = "B" }',
        )
    )["f"]
    assert feed.reso == ResoAccess(
        auth=Auth.CLIENT_CREDENTIALS,
        token_url="https://mls.example.com/token",
        client_id_env="ID",
        client_secret_env="SECRET",
        filter="OriginatingSystemName eq 'it''s (a) x'",
        query={"PrettyEnums": "true", "limit": "5", "a": "B"},
    )
    assert feed.reso_secret_names == {"reso_client_id_env": "ID", "reso_client_secret_env": "SECRET"}


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (['reso_auth = "query"'], ["reso_token_env is missing; reso_auth query needs it"]),
        (
            ['reso_auth = "client-credentials"', 'reso_client_id_env = "ID"'],
            [f"{key} is missing; reso_auth client-credentials needs it" for key in TOKEN_KEYS],
        ),
        (
            ['reso_auth = "password"', 'reso_token_url = "http://mls.example.com/token"'],
            [
                "reso_username_env is missing; reso_auth password needs it",
                "reso_password_env is missing; reso_auth password needs it",
                "reso_token_url is an http URL; secrets go over https only, so make it an https URL",
            ],
        ),
    ],
)
def test_every_key_that_an_authorisation_lacks_is_named(lines: list[str], named: list[str]) -> None:
    found = errors(one_feed('reso_url = "https://mls.example.com/odata"', *lines))
    assert found == [f"feeds.toml: [feeds.f] {error}" for error in named]


def test_a_profile_changes_the_defaults_but_no_given_value() -> None:
    feed = parse_feeds(one_feed('reso_profile = "mlsgrid"', "requests_per_hour = 100", "single_use_urls = false"))["f"]
    assert (feed.requests_per_second, feed.requests_per_hour, feed.single_use_urls) == (2.0, 100, False)
    assert feed.reso.requests_per_day == 40_000
    assert not feed.refresh_urls, "without reso_url there is nothing to read rows from"
    feed = parse_feeds(one_feed('reso_profile = "mlsgrid"', 'reso_url = "https://mls.example.com"'))["f"]
    assert feed.refresh_urls


@pytest.mark.parametrize("vendor", Vendor)
def test_the_defaults_of_each_profile_are_valid(vendor: Vendor) -> None:
    needed = ['reso_url = "https://mls.example.com"', 'reso_client_id_env = "I"', 'reso_client_secret_env = "S"']
    feed = parse_feeds(one_feed(f'reso_profile = "{vendor}"', *needed))["f"]
    assert all(value_of(feed, key) == value for key, value in DEFAULTS.get(vendor, {}).items())


def test_the_documents_list_the_defaults_of_each_profile() -> None:
    text = (PROJECT / "docs" / "feeds.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| `(.*?)` \|", text, re.MULTILINE)
    listed = {(vendor, key): tomllib.loads(f"value = {value}")["value"] for vendor, key, value in rows}
    assert listed == {(vendor, key): value for vendor, values in DEFAULTS.items() for key, value in values.items()}
