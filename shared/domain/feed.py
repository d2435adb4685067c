"""What does a feed allow? Parses `feeds.toml`: hosts, origin budget, display rules and retries of each feed."""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from math import isnan
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.domain import hosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The rules of a feed: one table of `feeds.toml`. feeds.example.toml describes each key.

    The names say the units. 0 means no limit for `requests_per_…` and `bytes_per_hour`.
    """

    name: str
    image_hosts: tuple[str, ...]
    allow_private_addresses: bool = False
    concurrency: int = 8
    batch_size: int = 8
    batch_pause_seconds: float = 0.5
    requests_per_second: float = 16.0
    requests_per_hour: int = 0
    requests_per_day: int = 0
    bytes_per_hour: int = 0
    viewed_reserve: float = 0.2
    max_file_bytes: int = 30_000_000
    max_pixels: int = 60_000_000
    request_timeout_seconds: float = 20.0
    max_attempts: int = 6
    single_use_urls: bool = False
    retry_base_seconds: float = 30.0
    retry_max_seconds: float = 21_600.0
    displayed_statuses: tuple[str, ...] = ("Active", "Active Under Contract", "Coming Soon", "Pending")
    never_sizes: tuple[str, ...] = ("LargestNoWatermark",)
    permissions: tuple[str, ...] = ("Public", "Idx", "Vow")
    popular_areas: tuple[str, ...] = ()
    keep_after_inactive_hours: float = 0.0
    removal_freeze_share: float = 0.2
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    token_env: str = ""
    reso_url: str = ""
    reso_token_env: str = ""
    sweep_at: str = "02:00"
    time_zone: str = "America/Toronto"
    sweep_hours: float = 4.0
    recheck_days: float = 0.0

    @property
    def keep_after_inactive(self) -> timedelta:
        """How long the copies of a listing of this feed are kept after it went off the market, before they are removed.

        The listing is hidden meanwhile.
        """
        return timedelta(hours=self.keep_after_inactive_hours)


class FeedsInvalid(ValueError):
    """The text of `feeds.toml` cannot be used. Each line of `errors` names a fault and how to mend it."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


_RANGES: Mapping[str, tuple[float, float]] = {
    "concurrency": (1, 64),
    "batch_size": (1, 10),
    "batch_pause_seconds": (0, 60),
    "requests_per_second": (0, float("inf")),
    "requests_per_hour": (0, float("inf")),
    "requests_per_day": (0, float("inf")),
    "bytes_per_hour": (0, float("inf")),
    "viewed_reserve": (0, 0.9),
    "max_file_bytes": (1_000, 500_000_000),
    "max_pixels": (10_000, 500_000_000),
    "request_timeout_seconds": (0.5, 300),
    "max_attempts": (1, 100),
    "retry_base_seconds": (0.1, 3_600),
    "retry_max_seconds": (0.1, 365 * 86_400),
    "keep_after_inactive_hours": (0, 10 * 365 * 24),
    "removal_freeze_share": (0, 1),
    "sweep_hours": (0, 20),
    "recheck_days": (0, 3_650),
}


def parse_feeds(text: str) -> dict[str, Feed]:
    """Parse the text of `feeds.toml`; return the feeds by name, in the order of the text.

    Raises FeedsInvalid with all errors at once.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FeedsInvalid([f"feeds.toml: not valid TOML: {error}"]) from None
    tables = document.get("feeds")
    if not isinstance(tables, dict) or not tables:
        raise FeedsInvalid(["feeds.toml: no feed; add a table such as [feeds.proptx-idx] with image_hosts"])
    errors = [
        f"feeds.toml: {name} is not known; feeds are tables named [feeds.NAME]" for name in document.keys() - {"feeds"}
    ]
    feeds: dict[str, Feed] = {}
    for name, table in tables.items():
        table_errors = _table_errors(name, table)
        errors += [f"feeds.toml: [feeds.{name}] {error}" for error in table_errors]
        if not table_errors:
            feeds[name] = Feed(name=name, **{key: _frozen(value) for key, value in table.items()})
    if errors:
        raise FeedsInvalid(errors)
    return feeds


def _table_errors(name: str, table: object) -> list[str]:
    if not isinstance(table, dict):
        return ["must be a table"]
    fields_by_key = {field.name: field for field in fields(Feed) if field.name != "name"}
    errors = [] if _NAME.fullmatch(name) else ["the name may have letters, digits, dots, dashes and underscores only"]
    errors += [f"{key} is not a known key" for key in table if key not in fields_by_key]
    if not table.get("image_hosts"):
        errors.append('image_hosts is missing; name the hosts, such as ["images.example.com"]')
    for key, value in table.items():
        if key in fields_by_key and (error := _value_error(key, value, fields_by_key[key].type)):
            errors.append(f"{key} {error}")
    return errors + _combined_errors(table)


def _value_error(key: str, value: object, kind: object) -> str | None:
    """Return what is wrong with a value, as a phrase that follows its key; None if the value is valid."""
    is_valid, wanted = _KINDS[kind]
    if not is_valid(value):
        return f"is {value!r}; it must be {wanted}"
    if key in _RANGES and isinstance(value, (int, float)):
        low, high = _RANGES[key]
        if not low <= value <= high or value in (float("inf"), float("-inf")):
            return f"is {value}; it must be " + (
                f"at least {low}" if high == float("inf") else f"between {low} and {high:,}"
            )
    if key == "image_hosts" and isinstance(value, list):
        return "; ".join(f"has {host!r}: {error}" for host in value if (error := hosts.pattern_error(host)))
    if key == "reso_url" and value and not _is_web_api_root(str(value)):
        return f"is {value!r}; it must be an http(s) URL or empty"
    if key == "sweep_at" and not _CLOCK_TIME.fullmatch(str(value)):
        return f'is {value!r}; it must be a time of day such as "02:00"'
    if key == "time_zone" and not _is_time_zone(str(value)):
        return f'is {value!r}; it must be an IANA time zone such as "America/Toronto"'
    return None


def _is_web_api_root(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment or parts.username)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_port and is_bare and " " not in url


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _combined_errors(table: Mapping[str, object]) -> list[str]:
    base, maximum = table.get("retry_base_seconds", 30.0), table.get("retry_max_seconds", 21_600.0)
    if isinstance(base, (int, float)) and isinstance(maximum, (int, float)) and maximum < base:
        return [f"retry_max_seconds is {maximum}; it must be at least retry_base_seconds ({base})"]
    return []


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        _HEADER_NAME.fullmatch(name) and isinstance(text, str) and _HEADER_VALUE.fullmatch(text)
        for name, text in value.items()
    )


_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_KINDS: Mapping[object, tuple[Callable[[object], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
    float: (lambda value: _is_whole(value) or (isinstance(value, float) and not isnan(value)), "a number"),
    str: (lambda value: isinstance(value, str), "a text"),
    tuple[str, ...]: (_is_texts, "a list of texts"),
    Mapping[str, str]: (_is_headers, "a table of header names and values, in ASCII without line breaks"),
}


def _frozen(value: object) -> Any:
    """Return a TOML value as an immutable value: a list becomes a tuple, a table a read-only mapping."""
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(dict(value)) if isinstance(value, dict) else value
