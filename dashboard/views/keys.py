"""Keys: who may ask, what each spent, one key while `?kid=` is in the URL; budgets stand below."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import streamlit as st

from dashboard import key_words, operator_source, pieces
from dashboard.admin import AdminError
from dashboard.admin_answers import Key, Keys
from dashboard.admin_states import admin, lacks, show_admin_error, show_note
from dashboard.periods import Period, make_period
from dashboard.views import budgets, keys_create, keys_one

KID = "kid"
_SEARCH, _STATE = "find", "keys_state"
_OPEN = "open_key"
_AFTER = "after"
_WORKING = "Working"
_STATES = {_WORKING: "working", "Ended": "ended", "All": "all"}
"""What the admin API calls them."""
_PAGE_ROWS = 100
_ROW_HEIGHT = 33
_MAX_HEIGHT = 13 * _ROW_HEIGHT
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
                on_change=_go_to,
                args=(None,),
            )
            state = st.segmented_control(
                "State",
                list(_STATES),
                default=_WORKING,
                required=True,
                key=_STATE,
                label_visibility="collapsed",
                width="content",
                on_change=_go_to,
                args=(None,),
            )
        page = admin().get(
            "/admin/keys",
            Keys,
            limit=_PAGE_ROWS,
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
            _draw_table(key_words.key_frame(found, use, now, zone), found)
        else:
            is_first = not search and not admin().get("/admin/keys", Keys, limit=1).data
            st.caption("Nobody may ask yet: make a key." if is_first else "No key matches.")
        if not is_whole:
            with st.container(horizontal=True, key="keys_pages"):
                st.button(
                    "Newest",
                    key="keys_newest",
                    icon=":material/first_page:",
                    disabled=after is None,
                    on_click=_go_to,
                    args=(None,),
                )
                st.button(
                    "Older",
                    key="keys_older",
                    icon=":material/chevron_right:",
                    icon_position="right",
                    disabled=page.next_after is None,
                    on_click=_go_to,
                    args=(page.next_after,),
                )


def _draw_table(frame: pl.DataFrame, keys: list[Key]) -> None:
    columns = st.column_config
    # Its signature names pandas, which has no types.
    draw: Any = st.dataframe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    draw(
        frame,
        key="key_table",
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(_MAX_HEIGHT, (frame.height + 1) * _ROW_HEIGHT + 2),
        placeholder="—",
        alt="Keys with what they spent this month",
        column_config={
            "Key": columns.ButtonColumn(
                key=_OPEN,
                type="tertiary",
                width=190,
                alignment="left",
                help="Click to see, rotate or revoke it",
                on_click=_open,
                args=(tuple(key.kid for key in keys),),
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
        },
    )


def _open(kids: tuple[str, ...]) -> None:
    click = st.session_state.get(_OPEN)
    row: int = len(kids) if click is None else click["row"]
    if row < len(kids):
        st.query_params[KID] = kids[row]


def _go_to(after: str | None) -> None:
    if after is None:
        st.query_params.pop(_AFTER, None)
    else:
        st.query_params[_AFTER] = after


def _close() -> None:
    st.query_params.pop(KID, None)
