"""The findings of a survey of an MLS's API.

`imagectl connect` writes them as a JSON comment into the feed's table, under the names of the fields of Findings.
`imagectl connect --check` compares a new survey with this comment.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

NOT_ASKED, YES, NO = "not asked", "yes", "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The facts that one survey found. A text is YES, NO or NOT_ASKED, unless its field says otherwise."""

    page_rows: int = 0
    """The largest `$top` that was accepted, of those that were tried; 0 if none was."""
    rows_given: int = 0
    """How many rows the answer to a `$top` of `page_rows` had."""
    next_link: str = NOT_ASKED
    cuts_in_silence: str = NOT_ASKED
    """Whether more rows follow an answer that had fewer rows than asked for, and named no next page."""
    expand: str = NOT_ASKED
    """Whether Media rows come: `on request`, `always` without `$expand`, or NO."""
    expand_complete: str = NOT_ASKED
    """Whether each record came with at least as many rows that look like photos as its PhotosCount says."""
    media_resource: str = NOT_ASKED
    operator_in: str = NOT_ASKED
    sorting: str = NOT_ASKED
    """The most exact `$orderby` that was accepted: `timestamp and key`, `timestamp`, or NO."""
    key_after: str = NOT_ASKED
    """Whether listings after a ListingKey can be asked for."""
    timestamps: tuple[str, ...] = ()
    """The names of the timestamp fields that records have."""
    local_times: tuple[str, ...] = ()
    """The timestamp fields whose values name no time zone."""
    statuses: tuple[str, ...] = ()
    media_statuses: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    picture_categories: tuple[str, ...] = ()
    """The categories of rows that look like photos."""
    sizes: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    image_hosts: tuple[str, ...] = ()
    redirect_hosts: tuple[str, ...] = ()
    """The hosts that pictures were redirected to."""
    row_keys: str = NOT_ASKED
    """What identifies a Media row: `MediaObjectID`, `MediaKey`, or `place and URL`."""
    urls_change: str = NOT_ASKED
    """Whether the API gives another URL for a photo in the next answer, although nothing has changed."""
    pictures: tuple[str, ...] = ()
    """What requests for a few pictures gave, such as `200 image/jpeg 1600x1067`."""

    def to_json(self) -> str:
        """Return the facts as one line of JSON, without `pictures` and `rows_given`, which differ in each survey."""
        return json.dumps({name: value for name, value in asdict(self).items() if name not in _NOT_COMPARED})

    def updated(self, facts: Mapping[str, Any]) -> "Findings":
        """Return the findings with new values for some of its fields. `facts` maps field names to new values."""
        return Findings(**{**asdict(self), **facts})

    @classmethod
    def from_json(cls, text: str) -> "Findings":
        """Return the findings in a JSON text that this or an older version of `to_json` wrote.

        Names that are no field are ignored; a field that the text lacks has its default. Raises ValueError if the text
        is not JSON.
        """
        known = {field.name for field in fields(cls)}
        found: Mapping[str, Any] = json.loads(text)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return cls(**{name: value for name, value in values.items() if name in known})


_NOT_COMPARED = frozenset({"pictures", "rows_given"})


def differences(before: Findings, now: Findings) -> list[str]:
    """Return a phrase for each fact that differs between two surveys, such as `page rows: was 100, is 50`."""
    return [
        f"{field.name.replace('_', ' ')}: was {_words(old)}, is {_words(new)}"
        for field in fields(Findings)
        if field.name not in _NOT_COMPARED and (old := getattr(before, field.name)) != (new := getattr(now, field.name))
    ]


def _words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
