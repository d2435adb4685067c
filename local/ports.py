"""Ports on the loopback interface: which are free, which the stack takes, and what answers on one."""

import http.client
import random
import socket
from collections.abc import Container, Iterable, Mapping

FIRST, LAST = 20_000, 31_999
"""Below the range that systems give to outgoing connections, so that a port is still free when the stack returns."""


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback interface at the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose(taken: set[int]) -> int:
    """A free port that is not among those already promised to others; it is added to them."""
    while (port := random.randint(FIRST, LAST)) in taken or not is_free(port):
        pass
    taken.add(port)
    return port


def assign(
    names: Iterable[str],
    kept: Mapping[str, int],
    ours: Container[int],
    preferred: Mapping[str, int],
    promised: Iterable[int] = (),
) -> dict[str, int]:
    """Give each name a port: the one it had, else the one it prefers, else any.

    A port counts only while it is free, or held by a process of `ours`; none of those `promised` is given.
    """
    promised = set(promised)
    taken = promised | set(kept.values())
    assigned = {}
    for name in names:
        had, likes = kept.get(name), preferred.get(name)
        if had and had not in promised and (had in ours or is_free(had)):
            assigned[name] = had
        elif likes and likes not in taken and is_free(likes):
            assigned[name] = likes
        else:
            assigned[name] = choose(taken)
        taken.add(assigned[name])
    return assigned


def http_status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """The status that an HTTP server gives to a GET, 0 for no answer within 2 s."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
