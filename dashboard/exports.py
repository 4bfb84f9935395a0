"""Downloads of what a page shows: CSV for spreadsheets, Parquet for programs; and links to it."""

from collections.abc import Callable
from contextvars import ContextVar
from io import BytesIO
from urllib.parse import urlencode

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard import filters
from dashboard.periods import Period

# The wide ones are formulas to spreadsheets in Chinese, Japanese and Korean.
_DANGEROUS = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
_MENU: ContextVar[DeltaGenerator | None] = ContextVar("menu", default=None)
"""Where the page that is being drawn offers its files; each run has a context of its own."""


def draw_menu(period: Period) -> None:
    """The menu that `offer` adds to, with a link to this moment."""
    with st.popover("Export", icon=":material/ios_share:", key="export"):
        _MENU.set(st.container(key="offers"))
        st.caption("A link that always shows this time and these filters:")
        query = urlencode(filters.moment_parameters(period), doseq=True)
        st.code(f"{st.context.url or ''}?{query}", language=None)


def offer(title: str, frame: pl.DataFrame | Callable[[], pl.DataFrame], name: str) -> None:
    """Add a table of the page to its export menu; nothing without one.

    Args:
        title: what it is, our own words.
        frame: or what makes it when it is wanted.
        name: of the file, and of no other on the page.
    """
    menu = _MENU.get()
    if menu is None:
        return
    with menu:
        st.caption(title)
        draw_downloads(frame, name)


def draw_downloads(frame: pl.DataFrame | Callable[[], pl.DataFrame], name: str) -> None:
    """Two small buttons; the file is made when one is clicked."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)

    def made() -> pl.DataFrame:
        return frame if isinstance(frame, pl.DataFrame) else frame()

    with st.container(horizontal=True, key=f"downloads-{safe}"):
        st.download_button(
            "CSV",
            lambda: as_csv(made()),
            f"{safe}.csv",
            "text/csv",
            key=f"csv-{safe}",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Parquet",
            lambda: as_parquet(made()),
            f"{safe}.parquet",
            "application/vnd.apache.parquet",
            key=f"parquet-{safe}",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
        )


def as_csv(frame: pl.DataFrame) -> bytes:
    """Texts that a spreadsheet would take for formulas are marked as texts."""
    texts = pl.col(pl.String)
    is_formula = texts.str.slice(0, 1).is_in(_DANGEROUS)
    names = {name: f"'{name}" for name in frame.columns if name.startswith(_DANGEROUS)}
    return (
        frame.with_columns(pl.col(pl.List(pl.String)).list.join("; "))
        .with_columns(pl.when(is_formula).then("'" + texts).otherwise(texts).name.keep())
        .rename(names)
        .write_csv()
        .encode()
    )


def as_parquet(frame: pl.DataFrame) -> bytes:
    """Money stays exact."""
    into = BytesIO()
    frame.write_parquet(into)
    return into.getvalue()
