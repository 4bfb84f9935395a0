"""Downloads of what a page shows: CSV for spreadsheets, Parquet for programs."""

from io import BytesIO

import polars as pl
import streamlit as st

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def draw_downloads(frame: pl.DataFrame, name: str) -> None:
    """Two small buttons; the file is made when one is clicked."""
    safe = "".join(letter if letter.isalnum() else "-" for letter in name)
    with st.container(horizontal=True, key=f"downloads-{safe}"):
        st.download_button(
            "CSV",
            lambda: as_csv(frame),
            f"{safe}.csv",
            "text/csv",
            key=f"csv-{safe}",
            type="tertiary",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Parquet",
            lambda: as_parquet(frame),
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
    return (
        frame.with_columns(pl.when(is_formula).then("'" + texts).otherwise(texts).name.keep())
        .write_csv()
        .encode()
    )


def as_parquet(frame: pl.DataFrame) -> bytes:
    """Money stays exact."""
    into = BytesIO()
    frame.write_parquet(into)
    return into.getvalue()
