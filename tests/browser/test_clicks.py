"""What is clicked and brushed in charts and tables, on the demo's past."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.demo import Shown
from tests.browser.saying import says

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture
def opened(demo: Shown, visit: Callable[..., Visit]) -> Visit:
    return visit(demo.url)


def parameters(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_an_outcome_that_a_link_sets_stays_in_the_url_and_survives_a_reload(
    opened: Visit,
) -> None:
    page = opened.open("/requests?set=outcome:failed")
    says(page, ".st-key-chips", "outcome: failed")
    page.wait_for_url("**outcome=failed**")
    assert "set" not in parameters(page)

    page.reload()
    opened.wait()

    says(page, ".st-key-chips", "outcome: failed")
    assert parameters(page)["outcome"] == ["failed"]
    opened.check()


def test_a_brush_over_the_strip_narrows_the_period(opened: Visit) -> None:
    page = opened.open("/requests")
    strip = page.locator(".st-key-strip svg.marks")
    box = strip.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2

    page.mouse.move(box["x"] + box["width"] * 0.4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=5)
    page.mouse.up()

    page.wait_for_url("**period=custom**")
    opened.wait()
    found = parameters(page)
    # A fifth of seven days, less the room of the axis.
    assert found["from"][0] < found["to"][0]
    expect(page.locator(".st-key-request_table, [data-testid=stDataFrame]").first).to_be_visible()
    opened.check()


def test_a_click_on_a_bar_filters_by_its_provider(opened: Visit) -> None:
    page = opened.open()
    bars = page.locator(".st-key-spend svg.marks .mark-rect path")
    expect(bars.first).to_be_attached()
    bars.nth(bars.count() // 2).click(force=True)

    says(page, ".st-key-chips", "provider: simulated-")
    opened.wait()
    expect(page.locator(".st-key-providers tbody tr")).to_have_count(1)
    assert parameters(page)["provider"][0].startswith("simulated-")
    opened.check()


def test_a_click_on_a_key_opens_it(opened: Visit) -> None:
    page = opened.open("/keys")
    table = page.locator(".st-key-keys [data-testid=stDataFrame]")
    expect(table).to_be_visible()
    # Its cells are painted, not elements: the first row below the header, where its name begins.
    table.click(position={"x": 30, "y": 33 + 16})

    page.wait_for_url("**kid=**")
    opened.wait()
    expect(page.get_by_role("button", name="Rotate")).to_be_visible()
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("What stays empty is not limited.")
    opened.check()
