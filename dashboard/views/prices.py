"""Prices: what may be bought here, and one endpoint while `?endpoint=` is in the URL."""

from typing import Any

import streamlit as st

from dashboard import numbers, operator_source, pieces, price_words
from dashboard.admin import AdminError
from dashboard.admin_answers import Offered, OfferedEndpoint
from dashboard.admin_states import admin, show_admin_error, show_note
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.pieces import Cell, Column, Row
from dashboard.views import prices_endpoint

ENDPOINT = "endpoint"
_SEARCH, _PROVIDER = "q", "of"
_OPEN = "open_endpoint"
_ROW_HEIGHT = 33
_MAX_HEIGHT = 15 * _ROW_HEIGHT
_MARKS = (*price_words.LAYERS.values(), price_words.UNPRICED, price_words.OFF)
_MARK_COLOURS = ("#8d95a333", "#355bcb33", "#058d6c33", "#d9731a33", "#c8322b33")

_UNPRICED_COLUMNS = (
    Column(name="Endpoint"),
    Column(name="Model"),
    Column(name="Without a price", is_number=True, hint="Attempts whose cost is not known."),
    Column(name="Tokens", is_number=True, hint="Of all its attempts: input and output."),
    Column(name="Last seen"),
)


def render(period: Period) -> None:
    """Draw the page."""
    try:
        show_note()
        wanted = st.query_params.get(ENDPOINT)
        if wanted is not None:
            st.button(
                "Prices", key="back", type="tertiary", icon=":material/arrow_back:", on_click=_close
            )
            prices_endpoint.render(wanted, period)
            return
        _render_catalogue(period)
        _render_unpriced(period)
    except AdminError as error:
        show_admin_error(error)


def _render_catalogue(period: Period) -> None:
    with st.container(border=True, key="catalogue"):
        head = st.container(key="catalogue_head")
        with st.container(horizontal=True, vertical_alignment="bottom", key="catalogue_filters"):
            search = st.text_input(
                "Search",
                key=_SEARCH,
                bind="query-params",
                placeholder="Search model or endpoint",
                label_visibility="collapsed",
                icon=":material/search:",
                max_chars=200,
            )
            # Nobody is called "": this asks for the providers alone.
            everybody = admin().get("/admin/catalogue", Offered, provider="")
            provider = st.selectbox(
                "Provider",
                everybody.providers,
                index=None,
                key=_PROVIDER,
                bind="query-params",
                placeholder="Every provider",
                label_visibility="collapsed",
                width=220,
            )
        found = admin().get("/admin/catalogue", Offered, search=search or "", provider=provider)
        what = f"{found.total:,} endpoints, USD per million tokens; click one to open it"
        if found.total > len(found.data):
            what += f"; the first {len(found.data)} are shown, search for others"
        head.html(pieces.heading("Catalogue", what))
        if not found.data:
            st.caption("Nothing matches. Every word has to be in the model's or endpoint's name.")
            return
        _draw_table(found.data, period.zone)


def _draw_table(offers: tuple[OfferedEndpoint, ...], zone: str) -> None:
    columns = st.column_config
    # Its signature names pandas, which has no types.
    draw: Any = st.dataframe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    draw(
        price_words.catalogue_frame(offers, zone),
        key="catalogue_table",
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(_MAX_HEIGHT, (len(offers) + 1) * _ROW_HEIGHT + 2),
        placeholder="—",
        alt="The catalogue of enabled endpoints with their prices",
        column_config={
            "Endpoint": columns.ButtonColumn(
                key=_OPEN,
                type="tertiary",
                width=230,
                alignment="left",
                help="Click to see its history, compare it, and change its price",
                on_click=_open,
                args=(tuple(offer.endpoint for offer in offers),),
            ),
            "Model": columns.TextColumn(width=230),
            "Input": columns.TextColumn(width=80, alignment="right"),
            "Output": columns.TextColumn(width=80, alignment="right"),
            "Cache read": columns.TextColumn(width=90, alignment="right"),
            "From": columns.MultiselectColumn(
                width=150, options=list(_MARKS), color=list(_MARK_COLOURS)
            ),
            "Note": columns.TextColumn(width=260),
        },
    )


def _render_unpriced(period: Period) -> None:
    found = operator_source.read_unpriced(period.start, period.end)
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
                    Cell(text=numbers.when(row["last_at"], period.zone)),
                )
            )
            for row in found.iter_rows(named=True)
        ]
        st.html(pieces.table(_UNPRICED_COLUMNS, rows))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox(
                "Give one a price",
                found["endpoint"].to_list(),
                index=None,
                key="unpriced_endpoint",
                placeholder="Choose an endpoint",
                width=360,
            )
            st.button(
                "Set its price",
                key="price_it",
                disabled=chosen is None,
                on_click=_go_to,
                args=(chosen or "",),
            )
        st.caption(
            "A price that is dated back is applied to what was recorded by `tollway rerate`."
        )


def _open(endpoints: tuple[str, ...]) -> None:
    click = st.session_state.get(_OPEN)
    row: int = len(endpoints) if click is None else click["row"]
    if row < len(endpoints):
        _go_to(endpoints[row])


def _go_to(endpoint: str) -> None:
    st.query_params[ENDPOINT] = endpoint


def _close() -> None:
    st.query_params.pop(ENDPOINT, None)
