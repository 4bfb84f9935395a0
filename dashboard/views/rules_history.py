"""Versions of the rules: page by page, one beside another, and the way back."""

from functools import partial

import streamlit as st

from dashboard import numbers, paging, pieces, rule_words, text_diff
from dashboard.admin import AdminError
from dashboard.admin_answers import RuleSetDiff, RuleSetVersion, RuleSetVersions
from dashboard.admin_states import admin, lacks
from dashboard.pieces import Cell, Column, Row
from dashboard.views import rules_apply

PAGE_ROWS = 20
_VERSION, _AGAINST, _BEFORE = "rules_version", "rules_against", "rules_before"
_SHORT = 12
_IN_FORCE = 0

_COLUMNS = (
    Column(name="Version"),
    Column(name="Comment"),
    Column(name="By"),
    Column(name="In force since"),
)


def read_page() -> RuleSetVersions:
    """The versions of the page that is open; one more where there are older ones."""
    before = st.session_state.get(_BEFORE)
    return admin().get("/admin/rules/history", RuleSetVersions, limit=PAGE_ROWS + 1, before=before)


def render(found: RuleSetVersions, zone: str, *, is_file: bool) -> None:
    """Draw the history, of `read_page`."""
    is_first = st.session_state.get(_BEFORE) is None
    page, active = found.data, found.active
    if not page and is_first:
        return
    shown = page[:PAGE_ROWS]
    with st.container(border=True, key="rules_history"):
        st.html(pieces.heading("History", f"newest first, {zone}"))
        if shown:
            st.html(pieces.table(_COLUMNS, _rows(shown, zone)))
        if len(page) > PAGE_ROWS or not is_first:
            _render_pages(shown, is_first=is_first, has_more=len(page) > PAGE_ROWS)
        numbered = {one.number: one for one in shown}
        left, right = st.columns(2, gap="small")
        chosen = left.selectbox(
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
        against = right.selectbox(
            "Against",
            [_IN_FORCE, *(number for number in numbered if number != chosen)],
            format_func=lambda number: (
                f"against version {number}" if number else "against what is in force"
            ),
            key=_AGAINST,
            label_visibility="collapsed",
        )
        version = numbered[chosen]
        other = active if not against else numbered.get(against)
        with left:
            st.code(version.source or "# no rules", language="toml", height=320)
        with right:
            _render_diff(version, other)
            if not version.is_active:
                _render_way_back(version, is_against_active=not against, is_file=is_file)
            else:
                st.caption("This version is in force.")


def _render_diff(version: RuleSetVersion, other: RuleSetVersion | None) -> None:
    if other is None or other.number == version.number:
        return
    found = text_diff.diff_lines(
        other.source,
        version.source,
        old_name=f"version {other.number}",
        new_name=f"version {version.number}",
    )
    if found is None:
        st.caption("The texts are too long to be compared line by line.")
    else:
        st.code(found or "# the same text", language="diff", height=320)


def _render_way_back(version: RuleSetVersion, *, is_against_active: bool, is_file: bool) -> None:
    if is_against_active:
        try:
            diff = admin().post("/admin/rules/diff", RuleSetDiff, {"source": version.source})
        except AdminError as error:
            # What its rules named may be gone since.
            st.html(pieces.chips([("would not be valid now", "bad")]))
            st.text(error.remedy)
        else:
            st.html(pieces.heading("Rolling back", "would change"))
            st.html(rule_words.diff_html(diff))
    why_not = "The rules come from a file." if is_file else lacks("operator")
    st.button(
        f"Put version {version.number} in force",
        key="roll_back",
        type="primary",
        disabled=why_not is not None,
        help=why_not,
        on_click=rules_apply.ask,
        args=(version.source, version.number),
    )


def _render_pages(shown: tuple[RuleSetVersion, ...], *, is_first: bool, has_more: bool) -> None:
    with st.container(horizontal=True):
        to_first = None if is_first else partial(_go, None)
        paging.draw_turn("Newest", paging.FIRST, to_first, prefix="rules_")
        onward = partial(_go, shown[-1].number) if has_more else None
        paging.draw_turn("Older", paging.ONWARD, onward, prefix="rules_")


def _go(before: int | None) -> None:
    st.session_state[_BEFORE] = before
    st.session_state[_VERSION] = None


def _rows(versions: tuple[RuleSetVersion, ...], zone: str) -> list[Row]:
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
