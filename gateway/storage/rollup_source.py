"""What roll-ups are made from, and the expressions that their statements have in common."""

from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Interval,
    Select,
    Text,
    and_,
    case,
    func,
    literal_column,
    select,
)

from gateway.storage.record_tables import cost_column
from gateway.storage.rollup_tables import TOKEN_GROUPS
from gateway.storage.table_kinds import Instant

_Select: TypeAlias = Select[*tuple[Any, ...]]
Columns: TypeAlias = dict[str, ColumnElement[Any]]

REQUEST_SOURCE = (
    "id",
    "day",
    "received_at",
    "key_id",
    "labels",
    "stream",
    "used_model",
    "used_provider",
    "used_endpoint",
    "outcome",
    "is_fallback",
    "ttft_ms",
    "duration_ms",
    "overhead_ms",
    "attempts_count",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_usd",
    "rule_version",
    "baseline_cost_usd",
    "is_paid_by_caller",
)
"""The columns of `request_record` that roll-ups are made from."""

_GROUPED_METERS = tuple(meter for group in TOKEN_GROUPS.values() for meter in group)

ATTEMPT_SOURCE = (
    "request_id",
    "day",
    "number",
    "started_at",
    "key_id",
    "labels",
    "kind",
    "provider",
    "model",
    "endpoint",
    "outcome",
    "ttft_ms",
    "duration_ms",
    "usage_source",
    "cost_usd",
    *_GROUPED_METERS,
    *(cost_column(meter) for meter in _GROUPED_METERS),
    "is_paid_by_caller",
)
"""The columns of `attempt_record` that roll-ups are made from."""


class Source(NamedTuple):
    """Rows to sum up, with the columns of `REQUEST_SOURCE` and `ATTEMPT_SOURCE`.

    Those that may have been corrected have ``adjustment_usd`` too, the part of their cost that
    corrections added.
    """

    requests: FromClause
    attempts: FromClause
    requests_of_attempts: FromClause
    """Where the attempts' requests are; an attempt whose request is not there is a late one."""
    attempts_of_requests: FromClause


# Said in the text of a statement rather than in its parameters, so that it can be prepared once.
SUCCESS: ColumnElement[str] = literal_column("'success'", Text())
SHADOW: ColumnElement[str] = literal_column("'shadow'", Text())
NOTHING: ColumnElement[str] = literal_column("''", Text())
ZERO: ColumnElement[int] = literal_column("0", Integer())
ORIGIN: ColumnElement[Any] = literal_column("timestamptz '2000-01-01 00:00:00+00'", Instant)
_MINUTE: ColumnElement[Any] = literal_column("interval '1 minute'", Interval())
_QUARTER: ColumnElement[Any] = literal_column("interval '15 minutes'", Interval())
HOUR: ColumnElement[Any] = literal_column("interval '1 hour'", Interval())


def quarter_of(at: ColumnElement[Any]) -> ColumnElement[Any]:
    """The quarter of an hour that an instant lies in."""
    return func.date_bin(_QUARTER, at, ORIGIN)


def served_by(requests: FromClause) -> Columns:
    """Who answered requests, as dimensions: '' where nobody did."""
    r = requests.c
    return {
        "provider": func.coalesce(r.used_provider, NOTHING),
        "model": func.coalesce(r.used_model, NOTHING),
        "endpoint": func.coalesce(r.used_endpoint, NOTHING),
    }


def belongs(requests: FromClause, attempts: FromClause) -> ColumnElement[bool]:
    """Whether an attempt is one of a request."""
    return and_(attempts.c.request_id == requests.c.id, attempts.c.day == requests.c.day)


def grouped(source: FromClause, dimensions: Columns, measures: Columns) -> _Select:
    """Measures of rows by their dimensions."""
    columns = (column.label(name) for name, column in (dimensions | measures).items())
    places = (number(str(place)) for place in range(1, len(dimensions) + 1))
    return select(*columns).select_from(source).group_by(*places)


def minute_of(at: ColumnElement[Any]) -> ColumnElement[Any]:
    """The minute that an instant lies in."""
    return func.date_bin(_MINUTE, at, ORIGIN)


def count_of(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    """How many rows a condition holds for."""
    return func.count(case((condition, ZERO)))


def sum_of(
    quantity: ColumnElement[Any], where: ColumnElement[bool] | None = None
) -> ColumnElement[Any]:
    """What is known of a quantity, over all rows or those of a condition; 0 without any."""
    total = func.sum(quantity)
    return func.coalesce(total if where is None else total.filter(where), ZERO)


def number(sql: str) -> ColumnElement[Any]:
    """A number as it stands in the text of a statement."""
    return literal_column(sql, Double())


def plus(terms: list[ColumnElement[Any]]) -> ColumnElement[Any]:
    """The sum of at least one term of a row."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
