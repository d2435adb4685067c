"""Measures how much CPU time each process of the system uses: the services, the encoders, and the servers."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import psutil

from tests.servers import Servers
from tests.system import System


def seconds_by_process(whole: System, servers: Servers, origin: str) -> dict[str, float]:
    """Return how many CPU seconds each process has used since its start, by the process's name in words.

    The processes are the downloader, its encoders (the child processes that encode photos), the scheduler, the servers
    and the origin's nginx. Servers that run on another machine are left out. A server is found by its port; `origin` is
    the host and port of the photos' origin.
    """
    downloader, scheduler = (psutil.Process(whole.pid(name)) for name in ("downloader", "scheduler"))
    listening = dict(_listening())
    addresses = {
        "Kafka": servers.kafka.split(",")[0],
        "MongoDB": urlsplit(servers.mongo).netloc,
        "object storage": urlsplit(servers.s3_endpoint).netloc,
        "nginx, the origin": origin,
    }
    found = {name: listening.get(int(address.rpartition(":")[2])) for name, address in addresses.items()}
    return {
        "downloader": _cpu(downloader),
        "its encoders": sum(map(_cpu, downloader.children())),
        "scheduler": _cpu(scheduler),
        **{name: _cpu(psutil.Process(pid)) for name, pid in found.items() if pid},
    }


def per_photo(before: Mapping[str, float], after: Mapping[str, float], photos: int) -> dict[str, float]:
    """Return how many CPU milliseconds for each photo each process used between two results of `seconds_by_process`.

    `photos` is the number of photos that were downloaded between the two results.
    """
    return {name: 1_000 * (seconds - before.get(name, 0.0)) / photos for name, seconds in after.items()}


def _listening() -> Iterator[tuple[int, int]]:
    """Yield each port on which a process of this machine listens, and the id of the process."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.pid:
            yield connection.laddr.port, connection.pid


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
