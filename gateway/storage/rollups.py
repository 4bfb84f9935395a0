"""From records to roll-ups: what is summed, the same for a batch that arrives and for a rebuild."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    union,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from gateway.storage.histograms import PACKED, keys_of, merged
from gateway.storage.record_tables import cost_column
from gateway.storage.rollup_latency import histograms
from gateway.storage.rollup_source import (
    NOTHING,
    SHADOW,
    SUCCESS,
    ZERO,
    Columns,
    Source,
    belongs,
    count_of,
    grouped,
    minute_of,
    number,
    plus,
    quarter_of,
    served_by,
    sum_of,
)
from gateway.storage.rollup_tables import (
    TOKEN_GROUPS,
    RollUp,
    fallback,
    label_set,
    provider_seen,
    rollup_horizon,
    rollup_pending,
    usage_attempt,
    usage_request,
)

_Select: TypeAlias = Select[*tuple[Any, ...]]


def label_set_id(labels: ColumnElement[Any]) -> ColumnElement[Any]:
    """The id of a set of labels; JSONB spells equal sets alike."""
    digest = func.sha256(func.convert_to(cast(labels, Text), "UTF8"))
    return cast(func.encode(func.substring(digest, 1, 16), "hex"), Uuid)


def add_up(table: Table, rows: _Select, measures: tuple[str, ...]) -> Insert:
    """Add rows to those that have the same key.

    They come sorted: two who add the same keys wait for each other in turn, and never both at once.
    """
    source = rows.subquery()
    keys = [column.name for column in table.primary_key]
    names = [*keys, *measures]
    ordered = select(*(source.c[name] for name in names)).order_by(*(source.c[key] for key in keys))
    statement = insert(table).from_select(names, ordered)
    return statement.on_conflict_do_update(
        index_elements=keys,
        set_={measure: table.c[measure] + statement.excluded[measure] for measure in measures},
    )


def additions(source: Source) -> list[Insert]:
    """Statements that add requests and attempts to the minutes, in the order of the locks."""
    return [
        *(add_up(one.minute, rows, one.measures) for one, rows in with_costs(source)),
        *(
            insert(table).from_select([*keys_of(table), *PACKED], rows)
            for table, rows in histograms(source)
        ),
    ]


def with_costs(source: Source) -> list[tuple[RollUp, Select[*tuple[Any, ...]]]]:
    """The roll-ups that have costs in them, and what the rows come to there, by the minute."""
    return [
        (usage_request, _usage_of_requests(source.requests)),
        (usage_attempt, _usage_of_attempts(source)),
        (fallback, _fallbacks(source.requests, source.attempts_of_requests)),
    ]


def new_label_sets(source: FromClause) -> Insert:
    """Remember the sets of labels that were never seen before."""
    found = select(label_set_id(source.c.labels).label("id"), source.c.labels).distinct().subquery()
    return _remember(label_set, select(found.c.id, found.c.labels), "id", found.c.id)


def new_providers(attempts: FromClause) -> Insert:
    """Remember the providers that were never called before."""
    found = (
        select(attempts.c.provider, func.min(attempts.c.started_at).label("first_seen_at"))
        .group_by(attempts.c.provider)
        .subquery()
    )
    rows = select(found.c.provider, found.c.first_seen_at)
    return _remember(provider_seen, rows, "provider", found.c.provider)


def note_changed(requests: FromClause, attempts: FromClause) -> Insert:
    """Name the quarters of an hour whose minutes these requests and attempts have changed."""
    quarters = union(
        select(quarter_of(requests.c.received_at).label("at")),
        select(quarter_of(attempts.c.started_at).label("at")),
    ).subquery()
    horizon = (
        select(rollup_horizon.c.at).where(rollup_horizon.c.name == "minutes").scalar_subquery()
    )
    is_addition = func.coalesce(quarters.c.at < horizon, text("false"))
    rows = select(quarters.c.at, is_addition)
    return insert(rollup_pending).from_select(["at", "is_addition"], rows)


def summed(
    roll_up: RollUp, rows: FromClause, at: ColumnElement[Any], dimensions: Sequence[str]
) -> _Select:
    """Rows added up by an instant of theirs and by some of their dimensions.

    They are in the order of `sum_columns`.
    """
    keys = {"at": at, **{name: rows.c[name] for name in dimensions}}
    if roll_up.is_histogram:
        return merged(rows, keys)
    sums = (_as(func.sum(rows.c[name]), roll_up, name) for name in roll_up.measures)
    named = (key.label(name) for name, key in keys.items())
    places = (number(str(place)) for place in range(1, len(keys) + 1))
    return select(*named, *sums).select_from(rows).group_by(*places)


def sum_columns(roll_up: RollUp, dimensions: Sequence[str]) -> list[str]:
    """The columns of `summed`."""
    return ["at", *dimensions, *(PACKED if roll_up.is_histogram else roll_up.measures)]


def _remember(table: Table, rows: _Select, key: str, value: ColumnElement[Any]) -> Insert:
    # A conflict would lock the row, and everybody writes the same few.
    known = select(literal(1)).where(table.c[key] == value).exists()
    rows = rows.where(not_(known)).order_by(value)
    names = [column.name for column in table.columns]
    return insert(table).from_select(names, rows).on_conflict_do_nothing()


def _usage_of_requests(requests: FromClause) -> _Select:
    r, is_ours = requests.c, not_(requests.c.is_paid_by_caller)
    is_compared = and_(r.baseline_cost_usd.is_not(None), r.cost_usd.is_not(None), is_ours)
    dimensions: Columns = {
        "at": minute_of(r.received_at),
        **served_by(requests),
        "outcome": r.outcome,
        "is_fallback": r.is_fallback,
        "rule_version": func.coalesce(r.rule_version, NOTHING),
        "key_id": r.key_id,
        "label_set": label_set_id(r.labels),
    }
    measures: Columns = {
        "requests": func.count(),
        "tried": count_of(r.attempts_count > 0),
        "attempts": func.sum(r.attempts_count),
        "prompt_tokens": sum_of(r.prompt_tokens),
        "completion_tokens": sum_of(r.completion_tokens),
        "cached_tokens": sum_of(r.cached_tokens),
        "reasoning_tokens": sum_of(r.reasoning_tokens),
        "cost_usd": sum_of(r.cost_usd, is_ours),
        "unpriced": count_of(and_(r.cost_usd.is_(None), is_ours)),
        "baselined": count_of(is_compared),
        "baseline_usd": sum_of(r.baseline_cost_usd, is_compared),
        "baselined_cost_usd": sum_of(r.cost_usd, is_compared),
        "adjustment_usd": sum_of(_adjustment_usd(requests), is_ours),
        "caller_usd": sum_of(r.cost_usd, r.is_paid_by_caller),
        "caller_requests": count_of(r.is_paid_by_caller),
    }
    return grouped(requests, dimensions, measures)


def _usage_of_attempts(source: Source) -> _Select:
    requests, attempts = source.requests_of_attempts, source.attempts
    r, a = requests.c, attempts.c
    before = source.attempts_of_requests.alias("attempt_before")
    is_repeat = and_(
        before.c.request_id == a.request_id,
        before.c.day == a.day,
        before.c.number == a.number - 1,
        before.c.endpoint == a.endpoint,
        before.c.kind != SHADOW,
    )
    is_ours = not_(a.is_paid_by_caller)
    is_first = and_(a.number == 1, r.id.is_not(None))
    is_served = and_(r.outcome == SUCCESS, a.kind != SHADOW, a.outcome != SUCCESS)
    dimensions: Columns = {
        "at": minute_of(a.started_at),
        "provider": a.provider,
        "model": a.model,
        "endpoint": a.endpoint,
        "outcome": a.outcome,
        "kind": a.kind,
        "key_id": a.key_id,
        "label_set": label_set_id(a.labels),
    }
    tokens: Columns = {
        f"{group}_tokens": func.coalesce(
            func.sum(plus([func.coalesce(a[meter], ZERO) for meter in meters])), ZERO
        )
        for group, meters in TOKEN_GROUPS.items()
    }
    # Of an attempt whose cost is not known, a part may be: it counts for nothing here, so that the
    # parts add up to the whole.
    parts: Columns = {
        group: plus([func.coalesce(a[cost_column(meter)], ZERO) for meter in meters])
        for group, meters in TOKEN_GROUPS.items()
    }
    is_known = and_(a.cost_usd.is_not(None), is_ours)
    is_metered = or_(a.usage_source.is_not(None), a.cost_usd.is_(None))
    measures: Columns = {
        "attempts": func.count(),
        "billable": count_of(and_(is_metered, is_ours)),
        "unpriced": count_of(and_(a.cost_usd.is_(None), is_ours)),
        "first_tries": count_of(is_first),
        "served_elsewhere": count_of(and_(is_first, r.is_fallback, r.used_provider != a.provider)),
        "rescued": count_of(is_served),
        **tokens,
        "cost_usd": sum_of(a.cost_usd, is_ours),
        **{f"cost_{group}_usd": sum_of(part, is_known) for group, part in parts.items()},
        "cost_other_usd": sum_of(a.cost_usd - plus(list(parts.values())), is_known),
        "requests": count_of(and_(a.kind != SHADOW, before.c.request_id.is_(None))),
        "adjustment_usd": sum_of(_adjustment_usd(attempts), is_ours),
        "caller_usd": sum_of(a.cost_usd, a.is_paid_by_caller),
    }
    joined = attempts.outerjoin(requests, belongs(requests, attempts)).outerjoin(before, is_repeat)
    return grouped(joined, dimensions, measures)


def _fallbacks(requests: FromClause, attempts: FromClause) -> _Select:
    r, a = requests.c, attempts.c
    dimensions: Columns = {
        "at": minute_of(r.received_at),
        "from_provider": a.provider,
        "from_endpoint": a.endpoint,
        "to_provider": func.coalesce(r.used_provider, NOTHING),
        "to_endpoint": func.coalesce(r.used_endpoint, NOTHING),
        "reason": a.outcome,
    }
    is_first = a.number == 1
    microseconds = cast(func.round(a.duration_ms * 1000), fallback.minute.c.added_us.type)
    measures: Columns = {
        "attempts": func.count(),
        "requests": count_of(is_first),
        "rescued": count_of(and_(is_first, r.outcome == SUCCESS)),
        "added_us": sum_of(microseconds),
        "added_usd": sum_of(a.cost_usd, not_(a.is_paid_by_caller)),
        "unpriced": count_of(and_(a.cost_usd.is_(None), not_(a.is_paid_by_caller))),
    }
    joined = requests.join(attempts, belongs(requests, attempts))
    return grouped(joined, dimensions, measures).where(
        r.is_fallback, a.kind != SHADOW, a.endpoint != r.used_endpoint
    )


def _adjustment_usd(rows: FromClause) -> ColumnElement[Any]:
    """What arrives was never corrected."""
    return rows.c.adjustment_usd if "adjustment_usd" in rows.c else ZERO


def _as(total: ColumnElement[Any], roll_up: RollUp, name: str) -> ColumnElement[Any]:
    return cast(total, roll_up.quarter.c[name].type).label(name)
