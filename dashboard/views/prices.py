"""Prices: the catalogue, one model compared, what lists propose, what has none, one endpoint."""

from collections.abc import Callable

import streamlit as st

from dashboard import operator_source, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Proposals
from dashboard.admin_states import admin, show_admin_error, show_note
from dashboard.periods import Period
from dashboard.views import (
    prices_catalogue,
    prices_compare,
    prices_endpoint,
    prices_proposals,
    prices_unpriced,
)

ENDPOINT = prices_catalogue.ENDPOINT
CATALOGUE, COMPARE, PROPOSALS, UNPRICED = "Catalogue", "Compare", "Proposals", "Unpriced"


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
        _render_tabs(period)
    except AdminError as error:
        show_admin_error(error)


def _render_tabs(period: Period) -> None:
    proposals = admin().get("/admin/proposals", Proposals).data
    unpriced = operator_source.read_unpriced(period.start, period.end)
    with st.container(horizontal=True, vertical_alignment="center", key="tabs"):
        chosen = st.segmented_control(
            "Part",
            [CATALOGUE, COMPARE, PROPOSALS, UNPRICED],
            default=CATALOGUE,
            required=True,
            key="tab",
            bind="query-params",
            label_visibility="collapsed",
            width="content",
        )
        counts = (
            (prices_proposals.count_words(proposals), "warn" if proposals else ""),
            (f"{unpriced.height} without a price", "bad") if unpriced.height else ("", ""),
        )
        told = [one for one in counts if one[0]]
        if told:
            st.html(pieces.chips(told), width="content")
    draw: dict[str, Callable[[], None]] = {
        CATALOGUE: lambda: prices_catalogue.render(period),
        COMPARE: prices_compare.render,
        PROPOSALS: lambda: prices_proposals.render(proposals, period.zone),
        UNPRICED: lambda: prices_unpriced.render(unpriced, period),
    }
    draw[chosen or CATALOGUE]()


def _close() -> None:
    st.query_params.pop(ENDPOINT, None)
