"""``tollway serve``: what it refuses to start with, and the keys of its admin listener."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import msgspec
import pytest

from tests.installation import (
    Gateway,
    Installation,
    closed_port,
    installation,
    provider_toml,
    tollway,
    wait_until,
)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    place: Installation
    gateway: Gateway


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    toml = provider_toml("alpha", f"http://127.0.0.1:{closed_port()}/v1", {"test/plain": "plain"})
    home = tmp_path_factory.mktemp("serve") / "home"
    with (
        installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
        place.serve("--workers", "2") as gateway,
    ):
        yield Site(place=place, gateway=gateway)


def test_it_says_in_one_line_where_everything_is(site: Site) -> None:
    assert set(site.gateway.told) == {"gateway_url", "admin_url", "providers"}
    assert site.gateway.told["providers"] == ["alpha"]
    assert len(site.gateway.workers()) == 2


def test_a_port_in_use_ends_the_second_start_and_names_the_holder(
    site: Site, tmp_path: Path
) -> None:
    ended = tollway(
        tmp_path, "serve", "--port", str(site.gateway.port), "--data-dir", str(tmp_path / "data")
    )

    message = assert_refused(ended)
    assert f"port {site.gateway.port} " in message
    assert any(f"(pid {worker.pid})" in message for worker in site.gateway.workers())
    assert "--port" in message


def test_a_port_of_somebody_else_is_named_with_its_holder_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        port = listener.getsockname()[1]
        ended = tollway(
            tmp_path,
            "serve",
            "--port",
            "0",
            "--admin-port",
            str(port),
            "--data-dir",
            str(tmp_path / "data"),
        )

    message = assert_refused(ended)
    assert f"port {port} " in message
    assert "TOLLWAY_ADMIN_PORT" in message


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_data_directory_in_use_ends_the_second_start_and_names_the_holder(
    site: Site, command: str
) -> None:
    ended = site.place.tollway(command, "--port", "0", "--admin-port", "0")

    message = assert_refused(ended)
    assert str(site.gateway.data_dir) in message
    assert f"(pid {site.gateway.process.pid})" in message
    assert "--data-dir" in message


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    ended = tollway(tmp_path, "serve", "--data-dir", str(tmp_path / "file" / "data"))

    message = assert_refused(ended)
    assert str(tmp_path / "file" / "data") in message
    assert "TOLLWAY_DATA_DIR" in message


def test_a_data_directory_on_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    # Root may write anywhere but here.
    ended = tollway(tmp_path, "serve", "--data-dir", "/proc/tollway")

    assert "/proc/tollway" in assert_refused(ended)


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("port = 8080\nprot = 1\n", (":2:", "`prot`", "did you mean port?")),
        ("port = \n", ("line 1",)),
        ("[providers.alpha]\nprotocol = 'openai'\n", ("providers.alpha", "base_url is missing")),
        (
            "[providers.alpha]\nbase_url = 'http://127.0.0.1:1/v1'\napi_key = 'sk-secret-itself'\n",
            ("providers.alpha.api_key", "env:NAME or file:PATH"),
        ),
        (
            "[providers.alpha]\nbase_url = 'http://127.0.0.1:1/v1'\n"
            "[[providers.alpha.endpoints]]\nid = 'x'\ninput_usd_per_mtok = -1\n",
            ("input_usd_per_mtok", "-1"),
        ),
    ],
)
def test_a_wrong_configuration_names_place_key_and_remedy(
    tmp_path: Path, toml: str, told: tuple[str, ...]
) -> None:
    config = tmp_path / "tollway.toml"
    config.write_text(toml)

    ended = tollway(tmp_path, "serve", "--port", "0", "--admin-port", "0")

    message = assert_refused(ended)
    for part in told:
        assert part in message
    assert "sk-secret-itself" not in message
    if "line" in told[0] or told[0].startswith(":"):
        assert str(config) in message


def test_a_configuration_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = tollway(tmp_path, "serve", "--config", "no-such.toml")

    assert "no-such.toml" in assert_refused(ended)


def test_a_configuration_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "tollway.toml").write_bytes(b"host = '\xff'\n")

    ended = tollway(tmp_path, "serve")

    assert str(tmp_path / "tollway.toml") in assert_refused(ended)


def test_an_unknown_variable_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    ended = tollway(tmp_path, "serve", environment={"TOLLWAY_PROT": "1"})

    message = assert_refused(ended)
    assert "TOLLWAY_PROT" in message
    assert "did you mean TOLLWAY_PORT?" in message


def test_a_variable_with_a_wrong_value_is_named(tmp_path: Path) -> None:
    ended = tollway(tmp_path, "serve", environment={"TOLLWAY_WORKERS": "0"})

    message = assert_refused(ended)
    assert "TOLLWAY_WORKERS is 0" in message


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:pass-word@localhost/tollway",
        "postgresql://user:pass-word@127.0.0.1:{port}/tollway",
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path, url: str
) -> None:
    ended = tollway(
        tmp_path,
        "serve",
        "--port",
        "0",
        "--admin-port",
        "0",
        environment={"TOLLWAY_DATABASE_URL": url.format(port=closed_port())},
    )

    message = assert_refused(ended)
    assert "postgresql://" in message
    assert "pass-word" not in message


@pytest.mark.parametrize("package", ["cyclopts", "asyncpg", "granian"])
def test_a_half_installed_environment_is_explained(
    tmp_path: Path, postgres_dsn: Callable[..., str], package: str
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{package}.py").write_text(f"raise ModuleNotFoundError('no {package} here')\n")

    ended = tollway(
        tmp_path,
        "serve",
        "--port",
        "0",
        "--admin-port",
        "0",
        "--data-dir",
        str(tmp_path / "data"),
        environment={"PYTHONPATH": str(hidden), "TOLLWAY_DATABASE_URL": postgres_dsn()},
    )

    message = assert_refused(ended)
    assert f"no {package} here" in message
    assert "install" in message


def test_the_admin_listener_asks_for_the_owner_token(site: Site) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic d3Jvbmc6"}):
        for method, path in (
            ("GET", "/admin/keys"),
            ("POST", "/admin/keys"),
            ("DELETE", "/admin/keys/abc"),
        ):
            answer = httpx.request(
                method, site.gateway.admin_url + path, headers=headers, trust_env=False
            )
            assert answer.status_code == 401, (method, path)
            assert answer.json()["error"]["code"] == "not_signed_in"
    assert (site.gateway.data_dir / "owner-token").stat().st_mode & 0o077 == 0


def test_an_api_key_does_not_open_the_admin_listener(site: Site) -> None:
    key = site.gateway.make_key()

    answer = httpx.get(
        f"{site.gateway.admin_url}/admin/keys",
        headers={"authorization": f"Bearer {key}"},
        trust_env=False,
    )

    assert answer.status_code == 401


def test_health_needs_no_token(site: Site) -> None:
    for url in (site.gateway.url, site.gateway.admin_url):
        for path in ("/healthz", "/readyz"):
            assert httpx.get(url + path, trust_env=False).status_code == 200


@pytest.mark.parametrize("path", ["/admin/keys", "/admin/keys/abc", "//admin/keys", "/admin"])
def test_admin_paths_are_not_found_on_the_data_port(site: Site, path: str) -> None:
    for headers in ({}, site.gateway.owner_headers):
        answer = httpx.get(site.gateway.url + path, headers=headers, trust_env=False)
        assert answer.status_code == 404


def test_a_key_works_and_a_revoked_one_is_refused_within_a_second_by_every_worker(
    site: Site,
) -> None:
    gateway, headers = site.gateway, site.gateway.owner_headers
    with httpx.Client(base_url=gateway.admin_url, headers=headers, trust_env=False) as admin:
        made = admin.post("/admin/keys", json={"name": "short-lived", "labels": {"team": "test"}})
        assert made.status_code == 201
        text, kid = made.json()["text"], made.json()["key"]["kid"]
        wait_until("both workers accept it", lambda: gateway.accepts(text), within_s=1.0)

        listed = admin.get("/admin/keys")
        assert text not in listed.text
        (key,) = [key for key in listed.json()["data"] if key["kid"] == kid]
        assert (key["name"], key["labels"]) == ("short-lived", {"team": "test"})
        assert key["revoked_at"] is None

        assert admin.delete(f"/admin/keys/{kid}").status_code == 200
        wait_until(
            "both workers refuse it", lambda: gateway.accepts(text, expected=401), within_s=1.0
        )
        (key,) = [key for key in admin.get("/admin/keys").json()["data"] if key["kid"] == kid]
        assert key["revoked_at"] is not None
        assert admin.delete("/admin/keys/no-such-key").status_code == 404


def test_the_command_line_manages_the_same_keys(site: Site) -> None:
    made = site.place.tollway("keys", "create", "by-hand", "--label", "team=ops", "--json")
    assert made.returncode == 0, made.stderr
    key = msgspec.json.decode(made.stdout)
    wait_until("the key is known", lambda: site.gateway.accepts(key["text"]), within_s=1.0)

    listed = site.place.tollway("keys", "list")
    assert "by-hand" in listed.stdout
    assert key["text"] not in listed.stdout

    kid = key["key"]["kid"]
    changed = site.place.tollway(
        "keys", "change", kid, "--label", "env=prod", "--allow-model", "no/such", "--rpm", "60",
        "--tpm", "none", "--slash", "names", "--expires-at", "never", "--json",
    )  # fmt: skip
    assert changed.returncode == 0, changed.stderr
    assert msgspec.json.decode(changed.stdout) == key["key"] | {
        "labels": {"team": "ops", "env": "prod"},
        "allowed_models": ["no/such"],
        "requests_per_minute": 60,
        "slash_pins_provider": False,
    }
    wait_until(
        "no worker serves it another model", lambda: may_not_ask(site, key["text"]), within_s=1.0
    )
    again = site.place.tollway("keys", "change", kid, "--allow-model", "all", "--rpm", "none")
    assert "requests a minute" in again.stdout, again.stderr
    for words in (["--rpm", "many"], ["--expires-at", "soon"], [], ["--label", "x"]):
        assert_refused(site.place.tollway("keys", "change", kid, *words))

    revoked = site.place.tollway("keys", "revoke", kid)
    assert revoked.returncode == 0, revoked.stderr
    wait_until(
        "it is refused", lambda: site.gateway.accepts(key["text"], expected=401), within_s=1.0
    )
    unknown = site.place.tollway("keys", "revoke", "no-such-key")
    assert "no-such-key" in assert_refused(unknown)


def may_not_ask(site: Site, key: str) -> bool:
    """Whether every worker keeps it from the one model that there is."""
    body = {"model": "test/plain", "messages": [{"role": "user", "content": "Hello"}]}
    for _ in range(12):
        with site.gateway.client(key) as client:
            if client.post("/v1/chat/completions", json=body).status_code != 403:
                return False
    return True


def assert_refused(ended: CompletedProcess[str]) -> str:
    """Exit code 1, nothing on standard output, one message and no stack trace; the message."""
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert re.search(r"^tollway: ", ended.stderr, re.MULTILINE), ended.stderr
    return ended.stderr
