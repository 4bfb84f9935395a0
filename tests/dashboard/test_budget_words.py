import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from dashboard import budget_chart, budget_words, burn_down, operator_source
from dashboard.admin_answers import AuditEntry, BudgetView
from dashboard.budget_words import Holder, Outlook
from dashboard.views.budgets_change import parse_usd
from dashboard.views.keys_form import parse_labels

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST, NEXT = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def budget(spent: str = "0", limit: str = "100", **more: Any) -> BudgetView:
    given: dict[str, Any] = {
        "id": "id-of-b",
        "name": "b",
        "kid": None,
        "labels": {"team": "search"},
        "everyone": False,
        "period": "month",
        "mode": "hard",
        "strict": False,
        "leased_usd": Decimal(0),
        "expired_usd": Decimal(0),
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


def spending(*costs: tuple[datetime, str]) -> pl.DataFrame:
    rows = [{"at": at, "cost_usd": Decimal(cost)} for at, cost in costs]
    return pl.DataFrame(rows, schema=operator_source.SPEND_OVER_TIME)


def key(kid: str, **labels: str) -> Holder:
    return Holder(id=f"id-{kid}", kid=kid, name=kid, labels=labels)


def test_labels_a_key_or_everybody_say_whose_spending_counts() -> None:
    keys = [key("a", team="search", env="prod"), key("b", team="search"), key("c")]

    assert budget_words.holders(budget(), keys) == {"id-a", "id-b"}
    assert budget_words.holders(budget(kid="c", labels={}), keys) == {"id-c"}
    everyone = budget(everyone=True, labels={})
    assert budget_words.holders(everyone, keys) == {"id-a", "id-b", "id-c"}


def test_what_keys_spent_together_leaves_out_others_and_what_is_unknown() -> None:
    spent = {"a": Decimal("1.5"), "b": None, "c": Decimal(9)}

    assert budget_words.spend_of(spent, frozenset({"a", "b", "unheard-of"})) == Decimal("1.5")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(budget(), NOW - 7 * DAY, id="a-week-of-a-month"),
        pytest.param(budget(since=NOW - HOUR), NOW - HOUR, id="a-young-window"),
        pytest.param(
            budget(created_at=NOW - timedelta(minutes=20)),
            NOW - timedelta(minutes=30),
            id="to-the-quarter-of-an-hour",
        ),
    ],
)
def test_the_pace_is_that_of_late(given: BudgetView, expected: datetime) -> None:
    assert budget_words.paced_from(given, NOW) == expected


def test_the_pace_of_late_says_when_a_budget_is_gone() -> None:
    # 70 dollars in the last seven days are 10 a day: 50 are gone in 5 days.
    found = budget_words.outlook(budget("50"), Decimal(70), NOW)

    assert found.usd_per_day is not None
    assert round(found.usd_per_day, 9) == 10
    assert found.exhausted_at is not None
    assert abs(found.exhausted_at - (NOW + 5 * DAY)) <= timedelta(seconds=2)


def test_what_lasts_beyond_its_window_is_not_exhausted() -> None:
    found = budget_words.outlook(budget("7"), Decimal(7), NOW)

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
    found = budget_words.outlook(given, Decimal(0), NOW)

    assert budget_words.outlook_words(given, found, "UTC")[0] == expected


def test_the_burn_down_ends_at_what_is_left_and_the_forecast_goes_on_from_there() -> None:
    spend = spending((NOW - 2 * HOUR, "1.5"), (NOW - HOUR, "0.5"))
    found = Outlook(usd_per_day=Decimal(49), exhausted_at=NOW + 2 * DAY, is_spent=False)

    points = burn_down.burn_down(budget("2"), spend, found, NOW)

    rows = points.select("at", "left_usd", "part").rows()
    assert rows[:4] == [
        (NOW - 2 * HOUR, Decimal("100.0"), "left"),
        (NOW - HOUR, Decimal("98.5"), "left"),
        (NOW, Decimal(98), "left"),
        (NOW, Decimal(98), "forecast"),
    ]
    # Half of the way is half of what is left.
    assert (NOW + DAY, Decimal(49), "forecast") in rows
    assert rows[-1] == (NOW + 2 * DAY, Decimal(0), "forecast")
    drawn = json.loads(budget_chart.burn_down_chart(points, 100.0, "Asia/Kolkata").to_json())
    assert "2026-11-21T17:30:00" in json.dumps(drawn)


