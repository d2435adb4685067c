"""The invariants hold in any order of events, crashes and time: all services' real code in memory, on a virtual clock.

EXAMPLES=2000 plays so many random stories, instead of the same ones in each run. SHRINK=1 shortens a failing story.
"""

import os

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.resolver import decide
from services.resolver.lookups import ListingLookup, PhotoLookup
from shared.domain.failures import Failure, Reason
from shared.domain.image import image_id
from shared.domain.priority import Priority
from shared.events import topics
from shared.events.images import ImageOutdated, OutdatedReason
from shared.publisher import Publisher
from shared.stores.documents import ListingId
from tests.stateful.invariants import Invariants
from tests.stateful.mls import OptOut, Retake
from tests.stateful.processes import BrokerDoor, Process, Trouble
from tests.stateful.world import LISTINGS, PHOTOS, SUPERSEDED_FOR, TOPICS_READ, Service, World

pytestmark = pytest.mark.slow

STORIES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "60")),
    derandomize="EXAMPLES" not in os.environ,
    stateful_step_count=25,
    # Shortening a failing story takes minutes.
    phases=[Phase.generate, *([Phase.shrink] if "SHRINK" in os.environ else [])],
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

listings = st.sampled_from(LISTINGS)
photos = st.sampled_from(PHOTOS)
feeds = st.sampled_from(["a", "b"])
durations = st.sampled_from([5.0, 0.0, 0.0015, 0.0035, 0.25])
"""The seconds that an action gets before the next listing_id: to its end, none, or into its middle."""
numbers = st.integers(0, 1)
places = st.sampled_from([f"{name}-{number}" for name in ("downloader", "scheduler", "janitor") for number in (0, 1)])
FAILURES = [
    None,
    *(Failure(reason) for reason in (Reason.GONE, Reason.FORBIDDEN, Reason.THROTTLED, Reason.ORIGIN_ERROR)),
    *(Failure(reason) for reason in (Reason.UNREACHABLE, Reason.BROKEN_BODY, Reason.TOO_LARGE)),
    Failure(Reason.THROTTLED, wait_seconds=20.0),
    Failure(Reason.ORIGIN_ERROR, wait_seconds=3.0),
]
GARBAGE = {
    "null": None,
    "nothing": b"",
    "not UTF-8": b"\xff\x00",
    "no event": b"{}",
    "nested too deeply": b"[" * 10_000,
    "a listing of an unknown feed": b'{"type":"listing-seen.v1","data":{"feed":"?","property":{"ListingKey":"X1"}}}',
    "an invalid property record": b'{"type":"listing-seen.v1","data":{"feed":"a","property":{"Media":7}}}',
    "an image of an unknown feed": b'{"type":"image-outdated.v1","data":{"feed":"?","listing_key":"X","image_id":"i"}}',
}


