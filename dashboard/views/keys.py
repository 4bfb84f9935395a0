"""Keys: who may ask, what each spent, one key while `?kid=` is in the URL; budgets stand below."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from dashboard import key_words, operator_source, paging, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Keys
from dashboard.admin_states import admin, lacks, show_admin_error, show_note
from dashboard.periods import Period, make_period
from dashboard.views import budgets, keys_create, keys_one

KID = "kid"
_SEARCH, _STATE = "find", "keys_state"
_AFTER = "after"
_WORKING = "Working"
_STATES = {_WORKING: "working", "Ended": "ended", "All": "all"}
"""What the admin API calls them."""
_MOST_ROWS = 13
_LOOKED_BACK = timedelta(days=30)
_STATE_COLOURS = ("#1a875433", "#d9731a33", "#c8322b33", "#c8322b33")


def render(period: Period) -> None:
    """Draw the page."""
    try:
        show_note()
        use = _read_use()
        keys_create.render(period.zone)
        wanted = st.query_params.get(KID)
        if wanted is not None:
            st.button(
                "Keys", key="back", type="tertiary", icon=":material/arrow_back:", on_click=_close
            )
            key = keys_one.read(wanted)
            keys_one.render(wanted, key, use.get(key.id) if key else None, period.zone)
            return
        _render_keys(use, period.zone)
        budgets.render(period.zone)
    except AdminError as error:
        show_admin_error(error)


def _read_use() -> dict[str, dict[str, Any]]:
    """`operator_source.KEY_USE` by the id of the key."""
    # Its end is rounded up, so that readers share what was read.
    end = make_period("1h", now=datetime.fromtimestamp(time.time(), UTC), zone="UTC").end
    month = end.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = operator_source.read_key_use(end - _LOOKED_BACK, month, end)
    return {row["key_id"]: row for row in found.iter_rows(named=True)}


def _render_keys(use: dict[str, dict[str, Any]], zone: str) -> None:
    now = datetime.fromtimestamp(time.time(), UTC)
    after = st.query_params.get(_AFTER)
    with st.container(border=True, key="keys"):
        head = st.container(horizontal=True, vertical_alignment="center", key="keys_head")
        with st.container(horizontal=True, vertical_alignment="bottom", key="keys_filters"):
            search = st.text_input(
                "Search",
                key=_SEARCH,
                bind="query-params",
                placeholder="Search name, id or label",
                label_visibility="collapsed",
                icon=":material/search:",
                max_chars=200,
                on_change=paging.go,
                args=(_AFTER, None),
            )
            state = st.segmented_control(
                "State",
                list(_STATES),
                default=_WORKING,
                required=True,
                key=_STATE,
                label_visibility="collapsed",
                width="content",
                on_change=paging.go,
                args=(_AFTER, None),
            )
        page = admin().get(
            "/admin/keys",
            Keys,
            limit=paging.PAGE_ROWS,
            after=after,
            search=search or "",
            state=_STATES[state or _WORKING],
        )
        found = list(page.data)
        is_whole = after is None and page.next_after is None
        if is_whole:
            found.sort(key=lambda key: key_words.rank(key, use.get(key.id)))
        order = "those that spent most first" if is_whole else "newest first"
        with head:
            counted = f"{len(found):,}{'' if is_whole else ' of more'}"
            what = f"{counted}, {order}; click one to open it; spend of this month, UTC"
            st.html(pieces.heading("Keys", what))
            why_not = lacks("owner")
            st.button(
                "New key",
                key="new_key",
                icon=":material/key:",
                disabled=why_not is not None,
                help=why_not,
                on_click=keys_create.open_form,
            )
        if found:
            paging.draw_table(
                key_words.key_frame(found, use, now, zone),
                _columns(tuple(key.kid for key in found)),
                key="key_table",
                alt="Keys with what they spent this month",
                most_rows=_MOST_ROWS,
            )
        else:
            is_first = not search and not admin().get("/admin/keys", Keys, limit=1).data
            st.caption("Nobody may ask yet: make a key." if is_first else "No key matches.")
        if not is_whole:
            with st.container(horizontal=True, key="keys_pages"):
                paging.draw_buttons(_AFTER, page.next_after, prefix="keys_")


def _columns(kids: tuple[str, ...]) -> dict[str, Any]:
    columns = st.column_config
    return {
        "Key": paging.opener(
            "open_key",
            kids,
            _open,
            width=190,
            tip="Click to see, rotate or revoke it",
        ),
        "Ends in": columns.TextColumn(width=70),
        "Spent": columns.TextColumn(width=100, alignment="right"),
        "Last used": columns.TextColumn(width=130),
        "State": columns.MultiselectColumn(
            width=100, options=list(key_words.STATES), color=list(_STATE_COLOURS)
        ),
        "Labels": columns.TextColumn(width=260),
        "May use": columns.TextColumn(width=260),
        "Limits": columns.TextColumn(width=210),
        "Works until": columns.TextColumn(width=140),
    }


def _open(kid: str) -> None:
    st.query_params[KID] = kid


def _close() -> None:
    st.query_params.pop(KID, None)
