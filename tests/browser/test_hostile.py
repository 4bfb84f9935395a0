"""Hostile names in a browser: no script of theirs runs, nothing is made of them, nothing breaks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from gateway.domain.ids import to_generation_id
from tests.browser.conftest import WITHIN_MS, Visit
from tests.browser.demo import Shown, shown
from tests.browser.test_views import FITS_THE_WINDOW
from tests.dashboard import hostile
from tests.dashboard.hostile import NAMES

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

END = datetime.now(UTC)
ENDPOINT = "simulated-dune/fast"
DAY = "period=24h"
# Each with a text that says that all of it is there.
PAGES = {
    f"/?{DAY}": "What changed most",
    f"/spend?{DAY}&by=Model": "Why it changed",
    f"/latency?{DAY}&lanes=Endpoints&lines=Providers": "Hour of week",
    f"/reliability?{DAY}": "Error classes",
    f"/requests?{DAY}": "newest first",
    f"/requests?id={to_generation_id(hostile.request(NAMES['html'], END).id)}": "Why here",
    f"/prices?endpoint={ENDPOINT}": "Decided here",
    "/prices?tab=Proposals": f"{len(NAMES)} proposals",
    f"/prices?tab=Unpriced&{DAY}": "Answered without a price",
    f"/prices?{urlencode({'tab': 'Compare', 'compare': NAMES['html']})}": "No endpoint here offers",
    "/rules": "History",
    "/keys": "Burn-down",
    "/keys?kid=html0000": "Rotate",
}
STRUCK = """() => ({
  script: window.struck,
  made: [...document.querySelectorAll(`.struck, [onerror], [onload], [onmouseover], .katex,
    .stMarkdownColoredText, [src*="example.invalid"], [href*="example.invalid"],
    [href^="javascript"], [src="x"], [alt="Streamlit logo"], [aria-label="home icon"]`)].map(
      (one) => one.outerHTML),
  emoji: document.body.innerText.includes('\\u{1F604}'),
})"""
NOTHING: dict[str, object] = {"script": None, "made": [], "emoji": False}


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with shown(tmp_path_factory.mktemp("hostile")) as found:
        hostile.fill(found.database_url, END, endpoint=ENDPOINT)
        yield found


def test_no_view_makes_anything_of_a_hostile_name(
    struck: Shown, visit: Callable[..., Visit]
) -> None:
    opened = visit(struck.url)
    for path, expected in PAGES.items():
        opened.look(width=1280, scheme="light")
        page = opened.open(path)
        expect(page.get_by_text(expected).filter(visible=True).first).to_be_visible()
        assert page.evaluate(STRUCK) == NOTHING, path
        opened.look(width=400, scheme="dark")
        page.wait_for_function(FITS_THE_WINDOW, timeout=WITHIN_MS)
        assert page.evaluate(STRUCK) == NOTHING, path
        opened.check()


def test_what_is_filtered_by_reads_as_it_is_called(
    struck: Shown, visit: Callable[..., Visit]
) -> None:
    opened = visit(struck.url)

    page = opened.open(f"/?{urlencode({'period': '24h', 'model': NAMES.values()}, doseq=True)}")

    chips = page.locator(".st-key-chips button")
    expect(chips).to_have_count(len(NAMES) + 1)
    told = {one.replace("\N{WORD JOINER}", "") for one in chips.all_inner_texts()}
    for name in NAMES.values():
        short = name if len(name) <= 40 else f"{name[:40]}…"
        assert [one for one in told if f"model: {' '.join(short.split())}" in one], short
    assert page.evaluate(STRUCK) == NOTHING
    opened.check()
