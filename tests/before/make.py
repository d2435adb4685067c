"""Make a dump: `python -m tests.before.make v2`. The services work through a day with all kinds of events.

At the end they are stopped, some of them killed, with unfinished work of every kind.
"""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.config import PROJECT
from local.sandbox import Sandbox
from shared.clock import utc_now
from shared.stores import mongo
from shared.stores.sweeps import SweepRequest
from tests import servers, system
from tests.before.files import DUMPS, Dump
from tests.before.save import save
from tests.system import System, until

PORT = 21_817
"""Of the sandbox MLS: the photos' URLs, which are dumped, have it."""
SETTINGS = {
    "variants": "thumb=40:webp:50,card=60:webp:50,full=80:webp:50",
    "public_url": "https://photos.example.com",
    "superseded_hours": 0.05,
    "serve_wait_seconds": 0.2,
}
PARTS = (
    "changed", "outdated", "reordered", "withdrawn", "kept", "opted-out", "plain", "forced", "with-image", "again",
    "gone", "forbidden", "html", "throttled", "claimed", "released", "unread",
)  # fmt: skip
"""What happens to the listings of the MLS, one each."""
PHOTOS, BULK = 3, 110
TEN_YEARS = 10 * 365 * 24
Record = dict[str, Any]


def feeds_of(mls: Sandbox) -> str:
    """Return feeds.toml: one feed with sweeps, one whose copies are kept for years, and one that loses its listings."""
    return "\n".join(
        [
            mls.feeds_toml(reso_url=mls.web_api, concurrency=8, max_attempts=100, retry_base_seconds=3.0),
            mls.feeds_toml(feed="other", keep_after_inactive_hours=TEN_YEARS, recheck_days=3_650),
            mls.feeds_toml(feed="bulk"),
        ]
    )


