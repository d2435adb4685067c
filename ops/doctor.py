"""Is everything as it must be? Each server, each service, the clocks; and for each fault, what to do."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import aiohttp

from ops import config
from shared import kafka
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.events.topics import LISTING_SEEN, MANIFEST
from shared.kafka import BrokerUnavailable
from shared.render import Renderer
from shared.settings import Settings, read_secret, unknown_variables
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.minio_objects import MinioObjects

LOOPS = {"release": "scheduler", "removal": "janitor"}
"""The lease of each loop that one process runs, and the service whose it is."""
SERVICES = ("scheduler", "downloader", "resolver", "janitor")
_TOKEN, _SETTINGS = "the desk's token", "the desk's settings"
_SKEW = timedelta(seconds=2)
_NOT_AHEAD = "it is not ahead of this machine's; whether it is behind, only a new record would tell"
_PATIENCE = aiohttp.ClientTimeout(total=6)


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check: what was looked at, what was found, and what to do about it."""

    what: str
    state: State
    said: str
    advice: str = ""


async def examine(settings: Settings, feeds: Mapping[str, Feed]) -> AsyncIterator[CheckResult]:
    """Look at everything, one after the other; never raises for what is out of reach."""
    for finding in (*of_feeds(settings, feeds), *of_settings(unknown_variables(feeds))):
        yield finding
    checks: Sequence[tuple[str, Callable[[Settings], Awaitable[Sequence[CheckResult]]], str]] = (
        ("kafka", _kafka, "is it running, and does IMAGES_KAFKA name it?"),
        ("mongo", partial(_mongo, feeds=feeds), "is it running, and does IMAGES_MONGO name it?"),
        ("s3", _s3, "is it running, and do IMAGES_S3_ENDPOINT and its keys fit?"),
    )
    for what, check, advice in checks:
        try:
            for finding in await check(settings):
                yield finding
        except (BrokerUnavailable, StoreUnavailable) as fault:
            yield CheckResult(what, State.FAULT, str(fault), advice)
    async with aiohttp.ClientSession(timeout=_PATIENCE) as http:
        for service in SERVICES:
            yield await _service(http, settings, service)
        for finding in await _desk(http, settings, feeds):
            yield finding


def of_feeds(settings: Settings, feeds: Mapping[str, Feed]) -> Sequence[CheckResult]:
    """Say whether the secrets that the feeds name are set; the file itself was read already. Pure but for them."""
    tokens = [(feed, name) for feed in feeds.values() for name in (feed.token_env, feed.reso_token_env) if name]
    said = "its token is not set, so the origin will refuse"
    missing = [
        CheckResult(f"feed {feed.name}", State.FAULT, said, f"set {name} for the services")
        for feed, name in tokens
        if not read_secret(name)
    ]
    return missing or [CheckResult("feeds", State.OK, f"{settings.feeds} has {', '.join(feeds)}")]


def of_settings(unknown: Mapping[str, str]) -> Sequence[CheckResult]:
    """Say which variables look like settings and are none. Pure."""
    return [
        CheckResult(
            name, State.FAULT, "there is no such setting", f"set {meant} instead" if meant else "see .env.example"
        )
        for name, meant in unknown.items()
    ]


def of_feeds_that_left(feeds: Collection[str], displayed: Mapping[str, int]) -> Sequence[CheckResult]:
    """Say which feeds are shown, with how many listings, and are no longer in the file. Pure."""
    said = "{} of its listings are displayed, but it is not in feeds.toml: nothing of it is fetched, swept or audited"
    advice = "put it back; to end it, withdraw its listings before it leaves the file"
    return [
        CheckResult(f"feed {name}", State.FAULT, said.format(count), advice)
        for name, count in displayed.items()
        if count and name not in feeds
    ]


async def _kafka(settings: Settings) -> Sequence[CheckResult]:
    faults = await kafka.topic_differences(settings.kafka, settings.topic_prefix, MANIFEST)
    found = [
        CheckResult(f"topic {name}", State.FAULT, "; ".join(wrong), "imagectl topics apply")
        for name, wrong in faults.items()
        if wrong
    ]
    found = found or [CheckResult("topics", State.OK, f"all {len(faults)} are as they should be")]
    if LISTING_SEEN in {name.removeprefix(settings.topic_prefix) for name, wrong in faults.items() if not wrong}:
        ahead = await kafka.offset_ranges(settings.kafka, settings.topic(LISTING_SEEN), utc_now() + _SKEW, None)
        found.append(_clock("kafka", _SKEW) if ahead else CheckResult("clock of kafka", State.OK, _NOT_AHEAD))
    return found


