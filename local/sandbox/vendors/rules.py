"""The kinds of rules by which vendors' APIs differ. A vendor is one value of `VendorRules`, read from its TOML file.

Each rule cites in `source` the rows of docs/mls-vendors.md that it plays, as `SECTION ROW`, separated by semicolons.
A default is how the sandbox behaves where a vendor's file says nothing.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Rule(BaseModel):
    """A part of a vendor's behaviour, with the rows of docs/mls-vendors.md that say so."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = ""


class Access(Rule):
    """Who may ask, and with which headers."""

    kind: Literal["open", "bearer", "client-credentials"] = "open"
    token_path: str = ""
    """The path of the token endpoint, for client-credentials."""
    token_seconds: int = 0
    """How long an issued token is valid."""
    scope: str = ""
    """The scope without which no token is issued; empty: none is needed."""
    query_option: str = ""
    """The query option that may carry the token instead of the header, such as `access_token`."""
    gzip: bool = False
    """True if a request that does not accept gzip is refused, before its token is looked at."""
    accept_json: bool = False
    """True if a request without `Accept: application/json` is refused."""
    agent_header: str = ""
    """A header without which every request is refused; empty: none."""


class Paging(Rule):
    """How many rows an answer has, and how the next page is told."""

    default: int = 100
    most: int = 1000
    most_expanded: int | None = None
    """The limit of `$top` with `$expand`; None: the same."""
    most_of_keys: int | None = None
    """The limit of `$top` if `$select` names only ListingKey; None: the same."""
    beyond: Literal["refuse", "cut"] = "refuse"
    """What happens to a `$top` over the limit: it is refused, or the answer has fewer rows without a word."""
    most_skip: int = 100_000
    has_link: bool = True
    """False if no answer has a next link."""
    media_has_link: bool = True
    """False if answers of the resource Media have no next link."""
    link_seconds: int = 0
    """How long a next link works; 0: without end."""
    link_host: Literal["own", "other"] = "own"
    """`other`: next links name a host of the vendor that clients do not know."""


class Query(Rule):
    """Which `$filter`, `$orderby` and `$select` are understood. The lists hold field names of Property."""

    required_equal: str = ""
    """The field that every `$filter` must compare once by `eq`; empty: none."""
    fields: tuple[str, ...] = ()
    """The fields that `$filter` may name; empty: every field."""
    no_fields: tuple[str, ...] = ()
    """Fields that `$filter` must not name."""
    no_operators: tuple[str, ...] = ()
    most_or: int | None = None
    """How many `or` a `$filter` may have."""
    order: tuple[str, ...] | None = None
    """The fields that `$orderby` may name, ascending only; None: every field, in both directions."""
    ignores_after_in: bool = False
    """True if the conditions that follow `in (…) and` are ignored."""
    whole_seconds: bool = False
    """True if timestamps are compared without their fractions."""
    unknown_field_code: str = ""
    """The error code of a query that names a field which no record has; empty: such a field is null."""
    media_url_needs_key: bool = False
    """True if MediaURLs lead nowhere unless `$select` is absent or names ListingKey."""


class Media(Rule):
    """How the photos of a listing come."""

    expand: Literal["on-request", "always", "refused"] = "on-request"
    """`always`: the rows lie in the record, whatever `$expand` says."""
    expand_status: int = 400
    expand_code: str = ""
    refuses_expand: bool = False
    """True if `$expand` is refused although the rows lie in the record."""
    expanded_rows: int | None = None
    """How many rows `$expand=Media` gives at most, unless it says `Media($top=…)`."""
    has_resource: bool = True
    """False if there is no resource Media: 404."""
    has_subresource: bool = False
    """True if `Property('KEY')/Media` has the rows of a listing."""
    null_if_none: bool = False
    """True if a listing without photos has `Media: null`."""


