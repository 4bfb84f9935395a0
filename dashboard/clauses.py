"""What statements over sums are made of: which rows, in which bucket, and what is added up."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    any_,
    case,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INTERVAL

from dashboard.narrowing import Narrowing
from dashboard.outcomes import of_outcomes
from dashboard.periods import Period, offsets_within
from dashboard.source import as_instant, as_literal
from gateway.storage.rollup_tables import v_label_set
from gateway.storage.tables import v_api_key

_Select: TypeAlias = Select[*tuple[Any, ...]]

_ZERO: ColumnElement[int] = literal_column("0", Integer())


def narrowed(view: FromClause, only: Narrowing) -> Sequence[ColumnElement[bool]]:
    """What a view's rows must be to belong to this part of the traffic."""
    v = view.c
    conditions: list[ColumnElement[bool]] = []
    if not only.has_attempts and "is_fallback" not in v:
        raise ValueError("attempts have neither rules nor outcomes of requests")
    if only.rules:
        conditions.append(v.rule_version.in_(list(only.rules)))
    if only.outcomes:
        conditions.append(of_outcomes(only.outcomes, v.outcome, v.is_fallback))
    if only.providers:
        conditions.append(v.provider.in_(list(only.providers)))
    if only.models:
        conditions.append(v.model.in_(list(only.models)))
    if only.keys:
        keys = select(v_api_key.c.id).where(v_api_key.c.name.in_(list(only.keys)))
        conditions.append(v.key_id == _any_of(keys))
    for name, values in only.labels_by_name.items():
        sets = select(v_label_set.c.id).where(
            func.jsonb_extract_path_text(v_label_set.c.labels, as_literal(name)).in_(values)
        )
        conditions.append(v.label_set == _any_of(sets))
    return conditions


def _any_of(ids: _Select) -> ColumnElement[Any]:
    # Found once: joined, they were looked for anew for each row of the sums.
    return any_(func.array(ids.scalar_subquery()))


def bucket_of(at: ColumnElement[Any], period: Period) -> ColumnElement[Any]:
    """The bucket of the period that an instant lies in, on its wall clock."""
    seconds = int(period.bucket.total_seconds())
    width: ColumnElement[Any] = literal_column(f"interval '{seconds} seconds'", INTERVAL())
    origin: ColumnElement[Any] = literal_column(f"timestamp '{period.origin.isoformat()}'")
    return func.date_bin(width, wall_clock(at, period), origin)


def wall_clock(at: ColumnElement[Any], period: Period) -> ColumnElement[Any]:
    """An instant of the period on the clock of its zone."""
    # Many times as fast as by the zone's name, which would be looked up for each row.
    *earlier, (_, last) = offsets_within(period)
    ends = [(at < as_instant(end), _shifted(at, offset)) for end, offset in earlier]
    return case(*ends, else_=_shifted(at, last)) if ends else _shifted(at, last)


def _shifted(at: ColumnElement[Any], offset: timedelta) -> ColumnElement[Any]:
    seconds = f"interval '{offset.total_seconds():.0f} seconds'"
    fixed: ColumnElement[Any] = literal_column(seconds, INTERVAL())
    return func.timezone(fixed, at)


def sum_of(
    quantity: ColumnElement[Any], condition: ColumnElement[bool] | None = None
) -> ColumnElement[Any]:
    """A sum as the driver can read it; with a condition, of the rows where it holds."""
    # The sum of bigint is NUMERIC, which would arrive opaque.
    if condition is not None:
        quantity = case((condition, quantity), else_=_ZERO)
    return cast(func.coalesce(func.sum(quantity), _ZERO), postgresql.BIGINT)


def places(count: int) -> list[ColumnElement[Any]]:
    """To group by the first columns of a statement."""
    return [literal_column(str(place), Integer()) for place in range(1, count + 1)]