class Story:
    """The events of the day, act by act; `keys` has the ListingKey of each part in the story."""

    def __init__(self, whole: System, mls: Sandbox) -> None:
        self.whole = whole
        self.mls = mls
        self.keys = dict(zip(PARTS, mls.market.listings, strict=True))

    async def imagectl(self, *arguments: str) -> str:
        code, output = await self.whole.run("imagectl", *arguments)
        assert code == 0, output
        return output

    def record(self, key: str, **others: object) -> Record:
        return {**self.mls.market.property(self.mls.market.listing(key)), **others}

    async def find(self, collection: str, query: Record, description: str, seconds: float = 60) -> Record:
        """Wait until a document matches the query, and return it; `description` names it in the error of a timeout."""
        async with mongo.connect(self.whole.namespace.servers.mongo, self.whole.namespace.db) as database:
            return await until(lambda: database[collection].find_one(query), description, seconds)

    async def photo(self, key: str, feed: str = "sandbox", **facts: object) -> None:
        """Wait until a photo of a listing has these facts."""
        query = {"feed": feed, "listing_key": key, "photos": {"$elemMatch": _dotted(facts)}}
        await self.find("listings", query, f"a photo of {key} with {facts}")

    async def removed(self, key: str, reason: str) -> None:
        await self.find("removals", {"listing_key": key, "reason": reason}, f"the removal of {key}")

    async def begin(self) -> None:
        """Let a sweep read the market; some photos fail, each listing's for a different reason."""
        gone, forbidden, html = (self.keys[part] for part in ("gone", "forbidden", "html"))
        self.mls.misbehave(kind="status", status=404, listing=gone, count=1)
        self.mls.misbehave(kind="status", status=403, listing=forbidden)
        self.mls.misbehave(kind="html", listing=html)
        await self.imagectl("sweep", "freshness", "--feed", "sandbox")
        for key in set(self.keys.values()) - {gone, forbidden, html}:
            await self.whole.wait_until_downloaded(key, PHOTOS)
        await self.photo(gone, failure__reason="gone")
        await self.photo(forbidden, failure__reason="forbidden")
        await self.photo(html, failure__reason="not-an-image")

    async def change(self) -> None:
        """Let the MLS change pictures, order and captions, and hide photos and listings."""
        changed, outdated, reordered, withdrawn, shown_for_years, opted_out, plain, *_ = self.keys.values()
        see, mls = self.whole.publish_listings, self.mls
        await see(self.record(changed), self.record(shown_for_years), feed="other")
        await self.photo(shown_for_years, "other", status="downloaded", order=2)
        await self.photo(changed, "other", status="downloaded", order=2)
        await see(mls.withdraw(shown_for_years), feed="other")
        mls.reactivate(shown_for_years)
        mls.misbehave(kind="status", status=500, listing=outdated)
        await see(mls.change_photo(outdated, 1))
        await self.photo(outdated, status="outdated", failure__reason="origin-error")
        await see(mls.reorder(reordered, [2, 0, 1]), mls.rename(reordered, "A sunny kitchen", 0))
        await see(mls.withdraw_photo(reordered, 2), mls.withdraw(withdrawn), mls.opt_out(opted_out))
        await self.removed(reordered, "photo-withdrawn")
        await self.removed(withdrawn, "listing-inactive")
        await self.removed(opted_out, "opt-out")
        odd = {"MediaKey": "odd", "MediaURL": "file:///etc/passwd"}
        media = self.record(plain)["Media"]
        await see({**mls.touch(plain), "Media": [{"MediaKey": "no-url"}, "no row", odd, *media]})
        await self.find("listings", {"listing_key": plain, "set_aside.0": {"$exists": True}}, "rows set aside")

    async def operate(self) -> None:
        """Let an operator remove images, force downloads, and handle dead letters."""
        forced, with_image, again = (self.keys[part] for part in ("forced", "with-image", "again"))
        images = await self.whole.images(with_image)
        await self.imagectl("removals", "force", with_image, "--image", images[1]["id"], "--yes")
        await self.imagectl("removals", "force", forced, "--yes")
        await self.removed(with_image, "forced")
        await self.removed(forced, "forced")
        await self.imagectl("force", again)
        await self.find("attempts", {"listing_key": again, "result": "unchanged"}, "a conditional request")
        await self.whole.send("listing-seen", None, key=b"nothing")
        await self.whole.send("listing-seen", b'{"type":"listing-seen.v1","data":{"feed":"nobody"}}', key=b"nobody")

        async def are_there() -> list[Any] | None:
            found = await self.whole.records("dead-letter")
            return [letter.offset for letter in found] if len(found) == 4 else None

        first, *_ = await until(are_there, "dead letters")
        await self.imagectl("dead-letters", "drop", str(first), "--yes")

    async def lose_listings(self) -> None:
        """Let a feed lose listings in two bursts: an operator confirms the first, and the second stays on hold.

        Few of them have photos.
        """
        rows = self.record(self.keys["plain"])["Media"][:4]
        await self.whole.publish_listings(*self.bulk(range(BULK), rows), feed="bulk")
        for key in ("B000", "B060", "B109"):
            await self.photo(key, "bulk", status="downloaded")
        hidden = self.bulk(range(52), rows, InternetEntireListingDisplayYN=False)
        await self.whole.publish_listings(*hidden, feed="bulk")
        await self.find("freezes", {"reason": "opt-out"}, "the first freeze")
        await self.imagectl("removals", "resume", "bulk", "--yes")
        await self.removed("B000", "opt-out")
        await self.whole.publish_listings(*self.bulk(range(52, 104), rows, StandardStatus="Expired"), feed="bulk")
        await self.find("freezes", {"reason": "listing-inactive"}, "the second freeze")
        await self.find("listings", {"listing_key": "B060", "hidden.held_until": {"$exists": True}}, "a held listing")

    def bulk(self, numbers: range, rows: list[Record], **facts: object) -> Iterator[Record]:
        at = self.mls.market.now()
        stamps = {"ModificationTimestamp": at, "MediaChangeTimestamp": at}
        for number in numbers:
            media = rows if number in (0, 60, 109) else []
            yield {"ListingKey": f"B{number:03}", "StandardStatus": "Active", **stamps, "Media": media, **facts}

    async def leave_off(self) -> None:
        """Stop or kill the services in the middle of their work."""
        whole, mls = self.whole, self.mls
        changed, again = self.keys["changed"], self.keys["again"]
        throttled, claimed, released, unread = list(self.keys.values())[-4:]
        await self.find("sweeps", {"_id": "sandbox", "swept": {"$ne": None}, "followed_at": {"$ne": None}}, "the sweep")
        await self.find("audits", {"finished_at": {"$ne": None}}, "the audit")
        await self.find("paces", {}, "a pace")
        (before, *_) = await whole.images(changed, feed="sandbox")
        await whole.publish_listings(mls.change_photo(changed, 0))
        query = {"listing_key": changed, "feed": "sandbox", "discards.reason": "superseded"}
        await self.find("listings", query, f"the version that replaces {before['url']}")
        mls.misbehave(kind="slow", delay_seconds=18, listing=claimed)
        await whole.publish_listings(mls.change_photo(claimed, 0))
        await self.photo(claimed, claim__worker={"$exists": True})
        mls.misbehave(kind="status", status=429, retry_after=60, listing=throttled)
        await whole.publish_listings(mls.change_photo(throttled, 0))
        await self.find("attempts", {"listing_key": throttled, "result": "throttled"}, "a throttled photo")
        await whole.stop("downloader", signal.SIGKILL)
        await self.imagectl("freeze", "other", "--reason", "the MLS asked us to")
        await self.imagectl("force", again)
        await whole.publish_listings(mls.change_photo(released, 1), self.record(released, ListingKey="NEW1"))
        await whole.publish_listings(self.record(released, ListingKey="NEW2"), feed="other")
        await self.photo(released, released_at={"$ne": None})
        await self.photo("NEW1", released_at={"$ne": None})
        await self.photo("NEW2", "other", released_at={"$ne": None})
        await whole.stop("scheduler", signal.SIGKILL)
        await whole.stop("janitor")
        async with mongo.connect(whole.namespace.servers.mongo, whole.namespace.db) as database:
            await mongo.MongoSweeps(database).request("other", SweepRequest(at=utc_now()))
        await whole.publish_listings(mls.withdraw(unread), self.record(released, ListingKey="NEW3"))

    async def answers(self) -> list[Record]:
        """Send requests of all kinds to the resolver; return each with its answer."""
        unread = self.keys["unread"]
        shown = [*self.keys.values(), "NEW1", "NEW2", "B000", "B060", "B109", "nowhere"]
        shown.remove(unread)
        paths = [f"/api/listings/{key}/images" for key in shown]
        paths += [f"/api/listings/{self.keys['changed']}/images?feed={feed}" for feed in ("sandbox", "other", "nobody")]
        async with mongo.connect(self.whole.namespace.servers.mongo, self.whole.namespace.db) as database:
            listings = await database["listings"].find({"photos.0": {"$exists": True}}).to_list(None)
            removals = await database["removals"].find({}).to_list(None)
        photos = [photo for listing in listings if listing["listing_key"] != unread for photo in listing["photos"]]
        paths += [f"/api/images/serve?id={photo['id']}" for photo in photos]
        paths += [f"/api/images/serve?id={removal['image_id']}&variant=thumb" for removal in removals]
        paths += [f"/api/images/resolve?url={photo['url']}" for photo in photos]
        body = {"listing_keys": shown, "photos_per_listing": 2}
        return [await self.answer(path) for path in paths] + [await self.answer("/api/images/resolve", body)]

    async def answer(self, path: str, body: Record | None = None) -> Record:
        method = "POST" if body else "GET"
        found = await self.whole.http.request(method, path, json=body)
        recorded = {"method": method, "path": path, "body": body, "status": found.status_code}
        if found.status_code == 302:
            recorded["location"] = found.headers["Location"]
        if found.status_code == 200:
            recorded["json"] = found.json()
        return recorded


