"""A real Kafka, MongoDB and S3 server for a run of tests: containers where a Docker engine answers, else processes."""

import contextlib
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from local import config, ports, stack
from local.servers import kafka, mongod

KAFKA_IMAGE = "apache/kafka:4.3.1"
MONGO_IMAGE = "mongo:8"
S3_IMAGE = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"


@dataclass(frozen=True)
class Servers:
    """The addresses and keys of running servers, named as the fields of `Settings` are."""

    kafka: str
    mongo: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str


DESK_TOKEN = "token-of-the-test-desk"
INGEST_TOKEN = "token-of-the-test-ingest"


@dataclass(frozen=True)
class Namespace:
    """The names on the servers that only one test uses, such as a database's, and free ports for its services."""

    servers: Servers
    prefix: str
    db: str
    bucket: str
    originals_bucket: str
    ports: Mapping[str, int] = field(default_factory=lambda: ports.assign(config.SERVICES, {}, (), {}))

    def env(self, **more: object) -> dict[str, str]:
        """Return every IMAGES_* variable for a process in this namespace.

        `more` are further settings, named as the fields of `Settings`: `env(serve_wait_seconds=1)`.
        """
        own = {
            **vars(self.servers),
            "topic_prefix": self.prefix,
            "mongo_db": self.db,
            "bucket": self.bucket,
            "originals_bucket": self.originals_bucket,
            "desk_token": DESK_TOKEN,
            "ingest_token": INGEST_TOKEN,
            **{f"{service}_port": port for service, port in self.ports.items()},
            **more,
        }
        return config.with_defaults({f"IMAGES_{name.upper()}": str(value) for name, value in own.items()})


def a_namespace(servers: Servers) -> Namespace:
    """Return a new namespace on the servers. Nothing exists in it: no topic, bucket or index is made."""
    token = secrets.token_hex(4)
    return Namespace(servers, f"t{token}.", f"t{token}", f"t{token}-images", f"t{token}-originals")


@contextlib.contextmanager
def running() -> Iterator[Servers]:
    """Run Kafka, MongoDB and an S3 server during the context; yield their addresses and keys.

    They run in containers if a Docker engine answers, else as processes.
    """
    with _containers() if _docker_answers() else _processes() as servers:
        yield servers


@contextlib.contextmanager
def _processes() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="listing-images-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            settings = stack.up(home, system=stack.SERVERS_ONLY)
            yield servers_of(settings)
        finally:
            stack.down(home)


def servers_of(settings: Mapping[str, str]) -> Servers:
    """Return the addresses and keys of the servers that these IMAGES_* variables name."""
    return Servers(**{name: settings[f"IMAGES_{name.upper()}"] for name in Servers.__dataclass_fields__})


def _docker_answers() -> bool:
    """Return True if a Docker engine answers; a client alone is not enough."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, timeout=20, check=False).returncode == 0


@contextlib.contextmanager
def _containers() -> Iterator[Servers]:
    """Run the servers in containers during the context; yield their addresses and keys.

    Their ports are the same inside and outside, because Kafka and MongoDB tell clients the ports at which they listen.
    """
    taken: set[int] = set()
    broker, mongo, s3 = (ports.choose(taken) for _ in range(3))
    keys = {"MINIO_ROOT_USER": "minioadmin", "MINIO_ROOT_PASSWORD": secrets.token_hex(16)}
    with ExitStack() as containers:
        for image, port, command, environment in (
            (KAFKA_IMAGE, broker, None, _kafka_environment(broker)),
            (MONGO_IMAGE, mongo, f"--port {mongo} --replSet rs0 --bind_ip_all", {}),
            (S3_IMAGE, s3, f"server /data --address :{s3}", keys),
        ):
            _start(containers, image, port, command, environment)
        _await(f"Kafka in {KAFKA_IMAGE}", partial(kafka.answers, broker))
        _await(f"mongod in {MONGO_IMAGE}", partial(mongod.answers, mongo))
        _await(f"S3 in {S3_IMAGE}", lambda: ports.http_status(s3, "/minio/health/ready") == 200)
        yield Servers(
            f"127.0.0.1:{broker}",
            mongod.uri(mongo),
            f"http://127.0.0.1:{s3}",
            keys["MINIO_ROOT_USER"],
            keys["MINIO_ROOT_PASSWORD"],
        )


def _start(containers: ExitStack, image: str, port: int, command: str | None, environment: dict[str, str]) -> None:
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image, command=command, env=environment).with_bind_ports(port, port)
    containers.enter_context(container)


def _kafka_environment(port: int) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }


def _await(server: str, answers: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server} does not answer after {seconds:.0f} s")
        time.sleep(0.2)
