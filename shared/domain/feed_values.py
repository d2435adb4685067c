"""Is the value of a key of `feeds.toml` valid? Checks its type, its range and its form, and makes it immutable."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from math import isnan
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.domain import hosts
from shared.domain.feed import EnvironmentVariable

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
    "reso_overlap_minutes": (0, 7 * 24 * 60),
    "reso_requests_per_second": (0, float("inf")),
    "reso_requests_per_hour": (0, float("inf")),
    "reso_requests_per_day": (0, float("inf")),
}


def value_error(key: str, value: object, kind: Any) -> str | None:
    """Return an error about the value of a key of `feeds.toml`; None if the value is valid.

    The error is a phrase that follows the key's name, such as "must be a number". `kind` is the type of the field that
    the key sets. The phrase quotes no value that may be a secret.
    """
    is_valid, wanted = _kind(kind)
    is_secret = key.endswith("_env") or isinstance(value, dict)
    if not is_valid(value):
        return f"must be {wanted}" if is_secret else f"is {value!r}; it must be {wanted}"
    if key in _RANGES and isinstance(value, (int, float)):
        return _range_error(value, *_RANGES[key])
    check = _variable_error if key.endswith("_env") else _FORMS.get(key)
    return check(value) if check else None


def frozen(value: object, kind: Any) -> Any:
    """Return a valid TOML value as the immutable value of a field of type `kind`.

    A list becomes a tuple, a table a read-only mapping."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return MappingProxyType({name: _frozen_entry(entry) for name, entry in value.items()})
    return kind(value) if _is_enum(kind) else value


def is_web_url(value: str, *, with_query: bool = False) -> bool:
    """Return True if the text is an http(s) URL without user name and fragment.

    A URL with a query is accepted only if `with_query` is True.
    """
    try:
        parts = urlsplit(value)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_bare = not (parts.fragment or parts.username) and (with_query or not parts.query)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_port and is_bare and " " not in value


def _frozen_entry(entry: object) -> str | EnvironmentVariable:
    if isinstance(entry, dict):
        return EnvironmentVariable(entry["env"])
    return entry if isinstance(entry, str) else str(entry).lower()


def _range_error(value: float, low: float, high: float) -> str | None:
    if low <= value <= high and value not in (float("inf"), float("-inf")):
        return None
    return f"is {value}; it must be " + (f"at least {low}" if high == float("inf") else f"between {low} and {high:,}")


def _hosts_error(value: Any) -> str | None:
    return "; ".join(f"has {host!r}: {error}" for host in value if (error := hosts.pattern_error(host))) or None


def _url_error(value: Any) -> str | None:
    return None if not value or is_web_url(value) else f"is {value!r}; it must be an http(s) URL or empty"


def _hook_error(value: Any) -> str | None:
    # A hook may have a key in its query, so it is not quoted.
    return None if not value or is_web_url(value, with_query=True) else "must be an http(s) URL or empty"


def _clock_time_error(value: Any) -> str | None:
    return None if _CLOCK_TIME.fullmatch(value) else f'is {value!r}; it must be a time of day such as "02:00"'


def _time_zone_error(value: Any) -> str | None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return f'is {value!r}; it must be an IANA time zone such as "America/Toronto"'
    return None


def _variable_error(name: Any) -> str | None:
    if name and not _VARIABLE.fullmatch(name):
        return "must be the name of an environment variable, not its value: letters, digits and underscores"
    if name.upper().startswith("IMAGES_"):
        return f"is {name!r}; give the secret a variable of its own, because IMAGES_… variables hold our own secrets"
    return None


def _headers_error(headers: Any) -> str | None:
    errors = (_variable_error(value["env"]) for value in headers.values() if isinstance(value, dict))
    return next((f"has an env that {error}" for error in errors if error), None)


def _filter_error(value: Any) -> str | None:
    """Return an error if quotes or brackets of an OData condition are not in pairs, else None.

    A condition without such a pair would change the meaning of the condition to which it is added.
    """
    outside = _QUOTED.sub("", value)
    depth = 0
    for character in outside:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    if depth or "'" in outside:
        return f"is {value!r}; its quotes and brackets must be in pairs"
    return None


def _query_error(query: Any) -> str | None:
    taken = sorted(name for name in query if name.lower() in _RESERVED_OPTIONS)
    return f"has {', '.join(taken)}, which we set ourselves; a condition goes into reso_filter" if taken else None


_FORMS: Mapping[str, Callable[[Any], str | None]] = {
    "image_hosts": _hosts_error,
    "reso_url": _url_error,
    "reso_token_url": _url_error,
    "refresh_url_hook": _hook_error,
    "sweep_at": _clock_time_error,
    "time_zone": _time_zone_error,
    "records_time_zone": _time_zone_error,
    "headers": _headers_error,
    "reso_filter": _filter_error,
    "reso_query": _query_error,
}
"""Checks of values whose type is right: each returns an error as `value_error` does."""
_RESERVED_OPTIONS = {"$filter", "$select", "$orderby", "$top", "$skip", "$expand"}
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r"'[^']*'")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        _HEADER_NAME.fullmatch(name) and _is_header_value(entry) for name, entry in value.items()
    )


def _is_header_value(value: object) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"env"} and isinstance(value["env"], str) and bool(value["env"])
    return isinstance(value, str) and bool(_HEADER_VALUE.fullmatch(value))


def _is_query(value: object) -> bool:
    return isinstance(value, dict) and all(
        name and isinstance(entry, (str, bool, int)) for name, entry in value.items()
    )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _kind(kind: Any) -> tuple[Callable[[object], bool], str]:
    """Return what a TOML value for a field of type `kind` must be: a check that returns True if it is valid, and words.

    The words name a valid value, such as "a whole number".
    """
    if _is_enum(kind):
        return (lambda value: value in list(kind)), ", ".join(kind)
    return _KINDS[kind]


_KINDS: Mapping[object, tuple[Callable[[object], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
    float: (lambda value: _is_whole(value) or (isinstance(value, float) and not isnan(value)), "a number"),
    str: (lambda value: isinstance(value, str), "a text"),
    tuple[str, ...]: (_is_texts, "a list of texts"),
    Mapping[str, str | EnvironmentVariable]: (
        _is_headers,
        'a table of header names and values, in ASCII without line breaks; a value may be { env = "NAME" }',
    ),
    Mapping[str, str]: (_is_query, "a table of parameters and their values"),
}