def _dotted(facts: dict[str, object]) -> Record:
    return {name.replace("__", "."): value for name, value in facts.items()}


async def make(dump: Dump) -> None:
    """Start servers and services, play the story, and save all that is stored at its end."""
    dump.folder.mkdir()
    with servers.running() as found, tempfile.TemporaryDirectory() as logs:
        namespace = servers.a_namespace(found)
        async with (
            Sandbox(listings=len(PARTS), photos=PHOTOS, widest=64, port=PORT) as mls,
            system.running(namespace, feeds_of(mls), Path(logs), **SETTINGS) as whole,
        ):
            story = Story(whole, mls)
            for act in (story.begin, story.change, story.operate, story.lose_listings, story.leave_off):
                print(f"{utc_now():%H:%M:%S} {act.__name__}", flush=True)  # noqa: T201
                await act()
            dump.write("answers", await story.answers())
            await asyncio.gather(whole.stop("resolver"), whole.stop("desk"))
            (dump.folder / "feeds.toml").write_text(feeds_of(mls))
        await save(namespace, dump)
    dump.write("settings", [{**SETTINGS, "origin_port": PORT, "commit": commit(), "made_at": utc_now()}])


def commit() -> str:
    """Return the hash of the commit whose code writes the dump."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    asyncio.run(make(Dump(DUMPS / sys.argv[1])))
