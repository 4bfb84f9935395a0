"""Clicking filters, and links that show what their sender saw, on the demo's past."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from gateway.storage.tables import request_record
from tests.browser.conftest import Visit
from tests.browser.demo import Shown
from tests.browser.saying import says

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

CARDS, PROVIDERS = ".tw-cards", ".st-key-providers tbody tr"


@pytest.fixture
def opened(demo: Shown, visit: Callable[..., Visit]) -> Visit:
    return visit(demo.url)


def choose(page: Page, name: str, value: str) -> None:
    """In the popover of filters, by clicks; it stays open, and so does the list of values."""
    field = page.get_by_role("combobox", name=name)
    if not field.is_visible():
        page.get_by_role("button", name="Filters").click()
    field.click()
    field.press_sequentially(value)
    page.get_by_role("option", name=value, exact=True).click()


def test_filters_narrow_the_page_and_follow_to_the_next_one(opened: Visit) -> None:
    began_s = time.monotonic()
    page = opened.open()
    print(f"first open: {time.monotonic() - began_s:.2f} s")
    expect(page.locator(PROVIDERS)).to_have_count(5)

    # From below: an open list covers what is below it.
    choose(page, "Label", "team=research")
    began_s = time.monotonic()
    says(page, ".st-key-chips", "research")
    opened.wait()
    print(f"after a filter click: {time.monotonic() - began_s:.2f} s")
    choose(page, "Model", "simulated/code")
    choose(page, "Provider", "simulated-elm")
    expect(page.locator(PROVIDERS)).to_have_count(1)
    page.keyboard.press("Escape")

    expect(page.locator(".st-key-chips button")).to_have_count(4)
    page.get_by_role("link", name="Spend").click()
    says(page, ".st-key-spend", "simulated-elm")
    opened.wait()
    assert page.get_by_text("simulated-dune").count() == 0
    for part in ("provider=simulated-elm", "model=simulated%2Fcode", "label=team%3Dresearch"):
        assert part in page.url
    # Latency is not kept by label: the page says so rather than leave it out silently.
    page.get_by_role("link", name="Latency").click()
    expect(page.get_by_text("team=research · not on this page").first).to_be_visible()
    opened.wait()
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".st-key-chips")).to_have_count(0)
    opened.wait()
    assert "provider=" not in page.url

    opened.check()


def test_a_shared_link_shows_what_its_sender_saw(
    demo: Shown, opened: Visit, visit: Callable[..., Visit]
) -> None:
    page = opened.open()
    page.get_by_role("radio", name="24h").click()
    says(page, ".st-key-spend .tw-heading", "per 30 minutes")
    page.get_by_role("button", name="Filters").click()
    page.get_by_text("Compare with the period before").click()
    expect(page.get_by_text("Comparison with the period before is switched off")).to_be_visible()
    opened.wait()
    choose(page, "Provider", "simulated-cedar")
    expect(page.locator(PROVIDERS)).to_have_count(1)
    opened.wait()
    cards, rows = (page.locator(one).first.inner_text() for one in (CARDS, PROVIDERS))

    link = visit(demo.url)
    link.open(page.url.removeprefix(demo.url))

    expect(link.page.locator(PROVIDERS)).to_have_count(1)
    assert [link.page.locator(one).first.inner_text() for one in (CARDS, PROVIDERS)] == [
        cards,
        rows,
    ]
    for part in ("period=24h", "cmp=false", "provider=simulated-cedar"):
        assert part in link.page.url
    opened.check()
    link.check()


def test_a_link_with_an_unknown_value_shows_nothing_more_than_its_sender_saw(
    opened: Visit,
) -> None:
    page = opened.open("/spend?model=nobody/knows-it&period=bogus")

    expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    expect(page.get_by_text("model: nobody/knows-it")).to_be_visible()
    assert "model=nobody" in page.url
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(CARDS)).to_contain_text("requests")
    opened.wait()
    assert "nobody" not in page.url
    opened.check()


def test_the_period_survives_a_tab_and_a_reload_and_back_leads_back(opened: Visit) -> None:
    page = opened.open()
    page.get_by_role("radio", name="24h").click()
    says(page, ".st-key-spend .tw-heading", "per 30 minutes")

    page.get_by_role("link", name="Requests").click()
    expect(page.get_by_role("heading", name="Requests")).to_be_visible()
    opened.wait()
    page.reload()
    opened.wait()
    says(page, ".st-key-strip .tw-heading", "per 30 minutes")
    # The cells are painted: the id is the first of the first row below the head.
    table = page.locator("[data-testid=stDataFrame]")
    table.scroll_into_view_if_needed()
    table.click(position={"x": 45, "y": 33 + 16})
    expect(page.get_by_text("Why here")).to_be_visible(timeout=10_000)
    opened.wait()
    assert "id=gen-" in page.url

    page.go_back()
    expect(page.get_by_text("newest first")).to_be_visible()
    opened.wait()
    page.go_back()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    says(page, ".st-key-spend .tw-heading", "per 30 minutes")
    opened.check()


def test_times_are_those_of_the_reader(demo: Shown, visit: Callable[..., Visit]) -> None:
    opened = visit(demo.url, zone="America/New_York")

    page = opened.open("/?period=24h")

    says(page, ".st-key-spend .tw-heading", "America/New_York")
    opened.check()


def test_the_overview_counts_what_is_recorded(demo: Shown, opened: Visit) -> None:
    ((recorded,),) = demo.ask(select(func.count()).select_from(request_record))

    page = opened.open("/?period=30d")

    cards = page.locator(".tw-card")
    expect(cards).to_have_count(8)
    expect(cards.nth(0)).to_contain_text("≥ $")
    expect(cards.nth(0)).to_contain_text("% priced")
    expect(cards.nth(1)).to_contain_text(f"{recorded:,}")
    expect(page.locator(".tw-title")).to_contain_text("data to")
    assert page.locator(".st-key-spend .mark-rect path").count() > 20
    opened.check()