class Replication(Rule):
    """A second way to read all listings. `kind` is how: without one, with a Link header, a cursor, or as a key list."""

    kind: Literal["none", "link-header", "cursor", "master-list", "skiptoken"] = "none"
    path: str = ""
    """The path below the root, such as Property/replication."""
    most: int = 0
    cursor_seconds: int = 0
    """How long a cursor lives after its last use; 0: without end."""


class Quota(Rule):
    """At most `requests` or `bytes` in `seconds`; 0: no limit. `counts` says which requests are counted together."""

    seconds: int
    requests: int = 0
    bytes: int = 0
    counts: Literal["api", "media", "all"] = "api"


class OverQuota(Rule):
    """What happens over a quota."""

    suspends: bool = False
    """True if nothing is answered for the rest of the hour by the UTC clock."""
    headers: Literal["none", "trestle", "bridge"] = "none"
    """Which headers tell what is left."""
    retry_after: bool = False


class Pictures(Rule):
    """The image URLs. `path` is a template; `{stable}` in `signed` stands for it, filled in.

    The fields are those of `local.sandbox.naming`. Without `path`, URLs are the sandbox's own.
    """

    path: str = ""
    signed: str = "{stable}"
    seconds: int = 0
    """How long a signed URL works; 0: without end."""
    expired_status: int = 403
    once_seconds: int = 0
    """A picture that was fetched is not given again for so many seconds, whatever its URL; 0: always given."""
    agent_is_token: bool = False
    """True if the User-Agent must be the access token."""
    refuses_authorization: bool = False
    redirects: bool = False
    """True if the URL leads by 302 to a second host."""
    missing: Literal["plain", "xml", "json"] = "plain"
    """The body of a 404."""


class Rows(Rule):
    """The Media rows of a photo: a row for each of `sizes`. Without `fields`, a row is the sandbox's own.

    A value of `fields` that begins with `$` is replaced by a fact of the photo, `{…}` in other texts likewise (see
    `local.sandbox.naming`); other values stay. `extra` are rows without a photo, for the first listing and every
    third one after it.
    """

    sizes: tuple[str, ...] = ("Thumbnail", "Large", "Largest", "LargestNoWatermark")
    fields: Mapping[str, Any] = Field(default_factory=dict)
    replaced: Mapping[str, Any] = Field(default_factory=dict)
    """Fields that replace those of the sandbox's own row."""
    extra: tuple[Mapping[str, Any], ...] = ()


class Records(Rule):
    """The Property records: fields left out and added, as in `Rows`, and how keys, statuses and times are written."""

    key: str = "{key}"
    """The ListingKey, as a template."""
    drop: tuple[str, ...] = ()
    fields: Mapping[str, Any] = Field(default_factory=dict)
    statuses: Literal["display", "enum", "encoded"] = "display"
    """`enum`: without spaces, and no other text is a status; `encoded`: texts with spaces are `b__` and Base64."""
    times: Literal["milliseconds", "offset", "two-decimals"] = "milliseconds"
    photo_moves_record: bool = True
    """False if a change of photos moves the photos' timestamps alone."""
    gone: Literal["status", "flag", "absent"] = "status"
    """How an off-market listing is told: by its status, by MlgCanView false, or by nothing: it is absent."""
    flag_days: int = 0
    """For how many days a listing with MlgCanView false is told."""


class Errors(Rule):
    """How an error is written."""

    envelope: Literal["odata", "odata-number", "spark"] = "odata"
    codes: Mapping[str, int] = Field(default_factory=dict)
    """The number that stands for a kind of refusal."""


class VendorRules(BaseModel):
    """All rules of one vendor."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    root: str = "/odata"
    """The path of the Web API."""
    access: Access = Access()
    paging: Paging = Paging()
    query: Query = Query()
    media: Media = Media()
    replication: Replication = Replication()
    quotas: tuple[Quota, ...] = ()
    limits: OverQuota = OverQuota()
    pictures: Pictures = Pictures()
    rows: Rows = Rows()
    records: Records = Records()
    errors: Errors = Errors()
