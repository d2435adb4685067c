"""Checks the servers, services, clocks and settings of the system. Each fault comes with advice for the operator."""

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
from shared.secret_values import read_secret
from shared.settings import Settings, unknown_variables
from shared.stores import mongo
from shared.stores.errors import StoreUnavailable
from shared.stores.minio_objects import MinioObjects

LOOPS = {"release": "scheduler", "removal": "janitor"}
"""The lease of each loop that only one process runs at a time, and the service that runs the loop."""
SERVICES = ("scheduler", "downloader", "resolver", "janitor", "ingest")
_TOKEN, _SETTINGS = "the desk's token", "the desk's settings"
_MAX_SKEW = timedelta(seconds=2)
_NOT_AHEAD = "it is not ahead of this machine's; whether it is behind, only a new record would tell"
_TIMEOUT = aiohttp.ClientTimeout(total=6)


class State(StrEnum):
    """How a check of `imagectl doctor` ended: OK, with a fault, or unknown because nothing answered."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check: what was checked, how it ended, what was found, and what to do about a fault."""

    what: str
    state: State
    message: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        """Return this result as `doctor --json` prints it: `what`, `state`, `said` (the message) and `advice`."""
        return {"what": self.what, "state": self.state, "said": self.message, "advice": self.advice}


async def examine(settings: Settings, feeds: Mapping[str, Feed]) -> AsyncIterator[CheckResult]:
    """Check the whole system, one check after the other, and yield each result.

    The checks are of tokens and variables, then of Kafka, MongoDB and S3, then of the services and the desk. A server
    that does not answer is a result too, and raises nothing.
    """
    for result in (*check_tokens(settings, feeds), *check_variables(unknown_variables())):
        yield result
    checks: Sequence[tuple[str, Callable[[Settings], Awaitable[Sequence[CheckResult]]], str]] = (
        ("kafka", _check_kafka, "is it running, and does IMAGES_KAFKA name it?"),
        ("mongo", partial(_check_mongo, feeds=feeds), "is it running, and does IMAGES_MONGO name it?"),
        ("s3", _check_s3, "is it running, and do IMAGES_S3_ENDPOINT and its keys fit?"),
    )
    for what, check, advice in checks:
        try:
            for result in await check(settings):
                yield result
        except (BrokerUnavailable, StoreUnavailable) as error:
            yield CheckResult(what, State.FAULT, str(error), advice)
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
        for service in SERVICES:
            yield await _check_service(http, settings, service)
        for result in await _check_desk(http, settings, feeds):
            yield result


def check_tokens(settings: Settings, feeds: Mapping[str, Feed]) -> Sequence[CheckResult]:
    """Return a fault for each secret whose variable a feed names and the environment lacks.

    `feeds` are those of feeds.toml by name. If no secret is missing, the only result is OK, with the names of the
    feeds. `settings` serves only to name the file of the feeds in that result.
    """
    named = [
        (feed, name)
        for feed in feeds.values()
        for name in {*feed.image_secret_names.values(), *feed.reso_secret_names.values()}
    ]
    message = "its secret is not set, so the origin will refuse"
    missing = [
        CheckResult(f"feed {feed.name}", State.FAULT, message, f"set {name}, or {name}_FILE, for the services")
        for feed, name in named
        if not read_secret(name)
    ]
    return missing or [CheckResult("feeds", State.OK, f"{settings.feeds} has {', '.join(feeds)}")]


def check_variables(unknown: Mapping[str, str]) -> Sequence[CheckResult]:
    """Return a fault for each variable that starts with IMAGES_ but is no setting. Pure.

    `unknown` maps each such variable to the setting that is probably meant, or to "" if no setting is similar.
    """
    return [
        CheckResult(
            name, State.FAULT, "there is no such setting", f"set {setting} instead" if setting else "see .env.example"
        )
        for name, setting in unknown.items()
    ]


