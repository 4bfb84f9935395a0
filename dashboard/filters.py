"""The filter bar. Its widgets are bound to the URL, so that a link shows what its sender saw.

URL keys: ``period`` (of `periods.CHOICES`), ``tz`` (IANA name; left out, the viewer's), and with
``period=custom`` ``from`` and ``to``, on the wall clock of the zone.
They are drawn by `dashboard.app` on every page: Streamlit clears what no widget holds.
"""

from datetime import datetime
from zoneinfo import available_timezones

import streamlit as st

from dashboard.periods import CHOICES, CUSTOM, DEFAULT, Period, make_period

_UTC = "UTC"


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
        st.caption("Without them: the day up to now. At most 92 days are shown.")
    return make_period(CUSTOM, now=now, zone=chosen or viewers, start=start, end=end)


def set_period(choice: str) -> None:
    """For callbacks: the bar, and with it the URL, follows."""
    st.session_state["period"] = choice


def _viewers_zone() -> str:
    zone = st.context.timezone
    return zone if zone in available_timezones() else _UTC


@st.cache_data(show_spinner=False)
def _zones() -> list[str]:
    return sorted(available_timezones())
