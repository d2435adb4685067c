"""The three real servers of the stack as plain processes, each described as a program for `local.processes`."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from local.processes import Program
from local.servers import kafka, mongod, s3

PORTS: dict[str, tuple[str, ...]] = {"mongod": mongod.PORTS, "s3": s3.PORTS, "kafka": kafka.PORTS}
"""Every server and the ports that it opens. Kafka is last, so that the others start while it is prepared."""


def programs(
    names: Iterable[str], home: Path, ports: Mapping[str, int], access_key: str, secret_key: str
) -> list[Program]:
    """The servers of these names with data under `home`/data. Raises LocalError where a runtime is missing."""
    data = home / "data"
    build = {
        "mongod": lambda: mongod.program(data / "mongod", ports),
        "s3": lambda: s3.program(data / "s3", ports, access_key, secret_key),
        "kafka": lambda: kafka.program(data / "kafka", ports),
    }
    return [build[name]() for name in PORTS if name in names]