def check_displayed_feeds(feeds: Collection[str], displayed: Mapping[str, int]) -> Sequence[CheckResult]:
    """Return a fault for each feed that has displayed listings but is not in feeds.toml. Pure.

    `feeds` are the names in feeds.toml. `displayed` maps each recorded feed to the number of its displayed listings.
    The result is empty if there is no such feed.
    """
    message = (
        "{} of its listings are displayed, but it is not in feeds.toml: nothing of it is fetched, swept or audited"
    )
    advice = "put it back; to end it, withdraw its listings before it leaves the file"
    return [
        CheckResult(f"feed {name}", State.FAULT, message.format(count), advice)
        for name, count in displayed.items()
        if count and name not in feeds
    ]


async def _check_kafka(settings: Settings) -> Sequence[CheckResult]:
    """Check the topics in Kafka, and the brokers' clock if the topic `listing-seen` is as it should be.

    Returns a fault for each topic that differs from the manifest, or one OK if none does; then the result about the
    clock, if it was checked. Raises BrokerUnavailable.
    """
    differences = await kafka.topic_differences(settings.kafka, settings.topic_prefix, MANIFEST)
    found = [
        CheckResult(f"topic {name}", State.FAULT, "; ".join(wrong), "imagectl topics apply")
        for name, wrong in differences.items()
        if wrong
    ]
    found = found or [CheckResult("topics", State.OK, f"all {len(differences)} are as they should be")]
    if LISTING_SEEN in {name.removeprefix(settings.topic_prefix) for name, wrong in differences.items() if not wrong}:
        topic = settings.topic(LISTING_SEEN)
        ahead = await kafka.offset_ranges(settings.kafka, topic, utc_now() + _MAX_SKEW, None)
        found.append(check_clock("kafka", _MAX_SKEW) if ahead else CheckResult("clock of kafka", State.OK, _NOT_AHEAD))
    return found


async def _check_mongo(settings: Settings, feeds: Mapping[str, Feed]) -> Sequence[CheckResult]:
    """Check MongoDB's clock and indexes, the recorded feeds, and the leases of the loops.

    `feeds` are those of feeds.toml by name. Faults are a missing index, a recorded feed with displayed listings that is
    not in `feeds`, and a loop whose lease no process holds. If indexes are missing, the recorded feeds are not checked,
    because the queries would read whole collections. Returns a result for each check. Raises StoreUnavailable.
    """
    async with mongo.connect(settings.mongo.get_secret_value(), settings.mongo_db) as database:
        before = utc_now()
        skew = least_skew(before, await mongo.server_time(database), utc_now())
        missing = await mongo.missing_indexes(database)
        holders = await mongo.MongoLeases(database).holders(utc_now())
        listings = mongo.MongoListings(database, Renderer(settings.public_root))
        displayed = {} if missing else {feed: await listings.displayed_count(feed) for feed in await listings.feeds()}
    found = [check_clock("mongo", skew), *check_displayed_feeds(feeds, displayed)]
    if missing:
        message = f"{', '.join(missing)} missing; queries read whole collections"
        found.append(CheckResult("indexes", State.FAULT, message, "imagectl indexes apply"))
    else:
        found.append(CheckResult("indexes", State.OK, "every index is there"))
    return found + [_check_loop(loop, service, holders.get(loop)) for loop, service in LOOPS.items()]


def _check_loop(loop: str, service: str, holder: str | None) -> CheckResult:
    if holder:
        return CheckResult(f"the {loop} loop", State.OK, f"{holder} runs it")
    return CheckResult(f"the {loop} loop", State.FAULT, "nobody runs it", f"start a {service}: make up")


async def _check_s3(settings: Settings) -> Sequence[CheckResult]:
    """Check the clock and the two buckets of the object storage.

    Returns the result about the clock, then a FAULT for each fault of a bucket, or one OK if there is none. Raises
    StoreUnavailable.
    """
    objects = MinioObjects(settings)
    try:
        before = utc_now()
        skew = least_skew(before, await objects.server_time(), utc_now())
        faults = await objects.faults()
    finally:
        objects.close()
    broken = [CheckResult("buckets", State.FAULT, fault, "imagectl init, or the store's own tools") for fault in faults]
    readable = CheckResult("buckets", State.OK, "the public one is readable, the other is not")
    return [check_clock("s3", skew), *(broken or [readable])]


