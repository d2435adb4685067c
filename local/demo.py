"""Show the whole system with a sandbox MLS: `python -m local.demo [--photos ~/Pictures] [--listings 40]`."""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from local import ports, stack
from local.config import PROJECT
from local.ports import http_status
from local.processes import LocalError, Process, Program, ensure, lock
from shared.clock import utc_now
from shared.domain.image import Status
from shared.render import Renderer
from shared.stores import mongo
from shared.stores.listing_reports import FeedCounts

FEED = "sandbox"
LISTINGS = 40
PHOTOS = 8
PORTS = {"sandbox": 8070, "site": 8060}
_TIMEOUT_SECONDS = 600
_POLL_SECONDS = 0.25
_SOON = timedelta(minutes=1)
"""Photos that are due later are not waited for: a given-up photo is tried again a day later."""

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: the directory of its files, and the addresses of its parts."""

    home: Path
    """The directory of the demo's files."""
    mls: str
    """The address of the sandbox MLS, such as http://127.0.0.1:8070."""
    site: str
    """The address of the example site."""
    env: Mapping[str, str]
    """Every IMAGES_* variable of the stack."""

    @property
    def resolver(self) -> str:
        """Return the resolver's address, such as http://127.0.0.1:8080."""
        return f"http://127.0.0.1:{self.env['IMAGES_RESOLVER_PORT']}"


async def play(demo: Demo) -> None:
    """Show the life of the sandbox's listings: publish them, change photos, withdraw a listing, and print what happens.

    First, withdrawn listings of an earlier demo are put on the market again. Each step waits until its effect can be
    seen.

    Raises:
        LocalError: an effect cannot be seen after ten minutes.
        httpx.HTTPError: a server does not answer, or answers with an error.
        subprocess.CalledProcessError: a command of imagectl failed.
    """
    async with (
        mongo.connect(demo.env["IMAGES_MONGO"], demo.env["IMAGES_MONGO_DB"]) as database,
        httpx.AsyncClient(timeout=30) as http,
    ):
        listings = mongo.MongoListings(database, Renderer(demo.env["IMAGES_PUBLIC_URL"]))
        records = (await http.get(f"{demo.mls}/control/properties")).json()
        if inactive := [record["ListingKey"] for record in records if record["StandardStatus"] != "Active"]:
            for key in inactive:
                await _control(http, demo, "reactivate", key=key)
            records = (await http.get(f"{demo.mls}/control/properties")).json()
        _write_site(demo, records)

        _step(f"publishing {len(records)} listings of the sandbox MLS, as a listing ingest would")
        before = await _requests(http, demo)
        _publish(demo, records)
        console.print(f"  watch them arrive: [bold]{demo.site}[/]")
        counts, seconds = await _follow(listings, sum(len(_photos(record)) for record in records))
        fetched = await _requests(http, demo) - before
        rate = f", {fetched / seconds:.1f} photos/s" if fetched else ": nothing had changed, so nothing was fetched"
        console.print(
            f"  {counts.images[Status.DOWNLOADED]} photos downloaded, {counts.images[Status.FAILED]} failed; "
            f"{fetched} requests to the MLS{rate}"
        )
        changed, unannounced, withdrawn = (record["ListingKey"] for record in records[:3])
        _step(f"the MLS changes a photo of listing {changed}, and an event announces it")
        await _change_a_photo(http, demo, changed, lambda record: _publish(demo, [record]))
        console.print("  the old URL still opens for a day, so that no page breaks; no other photo was fetched again")
        _step(f"the MLS changes a photo of listing {unannounced} without an event; a freshness sweep finds it")
        await _change_a_photo(http, demo, unannounced, lambda _: _imagectl(demo, "sweep", "freshness", "--feed", FEED))
        await _withdraw(http, demo, withdrawn)


async def _change_a_photo(
    http: httpx.AsyncClient, demo: Demo, key: str, announce: Callable[[Mapping[str, Any]], object]
) -> None:
    before = await _images(http, demo, key)
    position = random.randrange(len(before))
    record = await _control(http, demo, "change-photo", key=key, photo=position)
    began = time.monotonic()
    await asyncio.to_thread(announce, record)

    async def is_new() -> bool:
        now = (await _images(http, demo, key))[position]
        return bool(now["status"] == "downloaded" and now["media_changed_at"] != before[position]["media_changed_at"])

    await _until(is_new, f"the new picture of {key}")
    now = (await _images(http, demo, key))[position]
    console.print(f"  after {time.monotonic() - began:.1f} s the listing shows the new picture")
    console.print(f"    before {before[position]['url']}\n    now    {now['url']}", soft_wrap=True)