def test_the_band_of_a_forecast_holds_four_of_five_futures() -> None:
    # Six whole days of 9 and 11 dollars in turn: 10 a day, give or take 1.
    midnight = NOW.replace(hour=0)
    costs = [(midnight - day * DAY, "9" if day % 2 else "11") for day in range(6, 0, -1)]
    found = Outlook(usd_per_day=Decimal(10), exhausted_at=None, is_spent=False)

    points = burn_down.burn_down(budget("60", limit="200"), spending(*costs), found, NOW)

    band = points.filter(pl.col("part") == "forecast").select("left_usd", "low_usd", "high_usd")
    # Of what is left now there is no doubt; 9.5 days later by 1.2816 times their square root.
    assert band.row(0) == (Decimal(140), Decimal(140), Decimal(140))
    left, low, high = band.row(-1)
    assert left == Decimal(45)
    assert (round(left - low, 2), round(high - left, 2)) == (Decimal("3.95"), Decimal("3.95"))
    was = points.filter(pl.col("part") == "left")
    assert was["low_usd"].to_list() == was["high_usd"].to_list() == was["left_usd"].to_list()


@pytest.mark.parametrize(
    ("since", "costs"),
    [
        pytest.param(NOW - 2 * HOUR, [], id="too-young"),
        pytest.param(NOW - 5 * HOUR, [(NOW - HOUR * n, "1") for n in (5, 4, 3, 2, 1)], id="even"),
    ],
)
def test_what_cannot_be_told_or_never_varied_has_no_band(since: datetime, costs: Any) -> None:
    found = Outlook(usd_per_day=Decimal(24), exhausted_at=None, is_spent=False)
    given = budget(limit="1000", period="day", since=NOW - 5 * HOUR, created_at=since)

    points = burn_down.burn_down(given, spending(*costs), found, NOW)

    assert points["low_usd"].to_list() == points["high_usd"].to_list()


def test_a_budget_is_never_less_than_spent_nor_more_than_it_is() -> None:
    costs = [(NOW - n * HOUR, "30" if n % 2 else "0") for n in (4, 3, 2, 1)]
    found = Outlook(usd_per_day=Decimal(360), exhausted_at=NOW + 3 * HOUR, is_spent=False)
    given = budget("60", period="day", since=NOW - 5 * HOUR)

    points = burn_down.burn_down(given, spending(*costs), found, NOW)

    expected = points.filter(pl.col("part") == "forecast")
    assert expected["low_usd"].min() == 0
    assert expected["high_usd"].max() == Decimal(40)
    assert (expected["low_usd"] <= expected["left_usd"]).all()
    assert (expected["left_usd"] <= expected["high_usd"]).all()


def test_budgets_are_ranked_by_danger_and_those_that_only_count_come_last() -> None:
    names = {
        "half": budget("50"),
        "spent": budget("100"),
        "shadow": budget("100", mode="shadow"),
        "nothing-to-spend": budget(limit="0"),
    }

    ranked = sorted(names, key=lambda name: budget_words.danger(names[name]))

    assert ranked == ["spent", "nothing-to-spend", "half", "shadow"]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, "good"), (0.7999, "good"), (0.8, "warn"), (1.0, "bad")]
)
def test_a_bar_turns_with_its_share(share: float, expected: str) -> None:
    assert budget_words.bar_tone(share) == expected


def test_a_share_beyond_the_limit_is_written_as_it_is() -> None:
    assert budget_words.share_words(1.0791) == "108\N{NO-BREAK SPACE}%"
    assert budget_words.share_words(0.9999) == ">\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%"


def test_an_even_pace_is_known_where_the_window_ends() -> None:
    assert budget_words.even_share(budget(), FIRST + (NEXT - FIRST) / 4) == 0.25
    assert budget_words.even_share(budget(period="total", resets_at=None), NOW) is None


def test_events_tell_what_was_done_to_a_budget_and_how_far_its_windows_came() -> None:
    def entry(number: int, at: datetime, action: str, nusd: int) -> AuditEntry:
        return AuditEntry(
            id=number, at=at, actor="ada", action=action, subject="b", after={"limit_nusd": nusd}
        )

    made = budget(created_at=FIRST + HOUR)
    entries = [
        entry(3, FIRST + DAY, "budget.change", 100_000_000_000),
        entry(2, FIRST + HOUR, "budget.create", 50_000_000_000),
        # Another budget had the name before.
        entry(1, FIRST, "budget.create", 7),
    ]
    windows = pl.DataFrame(
        [{"since": FIRST, "spent_nusd": 85_500_000_000, "told_percent": 80}],
        schema=operator_source.BUDGET_WINDOWS,
    )

    found = budget_words.events(made, entries, windows)

    assert [(one.words, one.actor, one.tone) for one in found] == [
        ("limit set to $100.00", "ada", ""),
        ("made with a limit of $50.00", "ada", ""),
        ("window began, $85.50 spent so far, told at 80\N{NO-BREAK SPACE}%", "", "warn"),
    ]


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
