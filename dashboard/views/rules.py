"""Rules: what is in force, writing and trying what shall be, its history, and the way back."""

import streamlit as st

from dashboard import pieces, rule_words
from dashboard.admin import AdminError
from dashboard.admin_answers import RuleSetVersions, RulesInForce
from dashboard.admin_states import admin, show_admin_error, show_note
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import (
    rules_apply,
    rules_dry_run,
    rules_editor,
    rules_history,
    rules_replay,
)

_MOST_RULES = 100
_RULE_COLUMNS = (Column(name="Rule"), Column(name="Says"))


def render(period: Period) -> None:
    """Draw the page."""
    try:
        show_note()
        in_force = admin().get("/admin/rules", RulesInForce)
        _render(in_force, rules_history.read_page(), period)
    except AdminError as error:
        show_admin_error(error)


def _render(in_force: RulesInForce, history: RuleSetVersions, period: Period) -> None:
    is_file = in_force.origin == "file"
    with st.container(border=True, key="in_force"):
        count = len(in_force.rules)
        what = f"{count} rule{'s' * (count != 1)}, version {in_force.version or 'empty'}"
        st.html(pieces.heading("In force", what))
        if in_force.problem is not None:
            st.html(pieces.chips([("newer rules are not in force", "bad")]))
            st.text(in_force.problem)
        if is_file:
            st.html(pieces.chips([("read from a file", "warn")]))
            st.text(
                f"These rules come from {in_force.path}. Change that file, and running gateways "
                "follow; or take the setting `rules` (TOLLWAY_RULES) away to change them here."
            )
        if in_force.rules:
            st.html(pieces.table(_RULE_COLUMNS, _rule_rows(in_force)))
            if count > _MOST_RULES:
                st.caption(f"and {count - _MOST_RULES} more, in the order of the text")
        elif in_force.problem is None:
            st.caption(
                "No rules: every request goes where its own preferences and prices lead. "
                "docs/rules.md describes the language."
            )
    text = rules_editor.render(history.active, is_file=is_file)
    rules_dry_run.render(text)
    rules_replay.render(text, period)
    rules_history.render(history, period.zone, is_file=is_file)
    rules_apply.render()


def _rule_rows(in_force: RulesInForce) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(text=rule.name, wraps=True),
                Cell(text="\N{NO-BREAK SPACE}· ".join(rule_words.lines(rule.members)), wraps=True),
            )
        )
        for rule in in_force.rules[:_MOST_RULES]
    ]
