"""Test the local stack and the demo: starting, stopping and starting again, in a directory of their own."""

import asyncio
import io
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pymongo
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from minio import Minio

from local import config, ports, stack
from local.config import PROJECT
from local.processes import LocalError, Process
from tests.builders import a_record, a_row

pytestmark = pytest.mark.slow

FAKE = """
import http.server, os, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.environ["IMAGES_BUCKET"] != "unready" else 503)
        self.end_headers()
    def log_message(self, *_): pass
print("bucket is", os.environ["IMAGES_BUCKET"], flush=True)
if os.environ["IMAGES_BUCKET"] == "broken": sys.exit("cannot go on")
port = int(os.environ[f"IMAGES_{sys.argv[1].upper()}_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""
ELSEWHERE = {"IMAGES_KAFKA": "127.0.0.1:1", "IMAGES_MONGO": "mongodb://127.0.0.1:1", "IMAGES_S3_ENDPOINT": "http://s3"}
"""Settings that name all servers: the stack starts none of its own."""


def fakes(init: str = "pass") -> stack.System:
    """Return services that only answer that they are ready, and `init` as the program that prepares for them."""
    services = {name: (sys.executable, "-c", FAKE, name) for name in config.SERVICES}
    return stack.System((sys.executable, "-c", init), services)


def pids(home: Path, *names: str) -> dict[str, int]:
    found = {name: Process(name, home).running() for name in names}
    return {name: process.pid for name, process in found.items() if process}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory, and stop its processes at the end of the test."""
    yield tmp_path
    stack.down(tmp_path)


