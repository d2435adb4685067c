"""How does `imagectl status` describe a feed's queue? Photos that are not due yet have no time of completion."""

from datetime import datetime

import pytest
from typer.testing import CliRunner

from ops import terminal
from ops.imagectl import app
from ops.status import SystemStatus
from shared.domain.priority import Priority
from shared.origin_budget.use import BudgetUse
from shared.stores.listing_reports import FeedCounts
from tests.builders import NOW, after


def a_status(oldest: datetime | None, in_work: int) -> SystemStatus:
    counts = FeedCounts(
        listings=1, displayed=1, images={}, queued={"viewed": 2}, in_flight=in_work, oldest_due_at=oldest
    )  # fmt: skip
    return SystemStatus(
        at=NOW, feeds={"sandbox": counts}, seconds_until_done={"sandbox": {Priority.VIEWED: 0.1}},
        budgets={"sandbox": BudgetUse(at=NOW, windows=(), running=0, slots=8, suspensions=())},
        lag=None, dead_letters=None, removal_holds=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("oldest", "in_work", "text"),
    [
        (after(-5), 0, "2, done in 0 s"),
        (after(86_400), 0, "2, none due for 24.0 h"),
        (after(120), 1, "2, done in 0 s"),
    ],
    ids=["due", "given up for today", "under way, until the lease ends"],
)
def test_the_queue_is_estimated_only_if_photos_are_due(
    monkeypatch: pytest.MonkeyPatch, oldest: datetime, in_work: int, text: str
) -> None:
    monkeypatch.setattr(terminal, "run", lambda *_: (a_status(oldest, in_work), ""))
    (line,) = [
        line for line in CliRunner().invoke(app, ["status"]).stdout.splitlines() if "queued viewed" in line
    ]  # fmt: skip
    assert line.split("viewed")[1].strip() == text
