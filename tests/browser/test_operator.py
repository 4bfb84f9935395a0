"""Changing prices, rules and keys as an operator does, on an installation that serves."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visit
from tests.browser.saying import says
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
    says(page, ".st-key-note", text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("prices", "Catalogue"),
        (f"prices?endpoint={ENDPOINT}", "Compared"),
        ("rules", "Editor"),
        (f"prices?tab=Compare&compare={MODEL}", "Against the cheapest"),
        ("prices?tab=Proposals", "No list proposes anything"),
        ("prices?tab=Unpriced", "Answered without a price"),
        ("keys", "New key"),
    ],
    ids=["prices", "endpoint", "rules", "compare", "proposals", "unpriced", "keys"],
)
@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_operator_is_drawn_without_a_complaint(
    up: Gateway, visit: Callable[..., Visit], path: str, expected: str, look: tuple[int, str]
) -> None:
    width, scheme = look
    opened = visit(str(up.told["dashboard_url"]), width=width, scheme=scheme)

    page = opened.open(f"/{path}")

    expect(page.get_by_text(expected).first).to_be_visible()
    name = path.partition("&")[0].partition("/")[0].replace("?", "-").replace("=", "-")
    opened.picture(f"{name}-{width}-{scheme}")
    opened.check()


def test_a_price_is_changed_and_the_next_request_costs_the_new_one(
    up: Gateway, opened: Visit
) -> None:
    key = up.make_key("prices")
    page = opened.open(f"/prices?endpoint={ENDPOINT}")

    page.get_by_role("textbox", name="Output", exact=True).fill("1000")
    page.get_by_role("textbox", name="Why").fill("a test of ours")
    page.get_by_role("button", name="Check").click()
    says(page, ".st-key-effects", "$0.24")
    says(page, ".st-key-effects", "$1,000.00")
    before = usage(up, key)
    # What the last week would have cost is computed first.
    apply = page.get_by_role("button", name="Apply")
    expect(apply).to_be_enabled(timeout=60_000)
    says(page, ".st-key-effects", "Last 7 days")
    apply.click()
    say_so(page, "is on record")

    def costs_more() -> dict[str, Any] | None:
        found = usage(up, key)
        return found if found["cost_usd_output"] > before["cost_usd_output"] * 10 else None

    after = wait_until("the new price holds", costs_more)
    tokens = after["completion_tokens"]
    # A thousand dollars per million tokens are a tenth of a cent each.
    assert Decimal(str(after["cost_usd_output"])) == Decimal("0.001") * tokens
    says(page, ".st-key-changes", "a test of ours")


def test_a_rule_is_applied_tried_and_rolled_back(up: Gateway, opened: Visit) -> None:
    key = up.make_key("rules")
    page = opened.open("/rules")

    def write(text: str) -> None:
        page.get_by_role("textbox", name="Rules").fill(text)
        page.get_by_role("textbox", name="Request").click()
        opened.wait()

    def put_in_force() -> None:
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("textbox", name="Note").fill("a test of ours")
        dialog.get_by_role("button", name="Put in force").click()
        expect(dialog).to_have_count(0)

    def apply(number: int) -> None:
        page.get_by_role("button", name="Apply").click()
        put_in_force()
        say_so(page, f"Version {number} is in force")
        opened.wait()

    def status() -> int:
        with up.client(key) as client:
            return client.post("/v1/chat/completions", json=PINNED).status_code

    write("# nothing yet\n")
    apply(1)
    write('[[rules]]\nname = "no-dune"\nthen = { tighten = { ignore = ["simulated-dune"] } }\n')
    says(page, ".st-key-verdict", "added")
    opened.wait()
    apply(2)
    wait_until("the rule is in force", lambda: status() == 404)

    versions = page.get_by_role("combobox", name="Look at a version")
    first = page.get_by_role("option", name="1: a test of ours")

    def is_open() -> bool:
        # By the keyboard, and again: the list shuts when the page is drawn anew.
        versions.press("ArrowDown")
        page.wait_for_timeout(300)
        return first.is_visible()

    wait_until("the versions are listed", is_open, within_s=20)
    first.click()
    page.get_by_role("button", name="Put version 1 in force").click()
    put_in_force()
    say_so(page, "Version 1 is in force again")
    wait_until("the rule is gone", lambda: status() == 200)


def test_a_key_is_made_opened_and_revoked(up: Gateway, opened: Visit) -> None:
    page = opened.open("/keys")
    dialog = page.get_by_role("dialog")

    page.get_by_role("button", name="New key").click()
    dialog.get_by_role("textbox", name="Name", exact=True).fill("from the page")
    dialog.get_by_role("button", name="Create").click()
    text = dialog.locator(".st-key-made_key_box code").first.inner_text().strip()
    wait_until("the key works", lambda: up.accepts(text))
    dialog.get_by_role("button", name="I have it").click()
    expect(dialog).to_have_count(0)

    kid = text.split("_")[2]
    page = opened.open(f"/keys?kid={kid}")
    says(page, ".st-key-key_facts", "from the page")
    page.get_by_role("textbox", name="Its name, to be sure").fill("from the page")
    page.get_by_role("button", name="Revoke").click()
    say_so(page, "is revoked")
    wait_until("the key is refused", lambda: up.status_of_models(text) == 401)


def test_a_budget_is_made_in_a_dialog_and_one_that_is_left_changes_nothing(
    up: Gateway, opened: Visit
) -> None:
    page = opened.open("/keys")
    dialog = page.get_by_role("dialog")

    page.get_by_role("button", name="New budget").click()
    expect(dialog).to_contain_text("Limit in USD")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="New budget").click()
    dialog.get_by_role("textbox", name="Name", exact=True).fill("everybody")
    dialog.get_by_role("textbox", name="Limit in USD").fill("5")
    dialog.get_by_role("textbox", name="Labels").fill("team=search")
    dialog.get_by_role("button", name="Create").click()

    say_so(page, "The budget everybody holds")
    says(page, ".st-key-budgets", "$5.00")
    # With its burn-down, which has no forecast yet.
    says(page, ".st-key-burn_down", "$5.00 left")
    opened.wait()