@pytest.fixture(scope="module")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a directory with real servers, shared by all tests that need them."""
    home = tmp_path_factory.mktemp("stack")
    try:
        stack.up(home, system=stack.SERVERS_ONLY)
        yield home
    finally:
        stack.down(home)


def store(settings: Mapping[str, str]) -> Minio:
    keys = settings["IMAGES_S3_ACCESS_KEY"], settings["IMAGES_S3_SECRET_KEY"]
    return Minio(settings["IMAGES_S3_ENDPOINT"].removeprefix("http://"), *keys, secure=False)


async def write(settings: Mapping[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings["IMAGES_KAFKA"])
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=settings["IMAGES_KAFKA"]) as producer:
        await producer.send_and_wait("kept", b"a record")
    with pymongo.MongoClient[dict[str, str]](settings["IMAGES_MONGO"]) as mongo:
        mongo.kept.documents.insert_one({"_id": "a document"})
    store(settings).make_bucket("kept")
    store(settings).put_object("kept", "an/object", io.BytesIO(b"bytes"), 5)


async def read(settings: Mapping[str, str]) -> tuple[bytes | None, str, bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=settings["IMAGES_KAFKA"], auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition("kept", 0)])
        record = await consumer.getone()
    with pymongo.MongoClient[dict[str, str]](settings["IMAGES_MONGO"]) as mongo:
        document = mongo.kept.documents.find_one()
    with store(settings).get_object("kept", "an/object") as answer:
        return record.value, document["_id"] if document else "", answer.read()


@pytest.mark.servers
async def test_data_in_all_servers_survives_down_and_up(server_home: Path) -> None:
    before = stack.up(server_home, system=stack.SERVERS_ONLY)
    await write(before)
    stack.down(server_home)
    assert pids(server_home, "kafka", "mongod", "s3") == {}
    after = stack.up(server_home, system=stack.SERVERS_ONLY)
    assert after == before
    assert await read(after) == (b"a record", "a document", b"bytes")


@pytest.mark.servers
def test_up_starts_only_the_server_that_died(server_home: Path) -> None:
    settings = stack.up(server_home, system=stack.SERVERS_ONLY)
    before = pids(server_home, "kafka", "mongod", "s3")
    dead = Process("s3", server_home).running()
    assert dead is not None
    dead.kill()
    dead.wait(5)
    assert stack.up(server_home, system=stack.SERVERS_ONLY) == settings
    after = pids(server_home, "kafka", "mongod", "s3")
    assert {name for name in after if after[name] != before[name]} == {"s3"}


@pytest.mark.servers
def test_up_starts_nothing_if_everything_runs(server_home: Path) -> None:
    stack.up(server_home, system=stack.SERVERS_ONLY)
    before, printed = pids(server_home, "kafka", "mongod", "s3"), list[str]()
    stack.up(server_home, report=printed.append, system=stack.SERVERS_ONLY)
    assert printed == ["everything is running already"]
    assert pids(server_home, "kafka", "mongod", "s3") == before
    assert len(before) == 3


def test_every_setting_in_force_is_written_to_stack_env(home: Path) -> None:
    settings = stack.up(home, ELSEWHERE | {"IMAGES_S3_SECRET_KEY": "s=cret"}, system=fakes())
    assert config.saved_settings(home) == settings
    assert settings.items() >= ELSEWHERE.items()
    assert settings["IMAGES_S3_SECRET_KEY"] == "s=cret"
    assert settings["IMAGES_PUBLIC_URL"] == "http://s3/listing-images"
    assert all(
        ports.http_status(int(settings[config.port_variable(name)]), "/readyz") == 200 for name in config.SERVICES
    )
    assert (home / "stack.env").stat().st_mode & 0o077 == 0, "it holds credentials"


def test_given_servers_are_not_started(home: Path) -> None:
    stack.up(home, ELSEWHERE, system=fakes())
    assert pids(home, *config.SERVICES, "kafka", "mongod", "s3").keys() == set(config.SERVICES)


def test_a_changed_port_restarts_only_its_service(home: Path) -> None:
    before = stack.up(home, ELSEWHERE, system=fakes())
    running = pids(home, *config.SERVICES)
    port = str(ports.choose({int(before[config.port_variable(name)]) for name in config.SERVICES}))
    after = stack.up(home, ELSEWHERE | {"IMAGES_RESOLVER_PORT": port}, system=fakes())
    assert after == config.saved_settings(home) == {**before, "IMAGES_RESOLVER_PORT": port}
    now = pids(home, *config.SERVICES)
    assert {name for name in now if now[name] != running[name]} == {"resolver"}


def test_two_services_may_swap_their_ports(home: Path) -> None:
    before = stack.up(home, ELSEWHERE, system=fakes())
    names = "IMAGES_RESOLVER_PORT", "IMAGES_JANITOR_PORT"
    swapped = dict(zip(names, (before[names[1]], before[names[0]]), strict=True))
    assert stack.up(home, ELSEWHERE | swapped, system=fakes()) == {**before, **swapped}


def test_a_changed_feeds_toml_restarts_the_services(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    feeds = tmp_path_factory.mktemp("feeds") / "feeds.toml"
    given = ELSEWHERE | {"IMAGES_FEEDS": str(feeds)}
    feeds.write_text('[feeds.one]\nimage_hosts = ["a.example.com"]')
    assert stack.up(home, given, system=fakes())["IMAGES_FEEDS"] == str(feeds)
    running = pids(home, *config.SERVICES)
    feeds.write_text('[feeds.two]\nimage_hosts = ["a.example.com"]')
    stack.up(home, given, system=fakes())
    assert not set(pids(home, *config.SERVICES).values()) & set(running.values())


def test_the_error_for_a_given_port_that_is_taken_names_its_variable(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(LocalError, match=rf"IMAGES_JANITOR_PORT is {port}, but another program"):
            stack.up(home, ELSEWHERE | {"IMAGES_JANITOR_PORT": str(port)}, system=fakes())
    assert pids(home, *config.SERVICES) == {}


def test_every_wrong_setting_is_named_before_anything_starts(home: Path) -> None:
    wrong = {"IMAGES_RESOLVER_PORT": "http", "IMAGES_LOG_LEVEL": "loud"}
    with pytest.raises(LocalError, match=r"(?s)IMAGES_RESOLVER_PORT: .*IMAGES_LOG_LEVEL: "):
        stack.up(home, wrong, system=fakes())
    assert not (home / "stack.env").exists()


def test_an_invalid_feeds_toml_is_reported_and_running_services_stay(home: Path, tmp_path: Path) -> None:
    feeds = tmp_path / "broken.toml"
    feeds.write_text('[feeds.one]\nimage_hosts = ["a.example.com"]')
    given = ELSEWHERE | {"IMAGES_FEEDS": str(feeds)}
    stack.up(home, given, system=fakes())
    running, remembered = pids(home, *config.SERVICES), config.saved_settings(home)
    for broken in ("[feeds.one", "[feeds.one]"):
        feeds.write_text(broken)
        with pytest.raises(LocalError, match=r"feeds"):
            stack.up(home, given, system=fakes())
    feeds.unlink()
    with pytest.raises(LocalError, match=r"IMAGES_FEEDS: .*broken.toml cannot be read"):
        stack.up(home, given | {"IMAGES_LOG_LEVEL": "debug"}, system=fakes())
    assert (pids(home, *config.SERVICES), config.saved_settings(home)) == (running, remembered)


def test_the_error_of_a_failed_init_is_reported_and_the_next_up_succeeds(home: Path) -> None:
    with pytest.raises(LocalError, match="no broker"):
        stack.up(home, ELSEWHERE, system=fakes("raise SystemExit('no broker')"))
    assert pids(home, *config.SERVICES) == {}
    stack.up(home, ELSEWHERE, system=fakes())
    assert len(pids(home, *config.SERVICES)) == len(config.SERVICES)


def test_up_runs_init_again_and_starts_only_the_service_that_died(home: Path) -> None:
    stack.up(home, ELSEWHERE, system=fakes())
    before = pids(home, *config.SERVICES)
    dead = Process("janitor", home).running()
    assert dead is not None
    dead.kill()
    dead.wait(5)
    stack.up(home, ELSEWHERE, system=fakes(f"open({str(home / 'prepared')!r}, 'w').close()"))
    after = pids(home, *config.SERVICES)
    assert {name for name in after if after[name] != before[name]} == {"janitor"}
    assert (home / "prepared").exists()


def test_the_error_for_a_service_that_ended_holds_its_log(home: Path) -> None:
    with pytest.raises(LocalError, match=r"(?s)scheduler ended by itself.*cannot go on.*run `up` again"):
        stack.up(home, ELSEWHERE | {"IMAGES_BUCKET": "broken"}, system=fakes())


def test_two_ups_at_once_start_each_service_once(home: Path) -> None:
    printed = list[str](), list[str]()
    with ThreadPoolExecutor(2) as pool:
        ups = [pool.submit(stack.up, home, ELSEWHERE, lines.append, fakes()) for lines in printed]
        assert ups[0].result() == ups[1].result()
    assert sorted(lines[-1] == "everything is running already" for lines in printed) == [False, True]
    assert sum("waiting" in line for lines in printed for line in lines) == 1


def test_variables_without_our_prefix_are_passed_on_to_the_services(home: Path) -> None:
    stack.up(home, ELSEWHERE | {"MLS_TOKEN": "t"}, system=fakes())
    service = Process("downloader", home).running()
    assert service is not None
    assert service.environ()["MLS_TOKEN"] == "t"
    assert "MLS_TOKEN" not in (home / "stack.env").read_text()


def test_status_lists_all_processes_and_logs_prints_their_logs(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stack.up(home, ELSEWHERE, system=fakes())
    assert {state for _, state, _, _ in stack.status(home)} == {"ready", "elsewhere"}
    assert stack.main([f"--home={home}", "status"]) == 0
    assert stack.main([f"--home={home}", "logs", "resolver"]) == 0
    assert "bucket is listing-images" in capfd.readouterr().out
    assert stack.main([f"--home={home}", "logs", "nobody"]) == 1
    assert "no log of nobody; there is desk, downloader, ingest" in capfd.readouterr().err
    stack.down(home)
    assert {state for _, state, _, _ in stack.status(home)} == {"stopped", "elsewhere"}
    assert stack.main([f"--home={home}", "status"]) == 1


# The demo is tested here because it uses the same ports: the tests of a file run one after the other.

DEMO_LISTINGS = 6


async def demo(home: Path) -> str:
    """Run the demo and return what it printed; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.demo", "--listings", str(DEMO_LISTINGS),
        cwd=PROJECT, env={**os.environ, "LOCAL_DIR": str(home), "COLUMNS": "120"},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    return printed


