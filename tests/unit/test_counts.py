"""Commands report a count of one in the singular: `1 listing`, not `1 listings`."""

import re
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import terminal
from ops.audit import Audited
from ops.dead_letters import Requeued
from ops.imagectl import app
from ops.rebuild import Rebuilt
from ops.replay_plan import ReplayPlan
from shared.stores.sweeps import SweepCounts, SweepState

COST = {"downloads": 1, "bytes_expected": 1, "seconds_at_least": 1.0}
FORCED = {
    "photos": 1, "listings": 1, "bytes_expected": 1, "seconds_at_least": 1.0, "looked_at": 1, "in_work": 1,
    "not_to_be_had": 1, "hidden": 1, "silences": (),
}  # fmt: skip
PLAN = ReplayPlan(
    events=1, changing=1, unreadable=Counter(odd=1), listings_hidden=1, listings_shown=1, photos_withdrawn=1
)  # fmt: skip


def a_sweep(asked_for: int) -> SweepState:
    return SweepState(
        feed="sandbox", counts=SweepCounts(compared=1, asked_for=asked_for, missing=1, published=1, gone=1)
    )


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("audit --repair --yes", Audited(listings=1, objects=1, due_again=1, removed=1, drift={"orphan": 1})),
        ("dead-letters requeue --all --yes", Requeued(sent=1, marked=1)),
        ("dead-letters drop --all --yes", 1),
        ("force X1", ({"sandbox": FORCED}, [])),
        ("rebuild --yes", {"sandbox": Rebuilt(looked_at=1, listings=1, photos=1)}),
        ("rebuild --dry-run", {"sandbox": Rebuilt(looked_at=1, listings=1, photos=1)}),
        ("replay listing-seen --from 1h --dry-run", (PLAN, {"sandbox": COST})),
        ("publish listings.ndjson --feed sandbox", (1, [])),
        ("sweep removals", (1, [])),
        ("sweep freshness", {"sandbox": a_sweep(1)}),
        ("sweep freshness --dry-run", {"sandbox": a_sweep(1)}),
        ("sweep freshness", {"sandbox": a_sweep(0)}),
    ],
)
def test_a_count_of_one_is_reported_in_the_singular(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, done: object
) -> None:
    (tmp_path / "listings.ndjson").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "run", lambda *_: done)
    output = CliRunner().invoke(app, line.split()).output
    assert "1 " in output
    assert not re.findall(r"\b1 \w+s\b|\b1 dead letters|\b1 \w+ (?:are|were)\b", output), output
