"""The bodies and parameters of the API. Requests are validated by these models; the OpenAPI document uses them all."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, model_validator
from pydantic_core import PydanticCustomError

from shared.domain.image import Category, Status
from shared.domain.priority import Priority

MAX_LISTINGS = 200
"""How many listing keys, or how many URLs, one request may have."""
MAX_PHOTOS = 500
MAX_PHOTOS_OF_ALL_LISTINGS = 2_000
MAX_PARAMETER_CHARACTERS = 8_000
MAX_FEED_CHARACTERS = 100
"""As long as the name of a feed in feeds.toml may be."""

_Text = Annotated[str, Field(max_length=MAX_PARAMETER_CHARACTERS)]
_Feed = Annotated[str, Field(max_length=MAX_FEED_CHARACTERS)]
_Key = Annotated[str, Field(min_length=1, max_length=500)]
_Url = Annotated[str, Field(min_length=1, max_length=MAX_PARAMETER_CHARACTERS)]


class Context(StrEnum):
    """Why photos are asked for; sets the priority of those that are missing."""

    VIEW = "view"
    SEARCH = "search"

    @property
    def priority(self) -> Priority:
        """The priority to which a request in this context raises photos without a copy.

        It is VIEWED for the context `view`, else SEARCHED.
        """
        return Priority.VIEWED if self is Context.VIEW else Priority.SEARCHED


class _Parameters(BaseModel):
    """Parameters of a path or query."""

    model_config = ConfigDict(frozen=True)


class ListingPath(_Parameters):
    """The listing in a path."""

    ListingKey: _Text = Field(description="The MLS's key, percent-encoded.")


class ListingQuery(_Parameters):
    """How a listing's photos are asked for."""

    feed: _Feed | None = Field(default=None, description="The feed; needed where the key is displayed in several.")
    context: Context = Field(default=Context.VIEW, description="Why the photos are asked for.")


class UrlQuery(_Parameters):
    """A photo by its URL at the MLS."""

    url: _Text = Field(description="The MLS's URL, percent-encoded.")
    listing: _Text | None = Field(default=None, description="Narrows to one ListingKey.")


class ServeQuery(_Parameters):
    """A photo by either `id` or `url`."""

    id: _Text | None = Field(default=None, description="The image's id.")
    url: _Text | None = Field(default=None, description="The MLS's URL, percent-encoded.")
    listing: _Text | None = Field(default=None, description="Narrows `url` to one ListingKey.")
    variant: _Text | None = Field(default=None, description="A variant's name; `full` if not given.")

    @model_validator(mode="after")
    def _has_id_or_url(self) -> Self:
        if (self.id is None) == (self.url is None):
            raise PydanticCustomError("id_or_url", "name the image by either ?id= or ?url=")
        return self


