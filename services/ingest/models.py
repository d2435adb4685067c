"""The bodies and parameters of the API of the service `ingest`, for its OpenAPI document."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FeedQuery(BaseModel):
    """The query of a request that concerns a feed."""

    feed: str = Field(description="The feed in feeds.toml.")


class RefreshQuery(FeedQuery):
    """The query of a refresh."""

    image: str | None = Field(default=None, description="The id of one image; without it, all of the listing.")


class RefreshPath(BaseModel):
    """The path of a request that concerns a listing."""

    ListingKey: str = Field(description="The MLS's key, percent-encoded.")


class PropertyRecords(BaseModel):
    """RESO Property records with `Media` expanded: one record, an array, an OData page, or NDJSON (a record a line)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "value": [
                        {
                            "ListingKey": "C12000001",
                            "StandardStatus": "Active",
                            "Media": [
                                {"MediaKey": "7d31f0", "MediaURL": "https://photos.example.com/1.jpg", "Order": 0}
                            ],
                        }
                    ]
                }
            ]
        }
    )

    value: list[dict[str, Any]] = Field(description="The records, in the form of an OData page.")


class EntityEvents(BaseModel):
    """EntityEvents of RESO's push (RCP-28): one event, or an object with a list of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"value": [{"EntityEventSequence": 1101, "ResourceName": "Property", "ResourceRecordKey": "C12000001"}]}
            ]
        }
    )

    value: list[dict[str, Any]] = Field(description="The events.")


class RefusedRecord(BaseModel):
    """A record that was not accepted."""

    index: int = Field(description="Its place in the request, 0 first.")
    listing_key: str | None = Field(description="Null if it has none.")
    reason: str = Field(description="Why it cannot be used.")


class Accepted(BaseModel):
    """What became of the records of a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"accepted": 1, "refused": [{"index": 1, "listing_key": None, "reason": "it has no ListingKey"}]}
            ]
        }
    )

    accepted: int = Field(description="How many records Kafka has stored.")
    refused: list[RefusedRecord] = Field(description="The others. To send them again unchanged is of no use.")


class PushReceived(BaseModel):
    """The answer to a push."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"keys": 2}]})

    keys: int = Field(description="How many keys were recorded, each once.")


class Queued(BaseModel):
    """What a refresh brought about."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"queued": 12, "done_in_seconds": 3}]})

    queued: int = Field(description="How many photos are due now, before all others.")
    done_in_seconds: int = Field(description="How long their downloads take at least, by the feed's budget.")
