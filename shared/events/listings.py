"""The event about listings; docs/events.md explains its fields."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ListingSeen(BaseModel):
    """A listing was read at the MLS, by an ingest or by the scheduler. `record` is its property record, unchanged."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)
    TYPE: ClassVar[str] = "listing-seen.v1"

    feed: str = Field(min_length=1)
    record: dict[str, Any] = Field(alias="property")

    @property
    def subject(self) -> str:
        """The ListingKey as it was given; empty if it is missing."""
        return str(self.record.get("ListingKey") or "")