class ResolveRequest(BaseModel):
    """One page of search results: either `listing_keys` or `urls`."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"listing_keys": ["C12000001", "W12000003"], "photos_per_listing": 1}]},
    )

    listing_keys: list[_Key] = Field(
        default_factory=list,
        description="ListingKeys; more than 200 are 413.",
        json_schema_extra={"minItems": 1, "maxItems": MAX_LISTINGS},
    )
    urls: list[_Url] = Field(
        default_factory=list,
        description="URLs at the MLS, of single photos; more than 200 are 413.",
        json_schema_extra={"minItems": 1, "maxItems": MAX_LISTINGS},
    )
    feed: _Feed | None = Field(default=None, description="The feed; needed for keys that are displayed in several.")
    photos_per_listing: int = Field(
        default=1,
        ge=1,
        le=MAX_PHOTOS,
        strict=True,
        description="How many of the first photos; more than 2,000 of all `listing_keys` together are 413.",
    )
    context: Context = Field(default=Context.SEARCH, description="Why the photos are asked for.")

    @model_validator(mode="after")
    def _has_keys_or_urls(self) -> Self:
        if len(self.model_fields_set & {"listing_keys", "urls"}) != 1 or not (self.listing_keys or self.urls):
            raise PydanticCustomError("keys_or_urls", "either listing_keys or urls must be given")
        return self


_FULL, _THUMB = (
    f"https://cdn.example.com/proptx-idx/C12000001/1/5a1e0c2b7d3f4a69/{name}-9c0e7a41.webp"
    for name in ("full", "thumb")
)
_IMAGE: dict[str, JsonValue] = {
    "id": "0f343b0931126a20f133d67c2b018a3b",
    "order": 0,
    "status": "downloaded",
    "category": "photo",
    "url": _FULL,
    "srcset": f"{_THUMB} 320w, {_FULL} 1600w",
    "width": 1600,
    "height": 1067,
    "content_type": "image/webp",
    "file_size": 214_310,
    "variants": [
        {
            "name": "full",
            "url": _FULL,
            "content_type": "image/webp",
            "width": 1600,
            "height": 1067,
            "file_size": 214_310,
        },
        {
            "name": "thumb",
            "url": _THUMB,
            "content_type": "image/webp",
            "width": 320,
            "height": 213,
            "file_size": 15_402,
        },
    ],
    "alt": "Front façade",
    "thumbhash": "3OcRJYB4d3h/iIeHeEh3eIhw+j2w",
    "downloaded_at": "2026-11-23T09:00:04Z",
    "media_changed_at": "2026-11-23T08:58:10Z",
}
_LISTING: dict[str, JsonValue] = {
    "feed": "proptx-idx",
    "listing_key": "C12000001",
    "photo_count": 1,
    "images": [_IMAGE],
}
_LISTINGS: dict[str, JsonValue] = {"listings": {"C12000001": _LISTING}, "unknown": ["W12000003"], "ambiguous": []}
_URL = "https://mls.example.com/1.jpg"


class Variant(BaseModel):
    """One rendering."""

    name: str = Field(description="As in the setting `IMAGES_VARIANTS`.")
    url: str = Field(description="Public; its bytes never change.")
    content_type: str = Field(description="For `<source type>`.")
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    file_size: int = Field(description="Bytes.")


class Image(BaseModel):
    """One photo, with what an `<img>` needs; sizes and `content_type` are the full variant's."""

    model_config = ConfigDict(json_schema_extra={"examples": [_IMAGE]})

    id: str = Field(description="Stays the same whatever the MLS changes of the photo.")
    order: int = Field(description="Position among the listing's photos, 0 first.")
    status: Status = Field(
        description="`pending`: no copy yet; `failed`: none, and the last attempt failed; `downloaded`: the newest "
        "version; `outdated`: an older version, until the newer one is here."
    )
    category: Category = Field(description="`floor-plan` where the feed asks for floor plans; never the first photo.")
    url: str = Field(description="The full variant; without a copy the address of `serve`, relative to the resolver.")
    srcset: str = Field(
        description="For `<img srcset>`: each width once, uncropped, in the format of `url`. Empty without a copy."
    )
    width: int | None = Field(description="Pixels; null without a copy.")
    height: int | None = Field(description="Pixels; null without a copy.")
    content_type: str | None = Field(description="Null without a copy.")
    file_size: int | None = Field(description="Bytes; null without a copy.")
    variants: list[Variant] = Field(description="Largest first; empty without a copy.")
    alt: str = Field(description="The MLS's caption on one line, else `Photo` and its number. Never empty.")
    thumbhash: str | None = Field(description="A ThumbHash in base64: colours to show until the photo is there.")
    downloaded_at: datetime | None = Field(description="When the copy was made.")
    media_changed_at: datetime | None = Field(description="The MLS's time of the newest version.")


class ListingImages(BaseModel):
    """A listing's photos in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LISTING]})

    feed: str
    listing_key: str
    photo_count: int = Field(description="How many photos the listing has, also if fewer were asked for.")
    images: list[Image]


class ListingsAnswer(BaseModel):
    """The photos of one page of search results."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LISTINGS]})

    listings: dict[str, ListingImages] = Field(description="By listing key.")
    unknown: list[str] = Field(description="Keys that no displayed listing has.")
    ambiguous: list[str] = Field(description="Keys that are displayed in several feeds; ask again with `feed`.")


class UrlsAnswer(BaseModel):
    """The photos that `urls` name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"images": {_URL: _IMAGE}, "unknown": ["https://mls.example.com/2.jpg"]}]}
    )

    images: dict[str, Image] = Field(description="By URL, as it was sent.")
    unknown: list[str] = Field(description="URLs under which no photo of a displayed listing was announced.")


class ResolveAnswer(RootModel[ListingsAnswer | UrlsAnswer]):
    """A `ListingsAnswer` to a request with `listing_keys`, a `UrlsAnswer` to one with `urls`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LISTINGS]})
