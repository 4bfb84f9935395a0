import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboard.serve import Orders, RefusedError, read_orders

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter2"
URL = f"postgresql://reader:{PASSWORD}@127.0.0.1:1/tollway"
WITHIN_S = 30


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("0.0.0.0", "whoever comes in has to sign in"),
        ("::", "whoever comes in has to sign in"),
        ("192.168.1.7", "whoever comes in has to sign in"),
        ("example.org", "give an address of IP"),
        ("", "give an address of IP"),
        ("127.0.0.1.example.org", "give an address of IP"),
    ],
)
def test_any_address_that_others_can_reach_is_refused_where_nobody_can_sign_in(
    host: str, words: str
) -> None:
    with pytest.raises(RefusedError, match=words):
        read_orders(json.dumps({"database_url": URL, "host": host}).encode())


@pytest.mark.parametrize(
    ("host", "wanted", "needed"),
    [("0.0.0.0", False, True), ("127.0.0.1", False, False), ("127.0.0.1", True, True)],
)
def test_others_have_to_sign_in_and_this_machine_where_it_is_wanted(
    host: str, wanted: bool, needed: bool
) -> None:
    line = {"database_url": URL, "host": host, "admin_url": "http://127.0.0.1:1", "sign_in": wanted}

    assert read_orders(json.dumps(line).encode()).sign_in is needed


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")]
)
def test_loopback_is_served(host: str, expected: str) -> None:
    orders = read_orders(json.dumps({"database_url": URL, "host": host, "port": 0}).encode())

    assert orders.host == expected


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"{}", b'{"database_url": 7}', b'{"database_url": "x", "prot": 1}']
)
def test_orders_that_are_none_say_what_was_expected(line: bytes) -> None:
    with pytest.raises(RefusedError, match="one JSON line"):
        read_orders(line)


def test_orders_do_not_show_their_password() -> None:
    assert PASSWORD not in repr(Orders(database_url=URL))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def run(**orders: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Nothing may depend on the directory it is started in.
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(json.dumps({"database_url": URL, **orders}).encode() + b"\n")
        process.stdin.flush()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_refusal_ends_with_1_and_one_line(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    _, error = (process := start(host="0.0.0.0")).communicate(timeout=WITHIN_S)

    assert process.returncode == 1
    assert b"has to sign in" in error
    assert b"Traceback" not in error
    assert PASSWORD.encode() not in error


def test_a_taken_port_ends_with_1(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(port=taken.getsockname()[1])
        _, error = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 1
    assert b"cannot listen on 127.0.0.1" in error
    assert b"Traceback" not in error


def test_it_serves_until_its_parent_is_gone(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(port=0)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]

    with urllib.request.urlopen(f"{url}/_stcore/health", timeout=WITHIN_S) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    proc = Path(f"/proc/{process.pid}")
    shown = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    _, error = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 0
    assert PASSWORD.encode() not in shown + error
    assert error == b""


def test_sigterm_ends_it(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = start(port=0)
    assert process.stdout is not None
    process.stdout.readline()

    process.send_signal(signal.SIGTERM)

    assert process.wait(WITHIN_S) in {0, -signal.SIGTERM}
