"""Decides which API `imagectl connect` connects, from what the operator names: a vendor, or the URL of an API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.domain.reso_access import Auth, Vendor
from shared.domain.reso_profiles import DEFAULTS, ROOTS

_DOMAINS: Mapping[str, Vendor] = {
    "ampre.ca": Vendor.PROPTX, "mlsgrid.com": Vendor.MLSGRID, "cotality.com": Vendor.TRESTLE,
    "corelogic.com": Vendor.TRESTLE, "bridgedataoutput.com": Vendor.BRIDGE, "sparkapi.com": Vendor.SPARK,
    "realtor.ca": Vendor.DDF,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The API that `imagectl connect` connects, and the name of its feed.

    `url` is the root of the API. `filter` is the condition of `reso_filter`, "" for none. `variables` maps keys of
    feeds.toml, such as `reso_token_env`, to the names of the variables that hold the secrets.
    """

    feed: str
    vendor: Vendor
    url: str
    auth: Auth
    token_url: str
    scope: str
    filter: str
    variables: Mapping[str, str]

    @property
    def is_on_this_machine(self) -> bool:
        """True if the API is on this machine, as a sandbox is."""
        return (urlsplit(self.url).hostname or "") in {"127.0.0.1", "localhost", "::1"}


def vendor_of(url: str) -> Vendor:
    """Return the vendor to whose domain the URL's host belongs; Vendor.GENERIC if it is no vendor's domain."""
    host = urlsplit(url).hostname or ""
    return next(
        (vendor for domain, vendor in _DOMAINS.items() if host == domain or host.endswith(f".{domain}")), Vendor.GENERIC
    )


def named(text: str) -> tuple[Vendor | None, str]:
    """Return the vendor and the root URL of its API that an operator's text names: the vendor's name, or a URL.

    The vendor is None if `text` is a URL on no vendor's domain. Raises ValueError if `text` is neither a vendor's name
    nor a URL.
    """
    if text in set(Vendor) - {Vendor.GENERIC}:
        return Vendor(text), ROOTS[Vendor(text)]
    if not text.startswith(("https://", "http://")):
        names = ", ".join(vendor for vendor in Vendor if vendor is not Vendor.GENERIC)
        raise ValueError(f"{text} is neither a URL nor a vendor; the vendors are {names}")
    vendor = vendor_of(text)
    return None if vendor is Vendor.GENERIC else vendor, text.rstrip("/")


def token_url_of(vendor: Vendor, url: str) -> str:
    """Return the URL of the token endpoint for the vendor's API at `url`; "" if the vendor has no token endpoint.

    If `url` is not on the vendor's domain, as with a sandbox, the token endpoint is at the usual path on the host of
    `url`.
    """
    usual = str(DEFAULTS.get(vendor, {}).get("reso_token_url", ""))
    if not usual or vendor_of(url) is vendor:
        return usual
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{urlsplit(usual).path}"


def scope_of(vendor: Vendor) -> str:
    """Return the OAuth scope that the vendor's token endpoint requires; "" if it requires none."""
    return str(DEFAULTS.get(vendor, {}).get("reso_scope", ""))


def auth_of(vendor: Vendor) -> Auth:
    """Return how requests to the vendor's API are authorised; with a bearer token if nothing is known of the vendor."""
    return Auth(str(DEFAULTS.get(vendor, {}).get("reso_auth", Auth.BEARER)))


def variables_of(feed: str, auth: Auth) -> dict[str, str]:
    """Return the usual names of the variables that hold a feed's secrets, such as `MLS_TOKEN` for the feed `mls`.

    The names are by the key of feeds.toml that names the variable, such as `reso_token_env`.
    """
    prefix = re.sub(r"[^A-Z0-9]+", "_", feed.upper()).strip("_")
    if auth is Auth.CLIENT_CREDENTIALS:
        return {
            "reso_client_id_env": f"{prefix}_CLIENT_ID",
            "reso_client_secret_env": f"{prefix}_CLIENT_SECRET",
        }
    if auth is Auth.PASSWORD:
        return {"reso_username_env": f"{prefix}_USERNAME", "reso_password_env": f"{prefix}_PASSWORD"}
    return {"reso_token_env": f"{prefix}_TOKEN"}
