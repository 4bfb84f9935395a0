"""Statements over histograms in rows: many buckets side by side, packed and unpacked.

A histogram may stand in several rows, so that nobody waits to count: whoever reads adds them up,
and now and then they are merged into one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Insert,
    Integer,
    Select,
    SmallInteger,
    Table,
    TableValuedAlias,
    cast,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

_Select: TypeAlias = Select[*tuple[Any, ...]]

PACKED = ("buckets", "samples")
"""The columns of a packed histogram."""


def keys_of(table: Table) -> list[str]:
    """The columns of a table of histograms that are no part of one."""
    return [column.name for column in table.columns if column.name not in PACKED]


def packed(counts: FromClause, keys: Sequence[str]) -> _Select:
    """Rows of ``bucket`` and ``samples``, unique by key and bucket, as a row for each key."""
    c = counts.c
    columns = (
        func.array_agg(aggregate_order_by(c[name], c.bucket)).label(label)
        for name, label in (("bucket", "buckets"), ("samples", "samples"))
    )
    return select(*(c[key] for key in keys), *columns).group_by(*(c[key] for key in keys))


def merged(rows: FromClause, keys: Mapping[str, ColumnElement[Any]]) -> _Select:
    """Packed histograms added up by these keys, each an expression over the rows."""
    of_row = unpacked(rows)
    samples = cast(func.sum(of_row.c.samples), BigInteger).label("samples")
    # By their places: PostgreSQL would not know two spellings of an expression to be the same.
    places = (literal_column(str(place), Integer()) for place in range(1, len(keys) + 2))
    counts = (
        select(*(key.label(name) for name, key in keys.items()), of_row.c.bucket, samples)
        .select_from(rows.join(of_row, true()))
        .group_by(*places)
    )
    return packed(counts.subquery(), tuple(keys))


def unpacked(rows: FromClause) -> TableValuedAlias:
    """``bucket`` and ``samples`` of each row, to be joined with the rows."""
    return (
        func.unnest(rows.c.buckets, rows.c.samples)
        .table_valued(column("bucket", SmallInteger), column("samples", BigInteger))
        .render_derived()
    )


def compact(table: Table, condition: ColumnElement[bool]) -> Insert:
    """Leave one row of each histogram, among those that a condition chooses."""
    gone = delete(table).where(condition).returning(*table.columns).cte("gone")
    keys = {name: gone.c[name] for name in keys_of(table)}
    return insert(table).from_select([*keys, *PACKED], merged(gone, keys))
