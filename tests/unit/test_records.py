"""When was a Kafka record made, whatever its producer says?"""

from datetime import UTC, datetime

import pytest

from shared.events.records import time_of


@pytest.mark.parametrize(
    ("milliseconds", "at"),
    [
        (1_700_000_000_123, datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=UTC)),
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (253_402_300_800_000, datetime(9999, 1, 1, tzinfo=UTC)),
        (2**63 - 1, datetime(9999, 1, 1, tzinfo=UTC)),
    ],
    ids=["today", "none", "the year 10000", "the largest"],
)
def test_any_timestamp_of_a_record_is_a_time(milliseconds: int, at: datetime) -> None:
    assert time_of(milliseconds) == at
