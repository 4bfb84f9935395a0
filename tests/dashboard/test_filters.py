from collections.abc import Callable
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.periods import CHOICES


def script() -> None:
    from datetime import UTC, datetime

    import streamlit as st

    from dashboard.filters import choose_period

    period = choose_period(datetime(2026, 11, 21, 10, 30, 7, tzinfo=UTC))
    st.text(f"{period.words}|{period.start.isoformat()}|{period.end.isoformat()}|{period.zone}")


@pytest.fixture
def open_with() -> Callable[..., AppTest]:
    def run(zone: str | None = None, **parameters: str) -> AppTest:
        st.cache_data.clear()
        at = AppTest.from_function(script)
        for name, value in parameters.items():
            at.query_params[name] = value
        at.run(timeout=20)
        assert not at.exception
        return at

    return run


def chosen(at: AppTest) -> list[str]:
    return at.text[0].value.split("|")


@pytest.mark.parametrize("choice", CHOICES)
def test_a_link_sets_the_period(open_with: Callable[..., AppTest], choice: str) -> None:
    at = open_with(period=choice)

    assert at.session_state["period"] == choice


def test_without_a_link_the_last_7_days_are_shown(open_with: Callable[..., AppTest]) -> None:
    assert chosen(open_with())[0] == "last 7 days"


@pytest.mark.parametrize("value", ["bogus", "<script>alert(1)</script>", ""])
def test_a_link_with_an_unknown_period_shows_the_usual_one(
    open_with: Callable[..., AppTest], value: str
) -> None:
    assert chosen(open_with(period=value))[0] == "last 7 days"


def test_a_custom_period_and_its_zone_come_from_the_link(
    open_with: Callable[..., AppTest],
) -> None:
    parameters: dict[str, Any] = {
        "period": "custom",
        "from": "2026-11-02T00:00",
        "to": "2026-11-03T00:00",
        "tz": "America/New_York",
    }

    assert chosen(open_with(**parameters)) == [
        "this period",
        "2026-11-02T05:00:00+00:00",
        "2026-11-03T05:00:00+00:00",
        "America/New_York",
    ]


def test_a_zone_that_does_not_exist_is_passed_over(open_with: Callable[..., AppTest]) -> None:
    at = open_with(tz="Mars/Olympus")

    assert chosen(at)[3] != "Mars/Olympus"


def test_choosing_another_period_changes_it(open_with: Callable[..., AppTest]) -> None:
    at = open_with(period="1h")

    at.segmented_control(key="period").set_value("30d").run(timeout=20)

    assert chosen(at)[0] == "last 30 days"
