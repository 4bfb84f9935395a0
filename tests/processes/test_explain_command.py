"""``tollway explain``: told by the running gateway, and without one from the configuration."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.installation import (
    Gateway,
    Installation,
    closed_port,
    installation,
    provider_toml,
    tollway,
)
from tests.routing.rules.applying import rule

HELLO = [{"role": "user", "content": "Hello"}]
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("explain")
    toml = "rules = 'rules.toml'\n" + "\n".join(
        provider_toml(name, NOWHERE, {"acme/large": "large"}) for name in ("alpha", "beta")
    )
    with installation(home, toml=toml) as place:
        (home / "rules.toml").write_text(rule('labels = { a = "b" }', name="mark"))
        (home / "request.json").write_text(request())
        (home / "refused.json").write_text(request(provider={"max_price": {"prompt": 0.1}}))
        (home / "wrong.json").write_text(request(provider={"orders": []}))
        yield place


@pytest.fixture(scope="module")
def gateway(place: Installation) -> Iterator[Gateway]:
    with place.serve() as gateway:
        yield gateway


@pytest.fixture(scope="module", autouse=True)
def _database(gateway: Gateway) -> None:  # pyright: ignore[reportUnusedFunction]
    """Commands would else start PostgreSQL, one after the other."""


def explain(
    place: Installation, *arguments: str, port: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, which finds a gateway where a port is given."""
    return tollway(
        place.home,
        *("explain", *arguments, "--data-dir", str(place.home / "data")),
        environment={"TOLLWAY_ADMIN_PORT": str(port or closed_port())},
    )


def request(**members: Any) -> str:
    return json.dumps({"model": "acme/large", "messages": HELLO} | members)


def test_without_a_gateway_the_configuration_tells(place: Installation) -> None:
    done = explain(place, "-f", "request.json", "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["source"] == "configuration"
    assert {one["provider"] for one in told["candidates"]} == {"alpha", "beta"}
    assert told["rules"]["applied"] == ["mark"]
    assert "no gateway of this installation runs" in done.stderr


def test_the_running_gateway_tells_also_for_a_key(place: Installation, gateway: Gateway) -> None:
    port = int(gateway.admin_url.rpartition(":")[2])
    kid = gateway.make_key("limited", {"team": "x"}).split("_")[2]

    done = explain(place, "-f", "request.json", "--json", "--key", kid, port=port)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["source"] == "gateway"
    assert told["rules"]["labels"] == {"team": "x", "a": "b"}


def test_people_get_tables(place: Installation) -> None:
    done = explain(place, "-f", "request.json")

    assert done.returncode == 0, done.stderr
    assert "alpha/large" in done.stdout
    assert "0.5000" in done.stdout
    assert "price-weighted" in done.stdout
    assert "mark" in done.stdout


def test_whom_nobody_would_serve_is_told_why_with_exit_code_1(place: Installation) -> None:
    done = explain(place, "-f", "refused.json")

    assert done.returncode == 1
    assert "404 no_endpoints" in done.stdout
    assert "raise `provider.max_price`" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-f", "wrong.json"), "orders"),
        (("-f", "missing.json"), "missing.json: cannot be read"),
        (("-f", "rules.toml"), "is not a request in JSON"),
        (("-f", "request.json", "--key", "nobodyss"), "there is no key 'nobodyss'"),
    ],
    ids=["preference", "no-file", "no-json", "no-key"],
)
def test_what_is_wrong_is_one_line(
    place: Installation, arguments: tuple[str, ...], complaint: str
) -> None:
    done = explain(place, *arguments)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
