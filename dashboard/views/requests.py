"""Requests: the latest ones of the period, and one of them in detail while `?id=` is in the URL."""

from typing import Any

import polars as pl
import streamlit as st

from dashboard import charts, pieces, queries, source, states, sums, words
from dashboard.filters import chosen_narrowing
from dashboard.looks import PROVIDER_COLOURS
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.views import request_detail

ID, BEFORE = "id", "before"
_PAGE_ROWS = 50
_ROW_HEIGHT = 33
_MAX_HEIGHT = 17 * _ROW_HEIGHT
_SOFT_ALPHA = "33"
_OPEN = "open_request"
# In the order of `queries.OUTCOME_WORDS`.
_OUTCOME_COLOURS = ("#1a8754", "#d9731a", "#c8322b", "#8d95a3", "#8d95a3")


def render(period: Period) -> None:
    """Draw the page."""
    wanted = st.query_params.get(ID)
    if wanted is not None:
        st.button(
            "Requests", key="back", type="tertiary", icon=":material/arrow_back:", on_click=_close
        )
        request_detail.render(wanted, period.zone)
        return
    _render_list(period)


def _render_list(period: Period) -> None:
    cursor = queries.parse_request_id(st.query_params.get(BEFORE, ""))
    found = source.read_requests(
        period.start, period.end, cursor, _PAGE_ROWS + 1, chosen_narrowing()
    )
    if found.is_empty() and cursor is None:
        states.show_empty(period)
        return
    _render_strip(period)
    page = found.head(_PAGE_ROWS)
    ids: tuple[str, ...] = tuple(page["id"])
    paths = queries.attempt_paths(source.read_attempts(ids))
    with st.container(border=True, key="requests"):
        st.html(pieces.heading("Requests", f"newest first, {period.zone}; click an id to open it"))
        _draw_table(page.join(paths, left_on="id", right_on="request_id", how="left"), period.zone)
        with st.container(horizontal=True, key="pages"):
            st.button(
                "Newest",
                key="newest",
                icon=":material/first_page:",
                disabled=cursor is None,
                on_click=_go_to,
                args=(None,),
            )
            st.button(
                "Older",
                key="older",
                icon=":material/chevron_right:",
                icon_position="right",
                disabled=found.height <= _PAGE_ROWS,
                on_click=_go_to,
                args=(ids[-1] if ids else None,),
            )


def _render_strip(period: Period) -> None:
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_bucket = queries.filled_traffic(sums.read_traffic(period, chosen_narrowing()), starts)
    with st.container(border=True, key="strip"):
        what = f"per {words.length(period.bucket)}"
        st.html(pieces.heading("Over time", what, legend=words.OUTCOME_LEGEND))
        st.altair_chart(
            charts.outcomes_chart(
                queries.outcomes_by_bucket(by_bucket),
                bucket=period.bucket,
                end=period.wall_end,
            ),
            alt="Requests over time by what became of them",
        )


def _draw_table(page: pl.DataFrame, zone: str) -> None:
    colours = slots(page["used_provider"].drop_nulls().unique())
    names = list(colours)
    columns = st.column_config
    # Its signature names pandas, which has no types.
    draw: Any = st.dataframe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    draw(
        queries.request_table(page, zone),
        key="request_table",
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(_MAX_HEIGHT, (page.height + 1) * _ROW_HEIGHT + 2),
        placeholder="—",
        alt="The latest requests",
        column_config={
            "Id": columns.ButtonColumn(
                key=_OPEN,
                type="tertiary",
                width=95,
                pinned=True,
                help="The end of the id; click to open the request",
                on_click=_open,
                args=(tuple(page["id"]),),
            ),
            "When": columns.TextColumn(width=125),
            "Outcome": columns.MultiselectColumn(
                width=120,
                options=list(queries.OUTCOME_WORDS),
                color=[colour + _SOFT_ALPHA for colour in _OUTCOME_COLOURS],
            ),
            "Model": columns.TextColumn(width=190),
            "Served by": columns.MultiselectColumn(
                width=140,
                options=names,
                color=[PROVIDER_COLOURS[colours[name]][0] + _SOFT_ALPHA for name in names],
            ),
            "Attempts": columns.TextColumn(width=230),
            "Cost": columns.NumberColumn(width=95, format="$%.6f"),
            "Total": columns.NumberColumn(width=80, format="%d ms"),
            "First token": columns.NumberColumn(width=90, format="%d ms"),
            "In": columns.NumberColumn(width=65, format="localized"),
            "Out": columns.NumberColumn(width=65, format="localized"),
        },
    )


def _open(request_ids: tuple[str, ...]) -> None:
    click = st.session_state.get(_OPEN)
    row: int = len(request_ids) if click is None else click["row"]
    if row < len(request_ids):
        st.query_params[ID] = queries.generation_id(request_ids[row])


def _close() -> None:
    st.query_params.pop(ID, None)


def _go_to(before: str | None) -> None:
    if before is None:
        st.query_params.pop(BEFORE, None)
    else:
        st.query_params[BEFORE] = queries.generation_id(before)
