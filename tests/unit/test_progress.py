"""When does a consumer count as stuck?"""

import pytest

from shared.consumer.progress import Progress

BEGAN = Progress(finished=5, moved_at=0.0)
LATE = 601


@pytest.mark.parametrize(
    ("done", "has_work", "is_waiting", "expected"),
    [
        pytest.param(5, True, False, True, id="work is there and nothing is finished"),
        pytest.param(6, True, False, False, id="something was finished"),
        pytest.param(5, False, False, False, id="there is nothing to do"),
        pytest.param(5, True, True, False, id="a server is away"),
    ],
)
def test_only_standing_still_with_work_at_hand_is_being_stuck(
    done: int, has_work: bool, is_waiting: bool, expected: bool
) -> None:
    seen = BEGAN.observed(done, has_work=has_work, is_waiting=is_waiting, now=LATE)
    assert seen.is_stuck(LATE) is expected


def test_it_takes_ten_minutes() -> None:
    seen = BEGAN.observed(5, has_work=True, is_waiting=False, now=600)
    assert not seen.is_stuck(600)
    assert seen.is_stuck(600.1)
