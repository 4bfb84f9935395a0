import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.narrowing import FILTERS
from dashboard.periods import CHOICES

OF_ATTEMPTS = ("provider", "model", "key", "label")


def script(applied: tuple[str, ...]) -> None:
    import json
    from datetime import UTC, datetime

    import streamlit as st

    from dashboard import filters

    filters.take_over_links()
    period = filters.choose_period(datetime(2026, 11, 21, 10, 30, 7, tzinfo=UTC), applied)
    filters.choose_narrowing(applied)
    st.text(f"{period.words}|{period.start.isoformat()}|{period.end.isoformat()}|{period.zone}")
    st.text(repr(tuple(filters.chosen_narrowing())))
    st.text(json.dumps(filters.moment_parameters(period)))
    st.text(str(period.is_compared))


Open = Callable[..., AppTest]


@pytest.fixture
def open_with(filled_url: str, shown: Callable[[str], None]) -> Open:
    shown(filled_url)

    def run(applied: tuple[str, ...] = tuple(FILTERS), **parameters: Any) -> AppTest:
        at = AppTest.from_function(script, args=(applied,))
        for name, value in parameters.items():
            at.query_params[name] = value
        at.run(timeout=20)
        assert not at.exception
        return at

    return run


def chosen(at: AppTest) -> list[str]:
    return at.text[0].value.split("|")


@pytest.mark.parametrize("choice", CHOICES)
def test_a_link_sets_the_period(open_with: Open, choice: str) -> None:
    at = open_with(period=choice)

    assert at.session_state["period"] == choice


def test_without_a_link_the_last_7_days_are_shown(open_with: Open) -> None:
    assert chosen(open_with())[0] == "last 7 days"


@pytest.mark.parametrize("value", ["bogus", "<script>alert(1)</script>", ""])
def test_a_link_with_an_unknown_period_shows_the_usual_one(open_with: Open, value: str) -> None:
    assert chosen(open_with(period=value))[0] == "last 7 days"


def test_a_custom_period_and_its_zone_come_from_the_link(open_with: Open) -> None:
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


def test_a_zone_that_does_not_exist_is_passed_over(open_with: Open) -> None:
    at = open_with(tz="Mars/Olympus")

    assert chosen(at)[3] != "Mars/Olympus"


def test_choosing_another_period_changes_it(open_with: Open) -> None:
    at = open_with(period="1h")

    at.segmented_control(key="period").set_value("30d").run(timeout=20)

    assert chosen(at)[0] == "last 30 days"


def test_values_that_nobody_knows_stay_chosen(open_with: Open) -> None:
    at = open_with(model=["no/such", "openai/gpt-4o-mini"], rule="v-unknown")

    assert "('no/such', 'openai/gpt-4o-mini')" in at.text[1].value
    assert "('v-unknown',)" in at.text[1].value


def test_a_chip_takes_its_value_back(open_with: Open) -> None:
    at = open_with(model=["no/such", "openai/gpt-4o-mini"], provider="groq")
    chips = {button.label: button for button in at.button if (button.key or "").startswith("chip-")}

    assert list(chips) == ["provider: groq", r"model: no\/such", r"model: openai\/gpt\-4o\-mini"]
    chips[r"model: no\/such"].click().run(timeout=20)

    assert at.session_state["model"] == ["openai/gpt-4o-mini"]
    assert at.session_state["provider"] == ["groq"]


def test_what_a_page_cannot_apply_is_disabled_and_said(open_with: Open) -> None:
    at = open_with(OF_ATTEMPTS, provider="groq", rule="r1", outcome="failed")

    assert at.text[1].value == "(('groq',), (), (), (), (), ())"
    for kind in FILTERS:
        assert at.multiselect(key=kind).disabled == (kind not in OF_ATTEMPTS)
    assert "Requests can be filtered" in at.multiselect(key="rule").help
    chips = [button.label for button in at.button if (button.key or "").startswith("chip-")]
    assert "rule: r1 · not on this page" in chips
    assert "outcome: failed · not on this page" in chips


def test_an_outcome_that_does_not_exist_is_passed_over(open_with: Open) -> None:
    assert open_with(outcome="bogus").session_state["outcome"] == []


def test_a_name_from_traffic_is_no_markdown_on_its_chip(open_with: Open) -> None:
    at = open_with(model="![x](http://example.invalid/x.png)\n# y")

    label = next(button.label for button in at.button if button.key == "chip-0")
    # No character of an address may follow its scheme, or it becomes a link by itself.
    assert "\\!\\[x\\]\\(http\u2060\\:\\/\\/example\\.invalid" in label
    assert "\n" not in label


def test_the_link_to_this_moment_shows_the_same_again(open_with: Open) -> None:
    first = open_with(period="24h", tz="Asia/Kolkata", cmp="false", provider=["groq", "openai"])
    parameters = json.loads(first.text[2].value)

    again = open_with(**parameters)

    start, end = chosen(first)[1:3]
    assert chosen(again)[1:] == [start, end, "Asia/Kolkata"]
    assert again.text[1].value == first.text[1].value
    assert again.text[3].value == first.text[3].value == "False"


def test_a_link_from_another_page_sets_a_filter_once(open_with: Open) -> None:
    at = open_with(set=["provider:groq", "period:24h", "tz:UTC", "model:"])

    assert at.session_state["provider"] == ["groq"]
    assert at.session_state["period"] == "24h"
    assert at.session_state["model"] == []
    assert "set" not in at.query_params
