"""Writing rules: every mistake with its line, what would change, then applying with a comment."""

import streamlit as st

from dashboard import pieces, rule_words
from dashboard.admin import AdminError
from dashboard.admin_answers import RuleSetDiff, RuleSetVersion, Verdict
from dashboard.admin_states import admin, note

_TEXT, _BASE, _COMMENT = "rules_text", "rules_base", "rules_comment"
_HEIGHT = 420
_MOST_COMMENT = 1_000
_MOST_TEXT = 500_000
_EXAMPLE = """\
# What applies to a request, in order. For instance:
# [[rules]]
# name = "spending-cap"
# when = { labels = { env = "dev" } }
# then = { tighten = { max_price = { prompt = 1, completion = 5 } } }
"""


def render(active: RuleSetVersion | None, *, is_file: bool) -> str:
    """Draw the editor; returns the text that stands in it."""
    source = _EXAMPLE if active is None else active.source
    if _TEXT not in st.session_state:
        st.session_state[_TEXT] = source
        st.session_state[_BASE] = None if active is None else active.number
    left, right = st.columns([1.15, 1], gap="small")
    with left.container(border=True, key="editor", height="stretch"):
        st.html(pieces.heading("Editor", "TOML; leave the field to have it checked"))
        text = st.text_area(
            "Rules",
            key=_TEXT,
            height=_HEIGHT,
            max_chars=_MOST_TEXT,
            label_visibility="collapsed",
        )
    with right.container(border=True, key="verdict", height="stretch"):
        _render_verdict(text or "", active, is_file=is_file)
    return text or ""


def forget() -> None:
    """For callbacks: the editor shows what is in force when it is drawn next."""
    for name in (_TEXT, _BASE):
        st.session_state.pop(name, None)


def _render_verdict(text: str, active: RuleSetVersion | None, *, is_file: bool) -> None:
    verdict = admin().post("/admin/rules/check", Verdict, {"source": text})
    errors = sum(problem.severity == "error" for problem in verdict.problems)
    word = ("valid", "good") if verdict.valid else (f"{errors} to be mended", "bad")
    st.html(
        pieces.heading("Check", f"{verdict.rules} rule{'s' * (verdict.rules != 1)}")
        + pieces.chips([word])
    )
    if verdict.problems:
        st.html(rule_words.problems_html(verdict.problems))
    differs = False
    if verdict.version is not None or verdict.valid:
        diff = admin().post("/admin/rules/diff", RuleSetDiff, {"source": text})
        differs = bool(diff.changes)
        st.html(pieces.heading("Would change", "against what is in force"))
        st.html(rule_words.diff_html(diff))
    if is_file:
        st.caption("Copy the text into the file to put it in force.")
        return
    base = st.session_state.get(_BASE)
    if active is not None and base is not None and base != active.number:
        st.html(pieces.chips([(f"version {active.number} came into force meanwhile", "warn")]))
    is_other = text != (_EXAMPLE if active is None else active.source)
    comment = st.text_input(
        "Comment",
        key=_COMMENT,
        max_chars=_MOST_COMMENT,
        placeholder="What for, for the history",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True):
        st.button(
            "Apply",
            key="apply_rules",
            type="primary",
            disabled=not verdict.valid or not (is_other or differs),
            on_click=_apply,
            args=(text, comment or None),
        )
        st.button(
            "Discard", key="discard_rules", type="tertiary", disabled=not is_other, on_click=forget
        )


def _apply(text: str, comment: str | None) -> None:
    try:
        applied = admin().post("/admin/rules", RuleSetVersion, {"source": text, "comment": comment})
    except AdminError as error:
        note(error.remedy, is_done=False)
        return
    forget()
    st.session_state[_COMMENT] = ""
    note(f"Version {applied.number} is in force; every gateway process follows within a second.")
