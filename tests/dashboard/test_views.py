from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import queries
from dashboard.views import VIEWS
from tests.dashboard.conftest import END, FALLBACK, RECORDS
from tests.dashboard.traffic import HOSTILE_MODEL

APP = "dashboard/app.py"
NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:1/tollway"
OF_RECORDS = [view for view in VIEWS if view.is_of_records]
HOSTILE = next(one for one in RECORDS if one.requested_model == HOSTILE_MODEL)
REFUSED = next(one for one in RECORDS if not one.attempts)


def script(path: str, now: str | None = None) -> None:
    from datetime import UTC, datetime

    import streamlit as st

    from dashboard.filters import choose_narrowing, choose_period
    from dashboard.views import VIEWS

    view = next(view for view in VIEWS if view.path == path)
    st.session_state["view"] = view.title
    period = choose_period(datetime.fromisoformat(now) if now else datetime.now(UTC))
    choose_narrowing()
    view.render(period)


def open_view(path: str, **parameters: str | list[str]) -> AppTest:
    at = AppTest.from_function(script, args=(path,))
    for name, value in parameters.items():
        at.query_params[name] = value
    return at.run(timeout=30)


def everything(at: AppTest) -> str:
    return "\n".join(
        str(getattr(element, "value", "")) + str(getattr(element, "proto", ""))
        for element in at.main
    )


def html(at: AppTest) -> str:
    pieces: list[Any] = list(at.get("html"))
    return "\n".join(piece.proto.body for piece in pieces)


@pytest.mark.parametrize("view", OF_RECORDS, ids=lambda view: view.path)
def test_every_view_is_drawn_when_a_month_has_just_begun(
    filled_url: str, shown: Callable[[str], None], view: Any
) -> None:
    shown(filled_url)
    # There is no time of the month before yet that it could be compared with.
    now = END.replace(day=1, hour=0, minute=5).isoformat()

    at = AppTest.from_function(script, args=(view.path, now))
    at.query_params["period"] = "month"
    at.run(timeout=30)

    assert not at.exception
    assert not at.error


@pytest.mark.parametrize("view", OF_RECORDS, ids=lambda view: view.path)
@pytest.mark.parametrize("period", ["1h", "24h", "7d", "30d", "custom"])
def test_every_view_says_what_to_do_on_an_empty_database(
    empty_url: str, shown: Callable[[str], None], view: Any, period: str
) -> None:
    shown(empty_url)

    at = open_view(view.path, period=period)

    assert not at.exception
    assert any("No requests yet" in one.value for one in at.markdown)
    assert "/v1/chat/completions" in at.code[0].value


@pytest.mark.parametrize("view", OF_RECORDS, ids=lambda view: view.path)
@pytest.mark.parametrize("period", ["1h", "24h", "7d", "30d", "custom"])
def test_every_view_is_drawn_on_a_filled_database(
    filled_url: str, shown: Callable[[str], None], view: Any, period: str
) -> None:
    shown(filled_url)

    at = open_view(view.path, period=period)

    assert not at.exception
    assert not at.error
    assert len(at.get("vega_lite_chart")) >= 1


@pytest.mark.parametrize("view", OF_RECORDS, ids=lambda view: view.path)
def test_a_period_without_requests_tells_of_the_latest_and_widens(
    filled_url: str, shown: Callable[[str], None], view: Any
) -> None:
    shown(filled_url)
    dates = {"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"}

    at = open_view(view.path, period="custom", **dates)

    assert not at.exception
    assert "The latest one came on" in at.caption[-1].value
    at.button(key="widen").click().run(timeout=30)
    assert not at.exception
    assert at.session_state["period"] == "30d"
    assert len(at.get("vega_lite_chart")) >= 1


def test_the_overview_gives_the_figures_of_the_period(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)

    shown_html = html(open_view("overview"))

    assert f'<div class="value">{len(RECORDS) + 1}</div>' in shown_html
    assert "% priced" in shown_html
    assert '<div class="value">≥' in shown_html
    for provider in ("openai", "anthropic", "google", "groq", "amazon-bedrock"):
        assert provider in shown_html


def test_a_request_is_shown_with_its_attempts_and_why_it_went_there(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)

    at = open_view("requests", id=queries.generation_id(str(FALLBACK.id)))

    assert not at.exception
    text = html(at)
    for expected in (
        "served by fallback",
        "overloaded",
        "The service is overloaded, try again later.",
        "max_price",
        "output $18.75 &gt; cap $16 per M",
        "input, uncached",
        "price anthropic/claude-sonnet-4.5@2026-11-01, fast, us",
        "Processed in",
        "u_4821",
    ):
        assert expected in text
    assert at.text[-1].value == FALLBACK.warnings[0]


@pytest.mark.parametrize("record", [HOSTILE, REFUSED], ids=["hostile", "refused"])
def test_odd_requests_are_shown_too(
    filled_url: str, shown: Callable[[str], None], record: Any
) -> None:
    shown(filled_url)

    at = open_view("requests", id=str(record.id))

    assert not at.exception
    assert not at.error


@pytest.mark.parametrize("path", ["overview", "requests", "detail"])
def test_names_from_traffic_stay_texts(
    filled_url: str, shown: Callable[[str], None], path: str
) -> None:
    shown(filled_url)

    at = (
        open_view("requests", id=str(HOSTILE.id))
        if path == "detail"
        else open_view(path, period="1h")
    )

    assert "<script" not in html(at)
    assert "<img" not in html(at)
    read_as_markdown = [*at.markdown, *at.caption, *at.button]
    assert not any("example.invalid" in str(one) for one in read_as_markdown)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("gen-0199d1e000007000800000000000000a", "No such request"),
        ("<script>alert(1)</script>", "not the id of a request"),
        ("", "not the id of a request"),
    ],
)
def test_an_id_that_is_not_there_says_why(
    filled_url: str, shown: Callable[[str], None], wanted: str, expected: str
) -> None:
    shown(filled_url)

    at = open_view("requests", id=wanted)

    assert not at.exception
    assert any(expected in one.value for one in at.markdown)


def test_the_whole_app_is_drawn(filled_url: str, shown: Callable[[str], None]) -> None:
    shown(filled_url)

    at = AppTest.from_file(_app_path()).run(timeout=30)

    assert not at.exception
    assert "<h1>Overview</h1>" in html(at)
    assert "data to" in html(at)


def test_a_database_that_is_away_is_said_in_a_sentence(shown: Callable[[str], None]) -> None:
    shown(NOWHERE)

    at = AppTest.from_file(_app_path()).run(timeout=30)

    assert not at.exception
    assert any("PostgreSQL does not answer" in one.value for one in at.markdown)
    assert "hunter2" not in everything(at)
    at.button(key="retry").click().run(timeout=30)
    assert not at.exception


def _app_path() -> str:
    from pathlib import Path

    import dashboard

    return str(Path(str(dashboard.__file__)).with_name("app.py"))
