"""Many ask while the writer changes: each answer is held against what was true when it was asked for."""

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
"""For each listing and kind of question."""
THINKING_SECONDS = 0.01
STEPS = (
    ("shown", 0.5), ("downloaded", 1.1), ("hidden", 2.5), ("shown", 1.1), ("removed", 1.1),
    ("shown", 1.1), ("downloaded", 1.1), ("removed", 1.1),
)  # fmt: skip
"""What happens, and for how many seconds it stays so: of what hides a listing no event tells, and an answer that is too
old must have the time to be given."""
MOST_SECONDS = 2.0
AT_ONCE_SECONDS = 0.25
"""In the middle of all changes with an event; without hearing them it would be most of a second."""

HIDDEN = "hidden"
_VERSION = re.compile(r"/([0-9a-f]{16})/full-")


@dataclass(frozen=True)
class Change:
    """What is true from some moment between `began` and `done` on; `said_at` is when its event was on the topic."""

    state: str
    began: float
    done: float
    said_at: float | None


@dataclass(frozen=True)
class Seen:
    """One answer."""

    kind: str
    asked_at: float
    answered_at: float
    state: str


@dataclass
class Story:
    """What happened to one listing, and what was answered of it."""

    key: str
    listing: Listing
    changes: list[Change] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def was_true(self, one: Seen) -> bool:
        """Whether the answer was true at some moment from as long before the question as is allowed."""
        ends = [*(later.done for later in self.changes[1:]), float("inf")]
        return any(
            change.state == one.state and change.began <= one.answered_at and end >= one.asked_at - MOST_SECONDS
            for change, end in zip(self.changes, ends, strict=True)
        )

    def lags(self) -> Iterator[tuple[str, str, float]]:
        """For each event and kind of question: how long after it was on the topic an answer was asked for that did
        not know of it, and did until the next change."""
        for change, later in itertools.pairwise(self.changes):
            if change.said_at is not None:
                for kind in KINDS:
                    after = [
                        one for one in self.seen if one.kind == kind and change.said_at < one.asked_at < later.began
                    ]
                    assert len(after) > 5, "enough asked to tell"
                    old = [one.asked_at - change.said_at for one in after if one.state != change.state]
                    yield kind, HIDDEN if change.state == HIDDEN else "shown", max(old, default=0.0)


async def ask(http: aiohttp.ClientSession, kind: str, listing: Listing) -> str:
    """Ask one question; return the version that is shown."""
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
        said = answer.headers.get("Location", "") + await answer.text()
    found = _VERSION.search(said)
    return found[1] if found else HIDDEN


@asynccontextmanager
async def asked_all_the_time(server: str, stories: list[Story]) -> AsyncIterator[None]:
    """Have many clients ask every kind of question about every listing."""
    loop = asyncio.get_running_loop()

    async def keep_asking(http: aiohttp.ClientSession, kind: str, story: Story) -> None:
        while True:
            asked_at = loop.time()
            state = await ask(http, kind, story.listing)
            story.seen.append(Seen(kind, asked_at, loop.time(), state))
            await asyncio.sleep(THINKING_SECONDS)

    async with (
        aiohttp.ClientSession(server, connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as all_of,
    ):
        clients = [
            all_of.create_task(keep_asking(http, kind, story))
            for story in stories
            for kind in KINDS
            for _ in range(CLIENTS)
        ]
        yield
        for client in clients:
            client.cancel()


async def go_through(writer: ListingWriter, story: Story) -> None:
    """Change one listing's writer step by step."""
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
        done, said_at = loop.time(), None
        if step in ("downloaded", "removed"):
            await (writer.publish_downloaded(after) if step == "downloaded" else writer.publish_removed(after))
            said_at = loop.time()
        state = HIDDEN if step in ("hidden", "removed") else f"{number:016x}"
        story.changes.append(Change(state, began, done, said_at))
        await asyncio.sleep(seconds)


async def test_under_load_no_answer_is_too_old_and_after_an_event_none_is_old(
    namespace: Namespace, tmp_path: Path
) -> None:
    async with system.running(namespace, FEEDS, tmp_path, "resolver") as ours, listing_writer(namespace) as writer:
        stories = [Story(key, await writer.record(key, a_version(key, 1))) for key in KEYS]
        now = asyncio.get_running_loop().time()
        for story in stories:
            story.changes.append(Change(f"{1:016x}", now, now, None))
        async with asked_all_the_time(ours.url("resolver"), stories):
            await asyncio.gather(*(go_through(writer, story) for story in stories))
    for story in stories:
        untrue = [one for one in story.seen if not story.was_true(one)]
        assert not untrue, (len(untrue), len(story.seen), untrue[:3], story.changes)
        assert {one.state for one in story.seen} == {change.state for change in story.changes}, "each change was seen"
    lags: dict[tuple[str, str], list[float]] = {}
    for kind, event, lag in itertools.chain.from_iterable(story.lags() for story in stories):
        lags.setdefault((kind, event), []).append(lag)
    assert len(lags) == 2 * len(KINDS)
    assert max(statistics.median(some) for some in lags.values()) < AT_ONCE_SECONDS, lags
