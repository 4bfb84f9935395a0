"""Requests: those of the period, page by page, and one of them while `?id=` is in the URL."""

from contextlib import nullcontext
from functools import partial
from typing import Any
from uuid import UUID

import polars as pl
import streamlit as st

from dashboard import (
    charts,
    exports,
    looking,
    numbers,
    paging,
    picking,
    pieces,
    queries,
    records,
    states,
    sums,
    words,
)
from dashboard.filters import chosen_narrowing
from dashboard.looks import PROVIDER_COLOURS
from dashboard.narrowing import Narrowing
from dashboard.palette import slots
from dashboard.periods import Period
from dashboard.search import Search
from dashboard.views import request_detail, request_search
from dashboard.views.request_search import BEFORE, ID

_PAGE_ROWS = 50
_MOST_EXPORTED = 100_000
_MOST_ROWS = 17
_SOFT_ALPHA = "33"
# In the order of `queries.OUTCOME_WORDS`.
_OUTCOME_COLOURS = ("#1a8754", "#d9731a", "#c8322b", "#8d95a3", "#8d95a3")


def render(period: Period) -> None:
    """Draw the page."""
    only = chosen_narrowing()
    wanted = st.query_params.get(ID)
    if wanted is not None:
        request_detail.render(wanted, period, only)
        return
    _render_strip(period, only)
    with st.container(border=True, key="requests"):
        _render_list(period, only)


def _render_list(period: Period, only: Narrowing) -> None:
    st.html(pieces.heading("Requests", f"newest first, {period.zone}; click an id to open it"))
    search = request_search.draw(period)
    cursor = queries.parse_request_id(st.query_params.get(BEFORE, ""))
    look = _look(period, cursor, only, search)
    found = look.rows
    if found.is_empty() and cursor is None and look.looked_to is None:
        if search.is_anything or only.values_count:
            _show_none(period, only, search)
        else:
            states.show_empty(period)
        return
    page = found.head(_PAGE_ROWS)
    ids: tuple[str, ...] = tuple(page["id"])
    page = queries.corrected(page, records.read_adjustments(ids))
    if not found.is_empty():
        paging.draw_table(
            queries.request_table(page, period.zone),
            _columns(page),
            key="request_table",
            alt="Requests, newest first",
            most_rows=_MOST_ROWS,
            placeholder="",
        )
    elif look.looked_to is None:
        st.markdown(f"**Nothing older in {words.the(period.words)} matches.**")
    if look.looked_to is not None:
        _say_how_far(look.looked_to, period, is_empty=found.is_empty())
    if found.is_empty() and search.is_anything:
        _draw_clear()
    is_last = found.height <= _PAGE_ROWS
    onward = look.looked_to if is_last else ids[-1]
    near = ids[0] if ids else cursor
    with st.container(horizontal=True, vertical_alignment="center", key="pages"):
        back = cursor is not None
        paging.draw_turn("Newest", paging.FIRST, _to(None) if back else None)
        paging.draw_turn(
            "Newer",
            paging.BACK,
            partial(_go_newer, period, near, only, search) if back and near else None,
        )
        paging.draw_turn("Older", paging.ONWARD, None if onward is None else _to(onward))
        _draw_count(period, only, search)
    exports.offer("This page", page, "requests-page")
    exports.offer(
        f"The newest {_MOST_EXPORTED:,}",
        lambda: looking.find_newest(
            period.start, period.end, _MOST_EXPORTED, only=only, search=search
        ),
        "requests",
    )


def _look(period: Period, cursor: str | None, only: Narrowing, search: Search) -> looking.Found:
    goes_on = cursor is not None and looking.is_mark(cursor)
    with st.spinner("Looking further back") if goes_on else nullcontext():
        return looking.look_back(
            period.start,
            period.end,
            cursor,
            _PAGE_ROWS + 1,
            only=only,
            search=search,
            within_s=looking.time_for(
                period, looking.NEXT_LOOK_S if goes_on else looking.FIRST_LOOK_S
            ),
        )


