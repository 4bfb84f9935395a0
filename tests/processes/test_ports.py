"""Whether a port is free, who holds it, and what is said about it."""

import os
import socket
from collections.abc import Iterator

import pytest

from gateway.processes.ports import PortError, find_holder, is_held_below, probe_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held


def port_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])


def probe(port: int, host: str = "127.0.0.1") -> int:
    return probe_port(host, port, purpose="gateway", remedy="--port or TOLLWAY_PORT")


def test_a_free_port_stays_as_it_is(listener: socket.socket) -> None:
    port = port_of(listener)
    listener.close()

    assert probe(port) == port
    assert probe(port) == port, "asking does not take it"


def test_port_zero_becomes_one_that_is_free() -> None:
    port = probe(0)

    assert port > 1023
    with socket.socket() as held:
        held.bind(("127.0.0.1", port))


def test_a_taken_port_names_its_holder_and_the_remedy(listener: socket.socket) -> None:
    port = port_of(listener)
    with pytest.raises(PortError) as caught:
        probe(port)

    said = str(caught.value)
    assert said.startswith(f"gateway: port {port} on 127.0.0.1 is in use by ")
    assert f"(pid {os.getpid()})" in said
    assert said.endswith("choose another: --port or TOLLWAY_PORT")


def test_a_listener_that_shares_its_port_is_seen_all_the_same() -> None:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(PortError, match="is in use"):
            probe(port_of(held))


def test_a_listener_on_all_addresses_holds_the_port_on_each() -> None:
    with socket.socket() as held:
        held.bind(("0.0.0.0", 0))
        held.listen()
        with pytest.raises(PortError, match="is in use"):
            probe(port_of(held))


def test_connections_that_are_still_closing_do_not_hold_a_port(listener: socket.socket) -> None:
    port = port_of(listener)
    with socket.create_connection(("127.0.0.1", port)) as caller:
        accepted, _ = listener.accept()
        accepted.close()
        assert caller.recv(1) == b""
    listener.close()

    assert probe(port) == port


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(PortError, match=r"gateway: cannot listen on 192\.0\.2\.1:0: .*; choose"):
        probe(0, "192.0.2.1")


def test_an_ipv6_address_is_probed_as_one() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        port = probe(0, "::1")
    except PortError as exc:
        pytest.skip(str(exc))
    assert port > 0


def test_a_port_nobody_listens_on_has_no_holder(listener: socket.socket) -> None:
    port = port_of(listener)
    assert find_holder(port) is not None
    listener.close()

    assert find_holder(port) is None


def test_a_port_is_ours_when_this_process_or_one_that_it_started_listens(
    listener: socket.socket,
) -> None:
    port = port_of(listener)

    assert is_held_below(port, os.getpid())
    assert is_held_below(port, os.getppid())
    listener.close()
    assert not is_held_below(port, os.getpid())
