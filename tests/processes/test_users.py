"""``tollway users``: a password comes from standard input and opens the admin API."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.installation import Gateway, Installation, clean_environment, installation

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("users")) as place:
        yield place


@pytest.fixture(scope="module")
def gateway(place: Installation) -> Iterator[Gateway]:
    with place.serve() as gateway:
        yield gateway


def users(place: Installation, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "users", *arguments, "--data-dir", place.home / "data"],
        cwd=place.home,
        env=clean_environment(place.home),
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def sign_in(gateway: Gateway, name: str, password: str) -> httpx.Response:
    return httpx.post(
        f"{gateway.admin_url}/admin/session",
        json={"name": name, "password": password},
        trust_env=False,
    )


def test_who_was_made_by_hand_signs_in_until_revoked(place: Installation, gateway: Gateway) -> None:
    code, told, _ = users(place, "create", "ada", "--role", "operator", typed=f"{PASSWORD}\n")
    assert (code, told) == (0, "ada may sign in now, as operator.\n")
    answer = sign_in(gateway, "ada", PASSWORD)
    assert answer.status_code == 201
    bearer = {"authorization": f"Bearer {answer.json()['token']}"}
    admin = httpx.Client(base_url=gateway.admin_url, headers=bearer, trust_env=False)

    with admin:
        assert admin.get("/admin/rules").status_code == 200
        assert admin.get("/admin/users").status_code == 403
        assert users(place, "password", "ada", typed="another long one\n")[0] == 0
        assert admin.get("/admin/rules").status_code == 401
    assert sign_in(gateway, "ada", PASSWORD).status_code == 401
    assert sign_in(gateway, "ada", "another long one").status_code == 201
    assert users(place, "revoke", "ada")[0] == 0
    assert sign_in(gateway, "ada", "another long one").status_code == 401
    assert "revoked" in users(place, "list")[1]


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (("create", "bea", "--role", "auditor"), "", "no password"),
        (("create", "bea", "--role", "auditor"), "short\n", "give 12 to 1024"),
        (("create", "Bea", "--role", "auditor"), f"{PASSWORD}\n", "give 1 to 64 of a-z"),
        (("revoke", "nobody"), "", "'tollway users list' shows them"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    place: Installation, gateway: Gateway, arguments: tuple[str, ...], typed: str, words: str
) -> None:
    code, _, told = users(place, *arguments, typed=typed)

    assert code == 1
    assert words in told
    assert "Traceback" not in told
