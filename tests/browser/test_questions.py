"""What a new user asks, each answered in at most three clicks from the first page.

The clicks stand here as they are made; the answer is read off the page and compared with SQL over
the rows.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import Double, cast, func, select

from dashboard import numbers
from dashboard.periods import Period, make_period
from gateway.domain.ids import to_generation_id
from gateway.storage.tables import attempt_record, request_record
from tests.browser.conftest import Visit
from tests.browser.demo import Shown
from tests.browser.saying import says

# One worker for all: they share one browser and one server.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ZONE, TEAM = "Europe/Berlin", "search"
MOST_CLICKS = 3


class Clicks:
    """Counts them, from the first page on."""

    def __init__(self, opened: Visit) -> None:
        self._opened = opened
        self.page: Page = opened.open()
        self.count = 0

    def __call__(self, what: Locator) -> None:
        what.click()
        self.count += 1

    def done(self) -> None:
        """No more of them: the page is read now."""
        self._opened.wait()
        assert self.count <= MOST_CLICKS


@pytest.fixture
def click(demo: Shown, visit: Callable[..., Visit]) -> Clicks:
    return Clicks(visit(demo.url, zone=ZONE))


def seen(choice: str) -> Period:
    return make_period(choice, now=datetime.fromtimestamp(time.time(), UTC), zone=ZONE)


def cells(rows: Locator) -> list[list[str]]:
    """The texts of a table, the line below each included."""
    return [[text.strip() for text in row.locator("td").all_inner_texts()] for row in rows.all()]


def test_what_did_a_team_spend_last_week_on_which_provider(demo: Shown, click: Clicks) -> None:
    page = click.page
    click(page.get_by_role("button", name="Filters"))
    labels = page.get_by_role("combobox", name="Label")
    click(labels)
    labels.press_sequentially(TEAM)
    click(page.get_by_role("option", name=f"team={TEAM}", exact=True))
    says(page, ".st-key-chips", "team")
    click.done()
    page.keyboard.press("Escape")

    attempt = attempt_record.c
    spent = func.coalesce(func.sum(attempt.cost_usd), Decimal(0))
    rows = demo.ask(
        select(attempt.provider, spent, func.count() - func.count(attempt.cost_usd))
        .where(attempt.started_at >= seen("7d").start, attempt.labels["team"].astext == TEAM)
        .group_by(attempt.provider)
        .order_by(spent.desc())
    )
    shown = [row[:2] for row in cells(page.locator(".st-key-providers tbody tr"))]
    assert len(rows) > 1
    assert [(name, text.partition("\n")[0]) for name, text in shown] == [
        (name, numbers.usd_sum(usd, is_complete=not unpriced)) for name, usd, unpriced in rows
    ]


def test_which_provider_is_slow_today(demo: Shown, click: Clicks) -> None:
    page = click.page
    click(page.get_by_role("radio", name="24h"))
    says(page, ".st-key-spend .tw-heading", "per 30 minutes")
    click(page.get_by_role("link", name="Latency"))
    expect(page.get_by_role("heading", name="Latency")).to_be_visible()
    click(page.get_by_role("radio", name="Providers").first)
    rows = page.locator(".st-key-table tbody tr")
    expect(rows).to_have_count(5)
    click.done()

    period = seen("24h")
    now, before = (p95_by_provider(demo, one) for one in (period, period.before))
    shown = {row[0]: row for row in cells(rows)}
    # The slowest on top; a histogram is within 2 % of the rows.
    assert now[next(iter(shown))] > max(now.values()) * 0.96
    for provider, row in shown.items():
        assert row[4] in near(now[provider]), provider
    # And how much slower than the day before, which is what makes it stand out.
    for provider, row in shown.items():
        grown = (now[provider] / before[provider] - 1) * 100
        assert growth(row[6]) == pytest.approx(grown, rel=0.1, abs=8), provider


def test_why_was_a_request_served_there(demo: Shown, click: Clicks) -> None:
    record = request_record.c
    ((request_id, plan, used),) = demo.ask(
        select(record.id, record.plan, record.used_endpoint)
        .where(record.is_fallback, record.outcome == "success", record.rule_version.is_not(None))
        .order_by(record.received_at.desc())
        .limit(1)
    )
    attempt = attempt_record.c
    tried = demo.ask(
        select(attempt.endpoint, attempt.outcome)
        .where(attempt.request_id == request_id)
        .order_by(attempt.number)
    )
    page = click.page
    click(page.get_by_role("link", name="Requests"))
    field = page.get_by_role("textbox", name="Id, session or user")
    click(field)
    field.fill(to_generation_id(request_id))
    field.press("Enter")
    why = page.locator(".st-key-plan")
    says(page, ".st-key-plan", "Why here")
    click.done()

    expect(why).to_contain_text(f"{len(plan['candidates'])}")
    shown = cells(why.locator("table").first.locator("tbody tr"))
    assert [row[1] for row in shown] == [one["endpoint"] for one in plan["candidates"]]
    assert next(row[1] for row in shown if "served" in row[2]) == used
    failed = [endpoint for endpoint, outcome in tried if outcome != "success"]
    assert [row[1] for row in shown if "tried" in row[2] and "not" not in row[2]] == failed


def test_would_it_be_served_there_again(demo: Shown, visit: Callable[..., Visit]) -> None:
    record = request_record.c
    ((request_id, plan),) = demo.ask(
        select(record.id, record.plan)
        .where(record.is_fallback, record.outcome == "success")
        .order_by(record.received_at.desc())
        .limit(1)
    )
    opened = visit(demo.url, zone=ZONE)
    page = opened.open(f"/requests?id={to_generation_id(request_id)}")

    page.get_by_role("button", name="Explain again now").click()
    says(page, ".st-key-explained_again", "would be asked first")

    opened.wait()
    shown = cells(page.locator(".st-key-explained_again table").first.locator("tbody tr"))
    # Nothing has changed since but health and chance, which leave nobody out.
    assert {row[1] for row in shown} == {one["endpoint"] for one in plan["candidates"]}
    opened.picture("explained-again")


def p95_by_provider(demo: Shown, period: Period) -> dict[str, float]:
    """Exact, in ms, of successful attempts."""
    attempt = attempt_record.c
    p95 = func.percentile_disc(0.95).within_group(cast(attempt.duration_ms, Double))
    rows: list[Any] = demo.ask(
        select(attempt.provider, p95)
        .where(
            attempt.outcome == "success",
            attempt.started_at >= period.start,
            attempt.started_at < period.end,
        )
        .group_by(attempt.provider)
    )
    return dict(map(tuple, rows))


def near(milliseconds: float) -> set[str]:
    """How durations within 3 % of this are written."""
    return {numbers.duration(milliseconds * (1 + step / 10_000)) for step in range(-300, 301)}


def growth(text: str) -> float:
    """What a change says, as a number."""
    if text.startswith(numbers.TIMES):
        return float(text[1:].replace(",", "")) * 100
    plain = text.replace(numbers.MINUS, "-").replace(numbers.NBSP, "").replace("±", "")
    return float(plain.rstrip("%"))