async def _mongo(settings: Settings, feeds: Mapping[str, Feed]) -> Sequence[CheckResult]:
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        before = utc_now()
        skew = _apart(before, await mongo.server_time(database), utc_now())
        missing = await mongo.missing_indexes(database)
        holders = await mongo.MongoLeases(database).holders(utc_now())
        listings = mongo.MongoListings(database, Renderer(settings.public_root))
        left = {} if missing else {feed: await listings.displayed_count(feed) for feed in await listings.feeds()}
    found = [_clock("mongo", skew), *of_feeds_that_left(feeds, left)]
    if missing:
        said = f"{', '.join(missing)} missing; queries read whole collections"
        found.append(CheckResult("indexes", State.FAULT, said, "imagectl indexes apply"))
    else:
        found.append(CheckResult("indexes", State.OK, "every index is there"))
    return found + [_loop(loop, service, holders.get(loop)) for loop, service in LOOPS.items()]


def _loop(loop: str, service: str, holder: str | None) -> CheckResult:
    if holder:
        return CheckResult(f"the {loop} loop", State.OK, f"{holder} runs it")
    return CheckResult(f"the {loop} loop", State.FAULT, "nobody runs it", f"start a {service}: make up")


async def _s3(settings: Settings) -> Sequence[CheckResult]:
    objects = MinioObjects(settings)
    try:
        before = utc_now()
        skew = _apart(before, await objects.server_time(), utc_now())
        faults = await objects.faults()
    finally:
        objects.close()
    wrong = [CheckResult("buckets", State.FAULT, fault, "imagectl init, or the store's own tools") for fault in faults]
    return [
        _clock("s3", skew),
        *(wrong or [CheckResult("buckets", State.OK, "the public one is readable, the other is not")]),
    ]


def _apart(before: datetime, told: datetime, after: datetime) -> timedelta:
    """How far a server's clock is from ours at least; the S3 server tells whole seconds."""
    if told > after:
        return told - after
    return max(timedelta(0), before - told - timedelta(seconds=1))


def _clock(server: str, skew: timedelta) -> CheckResult:
    what = f"clock of {server}"
    if skew < _SKEW:
        return CheckResult(what, State.OK, "it agrees with this machine's")
    said = f"it is {skew.total_seconds():.0f} s or more away from this machine's"
    return CheckResult(what, State.FAULT, said, "let NTP set both; due times and leases are compared across machines")


def _address(settings: Settings, service: str) -> str:
    return f"http://{settings.host}:{getattr(settings, f'{service}_port')}"


async def _service(http: aiohttp.ClientSession, settings: Settings, service: str) -> CheckResult:
    url = f"{_address(settings, service)}/readyz"
    try:
        async with http.get(url) as answer:
            body = await answer.json(content_type=None)
            faults = dict(body.get("faults", {}))
    except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError, TypeError):
        return CheckResult(
            service, State.UNKNOWN, f"{url} does not answer", "make up; nothing to do where it runs elsewhere"
        )
    if answer.status == 200:
        return CheckResult(service, State.OK, "it is ready")
    said = "; ".join(f"{name}: {fault}" for name, fault in faults.items()) or f"it answers {answer.status}"
    return CheckResult(service, State.FAULT, said, f"its log says more: make logs NAME={service}")


async def _desk(http: aiohttp.ClientSession, settings: Settings, feeds: Mapping[str, Feed]) -> Sequence[CheckResult]:
    """Whether it runs, opens to the token that is set here, and was started with these settings.

    A system does its work without one: only what a desk that runs does wrong is a fault.
    """
    found = await _service(http, settings, "desk")
    if found.state is State.UNKNOWN:
        return [found]
    token = settings.desk_token.get_secret_value()
    if not token:
        said, advice = "IMAGES_DESK_TOKEN is not set here", "set it for the desk as well, if operators shall sign in"
        return [found, CheckResult(_TOKEN, State.UNKNOWN, said, advice)]
    try:
        headers = {"Authorization": f"Bearer {token}"}
        async with http.get(f"{_address(settings, 'desk')}/config", headers=headers, allow_redirects=False) as answer:
            status, theirs = answer.status, await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
        return [found, CheckResult(_TOKEN, State.UNKNOWN, f"the desk did not answer: {fault}", "ask again")]
    if status in (401, 403):
        said, advice = "the desk refuses the one that is set here", "start it again with this IMAGES_DESK_TOKEN"
        return [found, CheckResult(_TOKEN, State.FAULT, said, f"{advice}: make down, make up")]
    if status != 200 or not isinstance(theirs, dict) or theirs.keys() != {"settings", "feeds"}:
        return [found, CheckResult(_TOKEN, State.UNKNOWN, f"the desk answers {status}", "ask again in a minute")]
    return [found, CheckResult(_TOKEN, State.OK, "the desk accepts it"), _same(config.shown(settings, feeds), theirs)]


def _same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> CheckResult:
    if others := config.differences(ours, theirs):
        said = f"it was started with other values of {', '.join(others)}"
        return CheckResult(_SETTINGS, State.FAULT, said, "start it again with these: make down, make up")
    return CheckResult(_SETTINGS, State.OK, "they are those that are in force here")
