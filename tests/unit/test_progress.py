"""When does a consumer count as stuck?"""

import pytest

from shared.consumer.progress import Progress

BEGAN = Progress(finished=5, moved_at=0.0)
LATE = 601


@pytest.mark.parametrize(
    ("finished", "has_work", "is_waiting", "expected"),
    [
        pytest.param(5, True, False, True, id="work is there and nothing is finished"),
        pytest.param(6, True, False, False, id="something was finished"),
        pytest.param(5, False, False, False, id="there is nothing to do"),
        pytest.param(5, True, True, False, id="a server is away"),
    ],
)
def test_a_consumer_is_stuck_if_it_has_work_finishes_nothing_and_waits_for_no_server(
    finished: int, has_work: bool, is_waiting: bool, expected: bool
) -> None:
    observed = BEGAN.observed(finished, has_work=has_work, is_waiting=is_waiting, now=LATE)
    assert observed.is_stuck(LATE) is expected


def test_a_consumer_is_stuck_after_more_than_ten_minutes() -> None:
    observed = BEGAN.observed(5, has_work=True, is_waiting=False, now=600)
    assert not observed.is_stuck(600)
    assert observed.is_stuck(600.1)
