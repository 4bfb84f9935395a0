"""Changing prices, rules and keys as an operator does, on an installation that serves."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.installation import MESSAGES, Gateway, installation, wait_until

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

MODEL, ENDPOINT = "simulated/fast", "simulated-dune/fast"
PINNED = {"model": MODEL, "messages": MESSAGES, "provider": {"only": ["simulated-dune"]}}
LOOKS = [(1280, "light"), (400, "dark")]


@pytest.fixture(scope="module")
def up(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("operator")
    with installation(home) as place, place.up() as gateway:
        yield gateway


@pytest.fixture
def opened(up: Gateway, visit: Callable[..., Visit]) -> Iterator[Visit]:
    found = visit(str(up.told["dashboard_url"]))
    yield found
    found.check()


def usage(up: Gateway, key: str) -> dict[str, Any]:
    with up.client(key) as client:
        answer = client.post("/v1/chat/completions", json=PINNED)
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]


def say_so(page: Page, text: str) -> None:
    """Wait for what the page says after a change."""
    expect(page.locator(".st-key-note")).to_contain_text(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("prices", "Catalogue"),
        (f"prices?endpoint={ENDPOINT}", "Compared"),
        ("rules", "Editor"),
        ("keys", "Create a key"),
    ],
    ids=["prices", "endpoint", "rules", "keys"],
)
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_operator_is_drawn_without_a_complaint(
    up: Gateway, visit: Callable[..., Visit], path: str, expected: str, look: tuple[int, str]
) -> None:
    width, scheme = look
    opened = visit(str(up.told["dashboard_url"]), width=width, scheme=scheme)

    page = opened.open(f"/{path}")

    expect(page.get_by_text(expected).first).to_be_visible()
    opened.picture(f"{path.partition('?')[0]}{'-endpoint' * ('?' in path)}-{width}-{scheme}")
    opened.check()


def test_a_price_is_changed_and_the_next_request_costs_the_new_one(
    up: Gateway, opened: Visit
) -> None:
    key = up.make_key("prices")
    page = opened.open(f"/prices?endpoint={ENDPOINT}")

    page.get_by_role("textbox", name="Output", exact=True).fill("1000")
    page.get_by_role("textbox", name="Why").fill("a test of ours")
    page.get_by_role("button", name="Check").click()
    effects = page.locator(".st-key-effects")
    expect(effects).to_contain_text("$0.24")
    expect(effects).to_contain_text("$1,000.00")
    before = usage(up, key)
    page.get_by_role("button", name="Record change").click()
    say_so(page, "is on record")

    def costs_more() -> dict[str, Any] | None:
        found = usage(up, key)
        return found if found["cost_usd_output"] > before["cost_usd_output"] * 10 else None

    after = wait_until("the new price holds", costs_more)
    tokens = after["completion_tokens"]
    # A thousand dollars per million tokens are a tenth of a cent each.
    assert Decimal(str(after["cost_usd_output"])) == Decimal("0.001") * tokens
    expect(page.locator(".st-key-changes")).to_contain_text("a test of ours")


def test_a_rule_is_applied_tried_and_rolled_back(up: Gateway, opened: Visit) -> None:
    key = up.make_key("rules")
    page = opened.open("/rules")

    def write(text: str) -> None:
        page.get_by_role("textbox", name="Rules").fill(text)
        page.get_by_role("textbox", name="Comment").click()
        opened.wait()

    def apply(number: int) -> None:
        page.get_by_role("button", name="Apply").click()
        say_so(page, f"Version {number} is in force")
        opened.wait()

    def status() -> int:
        with up.client(key) as client:
            return client.post("/v1/chat/completions", json=PINNED).status_code

    write("# nothing yet\n")
    apply(1)
    write('[[rules]]\nname = "no-dune"\nthen = { tighten = { ignore = ["simulated-dune"] } }\n')
    expect(page.locator(".st-key-verdict")).to_contain_text("added")
    apply(2)
    wait_until("the rule is in force", lambda: status() == 404)

    versions = page.get_by_role("combobox", name="Look at a version")
    first = page.get_by_role("option", name="1: no comment")

    def is_open() -> bool:
        # By the keyboard, and again: the list shuts when the page is drawn anew.
        versions.press("ArrowDown")
        page.wait_for_timeout(300)
        return first.is_visible()

    wait_until("the versions are listed", is_open, within_s=20)
    first.click()
    page.get_by_role("button", name="Put version 1 in force").click()
    say_so(page, "Version 1 is in force again")
    wait_until("the rule is gone", lambda: status() == 200)


def test_a_key_is_made_and_works(up: Gateway, opened: Visit) -> None:
    page = opened.open("/keys")

    page.locator(".st-key-create_key").get_by_role("textbox", name="Name").fill("from the page")
    page.locator(".st-key-create_key").get_by_role("button", name="Create").click()
    text = page.locator(".st-key-made_key_box code").inner_text()

    wait_until("the key works", lambda: up.accepts(text.strip()))
    page.get_by_role("button", name="I have it").click()
    expect(page.locator(".st-key-made_key_box")).to_have_count(0)
    expect(page.locator(".st-key-keys")).to_contain_text("from the page")
