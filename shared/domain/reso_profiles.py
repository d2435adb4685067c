"""What is assumed of a vendor's RESO Web API? The defaults of `feeds.toml` that a `reso_profile` changes.

docs/feeds.md names the source of each row.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from shared.domain.feed import Feed
from shared.domain.reso_access import Auth, Vendor

DEFAULTS: Mapping[Vendor, Mapping[str, object]] = {
    Vendor.MLSGRID: {
        "requests_per_second": 2.0,
        "requests_per_hour": 7_200,
        "requests_per_day": 40_000,
        "bytes_per_hour": 3_000_000_000,
        "single_use_urls": True,
        "refresh_urls": True,
        "reso_requests_per_second": 2.0,
        "reso_requests_per_hour": 7_200,
        "reso_requests_per_day": 40_000,
    },
    Vendor.TRESTLE: {
        "requests_per_second": 8.0,
        "requests_per_hour": 18_000,
        "refresh_urls": True,
        "reso_auth": Auth.CLIENT_CREDENTIALS,
        "reso_token_url": "https://api.cotality.com/trestle/oidc/connect/token",
        "reso_scope": "api",
        "reso_requests_per_second": 3.0,
        "reso_requests_per_hour": 7_200,
    },
    Vendor.BRIDGE: {"reso_requests_per_second": 5.0, "reso_requests_per_hour": 5_000},
    Vendor.DDF: {
        "reso_auth": Auth.CLIENT_CREDENTIALS,
        "reso_token_url": "https://identity.crea.ca/connect/token",
        "reso_scope": "DDFApi_Read",
    },
}
"""The values of keys that a feed's table leaves out, by vendor; other keys and vendors have the usual defaults."""


def defaults_of(table: Mapping[str, object]) -> Mapping[str, object]:
    """Return the values that the profile of a feed's table gives to keys that the table leaves out.

    `table` is the table as read from `feeds.toml`, perhaps with faults. The result has `refresh_urls` only if the table
    has a `reso_url` or a `refresh_url_hook`, from which fresh URLs can be read.
    """
    vendor = table.get("reso_profile")
    defaults = next((values for name, values in DEFAULTS.items() if name == vendor), {})
    can_refresh = bool(table.get("reso_url") or table.get("refresh_url_hook"))
    return {
        key: value for key, value in defaults.items() if key not in table and (key != "refresh_urls" or can_refresh)
    }


ROOTS: Mapping[Vendor, str] = {
    Vendor.PROPTX: "https://query.ampre.ca/odata",
    Vendor.MLSGRID: "https://api.mlsgrid.com/v2",
    Vendor.TRESTLE: "https://api.cotality.com/trestle/odata",
    Vendor.BRIDGE: "https://api.bridgedataoutput.com/api/v2/OData/test",
    Vendor.SPARK: "https://replication.sparkapi.com/Reso/OData",
    Vendor.DDF: "https://ddfapi.realtor.ca/odata/v1",
}
"""The roots of the vendors' APIs: rows *Root* of docs/mls-vendors.md. Bridge's names its test data set."""
AGENT_IS_TOKEN = frozenset({Vendor.MLSGRID})
"""The vendors whose image hosts want the access token as User-Agent (docs/mls-vendors.md, §3 *URL rules*)."""
SUSPENSION_SECONDS: Mapping[Vendor, float] = {Vendor.MLSGRID: 900.0}
"""For how long no request is sent after a 429 that names no time, by vendor: these vendors suspend the token, and
requests meanwhile make that longer. Other vendors get the usual backoff."""
DELETIONS_TOLD_FOR: Mapping[Vendor, timedelta] = {Vendor.MLSGRID: timedelta(days=7)}
"""How long a vendor tells of a listing that it deleted; later, only a comparison of the market shows it."""
_COUNTING_TOGETHER = {Vendor.MLSGRID}


def counts_together(feed: Feed) -> bool:
    """Return True if the feed's vendor has one limit for requests to its API and to its image hosts together.

    Then `requests_per_…` and `bytes_per_hour` limit the requests to both.
    """
    return feed.reso.profile in _COUNTING_TOGETHER and bool(feed.reso_url)


def with_common_limits(feed: Feed) -> Feed:
    """Return the feed with equal `requests_per_…` and `reso_requests_per_…` if `counts_together` is True of it.

    Both get the lower of the two values; 0 means no limit and is not counted as lower. Any other feed is returned
    unchanged.
    """
    if not counts_together(feed):
        return feed
    reso = feed.reso
    per_second = _lower(feed.requests_per_second, reso.requests_per_second)
    per_hour = int(_lower(feed.requests_per_hour, reso.requests_per_hour))
    per_day = int(_lower(feed.requests_per_day, reso.requests_per_day))
    return replace(
        feed,
        requests_per_second=per_second,
        requests_per_hour=per_hour,
        requests_per_day=per_day,
        reso=replace(
            reso, requests_per_second=per_second, requests_per_hour=per_hour, requests_per_day=per_day
        ),
    )  # fmt: skip


def _lower(limit: float, other: float) -> float:
    return min(filter(None, (limit, other)), default=0.0)
