"""The answers of each service at /metrics and /readyz, its consumer group, and its lease stay as they are.

The services run in this process with their real settings and wiring, but no server answers them and no record comes.
"""

import asyncio
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import aiohttp
import faust
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from local import ports
from local.config import SERVICES
from shared import runtime
from shared.consumer import Consumer
from shared.domain.feed_file import parse_feeds
from shared.settings import Settings
from shared.stores import mongo
from tests import golden_files
from tests.builders import FEED
from tests.system import until

pytestmark = pytest.mark.timeout(60)
SERVICE: ContextVar[str] = ContextVar("service")
FEEDS = f"""[feeds.{FEED}]
image_hosts = ["photos.example.com"]
reso_url = "http://127.0.0.1:9/"
allow_private_addresses = true
[feeds.other]
image_hosts = ["photos.example.com"]
"""


TOKEN = "a-token-for-operators"
PROBES = ("GET /healthz", "GET /readyz", "GET /metrics", "GET /nothing")
DESK = (
    "GET /",
    "GET /login",
    f"POST /login?token=wrong {TOKEN}",
    f"POST /login?token={TOKEN}",
    "POST /logout",
    "GET /config",
    "GET /static/desk.css",
    "GET /static/nothing",
    "GET /do/force?listing=X1",
    "DELETE /",
    "HEAD /login",
)
"""What a browser that has not signed in may ask the desk; a form's fields are written as a query."""


async def answer_to(http: aiohttp.ClientSession, question: str) -> dict[str, Any]:
    """Send a request; return the answer's status and headers, without those that differ each time."""
    method, path = question.split(" ", 1)
    path, _, form = path.partition("?") if method == "POST" else (path, "", "")
    data = dict([form.split("=")]) if form else None
    headers = {"Accept": "application/json" if path == "/config" else "text/html", "Accept-Encoding": "identity"}
    answer = await http.request(method, path, data=data, headers=headers, allow_redirects=False)
    left_out = {"date", "content-length", "etag", "last-modified", "x-request-id"}
    found = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in left_out}
    if "set-cookie" in found:
        found["set-cookie"] = re.sub(r"=[^;]{20,};", "=…;", found["set-cookie"])
    if found.get("server", "").startswith("Python"):
        found["server"] = "aiohttp's own"
    return {"status": answer.status, "headers": found}


@dataclass
class Seen:
    """Metrics, probes, groups, leases and answers of one running service."""

    groups: list[str] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    leases: set[str] = field(default_factory=set)
    collectors: list[Collector] = field(default_factory=list)
    metrics: str = ""
    ready: dict[str, Any] = field(default_factory=dict)
    alive: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    """Status and headers of each answer."""


class Watching:
    """Notes the collectors, consumer groups and leases that each service creates."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen = {service: Seen() for service in SERVICES}
        register, create = CollectorRegistry.register, faust.App.__init__

        def registered(registry: CollectorRegistry, collector: Collector) -> None:
            register(registry, collector)
            if SERVICE.get(""):
                self.seen[SERVICE.get()].collectors.append(collector)

        def created(app: Any, group: str, **settings: Any) -> None:
            create(app, group, **settings)
            self.seen[SERVICE.get()].groups.append(group)

        async def hold(_: Any, name: str, *__: Any) -> bool:
            self.seen[SERVICE.get()].leases.add(name)
            return False

        async def at_once(consumer: Any, *_: Any) -> None:
            if isinstance(consumer, Consumer):
                self.seen[SERVICE.get()].topics = sorted(consumer.topics)

        patch.setattr(CollectorRegistry, "register", registered)
        patch.setattr(faust.App, "__init__", created)
        patch.setattr(mongo.MongoLeases, "hold", hold)
        patch.setattr(runtime, "wait_for_topics", at_once)
        for method in ("start", "stop", "check_progress"):
            patch.setattr(Consumer, method, at_once)

    async def run(self, service: str, settings: Settings) -> None:
        """Run a service until it has answered."""
        SERVICE.set(service)
        stop, seen = asyncio.Event(), self.seen[service]
        serve = import_module(f"services.{service}.app").serve
        running = asyncio.create_task(serve(settings, parse_feeds(FEEDS), stop))
        url = f"http://127.0.0.1:{getattr(settings, f'{service}_port')}"
        async with aiohttp.ClientSession(url) as http:

            async def has_begun() -> bool:
                try:
                    seen.alive = await (await http.get("/healthz")).json()
                    seen.ready = await (await http.get("/readyz")).json()
                except aiohttp.ClientConnectionError:
                    assert not running.done(), running.result()
                    return False
                return "service" not in seen.ready["faults"]

            await until(has_begun, f"{service} to begin", seconds=40)
            for question in (*PROBES, *(DESK if service == "desk" else ())):
                seen.answers[question] = await answer_to(http, question)
            seen.metrics = await (await http.get("/metrics")).text()
        stop.set()
        await running


@pytest.fixture(scope="module")
async def seen() -> Mapping[str, Seen]:
    """What each service showed, by the service's name."""
    taken: set[int] = set()
    where: dict[str, Any] = {f"{service}_port": ports.choose(taken) for service in SERVICES}
    settings = Settings(
        _env_file=None, kafka="127.0.0.1:9", mongo="mongodb://127.0.0.1:9/", s3_endpoint="http://127.0.0.1:9",
        topic_prefix="t.", desk_token=TOKEN, **where,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        watching = Watching(patch)
        await asyncio.gather(*(asyncio.create_task(watching.run(service, settings)) for service in SERVICES))
    return watching.seen


def metric_of(collector: Any) -> dict[str, dict[str, Any]]:
    """Return the types and labels of a collector's metrics, by name."""
    families = list(collector.collect())
    labels = getattr(collector, "_labelnames", None)
    return {
        family.name: {
            "type": family.type,
            "labels": sorted(
                labels if labels is not None else {name for sample in family.samples for name in sample.labels}
            ),
        }
        for family in families
    }


def test_metrics_keep_their_types_and_labels(seen: Mapping[str, Seen]) -> None:
    found = {
        service: {name: facts for collector in service_seen.collectors for name, facts in metric_of(collector).items()}
        for service, service_seen in seen.items()
    }
    golden_files.check("services/metrics", found)


def test_metrics_have_the_same_samples_from_the_start(seen: Mapping[str, Seen]) -> None:
    """A count that begins with its first event hides that event from alerts."""
    found = {
        service: sorted(
            line.rsplit(" ", 1)[0]
            for line in service_seen.metrics.splitlines()
            if not line.startswith("#") and "_seconds" not in line and "_created" not in line
        )
        for service, service_seen in seen.items()
    }
    golden_files.check("services/metrics-at-start", found)


def test_answers_of_probes_stay(seen: Mapping[str, Seen]) -> None:
    found = {
        service: {
            "healthz": service_seen.alive,
            "readyz": {**service_seen.ready, "faults": sorted(service_seen.ready["faults"])},
        }
        for service, service_seen in seen.items()
    }
    golden_files.check("services/probes", found)


def test_consumer_groups_topics_and_leases_stay(seen: Mapping[str, Seen]) -> None:
    found = {
        service: {"group": service_seen.groups, "topics": service_seen.topics, "leases": sorted(service_seen.leases)}
        for service, service_seen in seen.items()
    }
    golden_files.check("services/groups-and-leases", found)


def test_status_and_headers_of_answers_stay(seen: Mapping[str, Seen]) -> None:
    golden_files.check(
        "services/answers",
        {service: golden_files.common_headers_apart(service_seen.answers) for service, service_seen in seen.items()},
    )
