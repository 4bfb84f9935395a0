"""Signing in to a dashboard that asks for it: real HTTP and websockets before a real gateway."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.installation import Gateway, Installation, clean_environment, installation

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
NOWHERE = "postgresql://nobody@127.0.0.1:1/tollway"
WITHIN_S = 30


class Dashboard:
    """One that asks everybody to sign in, and the gateway that knows who may."""

    def __init__(self, place: Installation, gateway: Gateway, url: str) -> None:
        self._place = place
        self._gateway = gateway
        self.url = url
        self.host = url.removeprefix("http://")

    def users(self, *arguments: str, typed: str = "") -> None:
        subprocess.run(
            [sys.executable, "-m", "gateway", "users", *arguments, "--data-dir", self._data],
            cwd=self._place.home,
            env=clean_environment(self._place.home),
            input=typed,
            text=True,
            capture_output=True,
            check=True,
        )

    @property
    def _data(self) -> str:
        return str(self._place.home / "data")

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=WITHIN_S)

    def sign_in(self, client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
        return client.post(
            "/sign-in",
            data={"name": name, "password": password, "next": "/requests?period=24h"},
            headers={"origin": self.url},
        )

    def socket(self, cookie: str = "", *, origin: str | None = None) -> ClientConnection:
        return connect(
            f"ws://{self.host}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit")],
            origin=Origin(origin or self.url),
            additional_headers={"cookie": f"tollway_session={cookie}"} if cookie else {},
            proxy=None,
            open_timeout=WITHIN_S,
        )


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with installation(tmp_path_factory.mktemp("sign-in")) as place, place.serve() as gateway:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        orders = {
            "database_url": NOWHERE,
            "port": 0,
            "admin_url": gateway.admin_url,
            "sign_in": True,
        }
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
        found = Dashboard(place, gateway, json.loads(process.stdout.readline())["url"])
        found.users("create", "ada", "--role", "auditor", typed=f"{PASSWORD}\n")
        yield found
        process.communicate(timeout=WITHIN_S)


@pytest.fixture
def signed_in(dashboard: Dashboard) -> Iterator[httpx.Client]:
    with dashboard.client() as client:
        assert dashboard.sign_in(client, "ada").status_code == 303
        yield client


def test_a_stranger_is_led_to_the_sign_in_page_and_sees_nothing_else(
    dashboard: Dashboard,
) -> None:
    with dashboard.client() as client:
        page = client.get("/requests?id=gen-1", headers={"accept": "text/html"})
        assert page.status_code == 303
        assert page.headers["location"] == "/sign-in?next=/requests%3Fid%3Dgen-1"
        for path in ("/", "/_stcore/health", "/_stcore/host-config", "/static/js/x.js", "/x"):
            assert client.get(path).status_code == 401, path
        form = client.get(page.headers["location"])
    assert form.status_code == 200
    assert 'value="/requests?id=gen-1"' in form.text
    assert form.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert "script" not in form.text


def test_signing_in_leads_back_with_a_cookie_that_scripts_and_other_sites_do_not_get(
    dashboard: Dashboard,
) -> None:
    with dashboard.client() as client:
        answer = dashboard.sign_in(client, "ada")

        assert (answer.status_code, answer.headers["location"]) == (303, "/requests?period=24h")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert client.get("/", headers={"accept": "text/html"}).status_code == 200
        assert "Secure" not in cookie
    with dashboard.client(**{"x-forwarded-proto": "https"}) as client:
        assert "Secure" in dashboard.sign_in(client, "ada").headers["set-cookie"]


@pytest.mark.parametrize("password", ["wrong horse battery", ""])
def test_a_wrong_password_is_told_without_saying_more(dashboard: Dashboard, password: str) -> None:
    with dashboard.client() as client:
        answer = dashboard.sign_in(client, '"><script>', password)

    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_a_form_on_another_site_signs_nobody_in(dashboard: Dashboard, origin: str | None) -> None:
    with dashboard.client() as client:
        answer = client.post(
            "/sign-in",
            data={"name": "ada", "password": PASSWORD},
            headers={} if origin is None else {"origin": origin},
        )

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "/\\evil.example", "https://evil.example", "", "/sign-out", "/a\nb"],
)
def test_the_way_back_never_leads_to_another_host(dashboard: Dashboard, wanted: str) -> None:
    with dashboard.client() as client:
        answer = client.post(
            "/sign-in",
            data={"name": "ada", "password": PASSWORD, "next": wanted},
            headers={"origin": dashboard.url},
        )

    assert answer.headers["location"] == "/"


def test_a_link_on_another_site_is_loaded_once_more_so_that_the_cookie_comes_along(
    dashboard: Dashboard,
) -> None:
    with dashboard.client(accept="text/html") as client:
        answer = client.get("/requests", headers={"sec-fetch-site": "cross-site"})
        again = client.get("/requests", headers={"sec-fetch-site": "same-origin"})

    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text
    assert again.status_code == 303


def test_a_socket_needs_a_session(dashboard: Dashboard, signed_in: httpx.Client) -> None:
    for cookie in ("", "tws_made_up", "tws_line\tbreak"):
        with pytest.raises(InvalidStatus) as refused:
            dashboard.socket(cookie)
        assert refused.value.response.status_code == 403
    token = signed_in.cookies["tollway_session"]
    with pytest.raises(InvalidStatus):
        dashboard.socket(token, origin="http://evil.example")

    with dashboard.socket(token) as socket:
        socket.send(_rerun())
        assert socket.recv(timeout=WITHIN_S)


@pytest.mark.parametrize("how", ["sign-out", "revoke", "password"])
def test_a_session_that_ends_shuts_open_sockets_and_pages(dashboard: Dashboard, how: str) -> None:
    name = f"bea-{how}"
    dashboard.users("create", name, "--role", "auditor", typed=f"{PASSWORD}\n")
    endings: dict[str, Callable[[httpx.Client], object]] = {
        "sign-out": lambda client: client.post("/sign-out", headers={"origin": dashboard.url}),
        "revoke": lambda _: dashboard.users("revoke", name),
        "password": lambda _: dashboard.users("password", name, typed="another long one\n"),
    }
    with dashboard.client(accept="text/html") as client:
        dashboard.sign_in(client, name)
        token = client.cookies["tollway_session"]
        with dashboard.socket(token) as socket:
            socket.send(_rerun())
            assert socket.recv(timeout=WITHIN_S)

            endings[how](client)

            assert _is_shut_within(socket, seconds=10)
        client.cookies.set("tollway_session", token)
        assert client.get("/").status_code == 303


def test_the_sign_out_page_says_who_is_signed_in(signed_in: httpx.Client) -> None:
    page = signed_in.get("/sign-out")

    assert "You are signed in as ada, auditor." in page.text
    assert "script" not in page.text


def test_where_the_gateway_cannot_say_who_is_signed_in_nobody_comes_in() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard.serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders = {
        "database_url": NOWHERE,
        "port": 0,
        "admin_url": "http://127.0.0.1:1",
        "sign_in": True,
    }
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    process.stdin.flush()
    url = json.loads(process.stdout.readline())["url"]
    try:
        answer = httpx.get(
            url, headers={"cookie": "tollway_session=tws_x"}, trust_env=False, timeout=WITHIN_S
        )
    finally:
        process.communicate(timeout=WITHIN_S)

    assert answer.status_code == 503
    assert "does not answer" in answer.text


def _rerun() -> bytes:
    message = BackMsg()
    message.rerun_script.query_string = ""
    return message.SerializeToString()


def _is_shut_within(socket: ClientConnection, *, seconds: float) -> bool:
    """Whatever still arrives is read; what a page sends by itself is sent again and again."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        try:
            socket.send(_rerun())
            socket.recv(timeout=0.2)
        except TimeoutError:
            continue
        except ConnectionClosed:
            return True
    return False
