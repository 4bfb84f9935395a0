import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from dashboard import budget_chart, budget_words, operator_source
from dashboard.admin_answers import BudgetView, Key
from dashboard.budget_words import Outlook
from dashboard.views.budgets import parse_usd
from dashboard.views.keys_create import parse_labels

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST, NEXT = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def budget(spent: str = "0", limit: str = "100", **more: Any) -> BudgetView:
    given: dict[str, Any] = {
        "name": "b",
        "kid": None,
        "labels": {"team": "search"},
        "everyone": False,
        "period": "month",
        "mode": "hard",
        "leased_usd": Decimal(0),
        "since": FIRST,
        "resets_at": NEXT,
        "created_at": FIRST - DAY,
        "created_by": "owner",
    }
    return BudgetView(
        limit_usd=Decimal(limit),
        spent_usd=Decimal(spent),
        remaining_usd=max(Decimal(limit) - Decimal(spent), Decimal(0)),
        **(given | more),
    )


def spending(*costs: tuple[datetime, str, str]) -> pl.DataFrame:
    rows = [{"key_id": key, "at": at, "cost_usd": Decimal(cost)} for at, key, cost in costs]
    return pl.DataFrame(rows, schema=operator_source.SPEND_OVER_TIME)


def key(kid: str, **labels: str) -> Key:
    return Key(
        id=f"id-{kid}",
        kid=kid,
        last4="1234",
        name=kid,
        labels=labels,
        created_at=FIRST,
        created_by="owner",
    )


def test_labels_a_key_or_everybody_say_whose_spending_counts() -> None:
    keys = [key("a", team="search", env="prod"), key("b", team="search"), key("c")]

    assert budget_words.holders(budget(), keys) == {"id-a", "id-b"}
    assert budget_words.holders(budget(kid="c", labels={}), keys) == {"id-c"}
    everyone = budget(everyone=True, labels={})
    assert budget_words.holders(everyone, keys) == {"id-a", "id-b", "id-c"}


def test_the_pace_of_late_says_when_a_budget_is_gone() -> None:
    # 70 dollars in the last seven days are 10 a day: 50 are gone in 5 days.
    spend = spending(
        (NOW - 20 * DAY, "k", "30"), (NOW - 3 * DAY, "k", "40"), (NOW - DAY, "k", "30")
    )

    found = budget_words.outlook(budget("50"), budget_words.spend_of(spend, frozenset({"k"})), NOW)

    assert found.usd_per_day is not None
    assert round(found.usd_per_day, 9) == 10
    assert found.exhausted_at is not None
    assert abs(found.exhausted_at - (NOW + 5 * DAY)) <= timedelta(seconds=2)


def test_what_lasts_beyond_its_window_is_not_exhausted() -> None:
    spend = budget_words.spend_of(spending((NOW - DAY, "k", "7")), frozenset({"k"}))

    found = budget_words.outlook(budget("7"), spend, NOW)

    assert found.exhausted_at is None
    assert budget_words.outlook_words(budget("7"), found, "UTC") == (
        "lasts until Tue 1 Dec 00:00",
        "good",
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(budget("120"), "spent until Tue 1 Dec 00:00", id="spent"),
        pytest.param(budget(limit="0"), "spent until Tue 1 Dec 00:00", id="nothing-to-spend"),
        pytest.param(
            budget(created_at=NOW - timedelta(minutes=5)), "too early to tell", id="just-made"
        ),
        pytest.param(
            budget(period="total", resets_at=None), "not spent of late", id="nobody-spends"
        ),
    ],
)
def test_a_budget_without_a_pace_says_how_it_stands(given: BudgetView, expected: str) -> None:
    nothing = budget_words.spend_of(spending(), frozenset())

    found = budget_words.outlook(given, nothing, NOW)

    assert budget_words.outlook_words(given, found, "UTC")[0] == expected


def test_the_burn_down_ends_at_what_is_left_and_the_forecast_goes_on_from_there() -> None:
    spend = budget_words.spend_of(
        spending(
            (NOW - 2 * HOUR, "k", "1.5"), (NOW - HOUR, "k", "0.5"), (NOW - HOUR, "other", "9")
        ),
        frozenset({"k"}),
    )
    found = Outlook(usd_per_day=Decimal(49), exhausted_at=NOW + 2 * DAY, is_spent=False)

    points = budget_words.burn_down(budget("2"), spend, found, NOW)

    assert points.rows() == [
        (NOW - 2 * HOUR, Decimal("100.0"), "left"),
        (NOW - HOUR, Decimal("98.5"), "left"),
        (NOW, Decimal(98), "left"),
        (NOW, Decimal(98), "forecast"),
        (NOW + 2 * DAY, Decimal(0), "forecast"),
    ]
    drawn = json.loads(budget_chart.burn_down_chart(points, 100.0, "Asia/Kolkata").to_json())
    assert "2026-11-21T17:30:00" in json.dumps(drawn)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("team=search, env = prod", {"team": "search", "env": "prod"}),
        ("a=b=c", {"a": "b=c"}),
        ("team", None),
        ("=x", None),
    ],
)
def test_labels_are_pairs_with_commas_between(text: str, expected: dict[str, str] | None) -> None:
    assert parse_labels(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$1,500.25", Decimal("1500.25")), ("0", Decimal(0)), ("", None), ("NaN", None), ("x", None)],
)
def test_an_amount_is_read_as_it_is_written(text: str, expected: Decimal | None) -> None:
    assert parse_usd(text) == expected
