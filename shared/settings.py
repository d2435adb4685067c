"""The settings of all services, from environment variables and `.env`. They are checked before a service starts."""

import difflib
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.domain.feed import Feed
from shared.domain.feed_file import FeedsInvalid, parse_feeds
from shared.domain.variants import VariantSpec, parse_variants
from shared.secret_values import SecretUnreadable, read_secret, read_secret_file

Port = Annotated[int, Field(ge=1, le=65_535)]
_MIN_TOKEN_CHARACTERS = 16
_COMPOSE_VARIABLE = "IMAGES_FEEDS_FILE"  # read by docker-compose.yml only
_PARTS_OF_SECRETS = {"s3_access_key"}
"""Settings that are shown, but that secret stores hand out together with a secret."""


class SettingsInvalid(Exception):
    """Raised if the settings or the feeds cannot be used; `faults` has a sentence for operators about each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads the settings that are in files: the variable of such a setting ends with _FILE, and names a file."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | SecretUnreadable | None, str, bool]:
        """Return a triple: the setting's value, its name, and False, which tells pydantic that the value is not JSON.

        The value is None if the setting is in no file. If the file cannot be used, the value is the error, which the
        field's validation then reports. Pydantic passes `field` too; it is not used.
        """
        try:
            return read_secret_file(f"IMAGES_{field_name.upper()}"), field_name, False
        except SecretUnreadable as error:
            return error, field_name, False

    def __call__(self) -> dict[str, str | SecretUnreadable]:
        """Return the values of all settings that are in files, by name, for pydantic.

        If the file of a setting cannot be used, its value is the error.
        """
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(field, name)[0] for name, field in fields.items() if may_be_in_file(name)}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """The settings of all services, read from environment variables and `.env`, and checked.

    Each variable is named IMAGES_ and the field's name; `.env.example` explains it. Pydantic's ValidationError is
    raised if a value cannot be used.
    """

    model_config = SettingsConfigDict(env_prefix="IMAGES_", env_file=".env", extra="ignore", frozen=True)

    kafka: str = Field(default="127.0.0.1:9092", min_length=1)
    mongo: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    mongo_db: str = Field(default="listing_images", pattern=r"^[A-Za-z0-9_-]{1,63}$")
    s3_endpoint: str = "http://127.0.0.1:9000"
    s3_access_key: str = Field(default="minioadmin", min_length=1)
    s3_secret_key: SecretStr = SecretStr("minioadmin")
    s3_region: str = "us-east-1"
    public_url: str = ""
    feeds: Path = Path("feeds.toml")
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    bucket: str = Field(default="listing-images", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    originals_bucket: str = Field(
        default="listing-originals", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", validate_default=True
    )
    variants: Annotated[tuple[VariantSpec, ...], NoDecode] = Field(
        default="thumb=320:webp:75,card=800:webp:78,full=1600:webp:80", validate_default=True
    )
    serve_wait_seconds: float = Field(default=8.0, ge=0, le=60)
    cors_origins: str = "*"
    resolver_cache_mb: int = Field(default=128, ge=1, le=65_536)
    superseded_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    resolver_port: Port = 8080
    downloader_port: Port = 8081
    scheduler_port: Port = 8082
    janitor_port: Port = 8083
    ingest_port: Port = 8084
    ingest_token: SecretStr = SecretStr("")
    desk_port: Port = 8090
    desk_token: SecretStr = SecretStr("")
    host: str = Field(default="127.0.0.1", min_length=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where pydantic looks for a setting's value, the first place first.

        The places are: arguments, files of secrets, the environment, and `.env`. The last argument, pydantic's own
        directory of secrets, is not used.
        """
        return init_settings, _SecretFiles(settings_cls), env_settings, dotenv_settings

    @field_validator("*", mode="before")
    @classmethod
    def _is_readable(cls, value: object) -> object:
        if isinstance(value, SecretUnreadable):
            raise value
        return value

    @field_validator("variants", mode="before")
    @classmethod
    def _read_variants(cls, value: object) -> object:
        return parse_variants(value) if isinstance(value, str) else value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("s3_endpoint", "public_url")
    @classmethod
    def _is_url(cls, value: str, info: ValidationInfo) -> str:
        is_endpoint = info.field_name == "s3_endpoint"
        if (value or is_endpoint) and not _is_http(value, with_path=not is_endpoint):
            raise ValueError("it must be an http(s) URL such as http://127.0.0.1:9000")
        return value.rstrip("/")

    @field_validator("desk_token")
    @classmethod
    def _is_hard_to_guess(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < _MIN_TOKEN_CHARACTERS:
            raise ValueError(
                f"it must have at least {_MIN_TOKEN_CHARACTERS} characters, or be empty: then nobody signs in"
            )
        return value

    @field_validator("ingest_token")
    @classmethod
    def _are_hard_to_guess(cls, value: SecretStr) -> SecretStr:
        if any(len(token) < _MIN_TOKEN_CHARACTERS for token in _split(value.get_secret_value())):
            raise ValueError(
                f"each token must have at least {_MIN_TOKEN_CHARACTERS} characters; tokens are separated by commas. "
                "Empty: then nobody may send listings"
            )
        return value

    @field_validator("kafka")
    @classmethod
    def _are_servers(cls, value: str) -> str:
        if not all(server.strip() for server in value.split(",")):
            raise ValueError("it must be servers such as 127.0.0.1:9092, separated by commas")
        return value

    @field_validator("mongo")
    @classmethod
    def _is_mongo_uri(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("mongodb", "mongodb+srv") or not parts.netloc:
            raise ValueError("it must be a URI such as mongodb://127.0.0.1:27017/?replicaSet=rs0")
        return value

    @field_validator("originals_bucket")
    @classmethod
    def _is_another(cls, value: str, info: ValidationInfo) -> str:
        if value == info.data.get("bucket"):
            raise ValueError("IMAGES_BUCKET and IMAGES_ORIGINALS_BUCKET must differ: one is public, the other private")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _split(value):
            if origin != "*" and (not _is_http(origin, with_path=False) or origin.endswith("/")):
                raise ValueError("it must be * or origins such as https://www.example.com, separated by commas")
        return value

    @property
    def cors(self) -> frozenset[str]:
        """The web origins whose pages may read the resolver's answers; "*" stands for all origins."""
        return frozenset(_split(self.cors_origins))

    @property
    def ingest_tokens(self) -> Sequence[str]:
        """The tokens of the service `ingest`: a client with one of them may send listings. Empty if nobody may."""
        return _split(self.ingest_token.get_secret_value())

    @property
    def public_root(self) -> str:
        """The beginning of the public URLs of all objects, without a slash at its end.

        It is the setting `public_url`. If that is empty, it is the public bucket's URL at the S3 server.
        """
        return self.public_url or f"{self.s3_endpoint}/{self.bucket}"

    def topic(self, name: str) -> str:
        """Return the full name of a Kafka topic: `topic_prefix`, then `name`."""
        return f"{self.topic_prefix}{name}"


def unknown_variables() -> dict[str, str]:
    """Return the variables that begin with IMAGES_ but are no setting, each with the variable of a similar setting.

    The environment and `.env` are searched. The result has, by the name of the variable, the most similar name of a
    setting's variable, or "" if none is similar.
    """
    names = [f"IMAGES_{name.upper()}" for name in Settings.model_fields]
    others = {f"IMAGES_{name.upper()}_FILE" for name in Settings.model_fields if may_be_in_file(name)}
    given = {name.upper() for name in (*os.environ, *dotenv_values(".env")) if name.upper().startswith("IMAGES_")}
    return {
        name: next(iter(difflib.get_close_matches(name, names, 1)), "")
        for name in sorted(given - {*names, *others, _COMPOSE_VARIABLE})
    }


def may_be_in_file(name: str) -> bool:
    """Return True if the setting `name` may be in a file, because it holds a secret or belongs to one."""
    return Settings.model_fields[name].annotation is SecretStr or name in _PARTS_OF_SECRETS


def worker_name(settings: Settings, service: str) -> str:
    """Return the name of this worker of `service`: its host, the service and its port.

    The name stays the same after a restart.
    """
    return f"{socket.gethostname()}-{service}-{getattr(settings, f'{service}_port')}"


def load() -> tuple[Settings, dict[str, Feed]]:
    """Return the settings of this process, and the feeds by name, which are read from the file that the settings name.

    Raises SettingsInvalid with all faults of the settings and the feeds.
    """
    faults: list[str] = []
    settings: Settings | None = None
    try:
        settings = Settings()
    except ValidationError as error:
        faults += [_fault_text(found["loc"], found["msg"]) for found in error.errors()]
    feeds: dict[str, Feed] = {}
    try:
        feeds = read_feeds(settings.feeds if settings else _feeds_path())
    except FeedsInvalid as error:
        faults += error.errors
    faults += _secret_faults(feeds)
    if settings is None or faults:
        raise SettingsInvalid(faults)
    return settings, feeds


def _secret_faults(feeds: Mapping[str, Feed]) -> list[str]:
    """Return texts about faults, one for each secret of the feeds whose file cannot be used.

    `feeds` has the feeds by name. Empty if all files can be used.
    """
    faults = []
    for feed in feeds.values():
        for key, name in {**feed.image_secret_names, **feed.reso_secret_names}.items():
            try:
                read_secret(name)
            except SecretUnreadable as error:
                faults.append(f"feeds.toml: [feeds.{feed.name}] {key}: {error}")
    return faults


def read_feeds(path: Path) -> dict[str, Feed]:
    """Return the feeds of the file `path`, such as `feeds.toml`, by name.

    Raises FeedsInvalid if the file cannot be read or has faults.
    """
    try:
        return parse_feeds(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FeedsInvalid([f"IMAGES_FEEDS: {path} cannot be read: {error}"]) from None


def _split(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def _is_http(value: str, *, with_path: bool) -> bool:
    try:
        parts = urlsplit(value)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment) and (with_path or parts.path in ("", "/"))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_port and is_bare


def _feeds_path() -> Path:
    """Return the path of the file of feeds, as IMAGES_FEEDS names it, without checking the other settings."""

    class _OnlyFeeds(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="IMAGES_", env_file=".env", extra="ignore")
        feeds: Path = Path("feeds.toml")

    return _OnlyFeeds().feeds


def _fault_text(loc: tuple[int | str, ...], message: str) -> str:
    name = f"IMAGES_{str(loc[0]).upper()}: " if loc else ""
    return f"{name}{message.removeprefix('Value error, ')}"