async def _withdraw(http: httpx.AsyncClient, demo: Demo, key: str) -> None:
    _step(f"listing {key} leaves the market")
    urls = [image["url"] for image in await _images(http, demo, key)]
    record = await _control(http, demo, "withdraw", key=key)
    began = time.monotonic()
    _publish(demo, [record])

    async def is_hidden() -> bool:
        return (await _ask(http, demo, key)).status_code == 404

    async def is_gone() -> bool:
        return not any([(await http.head(url)).is_success for url in urls])

    await _until(is_hidden, f"listing {key} to be hidden")
    console.print(f"  after {time.monotonic() - began:.1f} s the listing is not shown any more")
    await _until(is_gone, f"the bytes of listing {key} to be gone")
    console.print(f"  after {time.monotonic() - began:.1f} s its {len(urls)} photos are gone from both buckets")


async def _follow(listings: mongo.MongoListings, wanted: int) -> tuple[FeedCounts, float]:
    """Show a progress bar until `wanted` photos are downloaded or failed and none is in flight or due within a minute.

    Return the feed's counts at that time, and how many seconds it took. Raises LocalError after ten minutes.
    """
    began = time.monotonic()
    progress = Progress(
        BarColumn(40), TextColumn("{task.completed}/{task.total}  {task.fields[words]}"), console=console
    )
    bar = progress.add_task("", total=wanted, words="")
    counts = await listings.counts(FEED, utc_now())
    first = counts.images[Status.DOWNLOADED]

    async def is_done() -> bool:
        nonlocal counts
        counts = await listings.counts(FEED, utc_now())
        done, failed, queued = (
            counts.images[Status.DOWNLOADED],
            counts.images[Status.FAILED],
            sum(counts.queued.values()),
        )
        words = (
            f"queued {max(0, queued - counts.in_flight)}, downloading {counts.in_flight}, done {done}, "
            f"failed {failed}, {max(0, done - first) / (time.monotonic() - began):.1f} photos/s"
        )
        progress.update(bar, completed=done + failed, words=words)
        is_idle = counts.oldest_due_at is None or counts.oldest_due_at > utc_now() + _SOON
        return done + failed >= wanted and is_idle and not counts.in_flight

    with progress:
        await _until(is_done, "the photos")
    console.print()
    seconds = time.monotonic() - began
    # Counted again: one count is several queries, and the last photo may have arrived between two of them.
    return await listings.counts(FEED, utc_now()), seconds


