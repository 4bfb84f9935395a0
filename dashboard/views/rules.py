"""Rules: what is in force, writing and trying what shall be, its history, and the way back."""

import streamlit as st

from dashboard import numbers, pieces, rule_words
from dashboard.admin import AdminError
from dashboard.admin_answers import RuleSetDiff, RuleSetVersion, RuleSetVersions, RulesInForce
from dashboard.admin_states import admin, note, show_admin_error, show_note
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import rules_dry_run, rules_editor

_VERSION = "rules_version"
_SHORT = 12

_RULE_COLUMNS = (Column(name="Rule"), Column(name="Says"))
_VERSION_COLUMNS = (
    Column(name="Version"),
    Column(name="Comment"),
    Column(name="By"),
    Column(name="In force since"),
)


def render(period: Period) -> None:
    """Draw the page."""
    try:
        show_note()
        in_force = admin().get("/admin/rules", RulesInForce)
        versions = admin().get("/admin/rules/history", RuleSetVersions).data
        _render(in_force, versions, period.zone)
    except AdminError as error:
        show_admin_error(error)


def _render(in_force: RulesInForce, versions: tuple[RuleSetVersion, ...], zone: str) -> None:
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
        elif in_force.problem is None:
            st.caption(
                "No rules: every request goes where its own preferences and prices lead. "
                "docs/rules.md describes the language."
            )
    active = next((one for one in versions if one.is_active), None)
    text = rules_editor.render(active, is_file=is_file)
    rules_dry_run.render(text)
    if versions:
        _render_history(versions, zone, is_file=is_file)


def _rule_rows(in_force: RulesInForce) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(text=rule.name, wraps=True),
                Cell(text="\N{NO-BREAK SPACE}· ".join(rule_words.lines(rule.members)), wraps=True),
            )
        )
        for rule in in_force.rules
    ]


def _render_history(versions: tuple[RuleSetVersion, ...], zone: str, *, is_file: bool) -> None:
    with st.container(border=True, key="rules_history"):
        st.html(pieces.heading("History", f"newest first, {zone}"))
        st.html(pieces.table(_VERSION_COLUMNS, _version_rows(versions, zone)))
        numbered = {one.number: one for one in versions}
        chosen = st.selectbox(
            "Look at a version",
            list(numbered),
            index=None,
            format_func=lambda number: f"{number}: {numbered[number].comment or 'no comment'}",
            key=_VERSION,
            placeholder="Look at a version",
            label_visibility="collapsed",
        )
        if chosen is None:
            return
        version = numbered[chosen]
        left, right = st.columns(2, gap="small")
        with left:
            st.code(version.source or "# no rules", language="toml", height=320)
        with right:
            _render_way_back(version, is_file=is_file)


def _render_way_back(version: RuleSetVersion, *, is_file: bool) -> None:
    if version.is_active:
        st.caption("This version is in force.")
        return
    try:
        diff = admin().post("/admin/rules/diff", RuleSetDiff, {"source": version.source})
    except AdminError as error:
        # What its rules named may be gone since.
        st.html(pieces.chips([("would not be valid now", "bad")]))
        st.text(error.remedy)
    else:
        st.html(pieces.heading("Rolling back", "would change"))
        st.html(rule_words.diff_html(diff))
    st.button(
        f"Put version {version.number} in force",
        key="roll_back",
        type="primary",
        disabled=is_file,
        on_click=_roll_back,
        args=(version.number,),
    )


def _roll_back(number: int) -> None:
    try:
        now = admin().post("/admin/rules/rollback", RuleSetVersion, number=number)
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    rules_editor.forget()
    st.session_state[_VERSION] = None
    note(f"Version {now.number} is in force again; every gateway process follows within a second.")


def _version_rows(versions: tuple[RuleSetVersion, ...], zone: str) -> list[Row]:
    return [
        Row(
            cells=(
                Cell(
                    text=f"{one.number} · in force" if one.is_active else str(one.number),
                    tone="good" if one.is_active else "",
                    is_chip=one.is_active,
                    sub=one.version[:_SHORT],
                    hint=one.version,
                ),
                Cell(text=one.comment or "", wraps=True),
                Cell(text=one.created_by, sub=numbers.when_to_minute(one.created_at, zone)),
                Cell(
                    text=""
                    if one.activated_at is None
                    else numbers.when_to_minute(one.activated_at, zone)
                ),
            ),
            kind="" if one.is_active else "quiet",
        )
        for one in versions
    ]
