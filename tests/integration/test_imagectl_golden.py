"""The JSON that every `imagectl` command prints stays as it is, for the same stored documents and dead letters.

No service runs. The documents are the golden ones, stored as they are, so that no class of ours takes part.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from ops.imagectl import app
from shared.stores import mongo
from tests import golden_files
from tests.servers import Namespace
from tests.system import until

pytestmark = pytest.mark.timeout(400)
RUNNER = CliRunner()
FEEDS = """[feeds.proptx-idx]
image_hosts = ["photos.example.com"]
requests_per_hour = 1000
reso_url = "https://mls.example.com/"
[feeds.other]
image_hosts = ["photos.example.com"]
"""
LISTING = "X1"
FAILED, UNKNOWN = "9788cf09a3ca4b85c7d02e7fc2d6a62f", "0" * 32
HIDDEN_IMAGE = "bdccb4c8762b28292339ef316cf4133f"
EVENTS = [
    ({"type": "listing-seen.v1", "data": {"feed": "proptx-idx", "property": {"ListingKey": "X1", "Media": []}}}, "X1"),
    ({"type": "listing-seen.v1", "data": {"feed": "nobody", "property": {"ListingKey": "X2"}}}, "X2"),
]
LOOKING = {
    "config": "config",
    "explain a listing": f"explain {LISTING}",
    "explain a hidden listing": "explain hidden",
    "explain a blocked listing": "explain blocked",
    "explain an image": f"explain {FAILED}",
    "explain a URL": "explain https://photos.example.com/small.jpg",
    "explain what is unknown": f"explain {UNKNOWN}",
    "status": "status",
    "compliance of a listing": f"compliance {LISTING}",
    "compliance of a period": "compliance --from 2026-11-01 --to 2026-12-01",
    "compliance of a period without any": "compliance --from 2025-11-01 --to 2025-12-01",
    "removals list": "removals list",
    "topics diff": "topics diff",
    "dead-letters list": "dead-letters list",
    "dead-letters show": "dead-letters show 0",
    "dead-letters show, unknown": "dead-letters show 99",
    "dead-letters requeue, looking": "dead-letters requeue --all --dry-run",
    "dead-letters drop, looking": "dead-letters drop --all --dry-run",
    "force, looking": "force --feed proptx-idx --dry-run",
    "force what failed, looking": "force --failed forbidden --dry-run",
    "rebuild, looking": "rebuild --dry-run",
    "replay, looking": "replay listing-seen --from 2020-01-01 --listing X1 --dry-run",
    "audit": "audit",
    "sweep removals, waiting in vain": "sweep removals --wait 0",
    "doctor": "doctor",
}
CHANGING = {
    "indexes apply": "indexes apply",
    "topics apply": "topics apply",
    "init": "init",
    "freeze": "freeze other --reason because",
    "thaw": "thaw other",
    "force": f"force {LISTING} nowhere --feed proptx-idx",
    "rebuild": "rebuild --yes",
    "removals force": f"removals force {LISTING} --image {FAILED} --yes",
    "removals force a listing": "removals force complete --yes",
    "removals allow": "removals allow blocked",
    "removals resume": "removals resume proptx-idx --yes",
    "removals discard": "removals discard proptx-idx --yes",
    "audit and repair": "audit --repair --yes",
    "dead-letters requeue": "dead-letters requeue 0",
    "dead-letters drop": "dead-letters drop 1 --yes",
    "replay": "replay listing-seen --from 2020-01-01 --yes",
    "publish": "publish LISTINGS --feed proptx-idx",
}
EXPORT = "export dead-letter"


class Imagectl:
    """Runs commands in this process, on one namespace."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self._namespace, self._folder = namespace, folder
        (folder / "feeds.toml").write_text(FEEDS)
        (folder / "listings.ndjson").write_text('{"ListingKey": "X9"}\n{"City": "Toronto"}\nno JSON\n')
        self._env = namespace.env(feeds=folder / "feeds.toml")

    async def run(self, command: str, *form: str) -> dict[str, Any]:
        """Run a command; return its exit code and output, with names and times of this run replaced."""
        arguments = [
            str(self._folder / "listings.ndjson") if argument == "LISTINGS" else argument
            for argument in command.split()
        ]
        done = await asyncio.to_thread(RUNNER.invoke, app, [*arguments, *form], env={**self._env, "COLUMNS": "160"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        printed = json.loads(done.stdout) if form and done.stdout else done.stdout.splitlines()
        errors = done.stderr.splitlines()
        return {"exit code": done.exit_code, "printed": self._lasting(printed), "said": self._lasting(errors)}

    def _lasting(self, found: Any) -> Any:
        """Return the value with all texts and ports that differ from run to run replaced, at any depth."""
        if isinstance(found, dict):
            shortened = {"findings": found["findings"][:1]} if "findings" in found else {}
            return {self._text(name): self._lasting(value) for name, value in (found | shortened).items()}
        if isinstance(found, list):
            return [self._lasting(item) for item in found]
        if isinstance(found, str):
            return self._text(found)
        return "(a port)" if found in self._namespace.ports.values() else found

    def _text(self, text: str) -> str:
        """Return the text with names of the namespace and the machine, ports, times and distances replaced."""
        namespace, servers = self._namespace, self._namespace.servers
        for name, value in {
            "feeds.toml": str(self._folder / "feeds.toml"), "listings.ndjson": str(self._folder / "listings.ndjson"),
            "t.": namespace.prefix, "images-bucket": namespace.bucket, "originals-bucket": namespace.originals_bucket,
            "db": namespace.db,
            "kafka:9092": servers.kafka, "http://s3:9000": servers.s3_endpoint, "s3-key": servers.s3_access_key,
            **{f"{service}-port": str(port) for service, port in namespace.ports.items()}, "host": socket.gethostname(),
        }.items():  # fmt: skip
            text = text.replace(value, name)
        text = re.sub(r"\((?:in )?[\d.]+ (?:s|min|h|d)(?: ago)?\)", "(…)", text)
        text = re.sub(r" +[\d.]+ (?:s|min|h|d) late", " … late", text)
        stored = r"2026-11-2[34]T0[89]:|9999-"
        return re.sub(rf"(?!{stored})\d{{4}}-\d\d-\d\d[T ][\d:.]+(?:\+00:00|Z| UTC)?", "(a time)", text)


@pytest.fixture
async def database(namespace: Namespace) -> AsyncIterator[mongo.Database]:
    """A database of the golden documents, with all indexes except those that delete old documents."""
    async with mongo.connect(namespace.servers.mongo, namespace.db) as opened:
        await mongo.apply_indexes(opened)
        for collection in ("attempts", "dead_letters"):
            await opened[collection].drop_index("expiry")
        listings = list(golden_files.read("mongo/listings").values())
        stored = {name: golden_files.read(f"mongo/{name}") for name in ("attempts", "removals", "freezes", "paces")}
        halted = golden_files.read("mongo/ledgers")["halted"]
        budgets = [{"_id": "proptx-idx", "ledger": halted, "revision": 3}]
        for name, documents in (stored | {"listings": listings, "budgets": budgets}).items():
            await opened[name].insert_many(documents)
        yield opened
        await opened.client.drop_database(namespace.db)


@pytest.fixture
async def imagectl(namespace: Namespace, database: mongo.Database, tmp_path: Path) -> Imagectl:
    """A runner of commands on a namespace with topics, buckets, two events and two dead letters."""
    found = Imagectl(namespace, tmp_path)
    assert (await found.run("init", "--json"))["exit code"] == 0
    for collection in ("attempts", "dead_letters"):
        await database[collection].drop_index("expiry")
    async with AIOKafkaProducer(bootstrap_servers=namespace.servers.kafka) as producer:
        for offset, (event, key) in enumerate(EVENTS):
            value = json.dumps(event).encode()
            await producer.send_and_wait(f"{namespace.prefix}listing-seen", value, key=key.encode())
            headers = {
                "dead_letter_reason": f"reason {offset}", "dead_letter_topic": f"{namespace.prefix}listing-seen",
                "dead_letter_partition": "0", "dead_letter_offset": str(offset),
                "dead_letter_service": "scheduler", "dead_letter_at": "2026-11-23T09:00:00+00:00",
            }  # fmt: skip
            await producer.send_and_wait(
                f"{namespace.prefix}dead-letter", value, key=key.encode(),
                headers=[(name, value.encode()) for name, value in headers.items()],
            )  # fmt: skip
    return found


async def test_the_json_of_every_command_stays(imagectl: Imagectl) -> None:
    found = {name: await imagectl.run(command, "--json") for name, command in LOOKING.items()}
    words = {name: await imagectl.run(command) for name, command in LOOKING.items() if name != "doctor"}
    exported = await imagectl.run(EXPORT)
    found["export"] = exported | {"printed": [sorted(json.loads(line)) for line in exported["printed"]]}
    found |= {name: await imagectl.run(command, "--json") for name, command in CHANGING.items()}
    golden_files.check("imagectl/json", found)
    golden_files.check("imagectl/words", words)


async def test_the_json_of_a_requested_sweep_stays(imagectl: Imagectl, database: mongo.Database) -> None:
    """The test writes the result of the sweep in the scheduler's place."""
    sweeping = asyncio.create_task(imagectl.run("sweep freshness --feed proptx-idx --dry-run", "--json"))
    wish = (await until(lambda: database["sweeps"].find_one({"wish": {"$exists": True}}), "the wish"))["wish"]
    (swept,) = (sweep for sweep in golden_files.read("mongo/sweeps") if sweep["_id"] == "proptx-idx")
    answer = swept | {"wish": wish, "answered": wish["at"]}
    await database["sweeps"].replace_one({"_id": "proptx-idx"}, answer)
    found = await sweeping
    golden_files.check("imagectl/sweep", found | {"wish": sorted(wish), "dry run": wish["dry_run"]})
