"""Every page in a browser, on an empty database and on the demo's past: drawn whole, without a
complaint, from this host alone, never wider than the window; wide and light, narrow and dark."""

from collections.abc import Callable

import msgspec
import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from dashboard.views import VIEWS
from gateway.domain.ids import to_generation_id
from gateway.storage.tables import request_record
from tests.browser.conftest import WITHIN_MS, Visit
from tests.browser.demo import Shown

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FITS_THE_WINDOW = """() => Math.max(
  document.documentElement.scrollWidth,
  document.querySelector('[data-testid=stMain]').scrollWidth) <= window.innerWidth"""
NOTHING_YET = "No requests yet."


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A page with the text that says that all of it is there."""

    name: str
    path: str
    demo: str
    empty: str = NOTHING_YET


SPOTS = (
    Spot(name="overview", path="/", demo="What changed most"),
    Spot(name="spend", path="/spend", demo="Why it changed"),
    Spot(name="latency", path="/latency", demo="Hour of week"),
    Spot(name="reliability", path="/reliability", demo="Error classes"),
    Spot(name="requests", path="/requests", demo="newest first"),
    Spot(name="prices", path="/prices", demo="30 endpoints", empty="30 endpoints"),
    Spot(
        name="prices-endpoint",
        path="/prices?endpoint=simulated-dune/fast",
        demo="New list price of Simulated Dune",
        empty="Compared",
    ),
    Spot(
        name="prices-compare",
        path="/prices?tab=Compare&compare=simulated/fast",
        demo="Your usual request",
        empty="Nothing was answered in the last 7 days",
    ),
    Spot(
        name="prices-proposals",
        path="/prices?tab=Proposals",
        demo="No list proposes anything",
        empty="No list proposes anything",
    ),
    Spot(
        name="prices-unpriced",
        path="/prices?tab=Unpriced",
        demo="Give one a price",
        empty="Every attempt of this period has a known cost",
    ),
    Spot(name="rules", path="/rules", demo="documents-by-price", empty="No rules"),
    Spot(name="keys", path="/keys", demo="Burn-down", empty="New budget"),
)


def test_no_page_is_missing_here() -> None:
    assert {view.path for view in VIEWS} <= {spot.name for spot in SPOTS}


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: spot.name)
def test_every_page_shows_the_demo(demo: Shown, visit: Callable[..., Visit], spot: Spot) -> None:
    look_at(visit(demo.url), spot.path, spot.demo, f"{spot.name}-demo")


@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: spot.name)
def test_every_page_says_what_to_do_when_there_is_nothing(
    fresh: Shown, visit: Callable[..., Visit], spot: Spot
) -> None:
    look_at(visit(fresh.url), spot.path, spot.empty, f"{spot.name}-empty", twice=False)


@pytest.mark.parametrize("became", ["success", "refused"])
def test_a_request_is_shown(demo: Shown, visit: Callable[..., Visit], became: str) -> None:
    record = request_record.c
    newest = (
        select(record.id)
        .where(record.outcome == became, record.is_fallback == (became == "success"))
        .order_by(record.received_at.desc())
        .limit(1)
    )
    path = f"/requests?id={to_generation_id(demo.ask(newest)[0].id)}"

    look_at(visit(demo.url), path, "Why here", f"request-{became}-demo")


def look_at(opened: Visit, path: str, expected: str, name: str, *, twice: bool = True) -> None:
    page = opened.open(path)

    expect(page.get_by_text(expected).filter(visible=True).first).to_be_visible()
    opened.picture(f"{name}-1280-light")
    opened.look(width=400, scheme="dark")
    # Streamlit lays out again after the window has another width.
    page.wait_for_function(FITS_THE_WINDOW, timeout=WITHIN_MS)
    if twice:
        opened.picture(f"{name}-400-dark")
    opened.check()
