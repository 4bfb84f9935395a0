import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Dashboard, Visit

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PATHS = {"overview": "/", "requests": "/requests"}
EXPECTED = {"overview": "Spend by provider", "requests": "newest first"}


@pytest.mark.parametrize(
    ("view", "width", "scheme"),
    [
        ("overview", 1280, "light"),
        ("overview", 1280, "dark"),
        ("overview", 400, "light"),
        ("requests", 1280, "light"),
    ],
)
def test_every_view_is_drawn_without_a_complaint(
    filled: Dashboard,
    visit: Callable[..., Visit],
    view: str,
    width: int,
    scheme: str,
) -> None:
    opened = visit(filled.url, width=width, scheme=scheme)

    page = opened.open(PATHS[view])

    expect(page.get_by_text(EXPECTED[view])).to_be_visible()
    opened.picture(f"{view}-{width}-{scheme}")
    opened.check()


def test_the_overview_shows_the_figures(filled: Dashboard, visit: Callable[..., Visit]) -> None:
    opened = visit(filled.url)
    began = time.monotonic()

    page = opened.open()

    print(f"first open: {time.monotonic() - began:.2f} s")
    cards = page.locator(".tw-card")
    expect(cards).to_have_count(8)
    expect(cards.nth(0)).to_contain_text("≥ $")
    expect(cards.nth(0)).to_contain_text("% priced")
    expect(cards.nth(1)).to_contain_text(f"{filled.requests:,}")
    expect(page.locator(".st-key-providers tbody tr")).to_have_count(5)
    expect(page.locator(".tw-title")).to_contain_text("data to")
    bars = page.locator(".st-key-spend .mark-rect path")
    assert bars.count() > 50
    opened.check()


def test_the_period_is_in_the_url_and_survives_a_tab_a_reload_and_a_link(
    filled: Dashboard, visit: Callable[..., Visit]
) -> None:
    opened = visit(filled.url)
    page = opened.open()

    page.get_by_role("radio", name="24h").click()
    expect(page.locator(".st-key-spend .tw-heading")).to_contain_text("per 30 minutes")
    assert "period=24h" in page.url
    page.get_by_role("link", name="Requests").click()
    expect(page.get_by_role("heading", name="Requests")).to_be_visible()
    opened.wait()
    assert "period=24h" in page.url
    page.reload()
    opened.wait()
    expect(page.locator(".st-key-strip .tw-heading")).to_contain_text("per 30 minutes")
    link = visit(filled.url)
    link.open(f"/?{page.url.partition('?')[2]}")
    expect(link.page.locator(".st-key-spend .tw-heading")).to_contain_text("per 30 minutes")

    opened.check()
    link.check()


def test_times_are_those_of_the_reader(filled: Dashboard, visit: Callable[..., Visit]) -> None:
    opened = visit(filled.url, zone="America/New_York")

    page = opened.open("/?period=24h")

    expect(page.locator(".st-key-spend .tw-heading")).to_contain_text("America/New_York")
    opened.check()


def test_a_click_on_an_id_opens_the_request_and_back_leads_back(
    filled: Dashboard, visit: Callable[..., Visit]
) -> None:
    opened = visit(filled.url)
    page = opened.open("/requests")

    # The cells are painted: the id is the first of the first row below the head.
    table = page.locator("[data-testid=stDataFrame]")
    table.scroll_into_view_if_needed()
    table.click(position={"x": 45, "y": 33 + 16})
    expect(page.get_by_text("Why here")).to_be_visible(timeout=10_000)
    opened.wait()
    assert f"id={filled.fallback_id}" in page.url
    expect(page.locator(".st-key-attempts")).to_contain_text("overloaded")
    expect(page.locator(".st-key-plan")).to_contain_text("output $18.75 > cap $16 per M")
    expect(page.locator(".st-key-cost")).to_contain_text("input, uncached")
    opened.picture("request-1280-light")
    page.get_by_role("button", name="Requests").click()
    expect(page.get_by_text("newest first")).to_be_visible()
    assert "id=" not in page.url

    opened.check()


def test_a_shared_link_to_a_request_opens_it(
    filled: Dashboard, visit: Callable[..., Visit]
) -> None:
    opened = visit(filled.url, width=400, scheme="dark")

    page = opened.open(f"/requests?id={filled.fallback_id}")

    expect(page.get_by_text("served by fallback")).to_be_visible()
    opened.picture("request-400-dark")
    opened.check()


def test_an_empty_database_says_what_to_do(empty: Dashboard, visit: Callable[..., Visit]) -> None:
    opened = visit(empty.url)

    page = opened.open()

    expect(page.get_by_text("No requests yet.")).to_be_visible()
    expect(page.locator("[data-testid=stCode]")).to_contain_text("/v1/chat/completions")
    opened.picture("empty-1280-light")
    opened.check()
