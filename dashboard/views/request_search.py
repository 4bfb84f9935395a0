"""The fields that requests are searched by, above their list; all of them are in the URL.

``q`` is an id, a session or a user; ``asked`` a model, ``status`` one of HTTP; ``cost_from``,
``cost_to``, ``ms_from`` and ``ms_to`` bound what a request cost and how long it took.
"""

from decimal import Decimal

import streamlit as st

from dashboard import looking, queries
from dashboard.periods import Period
from dashboard.search import Search

ID, BEFORE = "id", "before"
"""Of the URL: the request that is shown, and the one that the list begins after."""

_TEXT, _MODEL = "q", "asked"
_NUMBERS = ("status", "cost_from", "cost_to", "ms_from", "ms_to")
_LOWEST_STATUS, _HIGHEST_STATUS = 100, 599


def draw(period: Period) -> Search:
    """Draw the fields; answers with what is searched for. An exact id opens its request."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="search_row"):
        text = st.text_input(
            "Id, session or user",
            key=_TEXT,
            bind="query-params",
            placeholder="Id, session or user",
            label_visibility="collapsed",
            icon=":material/search:",
            on_change=_look_up,
            width=340,
        )
        with st.popover("More", icon=":material/tune:", key="more"):
            model = st.text_input(
                "Model, as asked for or served",
                key=_MODEL,
                bind="query-params",
                on_change=_back_to_newest,
            )
            status = st.number_input(
                "HTTP status",
                min_value=_LOWEST_STATUS,
                max_value=_HIGHEST_STATUS,
                value=None,
                step=1,
                key="status",
                bind="query-params",
                on_change=_back_to_newest,
            )
            cost_from, cost_to = (
                _amount(f"Cost {word}, USD", f"cost_{word}", "%.6f", 0.001)
                for word in ("from", "to")
            )
            ms_from, ms_to = (
                _amount(f"Took {word}, ms", f"ms_{word}", "%.0f", 100.0) for word in ("from", "to")
            )
            st.button("Clear the search", key="clear_fields", type="tertiary", on_click=clear)
    session, user = _whose((text or "").strip(), period)
    return Search(
        session=session,
        user=user,
        model=(model or "").strip(),
        status=status,
        cost_from=_money(cost_from),
        cost_to=_money(cost_to),
        ms_from=ms_from,
        ms_to=ms_to,
    )


def clear() -> None:
    """For callbacks: nothing is searched for."""
    for name in (_TEXT, _MODEL):
        st.session_state[name] = ""
    for name in _NUMBERS:
        st.session_state[name] = None
    _back_to_newest()


def _whose(text: str, period: Period) -> tuple[str, str]:
    """The session of that name, which an index finds at once; a user where there is none."""
    if not text:
        return "", ""
    of_session = Search(session=text)
    found = looking.look_back(period.start, period.end, None, 1, search=of_session, within_s=None)
    return ("", text) if found.rows.is_empty() else (text, "")


def _amount(label: str, key: str, pattern: str, step: float) -> float | None:
    return st.number_input(
        label,
        min_value=0.0,
        value=None,
        step=step,
        format=pattern,
        key=key,
        bind="query-params",
        on_change=_back_to_newest,
    )


def _money(amount: float | None) -> Decimal | None:
    return None if amount is None else Decimal(str(amount))


def _look_up() -> None:
    _back_to_newest()
    text = str(st.session_state.get(_TEXT) or "")
    if queries.parse_request_id(text) is not None:
        st.query_params[ID] = text.strip()
        st.session_state[_TEXT] = ""


def _back_to_newest() -> None:
    st.query_params.pop(BEFORE, None)
