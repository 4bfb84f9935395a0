"""Records as they count: what was recorded, with every later correction in it.

Whoever adds up costs reads these, or joins `attempt_adjustments` or `request_adjustments` and takes
`effective_usd`.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Subquery,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, aggregate_order_by

from gateway.storage.record_tables import (
    attempt_record,
    cost_adjustment,
    cost_column,
    request_record,
)
from gateway.storage.rollup_source import ATTEMPT_SOURCE, REQUEST_SOURCE
from gateway.storage.table_kinds import Usd
from pricing.usage import METERS

_Select: TypeAlias = Select[*tuple[Any, ...]]
_Conditions: TypeAlias = Sequence[ColumnElement[bool]]

_METER_OF = {cost_column(meter): meter for meter in METERS}
_ZERO = literal_column("0", Usd)


def attempt_adjustments(*conditions: ColumnElement[bool]) -> Subquery:
    """The sum of the adjustments of each attempt, by request_id, day and number.

    ``lines`` is what the latest of them says of the parts.

    Args:
        conditions: on `cost_adjustment`; those of the query that this is joined to save work.
    """
    columns = cost_adjustment.c
    keys = (columns.request_id, columns.day, columns.number)
    latest = func.array_agg(
        aggregate_order_by(columns.lines, columns.id.desc()), type_=ARRAY(JSONB)
    )[1]
    return (
        select(
            *keys,
            func.sum(columns.difference_usd).label("difference_usd"),
            latest.label("lines"),
        )
        .where(*conditions)
        .group_by(*keys)
        .subquery("attempt_adjustment")
    )


def request_adjustments(*conditions: ColumnElement[bool]) -> Subquery:
    """The sum of what adjustments did to the cost of each request, by request_id and day.

    NULL where the request's cost stays unknown.
    """
    columns = cost_adjustment.c
    keys = (columns.request_id, columns.day)
    return (
        select(*keys, func.sum(columns.request_difference_usd).label("difference_usd"))
        .where(*conditions)
        .group_by(*keys)
        .subquery("request_adjustment")
    )


def effective_usd(recorded: ColumnElement[Any], adjustments: Subquery) -> ColumnElement[Any]:
    """Recorded plus adjustments; an unknown cost that has become known is its adjustments.

    Args:
        recorded: `cost_usd` of `attempt_record` or `request_record`.
        adjustments: of the same, joined from outside (LEFT JOIN) by `of_attempt` or `of_request`.
    """
    return func.coalesce(
        func.coalesce(recorded, literal(0)) + adjustments.c.difference_usd, recorded
    )


def of_attempt(attempts: FromClause, adjustments: Subquery) -> ColumnElement[bool]:
    """What an attempt and its adjustments are joined on."""
    return and_(
        adjustments.c.request_id == attempts.c.request_id,
        adjustments.c.day == attempts.c.day,
        adjustments.c.number == attempts.c.number,
    )


def of_request(requests: FromClause, adjustments: Subquery) -> ColumnElement[bool]:
    """What a request and its adjustments are joined on."""
    return and_(adjustments.c.request_id == requests.c.id, adjustments.c.day == requests.c.day)


def adjusted_requests(where: _Conditions, adjustments: _Conditions) -> _Select:
    """What roll-ups are made from, with ``adjustment_usd``.

    Args:
        where: on `request_record`.
        adjustments: which of `cost_adjustment` are taken in; of other requests they do no harm.
    """
    columns, made = request_record.c, request_adjustments(*adjustments)
    changed = {"cost_usd": effective_usd(columns.cost_usd, made)}
    return (
        select(
            *(changed.get(name, columns[name]).label(name) for name in REQUEST_SOURCE),
            func.coalesce(made.c.difference_usd, _ZERO).label("adjustment_usd"),
        )
        .select_from(request_record.outerjoin(made, of_request(request_record, made)))
        .where(*where)
    )


def adjusted_attempts(where: _Conditions, adjustments: _Conditions) -> _Select:
    """What roll-ups are made from, with ``adjustment_usd``.

    Args:
        where: on `attempt_record`.
        adjustments: which of `cost_adjustment` are taken in; of other attempts they do no harm.
    """
    columns, made = attempt_record.c, attempt_adjustments(*adjustments)

    def line(name: str) -> ColumnElement[Any]:
        now = cast(made.c.lines.op("->>")(literal(_METER_OF[name], Text)), Usd)
        return case((made.c.lines.is_not(None), now), else_=columns[name])

    changed = {"cost_usd": effective_usd(columns.cost_usd, made)}
    changed |= {name: line(name) for name in ATTEMPT_SOURCE if name in _METER_OF}
    return (
        select(
            *(changed.get(name, columns[name]).label(name) for name in ATTEMPT_SOURCE),
            func.coalesce(made.c.difference_usd, _ZERO).label("adjustment_usd"),
        )
        .select_from(attempt_record.outerjoin(made, of_attempt(attempt_record, made)))
        .where(*where)
    )