def _render_strip(period: Period, only: Narrowing) -> None:
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)
    by_bucket = queries.filled_traffic(sums.read_counts(period, only), starts)
    if not by_bucket["requests"].sum():
        return
    with st.container(border=True, key="strip"):
        what = f"per {words.length(period.bucket)}, brush to narrow"
        st.html(pieces.heading("Over time", what, legend=words.OUTCOME_LEGEND))
        chart = charts.outcomes_chart(
            queries.outcomes_by_bucket(by_bucket), bucket=period.bucket, end=period.wall_end
        )
        picking.draw_brushable(
            charts.brushable(chart),
            "bucket",
            "Requests over time by what became of them",
            slot="strip-chart",
        )


def _show_none(period: Period, only: Narrowing, search: Search) -> None:
    if only.values_count and not search.is_anything:
        states.show_empty(period)
        return
    st.markdown(f"**Nothing in {words.the(period.words)} matches this search.**")
    _draw_clear()


def _draw_clear() -> None:
    st.button("Clear the search", key="clear_search", type="primary", on_click=request_search.clear)


def _say_how_far(looked_to: str, period: Period, *, is_empty: bool) -> None:
    when = numbers.when(records.instant_of(UUID(looked_to)), period.zone)
    if is_empty:
        st.markdown(f"**Nothing found back to {when}.**")
        st.caption("What is rare takes a while to look for: Older goes on from there.")
    else:
        st.caption(f"Looked back to {when}; Older goes on from there.")


def _draw_count(period: Period, only: Narrowing, search: Search) -> None:
    # Counting rows would read them all; sums can tell where nothing but filters is asked for.
    if not search.is_anything:
        total = queries.total_traffic(sums.read_counts(period, only)).requests
        st.caption(f"≈ {numbers.count(total)} match")


def _columns(page: pl.DataFrame) -> dict[str, Any]:
    colours = slots(page["used_provider"].drop_nulls().unique())
    names = list(colours)
    columns = st.column_config
    right: Any = "right"
    return {
        "Id": paging.opener(
            "open_request",
            tuple(page["id"]),
            _open,
            width=88,
            is_pinned=True,
            tip="The end of the id; click to open the request",
        ),
        "When": columns.TextColumn(width=128),
        "Outcome": columns.MultiselectColumn(
            width=82,
            options=list(queries.OUTCOME_WORDS),
            color=[colour + _SOFT_ALPHA for colour in _OUTCOME_COLOURS],
        ),
        "Model": columns.TextColumn(width=170),
        "Served by": columns.MultiselectColumn(
            width=128,
            options=names,
            color=[PROVIDER_COLOURS[colours[name]][0] + _SOFT_ALPHA for name in names],
        ),
        "Cost": columns.TextColumn(width=80, alignment=right),
        "Total": columns.TextColumn(width=68, alignment=right),
        "First": columns.TextColumn(width=68, alignment=right, help="Until the first token"),
        "In": columns.TextColumn(width=55, alignment=right, help="Tokens of the prompt"),
        "Out": columns.TextColumn(width=55, alignment=right, help="Tokens of the answer"),
        "Key": columns.TextColumn(width=125),
        "Labels": columns.TextColumn(width=260),
        "Reason": columns.TextColumn(width=130, help="Why nobody served it"),
    }


def _open(request_id: str) -> None:
    st.query_params[ID] = queries.generation_id(request_id)


def _to(before: str | None) -> paging.Turn:
    return partial(paging.go, BEFORE, None if before is None else queries.generation_id(before))


def _go_newer(period: Period, first: str, only: Narrowing, search: Search) -> None:
    # One more than a page: the page is what lies before that one.
    look = looking.look_ahead(
        period.start,
        period.end,
        first,
        _PAGE_ROWS + 1,
        only=only,
        search=search,
        within_s=looking.time_for(period, looking.FIRST_LOOK_S),
    )
    newer = look.rows["id"]
    _to(newer[-1] if newer.len() > _PAGE_ROWS else look.looked_to)()
