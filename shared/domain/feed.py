"""What does a feed allow? The rules of one feed: hosts, origin budget, display rules, retries and its MLS's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from shared.domain.reso_access import ResoAccess


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """The name of an environment variable, which a setting has in place of a secret value such as a header's."""

    name: str


PHOTO_CATEGORIES = (
    *("Photo", "Photos", "Property Photo", "Listing Photo", "Primary Photo", "Image", "Picture"),
    *("Exterior", "Interior", "Aerial View", "Aerial Photo"),
)
"""The values of MediaCategory that are photos of a listing: those of RESO and DDF, and others that MLSs send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The rules of a feed: one table of `feeds.toml`. feeds.example.toml describes each key.

    The fields are named as the keys, and a name ends in its unit. 0 means no limit for `requests_per_…` and
    `bytes_per_hour`. `reso` holds the keys `reso_…`, except `reso_url` and `reso_token_env`.
    """

    name: str
    image_hosts: tuple[str, ...]
    allow_private_addresses: bool = False
    concurrency: int = 8
    batch_size: int = 8
    batch_pause_seconds: float = 0.5
    requests_per_second: float = 16.0
    requests_per_hour: int = 0
    requests_per_day: int = 0
    bytes_per_hour: int = 0
    viewed_reserve: float = 0.2
    max_file_bytes: int = 30_000_000
    max_pixels: int = 60_000_000
    request_timeout_seconds: float = 20.0
    max_attempts: int = 6
    single_use_urls: bool = False
    retry_base_seconds: float = 30.0
    retry_max_seconds: float = 21_600.0
    displayed_statuses: tuple[str, ...] = ("Active", "Active Under Contract", "Coming Soon", "Pending")
    never_sizes: tuple[str, ...] = ("LargestNoWatermark",)
    permissions: tuple[str, ...] = ("Public", "Idx", "Vow")
    photo_categories: tuple[str, ...] = PHOTO_CATEGORIES
    popular_areas: tuple[str, ...] = ()
    keep_after_inactive_hours: float = 0.0
    removal_freeze_share: float = 0.2
    refresh_urls: bool = False
    refresh_url_hook: str = ""
    headers: Mapping[str, str | EnvironmentVariable] = field(default_factory=lambda: MappingProxyType({}))
    token_env: str = ""
    reso_url: str = ""
    reso_token_env: str = ""
    reso: ResoAccess = field(default_factory=ResoAccess)
    records_time_zone: str = "UTC"
    records_day_first: bool = False
    sweep_at: str = "02:00"
    time_zone: str = "America/Toronto"
    sweep_hours: float = 4.0
    recheck_days: float = 0.0

    @property
    def keep_after_inactive(self) -> timedelta:
        """How long the copies of a hidden listing are kept after the listing went off the market."""
        return timedelta(hours=self.keep_after_inactive_hours)

    @property
    def refreshes_urls(self) -> bool:
        """True if the URL of a photo is read anew shortly before the photo is fetched."""
        return self.refresh_urls or bool(self.refresh_url_hook)

    @property
    def image_secret_names(self) -> Mapping[str, str]:
        """The environment variables with secrets for the feed's image hosts, by the key of `feeds.toml` for each."""
        named = {"token_env": self.token_env} if self.token_env else {}
        return named | {
            f"headers.{header}": value.name
            for header, value in self.headers.items()
            if isinstance(value, EnvironmentVariable)
        }

    @property
    def reso_secret_names(self) -> Mapping[str, str]:
        """The environment variables with secrets for the feed's MLS, by the key of `feeds.toml` for each."""
        reso = self.reso
        names = {
            "reso_token_env": self.reso_token_env,
            "reso_client_id_env": reso.client_id_env,
            "reso_client_secret_env": reso.client_secret_env,
            "reso_username_env": reso.username_env,
            "reso_password_env": reso.password_env,
        }
        return {key: name for key, name in names.items() if name}
