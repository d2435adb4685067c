"""`imagectl config`: every setting in force."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import typer

from ops import terminal
from shared.domain.feed import Feed

app = typer.Typer()


@app.command(epilog="Example: imagectl config --json")
def config(as_json: terminal.Json = False) -> None:
    """Show every setting in force, secrets hidden, and each feed's rules."""
    settings, feeds = terminal.load_settings()
    shown = {f"IMAGES_{name.upper()}": _plain(value) for name, value in settings}
    shown["IMAGES_VARIANTS"] = ",".join(map(str, settings.variants))
    rules = {feed.name: _rules(feed) for feed in feeds.values()}
    if as_json:
        terminal.print_json({"settings": shown, "feeds": rules})
        return
    for name, value in shown.items():
        terminal.out.print(f"{name}={value}", markup=False, highlight=False, soft_wrap=True)
    for name, feed_rules in rules.items():
        terminal.out.print(f"\n[feeds.{name}]", markup=False, highlight=False)
        for key, value in feed_rules.items():
            terminal.out.print(f"{key} = {json.dumps(value)}", markup=False, highlight=False, soft_wrap=True)


def _rules(feed: Feed) -> dict[str, Any]:
    """A feed's table; the values of its headers are hidden, for one may carry a key."""
    hidden = dataclasses.replace(feed, headers=dict.fromkeys(feed.headers, "**********"))
    return {key: _plain(value) for key, value in dataclasses.asdict(hidden).items() if key != "name"}


def _plain(value: Any) -> Any:
    """Make a value fit for JSON; a secret prints as asterisks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, (bool, int, float)) else str(value)
