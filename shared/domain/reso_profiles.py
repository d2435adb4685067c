"""What is assumed of a vendor's RESO Web API? The defaults of `feeds.toml` that a `reso_profile` changes.

docs/feeds.md names the source of each row.
"""

from collections.abc import Mapping

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

    `table` is the table as read from `feeds.toml`, perhaps with faults. `refresh_urls` is left out for a feed that
    names nothing to read Media rows from.
    """
    vendor = table.get("reso_profile")
    defaults = next((values for name, values in DEFAULTS.items() if name == vendor), {})
    can_refresh = bool(table.get("reso_url") or table.get("refresh_url_hook"))
    return {
        key: value for key, value in defaults.items() if key not in table and (key != "refresh_urls" or can_refresh)
    }
