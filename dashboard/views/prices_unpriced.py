"""What answered without a known price, and the way to give it one."""

import polars as pl
import streamlit as st

from dashboard import numbers, pieces
from dashboard.admin_states import lacks
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import prices_catalogue

_COLUMNS = (
    Column(name="Endpoint"),
    Column(name="Model"),
    Column(name="Without a price", is_number=True, hint="Attempts whose cost is not known."),
    Column(name="Tokens", is_number=True, hint="Of all its attempts: input and output."),
    Column(name="First seen", hint="In the period, to a quarter of an hour."),
    Column(name="Last seen"),
)


def render(found: pl.DataFrame, period: Period) -> None:
    """Draw `operator_source.UNPRICED` of the period."""
    with st.container(border=True, key="unpriced"):
        st.html(pieces.heading("Answered without a price", period.words))
        if found.is_empty():
            st.caption("Every attempt of this period has a known cost.")
            return
        colours = slots(found["provider"].unique())
        rows = [
            Row(
                cells=(
                    Cell(text=row["endpoint"], slot=colours[row["provider"]], wraps=True),
                    Cell(text=row["model"], wraps=True),
                    Cell(
                        text=numbers.count(row["unpriced"]),
                        sub=f"of {numbers.count(row['attempts'])} attempts",
                    ),
                    Cell(text=numbers.count(row["tokens"])),
                    Cell(text=numbers.when(row["first_at"], period.zone)),
                    Cell(text=numbers.when(row["last_at"], period.zone)),
                )
            )
            for row in found.iter_rows(named=True)
        ]
        st.html(pieces.table(_COLUMNS, rows))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox(
                "Give one a price",
                found["endpoint"].to_list(),
                index=None,
                key="unpriced_endpoint",
                placeholder="Choose an endpoint",
                width=360,
            )
            why_not = lacks("operator")
            st.button(
                "Set price",
                key="price_it",
                disabled=chosen is None or why_not is not None,
                help=why_not,
                on_click=prices_catalogue.open_endpoint,
                args=(chosen or "",),
            )
        st.caption(
            "A price that is dated back is applied to what was recorded by `tollway rerate`."
        )
