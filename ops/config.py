"""Shows all settings in force and the rules of each feed, with the secrets hidden."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared.domain.feed import Feed
from shared.settings import Settings

_HIDDEN = "**********"
_LOCAL_SETTINGS = {"kafka", "mongo", "s3_endpoint", "feeds", "host", "log_level", "log_format"}
"""Settings that two processes of one system may have with different values, besides the ports."""


def to_json(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, dict[str, Any]]:
    """Return what `config --json` prints: `settings` by the names of their variables, and `feeds` by name. Pure."""
    values = {_variable(name): _plain(value) for name, value in settings}
    values["IMAGES_VARIANTS"] = ",".join(map(str, settings.variants))
    return {"settings": values, "feeds": {feed.name: _rules(feed) for feed in feeds.values()}}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the names of settings and feeds on which two processes of one system differ, but should not. Pure.

    Both are the results of `to_json`.
    """
    names = [name for name in Settings.model_fields if name not in _LOCAL_SETTINGS and not name.endswith("_port")]
    variables = map(_variable, names)
    settings = [name for name in variables if ours["settings"].get(name) != theirs["settings"].get(name)]
    feeds = sorted(ours["feeds"].keys() | theirs["feeds"].keys())
    return settings + [f"feeds.{name}" for name in feeds if ours["feeds"].get(name) != theirs["feeds"].get(name)]


def _variable(name: str) -> str:
    return f"IMAGES_{name.upper()}"


def _rules(feed: Feed) -> dict[str, Any]:
    """Return a feed's table of feeds.toml. The values of its headers are hidden, because a header may hold a key."""
    hidden = dataclasses.replace(feed, headers=dict.fromkeys(feed.headers, _HIDDEN))
    return {key: _plain(value) for key, value in dataclasses.asdict(hidden).items() if key != "name"}


def _plain(value: Any) -> Any:
    """Return a value in JSON's types; a value of another type as its text, which is asterisks for a secret."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