class Disorder(RuleBasedStateMachine):
    """The actions of the MLS, visitors, operators and processes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.checks = Invariants(self.world)
        self.has_failed = False

    # At the MLS

    @initialize(count=st.sampled_from([2, 1, 4]))
    def the_market_opens(self, count: int) -> None:
        for listing_id in LISTINGS:
            for photo in PHOTOS[:count]:
                self.world.mls.show(listing_id, photo)
            self._write_record(listing_id, is_announced=True)

    @rule(listing_id=listings, photo=photos, is_announced=st.booleans())
    def a_photo_is_added_or_withdrawn(self, listing_id: ListingId, photo: str, is_announced: bool) -> None:
        self.world.mls.show(listing_id, photo)
        self._write_record(listing_id, is_announced=is_announced)

    @rule(listing_id=listings, photo=photos, kind=st.sampled_from(Retake), is_announced=st.booleans())
    def a_photo_is_retaken(self, listing_id: ListingId, photo: str, kind: Retake, is_announced: bool) -> None:
        self.world.mls.retake(listing_id, photo, kind)
        self._write_record(listing_id, is_announced=is_announced)

    @rule(listing_id=listings, is_announced=st.booleans())
    def photos_are_reordered(self, listing_id: ListingId, is_announced: bool) -> None:
        self.world.mls.reorder(listing_id)
        self._write_record(listing_id, is_announced=is_announced)

    @rule(
        listing_id=listings,
        status=st.sampled_from(["Active", "Closed"]),
        opt_out=st.sampled_from(OptOut),
        with_media=st.booleans(),
    )
    def a_listing_leaves_or_returns(
        self, listing_id: ListingId, status: str, opt_out: OptOut, with_media: bool
    ) -> None:
        self.world.mls.status(listing_id, status, opt_out)
        self.world.mls.write_record(listing_id, with_media=with_media)
        self.it_is_announced(listing_id, 0)

    @rule(listing_id=listings, is_announced=st.booleans())
    def all_media_keys_change(self, listing_id: ListingId, is_announced: bool) -> None:
        self.world.mls.renumber(listing_id)
        self.world.mls.write_record(listing_id, signs_urls=False)
        if is_announced:
            self.it_is_announced(listing_id, 0)

    @rule(listing_id=listings, late=st.sets(photos, max_size=2), is_announced=st.booleans())
    def pictures_are_late_or_ready(self, listing_id: ListingId, late: set[str], is_announced: bool) -> None:
        self.world.mls.set_late(listing_id, late)
        self._write_record(listing_id, is_announced=is_announced)

    @rule(listing_id=listings)
    def urls_are_signed_anew(self, listing_id: ListingId) -> None:
        self._write_record(listing_id, is_announced=True)

    @rule(listing_id=listings, age=st.integers(0, 3))
    def it_is_announced(self, listing_id: ListingId, age: int) -> None:
        """Announce a record that the MLS wrote now, or `age` records earlier, for the first time or again."""
        if records := self.world.mls.listings[listing_id].records[-1 - age :]:
            self.world.announce(listing_id, records[0])

    def _image_id(self, listing_id: ListingId, photo: str) -> str:
        return image_id(*listing_id, self.world.mls.listings[listing_id].key(photo))

    def _write_record(self, listing_id: ListingId, *, is_announced: bool) -> None:
        self.world.mls.write_record(listing_id)
        if is_announced:
            self.it_is_announced(listing_id, 0)

    @rule(
        feed=feeds, failure=st.sampled_from(FAILURES), redirects=st.booleans(), slow=st.sampled_from([0.0, 2.0, 30.0])
    )
    def the_origin_is(self, feed: str, failure: Failure | None, redirects: bool, slow: float) -> None:
        origin = self.world.mls.origins[feed]
        origin.failure, origin.redirects, origin.slow = failure, redirects, slow

    @rule(listing_id=listings, photo=photos, stage=st.integers(16, 24))
    def a_photo_returns_to_a_version_that_is_being_removed(self, listing_id: ListingId, photo: str, stage: int) -> None:
        """Supersede a photo's first version, and bring it back while a janitor stalls at a step of its removal."""
        self.a_photo_is_retaken(listing_id, photo, Retake.NEW, is_announced=True)
        self.all_work(3, 5.0)
        self.world.elapse(SUPERSEDED_FOR.total_seconds())
        self.world.processes["janitor-0"].trouble_after(stage, Trouble.STALL)
        self.world.round("janitor-0")
        self.world.elapse(0.02)
        self.a_photo_is_retaken(listing_id, photo, Retake.AS_AT_FIRST, is_announced=True)
        self.all_work(3, 5.0)

    @rule(listing_id=listings, photo=photos, after=st.integers(4, 14))
    def a_downloader_stalls_until_another_has_claimed_its_photo(
        self, listing_id: ListingId, photo: str, after: int
    ) -> None:
        self.a_photo_is_retaken(listing_id, photo, Retake.NEW, is_announced=True)
        self.all_work(1, 0.1)
        for number in (0, 1):
            self.world.processes[f"downloader-{number}"].trouble_after(after + 40 * number, Trouble.STALL)
        for seconds in (0.5, 130.0, 5.0, 130.0):
            self.all_work(2, seconds)

    @rule(listing_id=listings, photo=photos)
    def a_listing_leaves_and_returns_while_its_photo_is_in_flight(self, listing_id: ListingId, photo: str) -> None:
        self.a_photo_is_retaken(listing_id, photo, Retake.NEW, is_announced=True)
        for place in ("scheduler-0", "scheduler-1"):
            self.a_process_works(place, 10, 0.5)
        for status, place in (("Closed", "scheduler-0"), ("Active", "downloader-0")):
            self.a_listing_leaves_or_returns(listing_id, status, OptOut.NO, with_media=True)
            self.a_process_works(place, 10, 0.5)
        self.all_work(2, 0.25)

    # On the topics

    @rule(topic=st.sampled_from([topics.LISTING_SEEN, topics.IMAGE_OUTDATED]), kind=st.sampled_from(list(GARBAGE)))
    def garbage_is_published(self, topic: str, kind: str) -> None:
        self.world.topics.append(topic, b"X1", GARBAGE[kind])
        self.checks.garbage[topic] += 1

    @rule(group=st.sampled_from(list(TOPICS_READ)), back=st.integers(1, 50))
    def a_group_reads_again(self, group: str, back: int) -> None:
        for topic in TOPICS_READ[group]:
            subscription = self.world.subscriptions[group, topic]
            subscription.at = [max(0, at - back) for at in subscription.at]

    @rule(group=st.sampled_from(["downloader", "resolver"]))
    def unread_records_are_lost(self, group: str) -> None:
        for topic in TOPICS_READ[group]:
            self.world.subscriptions[group, topic].lose()

    @rule(listing_id=listings, photo=photos, priority=st.sampled_from([Priority.ROUTINE, Priority.VIEWED]))
    def an_operator_forces(self, listing_id: ListingId, photo: str, priority: Priority) -> None:
        event = ImageOutdated(
            feed=listing_id[0],
            listing_key=listing_id[1],
            image_id=self._image_id(listing_id, photo),
            reason=OutdatedReason.FORCED,
            priority=priority,
        )
        publisher = Publisher(BrokerDoor(Process("operator"), self.world.topics), "", "imagectl", self.world.clock)
        self.world.loop.run_until_complete(publisher.publish([event]))
        self.checks.has_forced = True

    @rule(seconds=durations, waits_a_day=st.booleans())
    def an_operator_repairs(self, seconds: float, waits_a_day: bool) -> None:
        """Let an operator audit and repair beside the services; after a day, unrecorded objects count as orphans."""
        self.world.elapse(90_000.0 if waits_a_day else 0.0)
        self.world.repair()
        self.world.elapse(seconds)

    # In the services

    @rule(rounds=st.sampled_from([3, 1]), seconds=durations)
    def all_work(self, rounds: int, seconds: float) -> None:
        for _ in range(rounds):
            self.world.work()
            self.world.elapse(seconds)

    @rule(place=places, after=st.integers(0, 15), kind=st.sampled_from(Trouble), rounds=st.sampled_from([1, 3]))
    def all_work_and_one_has_trouble(self, place: str, after: int, kind: Trouble, rounds: int) -> None:
        self.world.processes[place].trouble_after(after, kind)
        self.all_work(rounds, 5.0)

    @rule(seconds=st.sampled_from([6.0, 40.0, 130.0, 400.0, 4_000.0, 90_000.0]))
    def time_passes_and_all_work(self, seconds: float) -> None:
        self.world.elapse(seconds)
        self.all_work(2, 5.0)

    @rule(place=places, limit=st.sampled_from([10, 2]), seconds=durations)
    def a_process_works(self, place: str, limit: int, seconds: float) -> None:
        for topic in TOPICS_READ[place.split("-", maxsplit=1)[0]]:
            self.world.read(place, topic, limit)
        self.world.round(place)
        self.world.elapse(seconds)

    @rule(number=numbers)
    def a_scheduler_releases_twice(self, number: int) -> None:
        """Check that a scheduler does not release a photo twice in a row. Do nothing while processes work."""
        if not any(process.service.running for process in self.world.processes.values()):
            released = []
            for _ in range(2):
                before = len(self.world.topics.all(topics.IMAGE_OUTDATED))
                self.world.round(f"scheduler-{number}")
                self.world.elapse(0.5)
                values = [record.value or b"" for record in self.world.topics.all(topics.IMAGE_OUTDATED)[before:]]
                released.append({orjson.loads(value)["data"]["image_id"] for value in values})
            assert not released[0] & released[1], "released twice"

    @rule(listing_id=listings, seconds=durations)
    def a_visitor_looks_at_a_listing(self, listing_id: ListingId, seconds: float) -> None:
        async def look(resolver: Service) -> None:
            cache, demand = resolver.front()
            lookup = ListingLookup(listing_id[1], None)
            found = (await cache.listings([lookup]))[lookup]
            answers = [answer for answer in found if answer.listing_id == listing_id]
            self.checks.check_answers([answer.body.plain for answer in answers])
            for answer in answers:
                demand.add(listing_id, answer.missing_image_ids, Priority.VIEWED)
            await demand.run_round()

        self.world.request(look)
        self.world.elapse(seconds)

    @rule(listing_id=listings, photo=photos, seconds=durations)
    def a_visitor_opens_a_photo(self, listing_id: ListingId, photo: str, seconds: float) -> None:
        photo_id = self._image_id(listing_id, photo)

        async def open_photo(resolver: Service) -> None:
            cache, demand = resolver.front()
            if found := await cache.photo(PhotoLookup(photo_id)):
                shown = decide.find_copy(found, self.world.clock())
                self.checks.check_photo(photo_id, shown)
                if isinstance(shown, decide.Absent):
                    await demand.raise_now(listing_id, photo_id)

        self.world.request(open_photo)
        self.world.elapse(seconds)

    # In the machines

    @rule(place=places, same_name=st.booleans())
    def a_process_dies(self, place: str, same_name: bool) -> None:
        self.world.kill(place, same_name=same_name)

    @rule(place=places, after=st.integers(0, 12), kind=st.sampled_from(Trouble))
    def a_process_will_have_trouble(self, place: str, after: int, kind: Trouble) -> None:
        self.world.processes[place].trouble_after(after, kind)

    # Invariants

    @invariant()
    def the_invariants_hold(self) -> None:
        self.has_failed = True
        for place, process in self.world.processes.items():
            if process.is_dead:
                self.world.kill(place, same_name=True)
        self.checks.check()
        self.has_failed = False

    def teardown(self) -> None:
        """Check the invariants at rest, unless the story has failed before."""
        try:
            if not self.has_failed:
                self.checks.check_at_rest()
        finally:
            self.world.close()


@pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 120)
def test_the_invariants_hold_in_any_order_of_events_crashes_and_time() -> None:
    run_state_machine_as_test(Disorder, settings=STORIES)
