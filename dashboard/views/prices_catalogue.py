"""The catalogue: what may be bought here, found by its words; a click opens an endpoint."""

from typing import Any

import streamlit as st

from dashboard import pieces, price_words
from dashboard.admin_answers import Offered, OfferedEndpoint
from dashboard.admin_states import admin
from dashboard.periods import Period

ENDPOINT = "endpoint"
_SEARCH, _PROVIDER = "q", "of"
_OPEN = "open_endpoint"
_ROW_HEIGHT = 33
_MAX_HEIGHT = 15 * _ROW_HEIGHT
_MARKS = (*price_words.LAYERS.values(), price_words.UNPRICED, price_words.OFF)
_MARK_COLOURS = ("#8d95a333", "#355bcb33", "#058d6c33", "#d9731a33", "#c8322b33")


def render(period: Period) -> None:
    """Draw the search and what it finds."""
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


def open_endpoint(endpoint: str) -> None:
    """For callbacks: the page shows this endpoint."""
    st.query_params[ENDPOINT] = endpoint


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


def _open(endpoints: tuple[str, ...]) -> None:
    click = st.session_state.get(_OPEN)
    row: int = len(endpoints) if click is None else click["row"]
    if row < len(endpoints):
        open_endpoint(endpoints[row])
