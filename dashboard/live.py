"""A page that draws itself anew every few seconds, while somebody wants it to."""

import time

import streamlit as st

from dashboard.periods import CUSTOM

_EVERY_S = 15
_WANTED, _DRAWN = "live", "live_drawn_at"


def choose(choice: str | None) -> None:
    """Draw the toggle; a period with ends of its own stands still."""
    is_fixed = choice == CUSTOM
    wanted = st.toggle(
        "Live",
        key=_WANTED,
        disabled=is_fixed,
        help="A period with a begin and an end of its own does not move on."
        if is_fixed
        else f"Draws the page anew every {_EVERY_S} seconds.",
    )
    st.session_state[_DRAWN] = time.monotonic()
    if wanted and not is_fixed:
        _tick()


@st.fragment(run_every=_EVERY_S)
def _tick() -> None:
    # It runs with the page, too, which has just been drawn then.
    if time.monotonic() - st.session_state.get(_DRAWN, 0.0) >= _EVERY_S - 1:
        st.rerun()
