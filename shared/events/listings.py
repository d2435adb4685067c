"""The event about listings; docs/events.md explains its fields."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class ListingSeen(BaseModel):
    """The event that says that a listing was read at the MLS, by an ingest or by the scheduler.

    `record` is the listing's property record as the MLS gave it; in JSON, it is the field `property`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)
    TYPE: ClassVar[str] = "listing-seen.v1"

    feed: str = Field(min_length=1)
    record: dict[str, Any] = Field(alias="property")

    @property
    def subject(self) -> str:
        """The CloudEvent's subject, and the key of its Kafka record: the ListingKey; "" if the record has none."""
        return str(self.record.get("ListingKey") or "")
