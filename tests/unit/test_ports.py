"""Test how ports are chosen and assigned."""

import socket
from collections.abc import Iterator

import pytest

from local import ports


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port with a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not ports.is_free(taken)


def test_a_port_is_free_once_its_listener_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ports.is_free(port)


def test_no_port_is_chosen_twice() -> None:
    taken: set[int] = set()
    chosen = [ports.choose(taken) for _ in range(50)]
    assert len(set(chosen)) == 50
    assert taken == set(chosen)
    assert all(ports.FIRST <= port <= ports.LAST for port in chosen)


@pytest.fixture
def free() -> list[int]:
    """Return two ports without a listener."""
    taken: set[int] = set()
    return [ports.choose(taken), ports.choose(taken)]


def test_a_name_keeps_its_port_while_it_is_free(free: list[int]) -> None:
    assert ports.assign(["kafka"], {"kafka": free[0]}, (), {"kafka": free[1]}) == {"kafka": free[0]}


def test_a_name_keeps_the_port_that_its_own_process_holds(taken: int) -> None:
    assert ports.assign(["kafka"], {"kafka": taken}, {taken}, {}) == {"kafka": taken}


def test_a_name_gets_another_port_if_a_foreign_process_listens_on_its_own(taken: int) -> None:
    assert ports.assign(["kafka"], {"kafka": taken}, (), {})["kafka"] != taken


def test_a_new_name_gets_the_port_that_it_prefers(free: list[int]) -> None:
    assert ports.assign(["resolver"], {}, (), {"resolver": free[0]}) == {"resolver": free[0]}


def test_a_preferred_port_that_is_taken_is_replaced_by_a_free_one(taken: int) -> None:
    port = ports.assign(["resolver"], {}, (), {"resolver": taken})["resolver"]
    assert port != taken
    assert ports.is_free(port)


def test_a_preferred_port_is_not_used_if_it_was_another_name_s(free: list[int]) -> None:
    assigned = ports.assign(["resolver", "kafka"], {"kafka": free[0]}, (), {"resolver": free[0]})
    assert assigned["kafka"] == free[0] != assigned["resolver"]


def test_a_reserved_port_is_assigned_to_no_name(free: list[int]) -> None:
    previous, wanted = free
    assigned = ports.assign(["kafka", "resolver"], {"kafka": previous}, (), {"resolver": wanted}, reserved=free)
    assert not set(assigned.values()) & set(free)


def test_the_status_of_a_port_without_a_listener_is_0(free: list[int]) -> None:
    assert ports.http_status(free[0], "/readyz") == 0
