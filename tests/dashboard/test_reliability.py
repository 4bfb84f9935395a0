"""The Reliability page tells the same as the rows, and good news where there is nothing to tell."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from dashboard import queries, reliability_queries, reliability_sums, schemas, sums
from dashboard.narrowing import Narrowing
from dashboard.periods import Period, make_period
from gateway.domain.outcomes import Outcome
from tests.dashboard.conftest import END, FALLBACK, RECORDS
from tests.dashboard.test_views import html, open_view
from tests.dashboard.troubles import fill_health, troubles

ALL = (*RECORDS, FALLBACK)
HOUR = timedelta(hours=1)
NOBODY_FAILED = {Outcome.SUCCESS, Outcome.CLIENT_CANCELLED, Outcome.GATEWAY_SHUTDOWN}


@pytest.fixture(scope="module")
def troubled_url(filled_url: str) -> str:
    fill_health(filled_url, troubles(END))
    return filled_url


def a_week() -> Period:
    return make_period("7d", now=END + timedelta(seconds=1), zone="Europe/Berlin")


def test_error_classes_count_every_failed_attempt_with_its_first_and_last(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    period = a_week()

    table = reliability_queries.error_classes(reliability_sums.read_errors(period))

    failed = [
        attempt
        for one in ALL
        for attempt in one.attempts
        if attempt.outcome not in NOBODY_FAILED and period.start <= attempt.started_at < period.end
    ]
    expected = Counter((one.provider, one.outcome.value) for one in failed)
    found = {(row["provider"], row["outcome"]): row for row in table.iter_rows(named=True)}
    assert {key: row["attempts"] for key, row in found.items()} == expected
    for key, row in found.items():
        at = [one.started_at for one in failed if (one.provider, one.outcome.value) == key]
        assert row["first_at"] <= min(at) < row["first_at"] + HOUR
        assert row["last_at"] <= max(at) < row["last_at"] + HOUR


@pytest.mark.parametrize("choice", ["1h", "24h", "7d", "30d", "90d"])
def test_the_first_and_the_latest_request_of_each_kind_are_found(
    filled_url: str, shown: Callable[[str], None], choice: str
) -> None:
    shown(filled_url)
    period = make_period(choice, now=END + timedelta(seconds=1), zone="Asia/Kolkata")
    only = Narrowing(keys=("team one",))

    examples = reliability_sums.read_examples(classes_of(period, only), period, only)

    assert examples.height == 2 * len(classes_of(period, only)) > 0
    for row in examples.iter_rows(named=True):
        times = [
            (attempt.started_at, str(one.id))
            for one in ALL
            for attempt in one.attempts
            if (attempt.provider, attempt.outcome.value) == (row["provider"], row["outcome"])
            and period.start <= attempt.started_at < period.end
        ]
        expected = max(times) if row["is_last"] else min(times)
        assert row["request_id"] == expected[1]


def classes_of(period: Period, only: Narrowing) -> tuple[tuple[str, str, datetime, datetime], ...]:
    table = reliability_queries.error_classes(reliability_sums.read_errors(period, only))
    columns = ("provider", "outcome", "first_at", "last_at")
    return tuple(table.select(columns).iter_rows())


def test_an_example_that_is_filtered_away_is_none(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    classes = classes_of(a_week(), Narrowing())

    for only in (Narrowing(labels=("team=nobody",)), Narrowing(models=("nobody/none",))):
        assert reliability_sums.read_examples(classes, a_week(), only).is_empty()


def test_what_fallbacks_added_is_the_sum_of_the_attempts_that_failed_before_another_answered(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    period = a_week()

    added = reliability_queries.added_by(sums.read_fallbacks(period))

    before_it = [
        attempt
        for one in ALL
        if one.is_fallback and period.start <= one.received_at < period.end
        for attempt in one.attempts[:-1]
    ]
    costs = [one.cost.total_usd for one in before_it]
    assert added.attempts == len(before_it) > 0
    assert added.usd == sum(filter(None, costs), Decimal(0))
    assert added.is_complete is (None not in costs)


def test_providers_are_ranked_by_what_failed_and_rates_that_moved() -> None:
    def providers(rows: dict[str, tuple[int, int]]) -> pl.DataFrame:
        usual = dict.fromkeys(schemas.PROVIDERS) | {"attempts": 100, "first_tried": 50}
        return pl.DataFrame(
            [
                usual | {"provider": name, "judged": 100, "succeeded": good, "served_elsewhere": to}
                for name, (good, to) in rows.items()
            ],
            schema=schemas.PROVIDERS,
        )

    now = providers({"calm": (100, 0), "broken": (60, 20), "shaky": (90, 5)})
    before = providers({"calm": (99, 0), "broken": (90, 5)})

    table = reliability_queries.failing_providers(now, before)

    assert table["provider"].to_list() == ["broken", "shaky", "calm"]
    assert table["failed_rate"].to_list() == pytest.approx([0.4, 0.1, 0.0])
    assert table["fallback_rate"].to_list() == pytest.approx([0.4, 0.1, 0.0])
    assert table["failed_moved"][0] == pytest.approx(0.3)
    assert table["failed_moved"][1] is None
    assert table["fallback_moved"][2] == pytest.approx(0.0)
    assert reliability_queries.failing_providers(now, before.clear())["failed_moved"][0] is None


def test_the_page_shows_breakers_error_classes_and_the_way_to_an_example(
    troubled_url: str, shown: Callable[[str], None]
) -> None:
    shown(troubled_url)

    at = open_view("reliability", provider="groq")

    text = html(at)
    assert not at.exception
    assert not at.error
    assert len(at.get("vega_lite_chart")) == 3
    assert "overloaded" in text
    assert 'href="/requests?provider=groq&amp;id=gen-' in text
    assert "Added by fallbacks" in text


def test_the_way_to_an_example_keeps_every_value_that_is_filtered_by(
    troubled_url: str, shown: Callable[[str], None]
) -> None:
    shown(troubled_url)

    at = open_view("reliability", provider=["groq", "openai"])

    assert not at.exception
    assert 'href="/requests?provider=groq&amp;provider=openai&amp;id=gen-' in html(at)


def test_nothing_that_failed_is_good_news(troubled_url: str, shown: Callable[[str], None]) -> None:
    shown(troubled_url)
    start, end = a_quiet_time()

    at = open_view(
        "reliability", period="custom", tz="UTC", **{"from": f"{start:%FT%R}", "to": f"{end:%FT%R}"}
    )

    said = " ".join(one.value for one in at.caption)
    assert not at.exception
    assert "No breaker opened and nothing had to rest in this period." in said
    assert "No request had to fall back in this period." in said
    assert "No attempt failed in this period." in said


def a_quiet_time() -> tuple[datetime, datetime]:
    """A few minutes with requests of which all went well."""
    for one in RECORDS:
        start = one.received_at.replace(second=0, microsecond=0) - timedelta(minutes=1)
        end = start + timedelta(minutes=3)
        near = [
            attempt.outcome
            for other in RECORDS
            for attempt in other.attempts
            if start - timedelta(minutes=15) <= attempt.started_at < end + timedelta(minutes=15)
        ]
        if end < END - timedelta(days=2) and set(near) == {Outcome.SUCCESS}:
            return start, end
    raise AssertionError("something fails all the time")


def test_what_fallbacks_do_not_know_is_said_rather_than_left_out(
    troubled_url: str, shown: Callable[[str], None]
) -> None:
    shown(troubled_url)

    at = open_view("reliability", key="team one")

    said = " ".join(one.value for one in at.caption)
    assert not at.exception
    assert said.count("Fallbacks are kept by provider") == 2
    assert "not by key or label" in html(at)
    assert "of all models, keys and labels" in html(at)


def test_an_id_of_an_example_opens_its_request(
    troubled_url: str, shown: Callable[[str], None]
) -> None:
    shown(troubled_url)
    text = html(open_view("reliability"))
    example = text.partition("id=gen-")[2].partition('"')[0]

    at = open_view("requests", id=f"gen-{example}")

    assert not at.exception
    assert queries.parse_request_id(f"gen-{example}") is not None
    assert not any("No such request" in one.value for one in at.markdown)
