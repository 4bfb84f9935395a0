"""The views that are drawn from roll-ups, in a browser: both widths, no complaint, shared links."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Dashboard, Visit

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

EXPECTED = {
    "overview": "What changed most",
    "spend": "Why it changed",
    "latency": "Hour of week",
    "reliability": "Error classes",
}


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("view", EXPECTED)
def test_a_view_of_sums_is_drawn_without_a_complaint(
    filled: Dashboard, visit: Callable[..., Visit], view: str, width: int
) -> None:
    opened = visit(filled.url, width=width)

    page = opened.open("/" if view == "overview" else f"/{view}")

    expect(page.get_by_text(EXPECTED[view])).to_be_visible()
    opened.picture(f"{view}-sums-{width}")
    opened.check()


def test_a_shared_link_keeps_its_filters(filled: Dashboard, visit: Callable[..., Visit]) -> None:
    opened = visit(filled.url)

    page = opened.open("/spend?provider=groq&by=Model")

    expect(page.get_by_text("meta-llama/llama-3.3-70b-instruct").first).to_be_visible()
    assert page.get_by_text("anthropic/claude-sonnet-4.5").count() == 0
    assert "provider=groq" in page.url
    opened.check()
