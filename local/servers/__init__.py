"""The three real servers of the stack as plain processes: Kafka, mongod and an S3 server."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from local.processes import Program
from local.servers import kafka, mongod, s3

PORTS: dict[str, tuple[str, ...]] = {"mongod": mongod.PORTS, "s3": s3.PORTS, "kafka": kafka.PORTS}
"""By server: the names of its ports. Kafka is last: the others start while its jars and log are prepared."""


def programs(
    names: Iterable[str], home: Path, ports: Mapping[str, int], access_key: str, secret_key: str
) -> list[Program]:
    """Return the programs of the servers in `names`, in the order of `PORTS`, with their data in `home`/data.

    No program is started. `ports` has a port for each name in `PORTS`; the keys are those of the S3 server's only user.

    Raises:
        LocalError: the program of a server is not installed.
    """
    data = home / "data"
    build = {
        "mongod": lambda: mongod.program(data / "mongod", ports),
        "s3": lambda: s3.program(data / "s3", ports, access_key, secret_key),
        "kafka": lambda: kafka.program(data / "kafka", ports),
    }
    return [build[name]() for name in PORTS if name in names]
