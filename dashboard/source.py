"""How the database is read, and how fresh it is.

`dashboard.sums` and `dashboard.histograms` read roll-ups, `dashboard.records` single requests.
NUMERIC, uuid and jsonb are selected as text: ADBC hands them over as opaque bytes. Money stays
Decimal.
"""

from datetime import date, datetime
from typing import Any, TypeAlias

import polars as pl
import streamlit as st
from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Select,
    Text,
    cast,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import BIGINT

from dashboard.installation import installation
from dashboard.pool import Fold
from dashboard.schemas import DEAD_LETTERS, FRESHNESS, USD, Schema
from gateway.storage.tables import USD_SCALE, v_ingest_error, v_ship_watermark

FRESH_S = 30
"""Seconds for which an answer is shared by all readers."""
_DEAD_LETTERS_S = 60

_DIALECT: Any = postgresql.dialect(paramstyle="numeric_dollar")  # pyright: ignore[reportUnknownMemberType] - untyped

_Select: TypeAlias = Select[*tuple[Any, ...]]


@st.cache_data(ttl=5, max_entries=1, show_spinner=False)
def read_freshness() -> pl.DataFrame:
    """`FRESHNESS`: how far every worker has brought its records into the database."""
    watermark = v_ship_watermark.c
    return read_statement(
        select(
            watermark.worker,
            watermark.updated_at,
            watermark.last_record_at,
            watermark.oldest_unshipped_at,
            watermark.backlog_bytes,
            watermark.backlog_records,
        ),
        FRESHNESS,
    )


@st.cache_data(ttl=_DEAD_LETTERS_S, max_entries=1, show_spinner=False)
def read_dead_letters() -> int:
    """How many records of the last week PostgreSQL would not take; they lie in files beside it."""
    since = func.now() - literal_column("interval '7 days'")
    statement: _Select = select(cast(func.count(), BIGINT).label("dead_letters")).where(
        v_ingest_error.c.seen_at >= since
    )
    return int(read_statement(statement, DEAD_LETTERS)["dead_letters"].sum())


def as_literal(value: str) -> ColumnElement[str]:
    """A text with its type, where the database could not tell it."""
    return cast(literal(value, Text), Text)


def as_instant(value: datetime) -> ColumnElement[datetime]:
    """An aware instant."""
    # In the statement itself: as a parameter it would be read again for each row.
    return literal_column(f"timestamptz '{value.isoformat()}'", DateTime(timezone=True))


def as_day(value: date) -> ColumnElement[date]:
    """A day, by which partitions are left out."""
    # Told as a parameter, a plan would be made for every partition there is.
    return literal_column(f"date '{value.isoformat()}'", Date())


def read_statement(statement: _Select, schema: Schema, fold: Fold | None = None) -> pl.DataFrame:
    """What a statement answers, in the shape of the schema; whoever calls it keeps it.

    Args:
        statement: what to read.
        schema: of what is answered, after folding.
        fold: as for `Pool.read`.

    Raises:
        SourceError: the database cannot be read now.
    """
    compiled: Any = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    parameters = [compiled.params[name] for name in compiled.positiontup or ()]
    frame = installation().pool.read(str(compiled), parameters, fold)
    if frame.columns != list(schema):
        raise RuntimeError(f"expected columns {list(schema)}, got {frame.columns}")
    return frame.with_columns(_parsed(name, kind) for name, kind in schema.items())


def _parsed(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == USD:
        return column.cast(pl.String).str.to_decimal(scale=USD_SCALE).cast(USD)
    return column.cast(kind)
