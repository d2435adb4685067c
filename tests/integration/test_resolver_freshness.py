"""Test the freshness of answers under load: each is compared with the listing at the time of the request."""

import asyncio
import itertools
import re
import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from shared.domain.listing import Listing
from tests import system
from tests.builders import hidden
from tests.listing_writer import FEEDS, ListingWriter, a_version, listing_writer
from tests.servers import Namespace

KEYS = ("F1", "F2", "F3")
KINDS = ("listing", "search", "url", "serve")
CLIENTS = 3
"""The number of clients for each listing and kind of request."""
PAUSE_SECONDS = 0.01
STEPS = (
    ("shown", 0.5), ("downloaded", 1.1), ("hidden", 2.5), ("shown", 1.1), ("removed", 1.1),
    ("shown", 1.1), ("downloaded", 1.1), ("removed", 1.1),
)  # fmt: skip
"""The changes of a listing, and the seconds until the next. The step `hidden` has no event, so it lasts longer than the
allowed age of an answer."""
MAX_AGE_SECONDS = 2.0
AT_ONCE_SECONDS = 0.25
"""The limit of the median delay after an event. Without events it would be most of a second."""

HIDDEN = "hidden"
_VERSION = re.compile(r"/([0-9a-f]{16})/full-")


@dataclass(frozen=True)
class Change:
    """A change of a listing, which took effect between `began` and `done`.

    `published_at` is when its event was on the topic, None if there was no event.
    """

    state: str
    began: float
    done: float
    published_at: float | None


@dataclass(frozen=True)
class Seen:
    """An answer of the resolver."""

    kind: str
    asked_at: float
    answered_at: float
    state: str


@dataclass
class Story:
    """The changes of a listing, and the answers about it."""

    key: str
    listing: Listing
    changes: list[Change] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def was_true(self, answer: Seen) -> bool:
        """Return True if the answer was correct at some moment since its request, less the allowed age."""
        ends = [*(later.done for later in self.changes[1:]), float("inf")]
        return any(
            change.state == answer.state
            and change.began <= answer.answered_at
            and end >= answer.asked_at - MAX_AGE_SECONDS
            for change, end in zip(self.changes, ends, strict=True)
        )

    def lags(self) -> Iterator[tuple[str, str, float]]:
        """Yield, for each event and kind of request, the kind, the new state and the delay in seconds.

        The delay is the time from the event to the last request before the next change that still got an old answer.
        """
        for change, later in itertools.pairwise(self.changes):
            if change.published_at is not None:
                for kind in KINDS:
                    after = [
                        answer
                        for answer in self.seen
                        if answer.kind == kind and change.published_at < answer.asked_at < later.began
                    ]
                    assert len(after) > 5, "too few answers to measure a delay"
                    old = [answer.asked_at - change.published_at for answer in after if answer.state != change.state]
                    yield kind, HIDDEN if change.state == HIDDEN else "shown", max(old, default=0.0)


async def ask(http: aiohttp.ClientSession, kind: str, listing: Listing) -> str:
    """Send a request of a kind, and return the version of the photo in its answer."""
    photo = listing.photos[0]
    match kind:
        case "listing":
            asking = http.get(f"/api/listings/{listing.key}/images")
        case "search":
            asking = http.post("/api/images/resolve", json={"listing_keys": [listing.key]})
        case "url":
            asking = http.get("/api/images/resolve", params={"url": photo.url, "listing": listing.key})
        case _:
            asking = http.get("/api/images/serve", params={"id": photo.id}, allow_redirects=False)
    async with asking as answer:
        assert answer.status in (200, 302, 404)
        text = answer.headers.get("Location", "") + await answer.text()
    found = _VERSION.search(text)
    return found[1] if found else HIDDEN


@asynccontextmanager
async def many_clients(server: str, stories: list[Story]) -> AsyncIterator[None]:
    """Let clients send requests of every kind for every listing during the context."""
    loop = asyncio.get_running_loop()

    async def send_requests(http: aiohttp.ClientSession, kind: str, story: Story) -> None:
        while True:
            asked_at = loop.time()
            state = await ask(http, kind, story.listing)
            story.seen.append(Seen(kind, asked_at, loop.time(), state))
            await asyncio.sleep(PAUSE_SECONDS)

    async with (
        aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as all_of,
    ):
        clients = [
            all_of.create_task(send_requests(http, kind, story))
            for story in stories
            for kind in KINDS
            for _ in range(CLIENTS)
        ]
        yield
        for client in clients:
            client.cancel()


async def change_step_by_step(writer: ListingWriter, story: Story) -> None:
    """Change a listing step by step, and note each change in its story."""
    loop = asyncio.get_running_loop()
    number = 1
    for step, seconds in STEPS:
        began = loop.time()
        match step:
            case "downloaded":
                number += 1
                after = await writer.change(story.key, copy=a_version(story.key, number))
            case "shown":
                after = await writer.change(story.key, hidden=None)
            case _:
                after = await writer.change(story.key, hidden=hidden(remove_at=1e7))
        done, published_at = loop.time(), None
        if step in ("downloaded", "removed"):
            await (writer.publish_downloaded(after) if step == "downloaded" else writer.publish_removed(after))
            published_at = loop.time()
        state = HIDDEN if step in ("hidden", "removed") else f"{number:016x}"
        story.changes.append(Change(state, began, done, published_at))
        await asyncio.sleep(seconds)


async def test_under_load_answers_keep_to_their_age_limit_and_follow_events_at_once(
    namespace: Namespace, tmp_path: Path
) -> None:
    async with system.running(namespace, FEEDS, tmp_path, "resolver") as ours, listing_writer(namespace) as writer:
        stories = [Story(key, await writer.record(key, a_version(key, 1))) for key in KEYS]
        now = asyncio.get_running_loop().time()
        for story in stories:
            story.changes.append(Change(f"{1:016x}", now, now, None))
        async with many_clients(ours.url("resolver"), stories):
            await asyncio.gather(*(change_step_by_step(writer, story) for story in stories))
    for story in stories:
        untrue = [answer for answer in story.seen if not story.was_true(answer)]
        assert not untrue, (len(untrue), len(story.seen), untrue[:3], story.changes)
        assert {answer.state for answer in story.seen} == {change.state for change in story.changes}, (
            "each change was seen"
        )
    lags: dict[tuple[str, str], list[float]] = {}
    for kind, event, lag in itertools.chain.from_iterable(story.lags() for story in stories):
        lags.setdefault((kind, event), []).append(lag)
    assert len(lags) == 2 * len(KINDS)
    assert max(statistics.median(delays) for delays in lags.values()) < AT_ONCE_SECONDS, lags