def counts_in(printed: str) -> tuple[int, ...]:
    """Return the numbers of downloaded and failed photos and of requests to the MLS that the demo printed."""
    (found,) = re.findall(r"(\d+) photos downloaded, (\d+) failed; (\d+) requests to the MLS", printed)
    return tuple(map(int, found))


async def publish(home: Path, record: Mapping[str, object]) -> None:
    """Publish a listing to the demo's feed by the command in README.md."""
    (home / "mine.json").write_text(json.dumps(record))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.imagectl", "publish", str(home / "mine.json"), "--feed", "sandbox",
        cwd=PROJECT, env={**os.environ, **config.saved_settings(home)}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0


@pytest.mark.servers
async def test_the_demo_succeeds_twice_and_the_addresses_that_it_prints_open(home: Path) -> None:
    first = await demo(home)
    photos = DEMO_LISTINGS * 8
    assert counts_in(first) == (photos, 0, photos)
    assert len(re.findall(r"after [\d.]+ s the listing shows the new picture", first)) == 2
    assert "photos are gone from both buckets" in first
    states = {name: state for name, state, _, _ in await asyncio.to_thread(stack.status, home)}
    assert states == dict.fromkeys([*config.SERVICES, "kafka", "mongod", "s3"], "ready") | {
        "sandbox": "running", "site": "running", "supervisor": "running",
    }  # fmt: skip
    async with httpx.AsyncClient(trust_env=False) as http:
        opened = {"the gallery": 200, "the desk": 401, "the API's description": 200, "the sandbox MLS": 200}
        for name, status in opened.items():
            (address,) = re.findall(rf"{name}.* (http://\S+)", first)
            assert (await http.get(address, follow_redirects=True)).status_code == status, address
    await publish(home, a_record(a_row("1", MediaURL="https://elsewhere.example.com/1.jpg"), key="X1"))
    # The second run brings the withdrawn listing back with its 8 photos. No other photo is fetched again, and the demo
    # does not wait for the photo that was given up.
    assert counts_in(await demo(home)) == (photos, 1, 8)
