"""From bytes to events and back: CloudEvents 1.0, structured mode. Decoding never raises."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar, cast

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.freshness import parse_timestamp
from shared.events.images import ImageDownloaded, ImageOutdated, ImageRemoved
from shared.events.listings import ListingSeen

AnyEvent = ListingSeen | ImageOutdated | ImageDownloaded | ImageRemoved
Data = TypeVar("Data", bound=AnyEvent)


@dataclass(frozen=True, slots=True)
class Event(Generic[Data]):
    """One event as read: its data, and what the envelope said of it."""

    data: Data
    id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A value that is no event of the wanted type; `reason` is for people."""

    reason: str


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    data: dict[str, object]
    id: object = None
    time: object = None


def decode(value: bytes | None, wanted: type[Data], received_at: datetime) -> Event[Data] | Undecodable:
    """Read one value as an event of the wanted type. What other producers left out is filled in."""
    if value is None:
        return Undecodable("the value is null")
    try:
        envelope = _Envelope.model_validate(orjson.loads(value))
        if envelope.type != wanted.TYPE:
            return Undecodable(f"the type is {envelope.type[:100]!r}; this topic carries {wanted.TYPE}")
        data = wanted.model_validate(envelope.data)
    except orjson.JSONDecodeError as fault:
        return Undecodable(f"not JSON: {fault}")
    except ValidationError as fault:
        return Undecodable(_in_words(fault))
    except RecursionError:
        return Undecodable("nested too deeply")
    event_id = envelope.id if isinstance(envelope.id, str) and envelope.id else str(uuid.uuid4())
    return Event(data=cast("Data", data), id=event_id, time=_moment(envelope.time) or received_at)


def encode(data: AnyEvent, *, source: str, now: datetime) -> bytes:
    """Write an event as one JSON object in UTF-8."""
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
    """Read an envelope's time; what cannot be read is as if it were not there, like all that is optional."""
    try:
        return parse_timestamp(value)
    except ValueError:
        return None


def _in_words(fault: ValidationError) -> str:
    """Name every field that is wrong, without repeating the value: it may hold what must not be shown."""
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'event'}: {one['msg']}" for one in fault.errors())
