"""Why a request went where it went: its plan in order, and everybody who was left out of it."""

from typing import Any

import streamlit as st

from dashboard import numbers, pieces, queries, words
from dashboard.pieces import Cell, Column, Row

_PLAN_COLUMNS = (
    Column(name=""),
    Column(name="Endpoint"),
    # Before the figures, so that a phone shows it.
    Column(name="Outcome"),
    Column(name="Expected", is_number=True, hint="Cost of this request, when it was planned."),
    Column(name="Drawn with", is_number=True, hint="Probability of being the first."),
    Column(name="Health", hint="What was known of it then."),
)
_EXCLUDED_COLUMNS = (Column(name="Endpoint"), Column(name="Because"))


def render(plan: str, attempts: list[dict[str, Any]]) -> None:
    """Draw the stored plan, beside what became of it in rows of `schemas.ATTEMPTS`."""
    planned, excluded, excluded_count = queries.plan_rows(plan)
    st.html(pieces.heading("Why here", f"plan of {len(planned)}, {excluded_count} excluded"))
    if not planned and not excluded:
        st.caption("No plan was recorded: the request was refused before one was made.")
        return
    rows = [
        Row(
            cells=(
                Cell(text=str(rank)),
                Cell(text=one.endpoint, wraps=True),
                _tried(one.endpoint, attempts),
                Cell(text=numbers.usd(one.expected_usd), hint=numbers.usd_exact(one.expected_usd)),
                Cell(text=numbers.share(one.probability)),
                Cell(text=one.health or numbers.UNKNOWN, wraps=True),
            )
        )
        for rank, one in enumerate(planned, start=1)
    ]
    st.html(pieces.table(_PLAN_COLUMNS, rows))
    if not excluded:
        return
    st.html(pieces.heading("Excluded", "before the plan"))
    left_out = [
        Row(
            cells=(
                Cell(text=one.endpoint, wraps=True),
                Cell(
                    text=one.reason or "",
                    is_chip=True,
                    sub=one.detail or words.exclusion(one.reason or ""),
                    wraps=True,
                ),
            )
        )
        for one in excluded
    ]
    st.html(pieces.table(_EXCLUDED_COLUMNS, left_out))
    if len(excluded) < excluded_count:
        st.caption(f"{excluded_count - len(excluded)} more exclusions were counted but not listed.")


def _tried(endpoint: str, attempts: list[dict[str, Any]]) -> Cell:
    outcomes = [one["outcome"] for one in attempts if one["endpoint"] == endpoint]
    if not outcomes:
        return Cell(text="not needed" if attempts else "not tried")
    if outcomes[-1] == "success":
        return Cell(text="✓ served", tone="good")
    times = "" if len(outcomes) == 1 else f" {len(outcomes)} times"
    return Cell(text=f"✕ tried{times}: {words.outcome(outcomes[-1])}", tone="bad", wraps=True)
