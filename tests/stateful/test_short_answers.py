"""A listing that the MLS shows is never hidden by what an answer lacks, nor a photo withdrawn: in any order of events.

EXAMPLES=2000 plays so many random stories, instead of the same ones in each run. SHRINK=1 shortens a failing story.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.scheduler.change_follower import FOLLOW_EVERY
from shared.reso.odata import MlsFailure
from tests.builders import a_feed
from tests.dialects import Dialect, DialectMls
from tests.sweeping import SweepingScheduler

pytestmark = pytest.mark.slow

STORIES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "40")),
    derandomize="EXAMPLES" not in os.environ,
    stateful_step_count=25,
    phases=[Phase.generate, *([Phase.shrink] if "SHRINK" in os.environ else [])],
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
FEED = a_feed(reso_url="https://mls.example.com/odata", removal_freeze_share=1.0)
Value = TypeVar("Value")

keys = st.sampled_from([f"X{number:02}" for number in range(14)])
photos = st.sets(st.sampled_from("pqrstuvw"), max_size=8)
dialects = st.builds(
    Dialect,
    max_top=st.sampled_from([3, 2, 7, 25, 1_000]),
    has_links=st.booleans(),
    in_failure=st.sampled_from([None, MlsFailure.BAD_QUERY, MlsFailure.MLS_ERROR]),
    max_or=st.sampled_from([0, 1, 5, 1_000]),
    sorts=st.booleans(),
    ignores_order=st.booleans(),
    expands=st.booleans(),
    max_expanded=st.sampled_from([1, 3, 1_000]),
    ignores_skip=st.booleans(),
    ignores_after_in=st.booleans(),
    filters=st.sampled_from([None, frozenset({"StandardStatus", "ModificationTimestamp"})]),
)


class CuttingMls(DialectMls):
    """An MLS whose answers lack the Media of the listings `bare`, and all of the listings `omitted`.

    An answer for one listing alone, or for one second, has the omitted ones.
    """

    def __init__(self) -> None:
        super().__init__({})
        self.omitted: frozenset[str] = frozenset()
        self.bare: frozenset[str] = frozenset()

    def _page(self, resource: str, options: Mapping[str, str]) -> Any:
        found = super()._page(resource, options)
        condition = options["$filter"]
        is_alone = (condition.startswith("ListingKey eq") and " or " not in condition) or " lt " in condition
        if resource == "Property" and not is_alone:
            found.rows[:] = [row for row in found.rows if row["ListingKey"] not in self.omitted]
        if resource == "Media":
            found.rows[:] = [row for row in found.rows if row["ResourceRecordKey"] not in self.bare]
        for number, row in enumerate(found.rows):
            if resource == "Property" and row["ListingKey"] in self.bare and "Media" in row:
                found.rows[number] = {**row, "Media": []}
        return found


class ShortAnswers(RuleBasedStateMachine):
    """What happens at the MLS, how it answers, and what the scheduler does, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.mls = CuttingMls()
        self.scheduler = SweepingScheduler(FEED, self.mls)
        self.left: set[str] = set()
        """The listings that the MLS has taken off the market since they were last displayed."""
        self.withdrawn: defaultdict[str, set[str]] = defaultdict(set)
        """By listing, the photos that the MLS has withdrawn since they were last displayed."""
        self.displayed: dict[str, set[str]] = {}
        """The photos of the listings that were displayed after the last step."""
        self.has_failed = False

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run the coroutine to its end, and return its result."""
        return self.loop.run_until_complete(work)

    # At the MLS

    @initialize(count=st.integers(5, 12), photos=st.sets(st.sampled_from("pqrstuvw"), min_size=2))
    def the_market_opens(self, count: int, photos: set[str]) -> None:
        for number in range(count):
            self.a_listing_is_written(f"X{number:02}", photos, "Active")
        self.a_sweep()

    @rule(key=keys, photos=photos, status=st.sampled_from(["Active", "Active", "Active", "Closed"]))
    def a_listing_is_written(self, key: str, photos: set[str], status: str) -> None:
        self.scheduler.now += timedelta(seconds=1)
        before = {row["MediaKey"] for row in self.mls.records.get(key, {}).get("Media", ())}
        self.withdrawn[key] |= before - {f"{key}-{photo}" for photo in photos}
        self.left |= {key} if status != "Active" else set()
        stamp = self.scheduler.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.mls.records[key] = {
            "ListingKey": key,
            "StandardStatus": status,
            "ModificationTimestamp": stamp,
            "PhotosChangeTimestamp": stamp,
            "PhotosCount": len(photos),
            "Media": [
                {"MediaKey": f"{key}-{photo}", "Order": order, "MediaURL": f"https://p.example.com/{key}/{photo}"}
                for order, photo in enumerate(sorted(photos))
            ],
        }

    @rule(key=keys)
    def a_listing_is_deleted(self, key: str) -> None:
        if record := self.mls.records.pop(key, None):
            self.left.add(key)
            self.withdrawn[key] |= {row["MediaKey"] for row in record["Media"]}

    @rule(dialect=dialects)
    def the_mls_speaks(self, dialect: Dialect) -> None:
        self.mls.dialect = dialect

    @rule(omitted=st.frozensets(keys, max_size=4), bare=st.frozensets(keys, max_size=3))
    def its_answers_lack(self, omitted: frozenset[str], bare: frozenset[str]) -> None:
        self.mls.omitted, self.mls.bare = omitted, bare

    @rule(key=keys, rows=st.integers(1, 3))
    def a_listing_changes_while_its_rows_are_cut(self, key: str, rows: int) -> None:
        self.mls.dialect = Dialect(max_expanded=rows)
        if record := self.mls.records.get(key):
            photos = {row["MediaKey"].rpartition("-")[2] for row in record["Media"]}
            self.a_listing_is_written(key, photos, record["StandardStatus"])
        self.changes_are_followed()

    # In the scheduler

    @rule()
    def a_sweep(self) -> None:
        self.run(self.scheduler.swept())

    @rule()
    def changes_are_followed(self) -> None:
        self.run(self.scheduler.later(FOLLOW_EVERY))

    @rule()
    def another_scheduler_starts(self) -> None:
        self.scheduler.sweeper = self.scheduler.another("first")

    # Invariants

    @invariant()
    def nothing_is_hidden_by_what_an_answer_lacks(self) -> None:
        self.has_failed = True
        before, self.displayed = self.displayed, self.run(self._displayed())
        for key in before.keys() - self.displayed.keys():
            assert key in self.left, f"{key} is hidden, and the MLS shows it"
        for key in before.keys() & self.displayed.keys():
            lost = before[key] - self.displayed[key]
            assert lost <= self.withdrawn[key], f"{key} lost {lost}, which the MLS shows"
        shown = {key for key, record in self.mls.records.items() if record["StandardStatus"] == "Active"}
        self.left -= shown & self.displayed.keys()
        for key in shown & self.displayed.keys():
            self.withdrawn[key] -= self.displayed[key] & {row["MediaKey"] for row in self.mls.records[key]["Media"]}
        self.has_failed = False

    async def _displayed(self) -> dict[str, set[str]]:
        return {
            key: {photo.object_id for photo in (await self.scheduler.listing(key)).photos}
            for key in await self.scheduler.listings.displayed_keys(FEED.name, "", 99)
        }

    def teardown(self) -> None:
        """Let the MLS answer in full, and check that the records are then as the MLS has them."""
        try:
            if not self.has_failed:
                self.mls.dialect, self.mls.omitted, self.mls.bare = Dialect(), frozenset(), frozenset()
                self.another_scheduler_starts()
                for _ in range(2):
                    self.run(self.scheduler.swept())
                shown = {
                    key: {row["MediaKey"] for row in record["Media"]}
                    for key, record in self.mls.records.items()
                    if record["StandardStatus"] == "Active"
                }
                assert self.run(self._displayed()) == (shown or self.displayed)
        finally:
            self.loop.close()


@pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 120)
def test_a_listing_that_the_mls_shows_is_never_hidden_by_what_an_answer_lacks() -> None:
    run_state_machine_as_test(ShortAnswers, settings=STORIES)
