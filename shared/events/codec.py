"""Decoding and encoding events: CloudEvents 1.0 in structured mode, that is, as one JSON object."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from shared import repaired_json
from shared.domain.freshness import parse_timestamp
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved
from shared.events.listings import ListingSeen

AnyEvent = ListingSeen | ImageOutdated | ImageDownloaded | ImageRemoved
Data = TypeVar("Data", bound=AnyEvent)


@dataclass(frozen=True, slots=True)
class Event(Generic[Data]):
    """A decoded event: its data, and the id and the time of its CloudEvent."""

    data: Data
    id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The result of `decode` for a record without an event of the expected type. `reason` is a text for operators."""

    reason: str


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    data: dict[str, object]
    id: object = None
    time: object = None


def decode(value: bytes | None, expected: type[Data], received_at: datetime) -> Event[Data] | Undecodable:
    """Return the event in the value of a Kafka record, or Undecodable if it holds no event of the type `expected`.

    This function never raises. Broken characters are repaired (`repaired_json`), so that a listing is not lost because
    a remark has half an emoji. An event without an id gets a random one. An event without a readable time gets
    `received_at`, the time of its record.
    """
    if value is None:
        return Undecodable("the value is null")
    try:
        envelope = _Envelope.model_validate(repaired_json.loads(value))
        if envelope.type != expected.TYPE:
            return Undecodable(f"the type is {envelope.type[:100]!r}; this topic carries {expected.TYPE}")
        data = expected.model_validate(envelope.data)
    except orjson.JSONDecodeError as error:
        return Undecodable(f"not JSON: {error}")
    except ValidationError as error:
        return Undecodable(_reason_text(error))
    except RecursionError:
        return Undecodable("nested too deeply")
    event_id = envelope.id if isinstance(envelope.id, str) and envelope.id else str(uuid.uuid4())
    return Event(data=cast("Data", data), id=event_id, time=_moment(envelope.time) or received_at)


def encode(data: AnyEvent, *, source: str, now: datetime) -> bytes:
    """Return the value of a Kafka record with this event: a CloudEvent as JSON in UTF-8.

    The CloudEvent gets a random id and the time `now`. `source` is the name of the service that publishes it.
    """
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": source,
            "type": data.TYPE,
            "time": now.astimezone(UTC),
            "subject": data.subject,
            "datacontenttype": "application/json",
            "data": data.model_dump(mode="python", by_alias=True),
        },
        option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS,
    )


def _moment(value: object) -> datetime | None:
    """Return the time of a CloudEvent as a datetime; None if it is missing or cannot be read."""
    try:
        return parse_timestamp(value)
    except ValueError:
        return None


def _reason_text(error: ValidationError) -> str:
    """Return validation errors as one text that names the fields, but not their values, which may be secret."""
    return "; ".join(f"{'.'.join(map(str, found['loc'])) or 'event'}: {found['msg']}" for found in error.errors())
