"""Which settings are in force? All of them and each feed's rules, secrets hidden, fit for JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from shared.domain.feed import Feed
from shared.settings import Settings

_HIDDEN = "**********"
_OF_A_PLACE = {"kafka", "mongo", "s3_endpoint", "feeds", "host", "log_level", "log_format"}
"""What two processes of one system may each call by another name."""


def shown(settings: Settings, feeds: Mapping[str, Feed]) -> dict[str, dict[str, Any]]:
    """Return `settings` by their variables' names and `feeds` by name. Pure."""
    values = {_variable(name): _plain(value) for name, value in settings}
    values["IMAGES_VARIANTS"] = ",".join(map(str, settings.variants))
    return {"settings": values, "feeds": {feed.name: _rules(feed) for feed in feeds.values()}}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Name what two processes of one system should agree on, and do not; both as `shown` tells them. Pure."""
    names = [
        name
        for name in Settings.model_fields
        if name not in _OF_A_PLACE and not name.endswith("_port")
    ]  # fmt: skip
    settings = [
        name for name in map(_variable, names) if ours["settings"].get(name) != theirs["settings"].get(name)
    ]  # fmt: skip
    feeds = ours["feeds"].keys() | theirs["feeds"].keys()
    return settings + [
        f"feeds.{name}" for name in sorted(feeds) if ours["feeds"].get(name) != theirs["feeds"].get(name)
    ]


def _variable(name: str) -> str:
    return f"IMAGES_{name.upper()}"


def _rules(feed: Feed) -> dict[str, Any]:
    """A feed's table; the values of its headers are hidden, for one may carry a key."""
    hidden = dataclasses.replace(feed, headers=dict.fromkeys(feed.headers, _HIDDEN))
    return {key: _plain(value) for key, value in dataclasses.asdict(hidden).items() if key != "name"}


def _plain(value: Any) -> Any:
    """Make a value fit for JSON; a secret prints as asterisks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
