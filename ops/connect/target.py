"""Which API is connected, and as which feed? From what the operator named: a vendor, or the root of a RESO Web API."""

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
    """The API that is connected. `variables` are the names of the variables of its secrets, by key of feeds.toml."""

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
    """Return the vendor whose domain the URL's host is in; Vendor.GENERIC if it is none's."""
    host = urlsplit(url).hostname or ""
    return next(
        (vendor for domain, vendor in _DOMAINS.items() if host == domain or host.endswith(f".{domain}")), Vendor.GENERIC
    )


def named(text: str) -> tuple[Vendor | None, str]:
    """Return the vendor and the root URL that the operator's `text` names: a vendor's name, or a URL.

    The vendor is None if a URL does not say it. Raises ValueError if the text is neither.
    """
    if text in set(Vendor) - {Vendor.GENERIC}:
        return Vendor(text), ROOTS[Vendor(text)]
    if not text.startswith(("https://", "http://")):
        names = ", ".join(vendor for vendor in Vendor if vendor is not Vendor.GENERIC)
        raise ValueError(f"{text} is neither a URL nor a vendor; the vendors are {names}")
    vendor = vendor_of(text)
    return None if vendor is Vendor.GENERIC else vendor, text.rstrip("/")


def token_url_of(vendor: Vendor, url: str) -> str:
    """Return the URL of the vendor's token endpoint, "" if it has none.

    For an API on another host than the vendor's, such as a sandbox, it is the same path on that host.
    """
    usual = str(DEFAULTS.get(vendor, {}).get("reso_token_url", ""))
    if not usual or vendor_of(url) is vendor:
        return usual
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{urlsplit(usual).path}"


def scope_of(vendor: Vendor) -> str:
    """Return the scope for which the vendor's token endpoint issues tokens; "" if it wants none."""
    return str(DEFAULTS.get(vendor, {}).get("reso_scope", ""))


def auth_of(vendor: Vendor) -> Auth:
    """Return how requests to the vendor's API are authorised."""
    return Auth(str(DEFAULTS.get(vendor, {}).get("reso_auth", Auth.BEARER)))


def variables_of(feed: str, auth: Auth) -> dict[str, str]:
    """Return the usual names of the variables that hold a feed's secrets, by the key of feeds.toml that names each."""
    prefix = re.sub(r"[^A-Z0-9]+", "_", feed.upper()).strip("_")
    if auth is Auth.CLIENT_CREDENTIALS:
        return {
            "reso_client_id_env": f"{prefix}_CLIENT_ID",
            "reso_client_secret_env": f"{prefix}_CLIENT_SECRET",
        }
    if auth is Auth.PASSWORD:
        return {"reso_username_env": f"{prefix}_USERNAME", "reso_password_env": f"{prefix}_PASSWORD"}
    return {"reso_token_env": f"{prefix}_TOKEN"}
