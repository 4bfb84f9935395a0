"""Overview, Spend and Requests on traffic with all that money can meet, and on a lot of it."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import numbers, queries
from tests.dashboard import rich
from tests.dashboard.test_views import html, open_view

VIEWS = ("overview", "spend", "requests")
CORRECTED = """
    SELECT id::text AS id, r.cost_usd, c.usd, c.number
    FROM request_record r JOIN (
        SELECT request_id, day, min(number) AS number, sum(request_difference_usd) AS usd
        FROM cost_adjustment GROUP BY request_id, day HAVING count(*) > 1
    ) c ON c.request_id = r.id AND c.day = r.day
    ORDER BY id DESC LIMIT 1
"""


@pytest.fixture
def raw(rich_url: str, shown: Callable[[str], None]) -> Iterator[rich.Rows]:
    shown(rich_url)
    found = rich.Rows(rich_url)
    yield found
    found.close()


def table_of(at: AppTest) -> dict[str, list[Any]]:
    # A frame of pandas, which has no types.
    value: Any = at.dataframe[0].value
    return value.to_dict("list")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("period", ["24h", "30d", "month"])
def test_a_view_is_drawn_over_a_long_history(
    large_url: str, shown: Callable[[str], None], view: str, period: str
) -> None:
    shown(large_url)

    at = open_view(view, period=period)

    assert not at.exception
    assert not at.error
    assert len(at.get("vega_lite_chart")) >= 1


@pytest.mark.parametrize(
    ("by", "column"),
    [("Provider",) * 2, ("Model",) * 2, ("Key",) * 2, ("team", "Label team")],
)
def test_spend_is_shown_by_whatever_is_chosen(raw: rich.Rows, by: str, column: str) -> None:
    at = open_view("spend", period="30d", by=by, cmp="false")

    assert not at.exception
    assert next(iter(table_of(at))) == column
    assert table_of(at)[column][0] == "All rows"
    assert any("switched off under Filters" in one.value for one in at.caption)


def test_a_month_leads_somewhere(raw: rich.Rows) -> None:
    at = open_view("spend", period="month")

    assert "Forecast to month end" in html(at)
    assert "at this pace" in html(at) or "needs 3 days of data" in html(at)


@pytest.mark.parametrize("by", ["label:team", "key", "provider"])
def test_what_changed_most_is_told_by_whatever_is_chosen(raw: rich.Rows, by: str) -> None:
    at = open_view("overview", period="7d")

    at.segmented_control(key="most").set_value(by).run(timeout=30)

    assert not at.exception
    assert f"{by.removeprefix('label:').capitalize()} and model" in html(at)
    assert "To look at" in html(at)
    assert "Traffic without a known price" in html(at)


def test_durations_and_costs_of_a_list_have_their_units(raw: rich.Rows) -> None:
    table = table_of(open_view("requests", period="30d"))

    assert {"Id", "When", "Outcome", "Cost", "Total", "First", "In", "Out"} <= set(table)
    assert all(one.endswith(("ms", "\N{NO-BREAK SPACE}s")) for one in table["Total"])
    assert all(one.startswith("$") or one == numbers.UNKNOWN for one in table["Cost"])


def test_pages_lead_to_the_older_and_back(raw: rich.Rows) -> None:
    at = open_view("requests", period="90d")
    first = table_of(at)["Id"]

    at.button(key="older").click().run(timeout=30)
    second = table_of(at)["Id"]
    at.button(key="older").click().run(timeout=30)
    at.button(key="newer").click().run(timeout=30)

    assert not set(first) & set(second)
    assert table_of(at)["Id"] == second
    at.button(key="newest").click().run(timeout=30)
    assert table_of(at)["Id"] == first


@pytest.mark.parametrize(
    ("parameters", "condition"),
    [
        pytest.param({"status": "404"}, "status_code = 404", id="status"),
        pytest.param(
            {"ms_from": "2000", "ms_to": "4000"}, "duration_ms BETWEEN 2000 AND 4000", id="took"
        ),
        pytest.param({"cost_from": "0.02"}, "cost_usd >= 0.02", id="cost"),
        pytest.param({"q": "u_4821"}, "end_user = 'u_4821'", id="user"),
        pytest.param({"q": "s_77f0"}, "session_id = 's_77f0'", id="session"),
        pytest.param(
            {"asked": "openai/gpt-4o-mini"},
            "'openai/gpt-4o-mini' IN (requested_model, used_model)",
            id="model",
        ),
        pytest.param({"outcome": "fallback"}, "outcome = 'success' AND is_fallback", id="outcome"),
        pytest.param({"rule": "r2"}, "rule_version = 'r2'", id="rules"),
        pytest.param({"label": "env=prod"}, "labels ->> 'env' = 'prod'", id="label"),
    ],
)
def test_a_search_finds_what_the_rows_have(
    raw: rich.Rows, parameters: dict[str, str], condition: str
) -> None:
    at = open_view("requests", period="90d", **parameters)

    found = raw.read(
        f"SELECT id::text AS id FROM request_record WHERE {condition} ORDER BY id DESC LIMIT 50"
    )
    assert not at.exception
    assert table_of(at)["Id"] == ["…" + row["id"][-8:] for row in found]


def test_a_search_without_a_match_offers_to_clear_it(raw: rich.Rows) -> None:
    at = open_view("requests", q="nobody like that")

    assert any("matches this search" in one.value for one in at.markdown)
    at.button(key="clear_search").click().run(timeout=30)
    assert not at.exception
    assert len(table_of(at)["Id"]) > 1


def test_an_id_that_is_searched_for_opens(raw: rich.Rows) -> None:
    (one,) = raw.read(CORRECTED)
    at = open_view("requests", period="90d")

    at.text_input(key="q").set_value(queries.generation_id(one["id"])).run(timeout=30)

    assert not at.exception
    assert "Why here" in html(at)


def test_a_corrected_request_costs_what_it_came_to(raw: rich.Rows) -> None:
    (one,) = raw.read(CORRECTED)
    total = (one["cost_usd"] or Decimal(0)) + one["usd"]

    at = open_view("requests", period="90d", id=queries.generation_id(str(UUID(one["id"]))))

    assert not at.exception
    text = html(at)
    assert f'<div class="value">{numbers.usd(total)}</div>' in text
    assert text.count(numbers.usd_exact(total)) >= 2
    assert text.count("corrected on") == 2
    assert "a price was wrong, by tests" in text
    assert at.json
    at.button(key="go_older").click().run(timeout=30)
    assert not at.exception
    assert at.query_params["id"] != queries.generation_id(one["id"])
