"""Events about listings."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ListingSeen(BaseModel):
    """An ingest, or the feed reader, saw a listing at the MLS. `property` is the RESO record as the MLS gave it."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)
    TYPE: ClassVar[str] = "listing-seen.v1"

    feed: str = Field(min_length=1)
    record: dict[str, Any] = Field(alias="property")

    @property
    def subject(self) -> str:
        """The ListingKey as given; empty where it is missing."""
        return str(self.record.get("ListingKey") or "")
