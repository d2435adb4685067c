"""Which ports the stack may use: those it has, while they are free, else new ones."""

import random
import socket

FIRST, LAST = 20_000, 31_999
"""Below the range that systems give to outgoing connections, so that a port is still free when the stack comes back to it."""


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
