"""The services as real processes in a namespace of their own; tests drive them from outside."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from local import config, ports
from local.config import PROJECT, SERVICES
from shared.domain.listing import Listing
from shared.render import Renderer
from shared.stores import mongo
from tests.servers import Namespace

Value = TypeVar("Value")
Record = Mapping[str, Any]

MAX_WAIT_SECONDS = 90.0  # less than the timeout of a test, whose message does not say what was awaited
LOOK_SECONDS = 0.05


async def until(
    look: Callable[[], Awaitable[Value | None]], description: str, seconds: float = MAX_WAIT_SECONDS
) -> Value:
    """Call `look` every 0.05 s until its result is true, and return that result.

    Fail after `seconds`; the message says that `description` was awaited.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await look()):
        assert asyncio.get_running_loop().time() < deadline, f"waited {seconds:.0f} s for {description}"
        await asyncio.sleep(LOOK_SECONDS)
    return found


class System:
    """The services of one namespace as processes, and clients of them. `http` is a client of the resolver.

    `feeds` is the file feeds.toml, `logs` the folder of the services' logs; `settings` are named as fields of
    `Settings`.
    """

    def __init__(
        self, namespace: Namespace, feeds: Path, logs: Path, producer: AIOKafkaProducer, **settings: object
    ) -> None:
        self.namespace = namespace
        self.env = namespace.env(feeds=feeds, **settings)
        self.logs = logs
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{namespace.ports['resolver']}", timeout=20, trust_env=False
        )
        self._producer = producer
        self._ports = dict(namespace.ports)
        self._running: dict[str, asyncio.subprocess.Process] = {}

    # Processes

    async def init(self) -> None:
        """Create the namespace's topics, buckets and indexes with `imagectl init`. Fail if that fails."""
        code, output = await self.run("imagectl", "init")
        assert code == 0, output

    async def run(self, program: str, *arguments: str, **env: str) -> tuple[int, str]:
        """Run the program of `ops` with this name, such as imagectl, in the namespace, and wait for its end.

        `env` is added to its environment. Return its exit code and all that it printed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"ops.{program}", *arguments,
            cwd=PROJECT, env={**os.environ, **self.env, "COLUMNS": "160", **env},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def start(self, *names: str) -> None:
        """Start services and wait until all are ready.

        `downloader-2` is a second downloader, with a port of its own.
        """
        for name in names:
            service = name.partition("-")[0]
            if name not in self._ports:
                self._ports[name] = ports.choose(set(self._ports.values()))
            port = {config.port_variable(service): str(self._ports[name])}
            with (self.logs / f"{name}.log").open("ab") as log:
                self._running[name] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", f"services.{service}",
                    cwd=PROJECT, env={**os.environ, **self.env, **port}, stdout=log, stderr=log,
                )  # fmt: skip
        for name in names:
            await until(lambda name=name: self._is_ready(name), f"{name} to be ready")  # type: ignore[misc]

    async def _is_ready(self, name: str) -> bool:
        assert self._running[name].returncode is None, self.log(name)[-3000:]
        try:
            return (await self.http.get(f"{self.url(name)}/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    def pid(self, name: str) -> int:
        """Return the process id of the running service of this name."""
        return self._running[name].pid

    def url(self, name: str) -> str:
        """Return the root URL at which the service of this name listens, without a slash at its end."""
        return f"http://127.0.0.1:{self._ports[name]}"

    async def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Send a service the signal `number` and wait for its end, 15 s at most; return its exit code."""
        process = self._running.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 15)

    async def close(self) -> None:
        """Stop all services that run, and close the client `http`."""
        await asyncio.gather(*(self.stop(name) for name in tuple(self._running)))
        await self.http.aclose()

    def log(self, name: str) -> str:
        """Return the text of the log of the service of this name."""
        return (self.logs / f"{name}.log").read_text()

    async def diagnostics(self) -> AsyncIterator[str]:
        """Yield texts for a failed test's report: the status, explanations of due listings, and the end of each log."""
        yield (await self.run("imagectl", "status"))[1]
        due = [listing.key for listing in await self.listings() if listing.due_at]
        for key in due[:3]:
            yield (await self.run("imagectl", "explain", key))[1]
        for log in sorted(self.logs.glob("*.log")):
            yield "\n".join([f"The last of {log.name}:", *log.read_text().splitlines()[-30:]])

    # Topics

    async def publish_listings(self, *records: Record, feed: str = "sandbox") -> None:
        """Publish a `listing-seen` event for each property record, as an ingest does, and wait until Kafka has all."""
        for record in records:
            event = {"type": "listing-seen.v1", "data": {"feed": feed, "property": record}}
            await self.send("listing-seen", json.dumps(event).encode(), key=str(record.get("ListingKey")).encode())

    async def send(self, topic: str, value: bytes | None, key: bytes | None = None) -> None:
        """Publish a record to a topic of the namespace, with any value, and wait until Kafka has stored it."""
        await self._producer.send_and_wait(f"{self.namespace.prefix}{topic}", value=value, key=key)

    async def records(self, topic: str) -> Sequence[ConsumerRecord]:
        """Return all records of a topic of the namespace, from all its partitions."""
        consumer = AIOKafkaConsumer(
            f"{self.namespace.prefix}{topic}",
            bootstrap_servers=self.namespace.servers.kafka,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            await consumer.seek_to_beginning()
            found: list[ConsumerRecord] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                batches = await consumer.getmany(timeout_ms=200)
                found += [record for batch in batches.values() for record in batch]
            return found
        finally:
            await consumer.stop()

    async def events(self, topic: str, listing_key: str) -> list[dict[str, Any]]:
        """Return the data of each event of a listing on a topic of the namespace."""
        events = [json.loads(record.value) for record in await self.records(topic) if record.value]
        return [event["data"] for event in events if event["data"].get("listing_key") == listing_key]

    async def wait_until_read(self) -> None:
        """Wait until scheduler and janitor have read every published listing. Fail after 90 s."""

        async def is_read() -> bool:
            code, output = await self.run("imagectl", "status", "--json")
            assert code == 0, output
            lag = json.loads(output)["lag"]
            return not lag["scheduler"]["listing-seen"] and not lag["janitor"]["listing-seen"]

        await until(is_read, "all listings to be read")

    # Records and answers

    async def listings(self) -> Sequence[Listing]:
        """Return the recorded listings of the feed `sandbox`, up to 1,000."""
        async with mongo.connect(self.env["IMAGES_MONGO"], self.env["IMAGES_MONGO_DB"]) as database:
            return await mongo.MongoListings(database, Renderer("http://x")).page("sandbox", "", 1_000)

    async def images(self, key: str, **query: str) -> list[dict[str, Any]]:
        """Return a listing's images as the resolver answers them; an empty list if the answer is 404.

        `query` are the request's query parameters.
        """
        answer = await self.http.get(f"/api/listings/{key}/images", params=query)
        assert answer.status_code in (200, 404), answer.text
        return list(answer.json().get("images", []))

    async def wait_until_downloaded(self, key: str, photos: int) -> list[dict[str, Any]]:
        """Wait until a listing shows `photos` photos, all with copies of their newest version; return them as answered.

        Fail after 90 s, with the explanation of the listing and the system's status.
        """

        async def all_downloaded() -> list[dict[str, Any]] | None:
            images = await self.images(key, context="search")
            downloaded = [image for image in images if image["status"] == "downloaded"]
            return images if len(downloaded) == len(images) == photos else None

        try:
            return await until(all_downloaded, f"the {photos} photos of {key}")
        except AssertionError as error:
            for command in (["explain", key], ["status"]):
                error.add_note((await self.run("imagectl", *command))[1])
            raise

    async def wait_until_hidden(self, key: str) -> None:
        """Wait until the resolver answers 404 for a listing. Fail after 90 s."""

        async def is_hidden() -> bool:
            return (await self.http.get(f"/api/listings/{key}/images")).status_code == 404

        await until(is_hidden, f"{key} to be hidden")

    async def is_open(self, url: str) -> bool:
        """Return True if a GET of the public URL is answered 200."""
        return (await self.http.get(url)).status_code == 200


@asynccontextmanager
async def running(
    namespace: Namespace, feeds: str, folder: Path, *services: str, **settings: object
) -> AsyncIterator[System]:
    """Run the named services, or all, in a namespace during the context; yield the system.

    `feeds` is the text of feeds.toml. That file and the logs are in `folder`; `settings` are named as the fields of
    `Settings`. A test that fails in the context gets the end of each log in its report.
    """
    path = folder / "feeds.toml"
    path.write_text(feeds)
    async with AIOKafkaProducer(bootstrap_servers=namespace.servers.kafka) as producer:
        system = System(namespace, path, folder, producer, **settings)
        try:
            await system.init()
            await system.start(*(services or SERVICES))
            yield system
        except AssertionError as error:
            async for note in system.diagnostics():
                error.add_note(note)
            raise
        finally:
            await system.close()
