"""Reads sums by dimensions: keys by their names, labels by their values.

A dimension is ``provider``, ``model``, ``endpoint``, ``outcome``, ``kind``, ``key`` or
``label:NAME``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl
from sqlalchemy import ColumnElement, FromClause, Select, Text, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import BIGINT

from dashboard.clauses import places
from dashboard.schemas import USD, WALL_CLOCK, Schema
from dashboard.source import as_literal, read_statement
from gateway.storage.rollup_tables import v_label_set
from gateway.storage.tables import v_api_key

_Select: TypeAlias = Select[*tuple[Any, ...]]
_Columns: TypeAlias = Mapping[str, ColumnElement[Any]]

_KEY, _LABEL = "key", "label:"


def column_of(dimension: str) -> str:
    """The column of sums that tells it apart."""
    if dimension.startswith(_LABEL):
        return "label_set"
    return "key_id" if dimension == _KEY else dimension


def read_grouped(
    view: FromClause,
    dimensions: Sequence[str],
    measures: _Columns,
    conditions: Sequence[ColumnElement[bool]],
    *,
    bucket: ColumnElement[Any] | None = None,
) -> pl.DataFrame:
    """A row for each group that is there: ``bucket`` where it is given, dimensions, and measures.

    Args:
        view: of `grains.sums_of`.
        dimensions: by which groups are told apart.
        measures: sums over the view's rows: money where a name ends in ``_usd``, else bigint.
        conditions: of `clauses.narrowed`.
        bucket: of `clauses.bucket_of`.
    """
    columns = {name: view.c[column_of(name)] for name in dimensions}
    if bucket is not None:
        columns = {"bucket": bucket, **columns}
    statement = _grouped(columns, measures, view).where(*conditions)
    if any(column_of(name) != name for name in dimensions):
        # Joined to each row and compared as texts, names took a third of the time.
        statement = _by_name(statement.subquery("by_id"), list(columns), list(measures))
    told = statement.subquery("told").c
    schema: Schema = {
        **{name: WALL_CLOCK if name == "bucket" else pl.String() for name in columns},
        **{name: USD if name.endswith("_usd") else pl.Int64() for name in measures},
    }
    return read_statement(
        select(
            *(
                cast(told[name], Text).label(name) if kind == USD else told[name]
                for name, kind in schema.items()
            )
        ),
        schema,
    )


def _by_name(by_id: FromClause, dimensions: Sequence[str], measures: Sequence[str]) -> _Select:
    source = by_id
    columns: dict[str, ColumnElement[Any]] = {}
    for name in dimensions:
        known = by_id.c[name]
        if name == _KEY:
            keys = select(v_api_key.c.id, v_api_key.c.name).subquery()
            source = source.outerjoin(keys, keys.c.id == known)
            columns[name] = func.coalesce(keys.c.name, cast(known, Text))
        elif name.startswith(_LABEL):
            wanted = as_literal(name.removeprefix(_LABEL))
            label = func.jsonb_extract_path_text(v_label_set.c.labels, wanted)
            sets = select(v_label_set.c.id, label.label("value")).subquery()
            source = source.outerjoin(sets, sets.c.id == known)
            columns[name] = func.coalesce(sets.c.value, literal_column("''", Text()))
        else:
            columns[name] = known
    sums = {
        name: func.sum(by_id.c[name])
        if name.endswith("_usd")
        else cast(func.sum(by_id.c[name]), BIGINT)
        for name in measures
    }
    return _grouped(columns, sums, source)


def _grouped(dimensions: _Columns, measures: _Columns, source: FromClause) -> _Select:
    return (
        select(
            *(column.label(name) for name, column in dimensions.items()),
            *(column.label(name) for name, column in measures.items()),
        )
        .select_from(source)
        .group_by(*places(len(dimensions)))
    )
