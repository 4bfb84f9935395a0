"""Writing rules: every mistake with its line, and what would change, before they can be applied."""

import streamlit as st

from dashboard import pieces, rule_words, text_diff
from dashboard.admin_answers import RuleSetDiff, RuleSetVersion, Verdict
from dashboard.admin_states import admin, lacks
from dashboard.views import rules_apply

_TEXT, _DRAFT, _BASE = "rules_text", "rules_draft", "rules_base"
_HEIGHT = 420
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
    if _DRAFT not in st.session_state:
        st.session_state[_BASE] = None if active is None else active.number
    if _TEXT not in st.session_state:
        # The widget is forgotten with its page, the draft is not.
        st.session_state[_TEXT] = st.session_state.get(_DRAFT, source)
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
    st.session_state[_DRAFT] = text or ""
    with right.container(border=True, key="verdict", height="stretch"):
        _render_verdict(text or "", active, is_file=is_file)
    return text or ""


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
    if active is not None and text != active.source:
        _render_text_diff(active, text)
    if is_file:
        st.caption("Copy the text into the file to put it in force.")
        return
    base = st.session_state.get(_BASE)
    if active is not None and base is not None and base != active.number:
        st.html(pieces.chips([(f"version {active.number} came into force meanwhile", "warn")]))
    is_other = text != (_EXAMPLE if active is None else active.source)
    why_not = lacks("operator")
    with st.container(horizontal=True):
        st.button(
            "Apply",
            key="apply_rules",
            type="primary",
            disabled=not verdict.valid or not (is_other or differs) or why_not is not None,
            help=why_not or (None if verdict.valid else "Mend what the check found first."),
            on_click=rules_apply.ask,
            args=(text,),
        )
        st.button(
            "Discard",
            key="discard_rules",
            type="tertiary",
            disabled=not is_other,
            on_click=rules_apply.forget_text,
        )


def _render_text_diff(active: RuleSetVersion, text: str) -> None:
    found = text_diff.diff_lines(
        active.source, text, old_name=f"version {active.number}", new_name="editor"
    )
    with st.expander("Diff to what is in force"):
        if found is None:
            st.caption("The texts are too long to be compared line by line.")
        else:
            st.code(found, language="diff")
