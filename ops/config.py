"""Shows all settings in force and the rules of each feed, with the secrets hidden."""

from collections.abc import Mapping
from typing import Any

from shared.domain.feed import Feed
from shared.domain.feed_file import FEED_FIELDS, RESO_FIELDS
from shared.settings import Settings

_HIDDEN = "**********"
_LOCAL_SETTINGS = {"kafka", "mongo", "s3_endpoint", "feeds", "host", "log_level", "log_format"}
"""Settings that two processes of one system may have with different values, besides the ports."""


def to_json(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, dict[str, Any]]:
    """Return the settings and rules in force as `config --json` prints them, with the secrets hidden. Pure.

    Under `settings` are the values by the names of their environment variables, under `feeds` each feed's table by
    name.
    """
    values = {_variable(name): _plain(value) for name, value in settings}
    values["IMAGES_VARIANTS"] = ",".join(map(str, settings.variants))
    return {"settings": values, "feeds": {feed.name: _rules(feed) for feed in feeds.values()}}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the names of settings and feeds on which two processes of one system differ, but should not. Pure.

    `ours` and `theirs` are the results of `to_json` in the two processes. A setting is named by its environment
    variable, a feed as `feeds.NAME`; a feed that only one process has differs. Settings that may differ, such as ports
    and addresses, are not compared. Empty if the processes agree.
    """
    names = [name for name in Settings.model_fields if name not in _LOCAL_SETTINGS and not name.endswith("_port")]
    variables = map(_variable, names)
    settings = [name for name in variables if ours["settings"].get(name) != theirs["settings"].get(name)]
    feeds = sorted(ours["feeds"].keys() | theirs["feeds"].keys())
    return settings + [f"feeds.{name}" for name in feeds if ours["feeds"].get(name) != theirs["feeds"].get(name)]


def _variable(name: str) -> str:
    return f"IMAGES_{name.upper()}"


def _rules(feed: Feed) -> dict[str, Any]:
    """Return a feed's table of feeds.toml, without its name, in JSON's types.

    The values of headers and of query parameters are replaced by asterisks, because they may be secret.
    """
    values = {key: getattr(feed, key) for key in FEED_FIELDS}
    reso = {key: getattr(feed.reso, field.name) for key, field in RESO_FIELDS.items()}
    hidden = {
        "headers": dict.fromkeys(feed.headers, _HIDDEN),
        "reso_query": dict.fromkeys(feed.reso.query, _HIDDEN),
        "refresh_url_hook": _without_query(feed.refresh_url_hook),
    }
    return {key: _plain(value) for key, value in {**values, **reso, **hidden}.items()}


def _without_query(url: str) -> str:
    path, mark, _ = url.partition("?")
    return path + (mark and mark + _HIDDEN)


def _plain(value: Any) -> Any:
    """Return a value in JSON's types.

    A value of a type that JSON lacks becomes its text, which is asterisks for a secret.
    """
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