async def _until(is_done: Callable[[], Awaitable[bool]], what: str) -> None:
    """Call `is_done` every 0.25 s, until it returns True.

    After ten minutes, raise a LocalError. Its message names `what` was waited for.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while not await is_done():  # noqa: ASYNC110 - the change happens in other processes
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise LocalError(f"waited {_TIMEOUT_SECONDS} s for {what}; `make logs` shows the services' logs") from None


async def _images(http: httpx.AsyncClient, demo: Demo, key: str) -> list[dict[str, Any]]:
    return list((await _ask(http, demo, key)).raise_for_status().json()["images"])


async def _ask(http: httpx.AsyncClient, demo: Demo, key: str) -> httpx.Response:
    return await http.get(f"{demo.resolver}/api/listings/{key}/images", params={"feed": FEED})


async def _requests(http: httpx.AsyncClient, demo: Demo) -> int:
    return int((await http.get(f"{demo.mls}/control/requests")).json()["image_requests"])


async def _control(http: httpx.AsyncClient, demo: Demo, change: str, **arguments: object) -> dict[str, Any]:
    answer = await http.post(f"{demo.mls}/control/{change}", json=arguments)
    return dict(answer.raise_for_status().json()["property"])


def _photos(record: Mapping[str, Any]) -> set[str]:
    return {row["MediaObjectID"] for row in record["Media"]}


def _publish(demo: Demo, records: Sequence[Mapping[str, Any]]) -> None:
    file = demo.home / "listings.ndjson"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    _imagectl(demo, "publish", str(shown), "--feed", FEED)


def _imagectl(demo: Demo, *arguments: str) -> None:
    console.print(f"  [dim]$ imagectl {' '.join(arguments)}[/]", soft_wrap=True)
    run = [sys.executable, "-m", "ops.imagectl", *arguments]
    subprocess.run(
        run, env={**os.environ, **demo.env}, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def _write_site(demo: Demo, records: Sequence[Mapping[str, Any]]) -> None:
    """Write site.json, the listings that the example site shows: key, title, place and price of each record."""
    listings = [
        {
            "key": record["ListingKey"],
            "title": record.get("UnparsedAddress") or record["ListingKey"],
            "place": record.get("City") or "",
            "price": record.get("ListPrice"),
        }
        for record in records
    ]
    (demo.home / "site.json").write_text(json.dumps(listings))


def _step(title: str) -> None:
    console.print(f"\n[bold]{title}[/]")


def prepare(photos: Path | None, listings: int) -> Demo:
    """Start the sandbox MLS, the stack and the example site, wait until they are ready, and return the running demo.

    Programs that run already with the same settings are not restarted. `photos` is a folder of pictures that the MLS
    shows; None: the MLS shows drawings. `listings` is how many listings the MLS has.

    Raises:
        LocalError: a program cannot start; the message says what to do.
    """
    home = stack.HOME / "demo"
    home.mkdir(parents=True, exist_ok=True)
    chosen = _choose_ports(home)
    mls, site = (f"http://127.0.0.1:{chosen[name]}" for name in PORTS)
    folder = ["--folder", str(photos.expanduser().absolute())] if photos else []
    sandbox = Program(
        name="sandbox",
        command=[
            sys.executable, "-m", "local.sandbox", "--port", str(chosen["sandbox"]), "--listings", str(listings),
            "--photos", str(PHOTOS), "--cache", str(home / "pictures"), *folder,
        ],
        answers=lambda: http_status(chosen["sandbox"], "/control/requests") == 200,
        address=mls,
    )  # fmt: skip
    _run(sandbox)
    feeds = home / "feeds.toml"
    feeds.write_text(httpx.get(f"{mls}/control/feeds.toml").text)
    # The environment's settings are not passed on: the demo must not publish to a Kafka that they may name.
    env = stack.up(stack.HOME, {"IMAGES_FEEDS": str(feeds)}, _report)
    demo = Demo(home, mls, site, env)
    if not (home / "site.json").exists():
        _write_site(demo, [])
    gallery = Program(
        name="site",
        command=[
            sys.executable, "-m", "local.site", "--port", str(chosen["site"]), "--resolver", demo.resolver,
            "--feed", FEED, "--listings", str(home / "site.json"),
        ],
        answers=lambda: http_status(chosen["site"], "/") == 200,
        address=site,
    )  # fmt: skip
    _run(gallery)
    return demo


def _run(program: Program) -> None:
    with lock(stack.HOME, _report):
        ensure([program], stack.HOME, PROJECT, _report)


def _choose_ports(home: Path) -> dict[str, int]:
    file = home / "ports.json"
    previous = json.loads(file.read_text()) if file.exists() else {}
    ours = {previous[name] for name in PORTS if name in previous and Process(name, stack.HOME).running()}
    chosen = ports.assign(PORTS, previous, ours, PORTS)
    file.write_text(json.dumps(chosen))
    return chosen


def _report(line: str) -> None:
    console.print(f"  {line}", style="dim")


def _print_addresses(demo: Demo) -> None:
    desk = f"http://127.0.0.1:{demo.env['IMAGES_DESK_PORT']}"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for part, address in (
        ("the gallery, pictures from object storage", demo.site),
        ("the desk, for operators", desk),
        ("the API's description", f"{demo.resolver}/api/docs"),
        ("the sandbox MLS, with buttons to change it", demo.mls),
    ):
        table.add_row(f"  {part}", f"[bold]{address}[/]")
    _step("open")
    console.print(table)
    console.print(f"  sign in to the desk with  {demo.env['IMAGES_DESK_TOKEN']}", soft_wrap=True)
    _step("next")
    console.print("  .venv/bin/imagectl status    feeds, queues and services at a glance")
    console.print("  make logs                    the logs of all services")
    console.print("  make down                    stop everything; the data stays")


def main() -> int:
    """Run the demo with the command line's options.

    Return the exit code: 0 if it worked, 1 if not, 130 if interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local.demo",
        description="Shows the whole system at work with a sandbox MLS.",
        epilog="example: make demo PHOTOS=~/Pictures",
    )
    parser.add_argument("--photos", type=Path, help="a folder of your own pictures instead of drawn ones")
    parser.add_argument(
        "--listings", type=int, default=LISTINGS, help=f"how many listings the MLS has, at least 3 ({LISTINGS})"
    )
    options = parser.parse_args()
    if options.listings < 3:  # the demo changes a photo of two listings, and withdraws a third
        parser.error("--listings must be at least 3")
    began = time.monotonic()
    try:
        _step("starting the sandbox MLS, Kafka, MongoDB, an S3 server and the services")
        demo = prepare(options.photos, options.listings)
        asyncio.run(play(demo))
    except (LocalError, httpx.HTTPError, subprocess.CalledProcessError) as error:
        console.print(f"\n[red]the demo stopped:[/] {error or type(error).__name__}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; the programs that were started go on: `make down` stops them")
        return 130
    console.print(f"\nthe demo took {time.monotonic() - began:.0f} s")
    _print_addresses(demo)
    return 0


if __name__ == "__main__":
    sys.exit(main())