def least_skew(before: datetime, server_time: datetime, after: datetime) -> timedelta:
    """Return the least difference that a server's clock can have from our clock; zero if the two may agree. Pure.

    The server read its clock between `before` and `after`, which are times of our clock. `server_time` may be cut to
    whole seconds, as the S3 server's is.
    """
    if server_time > after:
        return server_time - after
    return max(timedelta(0), before - server_time - timedelta(seconds=1))


def check_clock(server: str, skew: timedelta) -> CheckResult:
    """Return a fault if a server's clock differs from this machine's by two seconds or more, else OK. Pure.

    `server` is the server's name for the operator, `skew` the difference without a sign.
    """
    what = f"clock of {server}"
    if skew < _MAX_SKEW:
        return CheckResult(what, State.OK, "it agrees with this machine's")
    message = f"it is {skew.total_seconds():.0f} s or more away from this machine's"
    return CheckResult(
        what, State.FAULT, message, "let NTP set both; due times and leases are compared across machines"
    )


def _address(settings: Settings, service: str) -> str:
    return f"http://{settings.host}:{getattr(settings, f'{service}_port')}"


async def _check_service(http: aiohttp.ClientSession, settings: Settings, service: str) -> CheckResult:
    """Ask a service at `/readyz` whether it is ready, and return OK, or FAULT with the faults that it names.

    No answer, or one that cannot be read, means UNKNOWN, because the service may run on another machine.
    """
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
    message = "; ".join(f"{name}: {fault}" for name, fault in faults.items()) or f"it answers {answer.status}"
    return CheckResult(service, State.FAULT, message, f"its log says more: make logs NAME={service}")


async def _check_desk(
    http: aiohttp.ClientSession, settings: Settings, feeds: Mapping[str, Feed]
) -> Sequence[CheckResult]:
    """Check whether the desk runs, accepts the token that is set here, and was started with these settings and feeds.

    Returns a result for each check, up to the first that cannot be made. The system works without a desk: if the desk
    does not answer, the only result is UNKNOWN and not a fault.
    """
    service = await _check_service(http, settings, "desk")
    if service.state is State.UNKNOWN:
        return [service]
    token = settings.desk_token.get_secret_value()
    if not token:
        message, advice = "IMAGES_DESK_TOKEN is not set here", "set it for the desk as well, if operators shall sign in"
        return [service, CheckResult(_TOKEN, State.UNKNOWN, message, advice)]
    try:
        headers = {"Authorization": f"Bearer {token}"}
        async with http.get(f"{_address(settings, 'desk')}/config", headers=headers, allow_redirects=False) as answer:
            status, theirs = answer.status, await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return [service, CheckResult(_TOKEN, State.UNKNOWN, f"the desk did not answer: {error}", "ask again")]
    if status in (401, 403):
        message, advice = "the desk refuses the one that is set here", "start it again with this IMAGES_DESK_TOKEN"
        return [service, CheckResult(_TOKEN, State.FAULT, message, f"{advice}: make down, make up")]
    if status != 200 or not isinstance(theirs, dict) or theirs.keys() != {"settings", "feeds"}:
        return [service, CheckResult(_TOKEN, State.UNKNOWN, f"the desk answers {status}", "ask again in a minute")]
    accepted = CheckResult(_TOKEN, State.OK, "the desk accepts it")
    return [service, accepted, _compare_settings(config.to_json(settings, feeds), theirs)]


def _compare_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> CheckResult:
    if names := config.differences(ours, theirs):
        message = f"it was started with other values of {', '.join(names)}"
        return CheckResult(_SETTINGS, State.FAULT, message, "start it again with these: make down, make up")
    return CheckResult(_SETTINGS, State.OK, "they are those that are in force here")
