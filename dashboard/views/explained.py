"""What would become of a request: who would serve it, in which order, and why not the others."""

from decimal import Decimal, InvalidOperation

import streamlit as st

from dashboard import numbers, pieces, words
from dashboard.admin_answers import Tried
from dashboard.palette import slots
from dashboard.pieces import Cell, Column, Row

_MOST_SHOWN = 12

_COLUMNS = (
    Column(name="", is_number=True),
    Column(name="Endpoint"),
    Column(name="Expected", is_number=True, hint="Cost of this request."),
    Column(name="Drawn with", is_number=True, hint="Probability of being the first."),
)
_LEFT_OUT_COLUMNS = (Column(name="Endpoint"), Column(name="Left out because"))


def show(tried: Tried) -> None:
    """Draw who would serve, in which order, and who was left out and why."""
    chips = [(name, "") for name in tried.rules.applied]
    if tried.refusal is None:
        first = ("would be served", "good")
    else:
        first = (f"would be refused with {tried.refusal.status}", "bad")
    st.html(pieces.chips([first, *chips]))
    if tried.refusal is not None:
        st.text(tried.refusal.message)
    if tried.candidates:
        what = f"about {tried.prompt_tokens:,} tokens in, {tried.expected_output_tokens:,} out"
        st.html(pieces.heading("In this order", what))
        st.html(pieces.table(_COLUMNS, _candidate_rows(tried)))
    if tried.excluded_by:
        st.html(pieces.heading("Left out", _counted(tried.excluded_by)))
    if tried.exclusions:
        rows = [
            Row(
                cells=(
                    Cell(text=one.endpoint, wraps=True),
                    Cell(
                        text=one.reason,
                        is_chip=True,
                        sub=one.detail or words.exclusion(one.reason),
                        wraps=True,
                    ),
                )
            )
            for one in tried.exclusions[:_MOST_SHOWN]
        ]
        st.html(pieces.table(_LEFT_OUT_COLUMNS, rows))


def _candidate_rows(tried: Tried) -> list[Row]:
    colours = slots({one.provider for one in tried.candidates})
    return [
        Row(
            cells=(
                Cell(text=str(one.place)),
                Cell(text=one.endpoint, slot=colours[one.provider], wraps=True),
                Cell(text=numbers.usd(_money(one.expected_cost_usd))),
                Cell(text=numbers.share(one.probability)),
            )
        )
        for one in tried.candidates[:_MOST_SHOWN]
    ]


def _money(value: object) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} by {words.outcome(reason)}" for reason, count in reasons.items())
