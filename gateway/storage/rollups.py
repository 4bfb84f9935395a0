"""From records to roll-ups: what is summed, the same for a batch that arrives and for a rebuild."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Interval,
    Select,
    SmallInteger,
    Table,
    Text,
    Uuid,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import Insert, insert

from gateway.domain.histograms import GROWTH
from gateway.storage.histograms import PACKED, merged, packed
from gateway.storage.rollup_tables import (
    HIGHEST_BUCKET,
    KEY_METRICS,
    LOWEST_BUCKET,
    TOKEN_GROUPS,
    RollUp,
    fallback,
    label_set,
    latency,
    latency_key_hour,
    provider_seen,
    usage_attempt,
    usage_request,
)
from gateway.storage.tables import Instant, cost_column

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


_Select: TypeAlias = Select[*tuple[Any, ...]]
_Columns: TypeAlias = dict[str, ColumnElement[Any]]

# Said in the text of a statement rather than in its parameters, so that it can be prepared once.
_SUCCESS: ColumnElement[str] = literal_column("'success'", Text())
_SHADOW: ColumnElement[str] = literal_column("'shadow'", Text())
_NOTHING: ColumnElement[str] = literal_column("''", Text())
_ZERO: ColumnElement[int] = literal_column("0", Integer())
_ORIGIN: ColumnElement[Any] = literal_column("timestamptz '2000-01-01 00:00:00+00'", Instant)
_MINUTE: ColumnElement[Any] = literal_column("interval '1 minute'", Interval())
_QUARTER: ColumnElement[Any] = literal_column("interval '15 minutes'", Interval())
_HOUR: ColumnElement[Any] = literal_column("interval '1 hour'", Interval())


def quarter_of(at: ColumnElement[Any]) -> ColumnElement[Any]:
    """The quarter of an hour that an instant lies in."""
    return func.date_bin(_QUARTER, at, _ORIGIN)


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
            insert(table).from_select([*_keys_of(table), *PACKED], rows)
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


def histograms(source: Source) -> list[tuple[Table, Select[*tuple[Any, ...]]]]:
    """The tables of histograms, and what requests and attempts come to there, in rows for them."""
    counts = {
        latency.minute: _latencies(source),
        latency_key_hour: _latencies_of_keys(source.requests),
    }
    return [
        (table, packed(counted.subquery(), _keys_of(table))) for table, counted in counts.items()
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
    places = (_number(str(place)) for place in range(1, len(keys) + 1))
    return select(*named, *sums).select_from(rows).group_by(*places)


def sum_columns(roll_up: RollUp, dimensions: Sequence[str]) -> list[str]:
    """The columns of `summed`."""
    return ["at", *dimensions, *(PACKED if roll_up.is_histogram else roll_up.measures)]


def _keys_of(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in PACKED]


def _remember(table: Table, rows: _Select, key: str, value: ColumnElement[Any]) -> Insert:
    # A conflict would lock the row, and everybody writes the same few.
    known = select(literal(1)).where(table.c[key] == value).exists()
    rows = rows.where(not_(known)).order_by(value)
    names = [column.name for column in table.columns]
    return insert(table).from_select(names, rows).on_conflict_do_nothing()


def _usage_of_requests(requests: FromClause) -> _Select:
    r, is_ours = requests.c, not_(requests.c.is_paid_by_caller)
    is_compared = and_(r.baseline_cost_usd.is_not(None), r.cost_usd.is_not(None), is_ours)
    dimensions: _Columns = {
        "at": _minute(r.received_at),
        **_served_by(requests),
        "outcome": r.outcome,
        "is_fallback": r.is_fallback,
        "rule_version": func.coalesce(r.rule_version, _NOTHING),
        "key_id": r.key_id,
        "label_set": label_set_id(r.labels),
    }
    measures: _Columns = {
        "requests": func.count(),
        "tried": _count(r.attempts_count > 0),
        "attempts": func.sum(r.attempts_count),
        "prompt_tokens": _sum(r.prompt_tokens),
        "completion_tokens": _sum(r.completion_tokens),
        "cached_tokens": _sum(r.cached_tokens),
        "reasoning_tokens": _sum(r.reasoning_tokens),
        "cost_usd": _sum(r.cost_usd, is_ours),
        "unpriced": _count(and_(r.cost_usd.is_(None), is_ours)),
        "baselined": _count(is_compared),
        "baseline_usd": _sum(r.baseline_cost_usd, is_compared),
        "baselined_cost_usd": _sum(r.cost_usd, is_compared),
        "adjustment_usd": _sum(_adjustment_usd(requests), is_ours),
        "caller_usd": _sum(r.cost_usd, r.is_paid_by_caller),
    }
    return _grouped(requests, dimensions, measures)


def _usage_of_attempts(source: Source) -> _Select:
    requests, attempts = source.requests_of_attempts, source.attempts
    r, a = requests.c, attempts.c
    before = source.attempts_of_requests.alias("attempt_before")
    is_repeat = and_(
        before.c.request_id == a.request_id,
        before.c.day == a.day,
        before.c.number == a.number - 1,
        before.c.endpoint == a.endpoint,
        before.c.kind != _SHADOW,
    )
    is_ours = not_(a.is_paid_by_caller)
    is_first = and_(a.number == 1, r.id.is_not(None))
    is_served = and_(r.outcome == _SUCCESS, a.kind != _SHADOW, a.outcome != _SUCCESS)
    dimensions: _Columns = {
        "at": _minute(a.started_at),
        "provider": a.provider,
        "model": a.model,
        "endpoint": a.endpoint,
        "outcome": a.outcome,
        "kind": a.kind,
        "key_id": a.key_id,
        "label_set": label_set_id(a.labels),
    }
    tokens: _Columns = {
        f"{group}_tokens": func.coalesce(
            func.sum(_plus([func.coalesce(a[meter], _ZERO) for meter in meters])), _ZERO
        )
        for group, meters in TOKEN_GROUPS.items()
    }
    # Of an attempt whose cost is not known, a part may be: it counts for nothing here, so that the
    # parts add up to the whole.
    parts: _Columns = {
        group: _plus([func.coalesce(a[cost_column(meter)], _ZERO) for meter in meters])
        for group, meters in TOKEN_GROUPS.items()
    }
    is_known = and_(a.cost_usd.is_not(None), is_ours)
    is_metered = or_(a.usage_source.is_not(None), a.cost_usd.is_(None))
    measures: _Columns = {
        "attempts": func.count(),
        "billable": _count(and_(is_metered, is_ours)),
        "unpriced": _count(and_(a.cost_usd.is_(None), is_ours)),
        "first_tries": _count(is_first),
        "served_elsewhere": _count(and_(is_first, r.is_fallback, r.used_provider != a.provider)),
        "rescued": _count(is_served),
        **tokens,
        "cost_usd": _sum(a.cost_usd, is_ours),
        **{f"cost_{group}_usd": _sum(part, is_known) for group, part in parts.items()},
        "cost_other_usd": _sum(a.cost_usd - _plus(list(parts.values())), is_known),
        "requests": _count(and_(a.kind != _SHADOW, before.c.request_id.is_(None))),
        "adjustment_usd": _sum(_adjustment_usd(attempts), is_ours),
        "caller_usd": _sum(a.cost_usd, a.is_paid_by_caller),
    }
    joined = attempts.outerjoin(requests, _belongs(requests, attempts)).outerjoin(before, is_repeat)
    return _grouped(joined, dimensions, measures)


def _fallbacks(requests: FromClause, attempts: FromClause) -> _Select:
    r, a = requests.c, attempts.c
    dimensions: _Columns = {
        "at": _minute(r.received_at),
        "from_provider": a.provider,
        "from_endpoint": a.endpoint,
        "to_provider": func.coalesce(r.used_provider, _NOTHING),
        "to_endpoint": func.coalesce(r.used_endpoint, _NOTHING),
        "reason": a.outcome,
    }
    is_first = a.number == 1
    microseconds = cast(func.round(a.duration_ms * 1000), fallback.minute.c.added_us.type)
    measures: _Columns = {
        "attempts": func.count(),
        "requests": _count(is_first),
        "rescued": _count(and_(is_first, r.outcome == _SUCCESS)),
        "added_us": _sum(microseconds),
        "added_usd": _sum(a.cost_usd, not_(a.is_paid_by_caller)),
        "unpriced": _count(and_(a.cost_usd.is_(None), not_(a.is_paid_by_caller))),
    }
    joined = requests.join(attempts, _belongs(requests, attempts))
    return _grouped(joined, dimensions, measures).where(
        r.is_fallback, a.kind != _SHADOW, a.endpoint != r.used_endpoint
    )


def _latencies(source: Source) -> _Select:
    requests, attempts = source.requests, source.attempts
    r, a = requests.c, attempts.c
    is_served, is_success = r.outcome == _SUCCESS, a.outcome == _SUCCESS
    by_request: _Columns = {"at": r.received_at, **_served_by(requests)}
    by_attempt: _Columns = {
        "at": a.started_at,
        "provider": a.provider,
        "model": a.model,
        "endpoint": a.endpoint,
    }
    completion = _plus(
        [
            func.coalesce(a[meter], _ZERO)
            for group in ("output", "reasoning")
            for meter in TOKEN_GROUPS[group]
        ]
    )
    took_ms = a.duration_ms - func.coalesce(a.ttft_ms, _ZERO)
    first = source.attempts_of_requests.alias("first_attempt")
    serving = source.attempts_of_requests.alias("serving_attempt")
    is_serving = and_(serving.c.outcome == _SUCCESS, serving.c.endpoint == r.used_endpoint)
    from_first_to_serving = requests.join(
        serving, and_(_belongs(requests, serving), is_serving, serving.c.kind != _SHADOW)
    ).join(first, and_(_belongs(requests, first), first.c.number == 1))
    waited = serving.c.started_at - first.c.started_at
    waited_ms = cast(func.extract("epoch", waited), Double) * 1000
    samples = union_all(
        _sample("request", by_request, r.duration_ms).where(is_served),
        _sample("request_ttft", by_request, r.ttft_ms).where(is_served, r.stream),
        _sample("overhead", by_request, r.overhead_ms).where(is_served),
        _sample("added", by_request, waited_ms)
        .select_from(from_first_to_serving)
        .where(is_served, r.is_fallback),
        _sample("attempt", by_attempt, a.duration_ms).where(is_success),
        _sample("attempt_ttft", by_attempt, a.ttft_ms).where(is_success),
        _sample("speed", by_attempt, completion * 1000 / func.nullif(took_ms, _ZERO)).where(
            is_success, completion > 0, took_ms > 0
        ),
    ).subquery()
    s = samples.c
    dimensions: _Columns = {
        "at": _minute(s.at),
        "metric": s.metric,
        "provider": s.provider,
        "model": s.model,
        "endpoint": s.endpoint,
        "bucket": _bucket(s.value),
    }
    return _grouped(samples, dimensions, {"samples": func.count()}).where(s.value.is_not(None))


def _latencies_of_keys(requests: FromClause) -> _Select:
    r = requests.c
    is_served = r.outcome == _SUCCESS
    by: _Columns = {"at": r.received_at, "key_id": r.key_id, **_served_by(requests)}
    total, ttft = KEY_METRICS
    samples = union_all(
        _sample(total, by, r.duration_ms).where(is_served),
        _sample(ttft, by, r.ttft_ms).where(is_served, r.stream),
    ).subquery()
    s = samples.c
    dimensions: _Columns = {
        "metric": s.metric,
        "at": func.date_bin(_HOUR, s.at, _ORIGIN),
        "key_id": s.key_id,
        "provider": s.provider,
        "model": s.model,
        "bucket": _bucket(s.value),
    }
    return _grouped(samples, dimensions, {"samples": func.count()}).where(s.value.is_not(None))


def _sample(metric: str, columns: _Columns, value: ColumnElement[Any]) -> _Select:
    # Text by its type: within a UNION, a bare parameter would not have one.
    name: ColumnElement[str] = literal_column(f"'{metric}'::text", Text())
    named = (column.label(key) for key, column in columns.items())
    return select(name.label("metric"), *named, cast(value, Double).label("value"))


def _bucket(value: ColumnElement[Any]) -> ColumnElement[Any]:
    least = _number("1e-9::float8")
    exact = func.floor(func.ln(func.greatest(value, least)) / func.ln(_number(f"{GROWTH}::float8")))
    bounded = func.greatest(
        _number(str(LOWEST_BUCKET)),
        func.least(_number(str(HIGHEST_BUCKET)), exact),
    )
    return cast(bounded, SmallInteger)


def _served_by(requests: FromClause) -> _Columns:
    r = requests.c
    return {
        "provider": func.coalesce(r.used_provider, _NOTHING),
        "model": func.coalesce(r.used_model, _NOTHING),
        "endpoint": func.coalesce(r.used_endpoint, _NOTHING),
    }


def _belongs(requests: FromClause, attempts: FromClause) -> ColumnElement[bool]:
    return and_(attempts.c.request_id == requests.c.id, attempts.c.day == requests.c.day)


def _grouped(source: FromClause, dimensions: _Columns, measures: _Columns) -> _Select:
    columns = (column.label(name) for name, column in (dimensions | measures).items())
    places = (_number(str(place)) for place in range(1, len(dimensions) + 1))
    return select(*columns).select_from(source).group_by(*places)


def _minute(at: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.date_bin(_MINUTE, at, _ORIGIN)


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.count(case((condition, _ZERO)))


def _sum(
    quantity: ColumnElement[Any], where: ColumnElement[bool] | None = None
) -> ColumnElement[Any]:
    total = func.sum(quantity)
    return func.coalesce(total if where is None else total.filter(where), _ZERO)


def _adjustment_usd(rows: FromClause) -> ColumnElement[Any]:
    """What arrives was never corrected."""
    return rows.c.adjustment_usd if "adjustment_usd" in rows.c else _ZERO


def _number(sql: str) -> ColumnElement[Any]:
    return literal_column(sql, Double())


def _plus(terms: list[ColumnElement[Any]]) -> ColumnElement[Any]:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _as(total: ColumnElement[Any], roll_up: RollUp, name: str) -> ColumnElement[Any]:
    return cast(total, roll_up.quarter.c[name].type).label(name)
