"""How is a feed's MLS asked? The keys `reso_…` of a feed's table: authorisation, filter and limits of its API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType


class Auth(StrEnum):
    """How requests to the RESO Web API are authorised; the values of `reso_auth`."""

    BEARER = "bearer"
    CLIENT_CREDENTIALS = "client-credentials"
    PASSWORD = "password"  # noqa: S105 - the name of a grant
    QUERY = "query"

    @property
    def uses_token_endpoint(self) -> bool:
        """True if access tokens are requested from `reso_token_url`; False if `reso_token_env` holds a token."""
        return self in (Auth.CLIENT_CREDENTIALS, Auth.PASSWORD)


class Vendor(StrEnum):
    """The vendor whose rules are assumed for the RESO Web API; the values of `reso_profile`."""

    GENERIC = "generic"
    PROPTX = "proptx"
    MLSGRID = "mlsgrid"
    TRESTLE = "trestle"
    BRIDGE = "bridge"
    SPARK = "spark"
    DDF = "ddf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResoAccess:
    """The rules for requests to a feed's RESO Web API. feeds.example.toml describes each key `reso_…`.

    Each field is named as its key, without `reso_`. A field that ends in `_env` holds the name of an environment
    variable, "" for none. 0 means no limit for `requests_per_…`.
    """

    profile: Vendor = Vendor.GENERIC
    auth: Auth = Auth.BEARER
    token_url: str = ""
    client_id_env: str = ""
    client_secret_env: str = ""
    username_env: str = ""
    password_env: str = ""
    scope: str = ""
    filter: str = ""
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    overlap_minutes: float = 20.0
    requests_per_second: float = 2.0
    requests_per_hour: int = 0
    requests_per_day: int = 0

    @property
    def overlap(self) -> timedelta:
        """How far back, before the time up to which changes were read, the next reading of the MLS's changes begins."""
        return timedelta(minutes=self.overlap_minutes)
