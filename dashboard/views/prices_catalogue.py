"""The catalogue: what may be bought here, found by its words; a click opens an endpoint."""

from typing import Any

import streamlit as st

from dashboard import paging, pieces, price_words
from dashboard.admin_answers import Offered
from dashboard.admin_states import admin
from dashboard.periods import Period

ENDPOINT = "endpoint"
_SEARCH, _PROVIDER, _AFTER = "q", "of", "after"
_MOST_ROWS = 15
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
                on_change=paging.go,
                args=(_AFTER, None),
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
                on_change=paging.go,
                args=(_AFTER, None),
            )
        found = admin().get(
            "/admin/catalogue",
            Offered,
            search=search or "",
            provider=provider,
            limit=paging.PAGE_ROWS,
            after=st.query_params.get(_AFTER),
        )
        what = f"{found.total:,} endpoints, USD per million tokens; click one to open it"
        head.html(pieces.heading("Catalogue", what))
        if not found.total:
            st.caption("Nothing matches. Every word has to be in the model's or endpoint's name.")
            return
        paging.draw_table(
            price_words.catalogue_frame(found.data, period.zone),
            _columns(tuple(one.endpoint for one in found.data)),
            key="catalogue_table",
            alt="The catalogue of enabled endpoints with their prices",
            most_rows=_MOST_ROWS,
        )
        if found.total > len(found.data):
            with st.container(horizontal=True, vertical_alignment="center", key="catalogue_pages"):
                paging.draw_buttons(
                    _AFTER, found.next_after, prefix="catalogue_", words=("First", "Next")
                )
                st.caption(f"{len(found.data)} of {found.total:,}, by model")


def open_endpoint(endpoint: str) -> None:
    """For callbacks: the page shows this endpoint."""
    st.query_params[ENDPOINT] = endpoint


def _columns(endpoints: tuple[str, ...]) -> dict[str, Any]:
    columns = st.column_config
    return {
        "Endpoint": paging.opener(
            "open_endpoint",
            endpoints,
            open_endpoint,
            width=200,
            tip="Click to see its history, compare it, and change its price",
        ),
        "Model": columns.TextColumn(width=230),
        "Input": columns.TextColumn(width=72, alignment="right"),
        "Output": columns.TextColumn(width=72, alignment="right"),
        "Cache read": columns.TextColumn(width=90, alignment="right"),
        "From": columns.MultiselectColumn(
            width=150, options=list(_MARKS), color=list(_MARK_COLOURS)
        ),
        "Note": columns.TextColumn(width=260),
    }
