"""Is `feeds.toml` valid? Parses the file into feeds, or names every fault and how to mend it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from shared.domain.feed import Feed
from shared.domain.feed_values import frozen, value_error
from shared.domain.reso_access import Auth, ResoAccess
from shared.domain.reso_profiles import defaults_of, with_common_limits


class FeedsInvalid(ValueError):
    """Raised if the text of `feeds.toml` has faults. Each line of `errors` names a fault and how to mend it."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


_RESO = "reso_"
RESO_FIELDS: Mapping[str, Field[Any]] = {f"{_RESO}{field.name}": field for field in fields(ResoAccess)}
"""The fields of ResoAccess by the keys of `feeds.toml`."""
FEED_FIELDS: Mapping[str, Field[Any]] = {
    field.name: field for field in fields(Feed) if field.name not in ("name", "reso")
}
"""The fields of Feed by the keys of `feeds.toml`."""
_FIELDS = {**FEED_FIELDS, **RESO_FIELDS}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def parse_feeds(text: str) -> dict[str, Feed]:
    """Parse the text of `feeds.toml`; return the feeds by name, in the order of the text.

    A key that a feed's table leaves out gets the value of the table's `reso_profile`, or else the usual default. Raises
    FeedsInvalid, which names all faults of the text, if there is any.
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
            feeds[name] = with_common_limits(_feed(name, {**defaults_of(table), **table}))
    if errors:
        raise FeedsInvalid(errors)
    return feeds


def _feed(name: str, table: Mapping[str, object]) -> Feed:
    values = {key: frozen(value, _FIELDS[key].type) for key, value in table.items()}
    reso = ResoAccess(**{field.name: values[key] for key, field in RESO_FIELDS.items() if key in values})
    return Feed(name=name, reso=reso, **{key: value for key, value in values.items() if key in FEED_FIELDS})


def _table_errors(name: str, table: object) -> list[str]:
    if not isinstance(table, dict):
        return ["must be a table"]
    errors = [] if _NAME.fullmatch(name) else ["the name may have letters, digits, dots, dashes and underscores only"]
    errors += [f"{key} is not a known key" for key in table if key not in _FIELDS]
    if not table.get("image_hosts"):
        errors.append('image_hosts is missing; name the hosts, such as ["images.example.com"]')
    for key, value in table.items():
        if key in _FIELDS and (error := value_error(key, value, _FIELDS[key].type)):
            errors.append(f"{key} {error}")
    if errors:
        return errors + _retry_errors(table)
    given = {**defaults_of(table), **table}
    return _retry_errors(given) + _authorisation_errors(given) + _refresh_errors(given)


def _retry_errors(table: Mapping[str, object]) -> list[str]:
    base, maximum = table.get("retry_base_seconds", 30.0), table.get("retry_max_seconds", 21_600.0)
    if isinstance(base, (int, float)) and isinstance(maximum, (int, float)) and maximum < base:
        return [f"retry_max_seconds is {maximum}; it must be at least retry_base_seconds ({base})"]
    return []


_NEEDED = {
    Auth.CLIENT_CREDENTIALS: ("reso_token_url", "reso_client_id_env", "reso_client_secret_env"),
    Auth.PASSWORD: ("reso_token_url", "reso_username_env", "reso_password_env"),
    Auth.QUERY: ("reso_token_env",),
}
"""The keys without which requests cannot be authorised, by the value of `reso_auth`."""


def _authorisation_errors(table: Mapping[str, object]) -> list[str]:
    """Return the errors in a feed's keys for authorisation, taken together.

    It is an error if a key that `reso_auth` needs is missing, or if secrets would be sent over http. Each value in
    `table` must be valid by itself.
    """
    if not table.get("reso_url"):
        return []
    auth = Auth(str(table.get("reso_auth", Auth.BEARER)))
    errors = [f"{key} is missing; reso_auth {auth} needs it" for key in _NEEDED.get(auth, ()) if not table.get(key)]
    token_url, is_sandbox = str(table.get("reso_token_url", "")), bool(table.get("allow_private_addresses"))
    if auth.uses_token_endpoint and token_url.startswith("http:") and not is_sandbox:
        errors.append("reso_token_url is an http URL; secrets go over https only, so make it an https URL")
    return errors


def _refresh_errors(table: Mapping[str, object]) -> list[str]:
    if table.get("refresh_urls") and not (table.get("reso_url") or table.get("refresh_url_hook")):
        return ["refresh_urls needs to know where to read Media rows; set reso_url, or refresh_url_hook"]
    return []
