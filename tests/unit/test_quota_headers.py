"""Which limits do the headers of an API's answer tell?"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.quota_headers import ReportedLimits, read
from tests.builders import NOW

IN_TEN_MINUTES = NOW + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("headers", "reported"),
    [
        ({}, ReportedLimits()),
        ({"minute-quota-limit": "180.0", "Hour-Quota-Limit": "7200"}, ReportedLimits(180.0, 7_200.0)),
        ({"Burst-RateLimit-Limit": "334", "Application-RateLimit-Limit": "5000"}, ReportedLimits(334.0, 5_000.0)),
        ({"Burst-RateLimit-Remaining": "7"}, ReportedLimits()),
        ({"Burst-RateLimit-Remaining": "0"}, ReportedLimits(wait_seconds=60.0)),
        ({"Burst-RateLimit-Remaining": "0", "Burst-RateLimit-Reset": "12"}, ReportedLimits(wait_seconds=12.0)),
        (
            {"Hour-Quota-Available": "0", "Hour-Quota-ResetTime": str(int(IN_TEN_MINUTES.timestamp() * 1_000))},
            ReportedLimits(wait_seconds=600.0),
        ),
        (
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(IN_TEN_MINUTES.timestamp()))},
            ReportedLimits(wait_seconds=600.0),
        ),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "999999"}, ReportedLimits(wait_seconds=3_600.0)),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "1000000001"}, ReportedLimits(wait_seconds=60.0)),
        ({"Minute-Quota-Limit": "nan", "Hour-Quota-Limit": "many", "RateLimit-Remaining": "inf"}, ReportedLimits()),
        ({"Minute-Quota-Limit": "0"}, ReportedLimits()),
    ],
)
def test_limits_are_read_from_the_headers_of_several_vendors(headers: dict[str, str], reported: ReportedLimits) -> None:
    assert read(headers, NOW) == reported


def test_what_a_newer_answer_does_not_tell_stays() -> None:
    assert ReportedLimits(180.0, 7_200.0, 5.0).merged(ReportedLimits(per_minute=100.0)) == ReportedLimits(
        100.0, 7_200.0, None
    )


NAMES = [
    f"{family}-{part}"
    for family in ("Minute-Quota", "Burst-RateLimit", "RateLimit")
    for part in ("Limit", "Remaining", "Reset", "ResetTime")
]


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.sampled_from(["", "-1", "0", " 5 ", "1e400", "٣", "\x00", "a"]) | st.floats().map(str),
    )
)
def test_whatever_the_headers_say_a_wait_is_an_hour_at_most(headers: dict[str, str]) -> None:
    reported = read(headers, NOW)
    assert reported.wait_seconds is None or 0 < reported.wait_seconds <= 3_600
