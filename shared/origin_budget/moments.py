"""Moments: times of the store's clock in whole microseconds since 1970 (UTC), the only unit of time in ledgers.

JSON and BSON keep integers exactly. A duration is a plain integer; the name of a duration in microseconds ends in
`micros`.
"""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import NewType

Moment = NewType("Moment", int)
"""A time of the store's clock, in whole microseconds since 1970."""

LONG_AGO = Moment(0)
"""A moment before everything that a ledger counts."""
SECOND_MICROS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_moment(at: datetime) -> Moment:
    """Return an aware datetime as microseconds since 1970, rounded down."""
    return Moment((at - _EPOCH) // timedelta(microseconds=1))


def to_datetime(moment: int) -> datetime:
    """Return the datetime, in UTC, of a moment in microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=moment)


def to_micros(seconds: float) -> int:
    """Return a duration in seconds as microseconds, rounded up."""
    return ceil(seconds * SECOND_MICROS)
