"""Charts that are clicked: a bar filters by what it stands for, a brush narrows the period.

What was clicked is kept by the chart under its key, and would be drawn over the narrowed chart:
each click gives the chart another key.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import streamlit as st

from dashboard.charts import PICK, RANGE, AnyChart
from dashboard.filters import narrow_period, set_values

_MINUTE = timedelta(minutes=1)


def draw_pickable(
    chart: AnyChart, field: str, kind: str, alt: str, *, slot: str, others: Collection[str] = ()
) -> None:
    """Draw a chart of `charts.pickable`: a click on a bar filters.

    Args:
        chart: what is drawn.
        field: of its frame, which names what a bar stands for.
        kind: of `narrowing.FILTERS`.
        alt: what the chart tells, for those who do not see it.
        slot: tells the charts of a page apart.
        others: names that stand for several, and filter nothing.
    """
    key = _key(slot)
    st.altair_chart(
        chart,
        alt=alt,
        key=key,
        on_select=lambda: _pick(slot, key, field, kind, others),
        selection_mode=PICK,
    )


def draw_brushable(chart: AnyChart, field: str, alt: str, *, slot: str) -> None:
    """Draw a chart of `charts.brushable`: a brush narrows the period to what it covers."""
    key = _key(slot)
    st.altair_chart(
        chart,
        alt=alt,
        key=key,
        on_select=lambda: _brush(slot, key, field),
        selection_mode=RANGE,
    )


def picked(state: object, field: str) -> list[str]:
    """The values of a field that the clicked marks have."""
    chosen = _of(_of(state, "selection"), PICK)
    marks = cast("list[object]", chosen) if isinstance(chosen, list) else []
    values = [_of(mark, field) for mark in marks]
    return list(dict.fromkeys(value for value in values if isinstance(value, str)))


def brushed(state: object, field: str) -> tuple[datetime, datetime] | None:
    """What a brush covers, to whole minutes, on the wall clock of the chart; None without one."""
    span = _of(_of(_of(state, "selection"), RANGE), field)
    if not isinstance(span, list):
        return None
    edges = [edge for edge in cast("list[object]", span) if isinstance(edge, int | float)]
    if not edges:
        return None
    # Wall clocks are drawn as if they were UTC.
    first, last = (
        datetime.fromtimestamp(edge / 1000, UTC).replace(tzinfo=None)
        for edge in (min(edges), max(edges))
    )
    start = first.replace(second=0, microsecond=0)
    end = last.replace(second=0, microsecond=0)
    if end < last or end <= start:
        end += _MINUTE
    return start, end


def _pick(slot: str, key: str, field: str, kind: str, others: Collection[str]) -> None:
    names = [one for one in picked(st.session_state.get(key), field) if one not in others]
    _renew(slot)
    if names:
        set_values(kind, names)


def _brush(slot: str, key: str, field: str) -> None:
    found = brushed(st.session_state.get(key), field)
    _renew(slot)
    if found is not None:
        narrow_period(*found)


def _of(state: object, name: str) -> object:
    if not isinstance(state, Mapping):
        return None
    return cast("Mapping[str, Any]", state).get(name)


def _key(slot: str) -> str:
    return f"{slot}-{st.session_state.get(_nonce(slot), 0)}"


def _renew(slot: str) -> None:
    st.session_state[_nonce(slot)] = st.session_state.get(_nonce(slot), 0) + 1


def _nonce(slot: str) -> str:
    return f"picked-{slot}"
