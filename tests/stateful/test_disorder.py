"""Whatever happens in whatever order, what must hold does: all services' real code in memory, on one virtual clock.

EXAMPLES=2000 plays that many other stories than the ones that every run plays; SHRINK=1 shortens one that fails.
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
from tests.stateful.mls import Retake
from tests.stateful.processes import BrokerDoor, Process, Trouble
from tests.stateful.world import HEARS, LISTINGS, PHOTOS, SUPERSEDED_FOR, Service, World

pytestmark = pytest.mark.slow

STORIES = settings(
    max_examples=int(os.environ.get("EXAMPLES", "60")),
    derandomize="EXAMPLES" not in os.environ,
    stateful_step_count=25,
    # To make a story that fails shorter takes minutes; SHRINK=1 does it.
    phases=[Phase.generate, *([Phase.shrink] if "SHRINK" in os.environ else [])],
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

listings = st.sampled_from(LISTINGS)
photos = st.sampled_from(PHOTOS)
feeds = st.sampled_from(["a", "b"])
moments = st.sampled_from([5.0, 0.0, 0.0015, 0.0035, 0.25])
"""How long an action is let go on before the next thing happens: to its end, not at all, or into the middle."""
numbers = st.integers(0, 1)
places = st.sampled_from([f"{name}-{number}" for name in ("downloader", "scheduler", "janitor") for number in (0, 1)])
FAULTS = [
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
    "an impossible listing": b'{"type":"listing-seen.v1","data":{"feed":"a","property":{"Media":7}}}',
    "an image of an unknown feed": b'{"type":"image-outdated.v1","data":{"feed":"?","listing_key":"X","image_id":"i"}}',
}


class Disorder(RuleBasedStateMachine):
    """Things that happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.promises = Invariants(self.world)
        self.is_broken = False

    # At the MLS

    @initialize(many=st.sampled_from([2, 1, 4]))
    def the_market_opens(self, many: int) -> None:
        for one in LISTINGS:
            for photo in PHOTOS[:many]:
                self.world.mls.show(one, photo)
            self._said(one, is_told=True)

    @rule(one=listings, photo=photos, is_told=st.booleans())
    def a_photo_is_added_or_withdrawn(self, one: ListingId, photo: str, is_told: bool) -> None:
        self.world.mls.show(one, photo)
        self._said(one, is_told=is_told)

    @rule(one=listings, photo=photos, now=st.sampled_from(Retake), is_told=st.booleans())
    def a_photo_is_retaken(self, one: ListingId, photo: str, now: Retake, is_told: bool) -> None:
        self.world.mls.retake(one, photo, now)
        self._said(one, is_told=is_told)

    @rule(one=listings, is_told=st.booleans())
    def photos_are_reordered(self, one: ListingId, is_told: bool) -> None:
        self.world.mls.reorder(one)
        self._said(one, is_told=is_told)

    @rule(one=listings, status=st.sampled_from(["Active", "Closed"]), opted_out=st.booleans(), with_media=st.booleans())
    def a_listing_leaves_or_returns(self, one: ListingId, status: str, opted_out: bool, with_media: bool) -> None:
        self.world.mls.status(one, status, opted_out=opted_out)
        self.world.mls.speak(one, with_media=with_media)
        self.it_is_announced(one, 0)

    @rule(one=listings)
    def urls_are_signed_anew(self, one: ListingId) -> None:
        self._said(one, is_told=True)

    @rule(one=listings, age=st.integers(0, 3))
    def it_is_announced(self, one: ListingId, age: int) -> None:
        """Something that the MLS said now or earlier arrives, for the first time or again."""
        if said := self.world.mls.listings[one].said[-1 - age :]:
            self.world.announce(one, said[0])

    def _said(self, one: ListingId, *, is_told: bool) -> None:
        self.world.mls.speak(one)
        if is_told:
            self.it_is_announced(one, 0)

    @rule(feed=feeds, fault=st.sampled_from(FAULTS), redirects=st.booleans(), slow=st.sampled_from([0.0, 2.0, 30.0]))
    def the_origin_is(self, feed: str, fault: Failure | None, redirects: bool, slow: float) -> None:
        origin = self.world.mls.origins[feed]
        origin.fault, origin.redirects, origin.slow = fault, redirects, slow

    @rule(one=listings, photo=photos, stage=st.integers(16, 24))
    def a_photo_becomes_again_what_is_being_removed(self, one: ListingId, photo: str, stage: int) -> None:
        """Its first version is superseded, and back while a janitor stands still at one of the steps of its removal."""
        self.a_photo_is_retaken(one, photo, Retake.NEW, is_told=True)
        self.everybody_works(3, 5.0)
        self.world.elapse(SUPERSEDED_FOR.total_seconds())
        self.world.processes["janitor-0"].trouble(stage, Trouble.STALL)
        self.world.round("janitor-0")
        self.world.elapse(0.02)
        self.a_photo_is_retaken(one, photo, Retake.AS_AT_FIRST, is_told=True)
        self.everybody_works(3, 5.0)

    @rule(one=listings, photo=photos, after=st.integers(4, 14))
    def a_downloader_stalls_with_a_photo_until_another_has_it(self, one: ListingId, photo: str, after: int) -> None:
        self.a_photo_is_retaken(one, photo, Retake.NEW, is_told=True)
        self.everybody_works(1, 0.1)
        for number in (0, 1):
            self.world.processes[f"downloader-{number}"].trouble(after + 40 * number, Trouble.STALL)
        for seconds in (0.5, 130.0, 5.0, 130.0):
            self.everybody_works(2, seconds)

    @rule(one=listings, photo=photos)
    def a_listing_leaves_while_a_photo_of_it_is_on_its_way_and_returns(self, one: ListingId, photo: str) -> None:
        self.a_photo_is_retaken(one, photo, Retake.NEW, is_told=True)
        for place in ("scheduler-0", "scheduler-1"):
            self.one_works(place, 10, 0.5)
        for status, place in (("Closed", "scheduler-0"), ("Active", "downloader-0")):
            self.a_listing_leaves_or_returns(one, status, opted_out=False, with_media=True)
            self.one_works(place, 10, 0.5)
        self.everybody_works(2, 0.25)

    # On the topics

    @rule(topic=st.sampled_from([topics.LISTING_SEEN, topics.IMAGE_OUTDATED]), what=st.sampled_from(list(GARBAGE)))
    def garbage_is_published(self, topic: str, what: str) -> None:
        self.world.topics.append(topic, b"X1", GARBAGE[what])
        self.promises.garbage[topic] += 1

    @rule(group=st.sampled_from(list(HEARS)), back=st.integers(1, 50))
    def a_group_reads_again(self, group: str, back: int) -> None:
        for topic in HEARS[group]:
            lane = self.world.subscriptions[group, topic]
            lane.at = [max(0, at - back) for at in lane.at]

    @rule(group=st.sampled_from(["downloader", "resolver"]))
    def hints_are_lost(self, group: str) -> None:
        for topic in HEARS[group]:
            self.world.subscriptions[group, topic].lose()

    @rule(one=listings, photo=photos, priority=st.sampled_from([Priority.ROUTINE, Priority.VIEWED]))
    def an_operator_forces(self, one: ListingId, photo: str, priority: Priority) -> None:
        event = ImageOutdated(
            feed=one[0], listing_key=one[1], image_id=image_id(*one, photo), reason=OutdatedReason.FORCED,
            priority=priority,
        )  # fmt: skip
        voice = Publisher(BrokerDoor(Process("operator"), self.world.topics), "", "imagectl", self.world.clock)
        self.world.loop.run_until_complete(voice.publish([event]))
        self.promises.has_forced = True

    @rule(moment=moments, days=st.booleans())
    def an_operator_repairs(self, moment: float, days: bool) -> None:
        """While the services go on; what nobody knows of counts after a day."""
        self.world.elapse(90_000.0 if days else 0.0)
        self.world.repair()
        self.world.elapse(moment)

    # In the services

    @rule(rounds=st.sampled_from([3, 1]), moment=moments)
    def everybody_works(self, rounds: int, moment: float) -> None:
        for _ in range(rounds):
            self.world.work()
            self.world.elapse(moment)

    @rule(place=places, after=st.integers(0, 15), kind=st.sampled_from(Trouble), rounds=st.sampled_from([1, 3]))
    def everybody_works_and_one_has_trouble(self, place: str, after: int, kind: Trouble, rounds: int) -> None:
        self.world.processes[place].trouble(after, kind)
        self.everybody_works(rounds, 5.0)

    @rule(seconds=st.sampled_from([6.0, 40.0, 130.0, 400.0, 4_000.0, 90_000.0]))
    def time_passes_and_everybody_works(self, seconds: float) -> None:
        self.world.elapse(seconds)
        self.everybody_works(2, 5.0)

    @rule(place=places, most=st.sampled_from([10, 2]), moment=moments)
    def one_works(self, place: str, most: int, moment: float) -> None:
        for topic in HEARS[place.split("-", maxsplit=1)[0]]:
            self.world.hear(place, topic, most)
        self.world.round(place)
        self.world.elapse(moment)

    @rule(number=numbers)
    def a_scheduler_ticks_twice(self, number: int) -> None:
        """What was released is not released again at once."""
        if not any(process.service.at_work for process in self.world.processes.values()):
            released = []
            for _ in range(2):
                before = len(self.world.topics.all(topics.IMAGE_OUTDATED))
                self.world.round(f"scheduler-{number}")
                self.world.elapse(0.5)
                values = [record.value or b"" for record in self.world.topics.all(topics.IMAGE_OUTDATED)[before:]]
                released.append({orjson.loads(value)["data"]["image_id"] for value in values})
            assert not released[0] & released[1], "released twice"

    @rule(one=listings, moment=moments)
    def a_person_looks(self, one: ListingId, moment: float) -> None:
        async def look(resolver: Service) -> None:
            cache, demand = resolver.front()
            lookup = ListingLookup(one[1], one[0], None)
            answers = (await cache.listings([lookup]))[lookup]
            self.promises.page_seen(one, [answer.body.plain for answer in answers])
            for answer in answers:
                demand.add(one, answer.missing_image_ids, Priority.VIEWED)
            await demand.run_round()

        self.world.ask(look)
        self.world.elapse(moment)

    @rule(one=listings, photo=photos, moment=moments)
    def a_person_opens(self, one: ListingId, photo: str, moment: float) -> None:
        image = image_id(*one, photo)

        async def open_photo(resolver: Service) -> None:
            cache, demand = resolver.front()
            if found := await cache.photo(PhotoLookup(image)):
                shown = decide.find_copy(found, self.world.clock())
                self.promises.photo_seen(image, shown)
                if isinstance(shown, decide.Absent):
                    await demand.raise_now(one, image)

        self.world.ask(open_photo)
        self.world.elapse(moment)

    # In the machines

    @rule(place=places, same_name=st.booleans())
    def a_process_dies(self, place: str, same_name: bool) -> None:
        self.world.kill(place, same_name=same_name)

    @rule(place=places, after=st.integers(0, 12), kind=st.sampled_from(Trouble))
    def trouble_is_ahead(self, place: str, after: int, kind: Trouble) -> None:
        self.world.processes[place].trouble(after, kind)

    # What must hold

    @invariant()
    def what_must_hold_does(self) -> None:
        self.is_broken = True
        for place, process in self.world.processes.items():
            if process.is_dead:
                self.world.kill(place, same_name=True)
        self.promises.hold()
        self.is_broken = False

    def teardown(self) -> None:
        """Let everything come to rest, unless the story ended before."""
        try:
            if not self.is_broken:
                self.promises.hold_at_rest()
        finally:
            self.world.close()


@pytest.mark.timeout(0 if "EXAMPLES" in os.environ else 120)
def test_what_must_hold_does_in_any_order_of_events_crashes_and_time() -> None:
    run_state_machine_as_test(Disorder, settings=STORIES)
