"""Writes the table of a connected feed as text for feeds.toml, with comments on the values. No I/O."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence

from ops.connect.findings import Findings
from ops.connect.target import Target
from shared.domain.feed import Feed
from shared.domain.reso_access import Vendor
from shared.domain.reso_profiles import AGENT_IS_TOKEN, DEFAULTS
from shared.domain.words import plain, plain_set, readable

_FOUND = "# imagectl connect found: "
_USUAL = Feed(name="usual", image_hosts=())
"""A feed with the usual values of all keys."""


def draft(target: Target) -> str:
    """Return the feed's table for the survey itself, before anything is known of the feed's photos.

    `image_hosts` names a host that does not exist, because the key must not be empty.
    """
    return _text(target.feed, [*_access(target), ("image_hosts", ["unknown.invalid"], "")])


def table(target: Target, findings: Findings, today: str) -> str:
    """Return the feed's table with the values that a survey found. `today` is the date in the table's comment."""
    lines = [*_access(target), *_photos(target, findings)]
    remarks = [
        f"# Written by `imagectl connect` on {today}. docs/feeds.md and feeds.example.toml explain the keys. Keys that",
        "# are left out have the profile's values, such as the limits of requests: compare them with your contract.",
    ]
    if not findings.image_hosts:
        remarks.append("# No record with photos was seen: put the hosts of photos in image_hosts.")
    if findings.local_times:
        names = ", ".join(findings.local_times)
        remarks.append(f"# These times name no zone: {names}. Set records_time_zone if they are not in UTC.")
    return _text(target.feed, lines, remarks, [_FOUND + findings.to_json()])


def recorded(text: str, feed: str) -> Findings | None:
    """Return the findings in the comment that `imagectl connect` wrote into the feed's table.

    `text` is the text of a feeds.toml. Returns None if the feed's table has no such comment, or it cannot be read.
    """
    after = text.partition(f"[feeds.{_key(feed)}]")[2]
    own = re.split(r"^\[", after, maxsplit=1, flags=re.MULTILINE)[0]
    line = next((line for line in own.splitlines() if line.startswith(_FOUND)), None)
    try:
        return Findings.from_json(line.removeprefix(_FOUND)) if line else None
    except (ValueError, TypeError):
        return None


def has_table(text: str, feed: str) -> bool:
    """Return True if a feeds.toml with this text has a table of the feed. Raises ValueError if the text is no TOML."""
    return feed in tomllib.loads(text).get("feeds", {})


Line = tuple[str, object, str]
"""A line of the table: a key, its value, and a comment, which is "" for none."""


def _access(target: Target) -> Iterator[Line]:
    defaults = DEFAULTS.get(target.vendor, {})
    if target.vendor is not Vendor.GENERIC:
        yield "reso_profile", str(target.vendor), ""
    yield "reso_url", target.url, ""
    if target.auth != defaults.get("reso_auth", "bearer"):
        yield "reso_auth", str(target.auth), ""
    if target.auth.uses_token_endpoint and target.token_url != defaults.get("reso_token_url"):
        yield "reso_token_url", target.token_url, ""
    if target.scope != defaults.get("reso_scope", ""):
        yield "reso_scope", target.scope, ""
    for key, name in target.variables.items():
        yield key, name, "the variable that holds the secret, in .env"
    if target.filter:
        yield "reso_filter", target.filter, "added to every query"
    if target.is_on_this_machine:
        yield "allow_private_addresses", True, "the API is on this machine"


def _photos(target: Target, findings: Findings) -> Iterator[Line]:
    hosts = [*findings.image_hosts, *(host for host in findings.redirect_hosts if host not in findings.image_hosts)]
    yield "image_hosts", hosts or ["unknown.invalid"], "the only hosts that photos are fetched from"
    others = [name for name in findings.picture_categories if plain(name) not in plain_set(_USUAL.photo_categories)]
    if others:
        yield (
            "photo_categories",
            [*_USUAL.photo_categories, *others],
            f"seen: {', '.join(map(readable, findings.categories))}",
        )
    hidden = [name for name in findings.permissions if plain(name) not in plain_set(_USUAL.permissions)]
    if hidden:
        yield "permissions", list(_USUAL.permissions), f"also seen, and not shown: {', '.join(hidden)}"
    if target.vendor in AGENT_IS_TOKEN:
        agent = {"User-Agent": {"env": target.variables["reso_token_env"]}}
        yield "headers", agent, "the image hosts want the token as User-Agent"


def _text(feed: str, lines: Sequence[Line], remarks: Sequence[str] = (), last: Sequence[str] = ()) -> str:
    written = [f"{key} = {_toml(value)}{f'  # {comment}' if comment else ''}" for key, value, comment in lines]
    return "\n".join([f"[feeds.{_key(feed)}]", *remarks, *written, *last, ""])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
