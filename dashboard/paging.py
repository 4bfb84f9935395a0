"""Long lists page by page: a table whose first cells open its rows, and the buttons below it.

Where a page begins is a cursor in the URL, so that a link shows the same page.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

PAGE_ROWS = 100
FIRST, BACK, ONWARD = (
    ":material/first_page:",
    ":material/chevron_left:",
    ":material/chevron_right:",
)
"""Which way a button leads."""
_ROW_HEIGHT = 33

Turn = Callable[[], None]
"""A callback that opens another page."""


def draw_table(
    frame: pl.DataFrame,
    columns: Mapping[str, Any],
    *,
    key: str,
    alt: str,
    most_rows: int,
    placeholder: str = "—",
) -> None:
    """Draw a page of rows.

    Args:
        frame: what is shown, a column of it by `opener`.
        columns: Streamlit's configuration of each.
        key: of the widget.
        alt: what the table tells, for those who do not see it.
        most_rows: beyond so many, its header included, it scrolls.
        placeholder: in place of what is unknown.
    """
    # Its signature names pandas, which has no types.
    draw: Any = st.dataframe  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    draw(
        frame,
        key=key,
        hide_index=True,
        row_height=_ROW_HEIGHT,
        height=min(most_rows * _ROW_HEIGHT, (frame.height + 1) * _ROW_HEIGHT + 2),
        placeholder=placeholder,
        alt=alt,
        column_config=columns,
    )


def opener(
    key: str,
    ids: Sequence[str],
    open_one: Callable[[str], None],
    *,
    width: int,
    tip: str,
    is_pinned: bool = False,
) -> object:
    """A column whose cells open their rows.

    Args:
        key: of the widget.
        ids: of the rows, in their order.
        open_one: called with the id of the row whose cell was clicked.
        width: in pixels.
        tip: what a click does.
        is_pinned: stays in sight where the table is wider than the window.
    """
    return st.column_config.ButtonColumn(
        key=key,
        type="tertiary",
        alignment="left",
        width=width,
        help=tip,
        pinned=is_pinned or None,
        on_click=_open,
        args=(key, tuple(ids), open_one),
    )


def draw_buttons(
    parameter: str,
    next_after: str | None,
    *,
    prefix: str,
    words: tuple[str, str] = ("Newest", "Older"),
) -> None:
    """Draw the ways to the first page and to the next one.

    Args:
        parameter: of the URL, which holds what a page begins after.
        next_after: what the next page begins after; None on the last one.
        prefix: of the keys of the widgets, which end in the words.
        words: what the first page and the next one are called.
    """
    is_first = st.query_params.get(parameter) is None
    draw_turn(words[0], FIRST, None if is_first else partial(go, parameter, None), prefix=prefix)
    onward = None if next_after is None else partial(go, parameter, next_after)
    draw_turn(words[1], ONWARD, onward, prefix=prefix)


def draw_turn(word: str, way: str, turn: Turn | None, *, prefix: str = "") -> None:
    """Draw one way of `FIRST`, `BACK` and `ONWARD`; None disables it."""
    st.button(
        word,
        key=f"{prefix}{word.lower()}",
        icon=way,
        icon_position="right" if way == ONWARD else "left",
        disabled=turn is None,
        on_click=turn,
    )


def go(parameter: str, cursor: str | None) -> None:
    """For callbacks: open the page that begins after a cursor; None is the first one."""
    if cursor is None:
        st.query_params.pop(parameter, None)
    else:
        st.query_params[parameter] = cursor


def _open(key: str, ids: tuple[str, ...], open_one: Callable[[str], None]) -> None:
    click = st.session_state.get(key)
    row: int = len(ids) if click is None else click["row"]
    if row < len(ids):
        open_one(ids[row])
