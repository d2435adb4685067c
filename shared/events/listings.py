"""Events about listings."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ListingSeen(BaseModel):
    """An ingest, or the feed reader, saw a listing at the MLS. `property` is the RESO record as the MLS gave it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    TYPE: ClassVar[str] = "listing-seen.v1"

    feed: str = Field(min_length=1)
    property: dict[str, Any]

    @property
    def subject(self) -> str:
        """The ListingKey as given; empty where it is missing."""
        return str(self.property.get("ListingKey") or "")
