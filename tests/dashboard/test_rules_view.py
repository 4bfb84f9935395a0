from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.dashboard.operating import (
    CHEAP,
    DEAR,
    Operated,
    again,
    click,
    html,
    open_view,
    operated,
    texts,
)

IGNORE = '[[rules]]\nname = "no-dear"\nthen = { tighten = { ignore = ["dear"] } }\n'
SORT = '[[rules]]\nname = "by-price"\nthen = { sort = "price" }\n'
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("rules")) as found:
        yield found


@pytest.fixture
def shown(gateway: Operated) -> Iterator[Operated]:
    close = gateway.show()
    yield gateway
    close()


def in_force(gateway: Operated) -> list[str]:
    found = gateway.admin.get("/admin/rules", dict[str, Any])
    return [rule["name"] for rule in found["rules"]]


def edit(at: Any, text: str) -> Any:
    at.text_area(key="rules_text").set_value(text)
    return again(at)


def apply(at: Any, note: str = "") -> Any:
    click(at, "apply_rules")
    at.text_input(key="rules_note").set_value(note)
    return click(at, "rules_apply_now")


def test_rules_are_checked_compared_applied_and_rolled_back(shown: Operated) -> None:
    at = open_view("rules")
    assert any("No rules" in one.value for one in at.caption)

    edit(at, IGNORE)
    assert "valid" in html(at)
    assert "added" in html(at)
    click(at, "apply_rules")
    assert in_force(shown) == []
    assert "not tried on logged requests" in "".join(one.value for one in at.caption)
    at.text_input(key="rules_note").set_value(HOSTILE)
    click(at, "rules_apply_now")
    assert "Version 1 is in force" in texts(at)
    shown.follows("the rules are in force", lambda: in_force(shown) == ["no-dear"])

    at = edit(open_view("rules"), SORT)
    assert "removed" in html(at)
    assert any(line.startswith('-name = "no-dear"') for line in diff_of(at))
    apply(at)
    shown.follows("the next rules are in force", lambda: in_force(shown) == ["by-price"])

    at = open_view("rules")
    assert "&lt;script&gt;" in html(at)
    assert "<script" not in html(at)
    at.selectbox(key="rules_version").set_value(1)
    again(at)
    assert IGNORE.strip() in [one.value for one in at.code]
    assert '+name = "no-dear"' in diff_of(at)
    click(at, "roll_back")
    at.text_input(key="rules_note").set_value("it was better")
    click(at, "rules_apply_now")
    assert "Version 1 is in force again" in texts(at)
    shown.follows("the first rules are back", lambda: in_force(shown) == ["no-dear"])
    assert open_view("rules").text_area(key="rules_text").value == IGNORE
    audit = shown.admin.get("/admin/audit", dict[str, Any], action="rules.rollback")
    assert audit["data"][0]["after"]["note"] == "it was better"


def diff_of(at: Any) -> list[str]:
    return [line for one in at.code if one.language == "diff" for line in one.value.splitlines()]


def test_a_dialog_that_is_left_changes_nothing(shown: Operated) -> None:
    at = edit(open_view("rules"), SORT)
    before = in_force(shown)

    click(at, "apply_rules")
    click(at, "rules_apply_cancel")

    assert not [one for one in at.button if one.key == "rules_apply_now"]
    assert in_force(shown) == before


def test_what_was_typed_is_there_after_a_look_at_another_page(shown: Operated) -> None:
    def script() -> None:
        from datetime import UTC, datetime

        import streamlit as st

        from dashboard.filters import choose_period
        from dashboard.views import rules

        if not st.toggle("elsewhere", key="elsewhere"):
            rules.render(choose_period(datetime.now(UTC)))

    at = edit(again(AppTest.from_function(script)), SORT)
    at.toggle(key="elsewhere").set_value(True)
    again(at)
    at.toggle(key="elsewhere").set_value(False)

    assert again(at).text_area(key="rules_text").value == SORT
    click(at, "discard_rules")
    assert at.text_area(key="rules_text").value != SORT


def test_a_mistake_is_told_with_its_line_and_cannot_be_applied(shown: Operated) -> None:
    at = edit(
        open_view("rules"),
        '[[rules]]\nname = "x"\nwhen = { labelz = 1 }\nthen = { sort = "price" }\n',
    )

    assert "1 to be mended" in html(at)
    assert "did you mean `labels`?" in html(at)
    assert ">3<" in html(at)
    assert at.button(key="apply_rules").disabled


def test_a_request_is_tried_under_rules_that_are_not_in_force(shown: Operated) -> None:
    at = edit(open_view("rules"), IGNORE.replace("no-dear", "tried-only"))

    at.text_area(key="dry_run_request").set_value(
        '{"model": "demo/fast", "messages": [{"role": "user", "content": "Hello"}]}'
    )
    click(at, "dry_run_try")

    assert "would be served" in html(at)
    assert "tried-only" in html(at)
    assert CHEAP in html(at)
    assert DEAR in html(at)
    assert "Left out because" in html(at)
    assert "tried-only" not in in_force(shown)


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param("[]", "not JSON", id="no-object"),
        pytest.param('{"model": "x"}', "`messages` is missing", id="a-missing-member"),
        pytest.param(
            '{"model": "<script>", "messages": [{"role": "user", "content": "x"}]}',
            "There is no model",
            id="nobody-serves-it",
        ),
    ],
)
def test_a_request_that_cannot_be_tried_says_why(
    shown: Operated, request_text: str, expected: str
) -> None:
    at = open_view("rules")

    at.text_area(key="dry_run_request").set_value(request_text)
    click(at, "dry_run_try")

    assert expected in html(at) + texts(at)
    assert "<script" not in html(at)


def test_rules_of_a_file_are_shown_and_left_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("rules-of-a-file")
    (home / "rules.toml").write_text(SORT)
    with operated(home, options='rules = "rules.toml"\n') as gateway:
        close = gateway.show()

        at = open_view("rules")

        assert "read from a file" in html(at)
        assert "rules.toml" in texts(at)
        assert "by-price" in html(at)
        edit(at, IGNORE)
        assert "added" in html(at)
        assert not [one for one in at.button if one.key == "apply_rules"]
        close()
