"""Ports of the loopback interface: find free ones, assign them to servers, and ask an HTTP server for its status."""

import http.client
import random
import socket
from collections.abc import Container, Iterable, Mapping

FIRST, LAST = 20_000, 31_999
"""The range to choose ports from. Outgoing connections use higher ports, so a chosen port stays free between starts."""


def is_free(port: int) -> bool:
    """Return True if a server could listen on this port of 127.0.0.1; False if another program listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose(taken: set[int]) -> int:
    """Return a random free port from 20000 to 31999 that is not in `taken`, and add it to the set `taken`."""
    while (port := random.randint(FIRST, LAST)) in taken or not is_free(port):
        pass
    taken.add(port)
    return port


def assign(
    names: Iterable[str],
    previous: Mapping[str, int],
    ours: Container[int],
    preferred: Mapping[str, int],
    reserved: Iterable[int] = (),
) -> dict[str, int]:
    """Return a port for each of `names`, by name: its `previous` port, else its `preferred` port, else any free one.

    `previous` and `preferred` have ports by name, and may lack names. A previous port is used again only if it is free
    or in `ours`, the ports on which the stack's own processes listen. A preferred port is used only if it is free, no
    other name has it, and it is no name's previous port. No port in `reserved` is used.
    """
    reserved = set(reserved)
    taken = reserved | set(previous.values())
    assigned = {}
    for name in names:
        last, wanted = previous.get(name), preferred.get(name)
        if last and last not in reserved and (last in ours or is_free(last)):
            assigned[name] = last
        elif wanted and wanted not in taken and is_free(wanted):
            assigned[name] = wanted
        else:
            assigned[name] = choose(taken)
        taken.add(assigned[name])
    return assigned


def http_status(port: int, path: str, host: str = "127.0.0.1") -> int:
    """Return the HTTP status of the answer to `GET path` on a host's port; 0 if there is no answer within 2 s."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
