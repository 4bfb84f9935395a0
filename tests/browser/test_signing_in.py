"""Signing in and out in a browser, what a role may press, and a session that ends meanwhile."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.saying import says
from tests.dashboard.operating import operated
from tests.installation import Gateway, clean_environment

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PASSWORD = "correct horse battery"
ROOT = Path(__file__).parents[2]
_WITHIN_MS = 20_000


class Guarded(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard that asks everybody to sign in, before a gateway that serves."""

    url: str
    gateway: Gateway

    def users(self, *arguments: str, typed: str = "") -> None:
        """Run ``tollway users``."""
        home = self.gateway.home
        subprocess.run(
            [sys.executable, "-m", "gateway", "users", *arguments],
            cwd=home,
            env=clean_environment(home) | {"TOLLWAY_DATA_DIR": str(self.gateway.data_dir)},
            input=typed,
            text=True,
            capture_output=True,
            check=True,
        )


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home = tmp_path_factory.mktemp("signing-in")
    with operated(home) as operating:
        gateway = operating.gateway
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        orders = {
            "database_url": operating.database_url,
            "port": 0,
            "admin_url": gateway.admin_url,
            "sign_in": True,
        }
        process.stdin.write(json.dumps(orders).encode() + b"\n")
        process.stdin.flush()
        found = Guarded(url=json.loads(process.stdout.readline())["url"], gateway=gateway)
        for name, role in (("ada", "auditor"), ("otto", "operator"), ("eve", "auditor")):
            found.users("create", name, "--role", role, typed=f"{PASSWORD}\n")
        yield found
        process.communicate(timeout=30)


@pytest.fixture
def opened(guarded: Guarded, visit: Callable[..., Visit]) -> Visit:
    return visit(guarded.url)


def sign_in(opened: Visit, path: str, name: str, password: str = PASSWORD) -> Page:
    page = opened.page
    page.goto(opened.url + path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    return page


def test_one_signs_in_lands_where_one_wanted_and_signs_out(opened: Visit) -> None:
    page = sign_in(opened, "/rules", "ada")
    opened.wait()
    assert page.url == f"{opened.url}/rules"
    expect(page.get_by_text("Editor", exact=True).first).to_be_visible()
    expect(page.get_by_text("ada (auditor)")).to_be_visible()

    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_text("You are signed in as ada, auditor.")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    page.goto(f"{opened.url}/rules")
    assert page.url.startswith(f"{opened.url}/sign-in?next=")
    assert opened.strangers == []


def test_a_wrong_password_stays_on_the_page_and_says_so(opened: Visit) -> None:
    page = sign_in(opened, "/", "ada", "wrong horse battery")

    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    expect(page.get_by_label("Name")).to_have_value("ada")


@pytest.mark.parametrize(
    ("name", "may_apply"), [("ada", False), ("otto", True)], ids=["auditor", "operator"]
)
def test_what_a_role_may_not_do_is_shown_and_cannot_be_pressed(
    opened: Visit, name: str, may_apply: bool
) -> None:
    page = sign_in(opened, "/rules", name)
    opened.wait()

    page.get_by_role("textbox", name="Rules").fill(
        '[[rules]]\nname = "x"\nthen = { sort = "price" }\n'
    )
    page.get_by_role("textbox", name="Request").click()

    says(page, ".st-key-verdict", "added")
    opened.wait()
    apply = page.get_by_role("button", name="Apply")
    if may_apply:
        expect(apply).to_be_enabled()
        return
    expect(apply).to_be_disabled()
    page.locator(".st-key-apply_rules button").first.hover(force=True)
    expect(page.get_by_text("This takes the role operator; you are auditor.")).to_be_visible()


def test_who_is_revoked_sees_nothing_more_at_the_next_click(
    guarded: Guarded, opened: Visit
) -> None:
    page = sign_in(opened, "/rules", "eve")
    opened.wait()

    guarded.users("revoke", "eve")
    page.wait_for_function(
        """() => document.querySelector('[data-testid=stApp]').dataset.testConnectionState
             !== 'CONNECTED' || !document.querySelector('[data-testid=stApp]')""",
        timeout=_WITHIN_MS,
    )
    page.goto(f"{opened.url}/rules")

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
