"""The filter bar. Its widgets are bound to the URL, so that a link shows what its sender saw.

URL keys: ``period`` (of `periods.CHOICES`), ``tz`` (IANA name; left out, the viewer's), with
``period=custom`` also ``from`` and ``to``, on the wall clock of the zone; and any number each of
``provider``, ``model``, ``key`` and ``label``. A value of these that is no option stays chosen: a
link never shows more than its sender saw.
They are drawn by `dashboard.app` on every page: Streamlit clears what no widget holds.
"""

from datetime import datetime
from zoneinfo import available_timezones

import polars as pl
import streamlit as st

from dashboard import sums
from dashboard.narrowing import Narrowing
from dashboard.periods import CHOICES, CUSTOM, DEFAULT, Period, make_period
from dashboard.pool import SourceError
from dashboard.schemas import DIMENSIONS

_UTC = "UTC"
_FILTERS = {"provider": "Provider", "model": "Model", "key": "Key", "label": "Label"}
"""In the order of the fields of `Narrowing`."""
_MOST_VALUES = 20


def choose_period(now: datetime) -> Period:
    """Draw the bar and answer with what is chosen. ``now`` is aware."""
    choice = st.segmented_control(
        "Period",
        CHOICES,
        default=DEFAULT,
        required=True,
        key="period",
        bind="query-params",
        label_visibility="collapsed",
        width="content",
    )
    viewers = _viewers_zone()
    with st.popover("Time", icon=":material/schedule:", key="time"):
        chosen = st.selectbox(
            "Time zone",
            _zones(),
            index=None,
            placeholder=f"{viewers} (yours)",
            key="tz",
            bind="query-params",
        )
        if choice != CUSTOM:
            return make_period(choice or DEFAULT, now=now, zone=chosen or viewers)
        start = st.datetime_input("From", None, key="from", bind="query-params")
        end = st.datetime_input("To", None, key="to", bind="query-params")
        st.caption("Without them: the day up to now. At most 400 days are shown.")
    return make_period(CUSTOM, now=now, zone=chosen or viewers, start=start, end=end)


def choose_narrowing() -> Narrowing:
    """Draw the filters and answer with what is chosen."""
    try:
        options = sums.read_dimensions()
    except SourceError:
        # The page says so itself; what is chosen stays chosen.
        options = pl.DataFrame(schema=DIMENSIONS)
    found = {
        kind: options.filter(pl.col("kind") == kind)["value"].drop_nulls().sort().to_list()
        for kind in _FILTERS
    }
    with st.popover("Filters", icon=":material/filter_list:", key="filters"):
        chosen = [
            st.multiselect(
                label,
                found[kind],
                key=kind,
                bind="query-params",
                accept_new_options=True,
                max_selections=_MOST_VALUES,
                select_all=False,
            )
            for kind, label in _FILTERS.items()
        ]
        st.button("Clear all", key="clear", type="tertiary", on_click=clear_narrowing)
        st.caption("The provider is the one that served, or that an attempt went to.")
    providers, models, keys, labels = (tuple(sorted(values)) for values in chosen)
    return Narrowing(providers=providers, models=models, keys=keys, labels=labels)


def chosen_narrowing() -> Narrowing:
    """What is chosen on this page, for views."""
    providers, models, keys, labels = (
        tuple(sorted(st.session_state.get(kind) or ())) for kind in _FILTERS
    )
    return Narrowing(providers=providers, models=models, keys=keys, labels=labels)


def clear_narrowing() -> None:
    """For callbacks: nothing is filtered."""
    for kind in _FILTERS:
        st.session_state[kind] = []


def set_period(choice: str) -> None:
    """For callbacks: the bar, and with it the URL, follows."""
    st.session_state["period"] = choice


def _viewers_zone() -> str:
    zone = st.context.timezone
    return zone if zone in available_timezones() else _UTC


@st.cache_data(show_spinner=False)
def _zones() -> list[str]:
    return sorted(available_timezones())
