"""From records to histograms of latency, the same for a batch that arrives and for a rebuild."""

from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Select,
    SmallInteger,
    Table,
    Text,
    and_,
    cast,
    func,
    literal_column,
    select,
    union_all,
)

from gateway.domain.histograms import GROWTH
from gateway.storage.histograms import keys_of, packed
from gateway.storage.rollup_source import (
    HOUR,
    ORIGIN,
    SHADOW,
    SUCCESS,
    ZERO,
    Columns,
    Source,
    belongs,
    grouped,
    minute_of,
    number,
    plus,
    served_by,
)
from gateway.storage.rollup_tables import (
    HIGHEST_BUCKET,
    KEY_METRICS,
    LOWEST_BUCKET,
    TOKEN_GROUPS,
    latency,
    latency_key_hour,
)

_Select: TypeAlias = Select[*tuple[Any, ...]]


def histograms(source: Source) -> list[tuple[Table, Select[*tuple[Any, ...]]]]:
    """The tables of histograms, and what requests and attempts come to there, in rows for them."""
    counts = {
        latency.minute: _latencies(source),
        latency_key_hour: _latencies_of_keys(source.requests),
    }
    return [
        (table, packed(counted.subquery(), keys_of(table))) for table, counted in counts.items()
    ]


def _latencies(source: Source) -> _Select:
    requests, attempts = source.requests, source.attempts
    r, a = requests.c, attempts.c
    is_served, is_success = r.outcome == SUCCESS, a.outcome == SUCCESS
    by_request: Columns = {"at": r.received_at, **served_by(requests)}
    by_attempt: Columns = {
        "at": a.started_at,
        "provider": a.provider,
        "model": a.model,
        "endpoint": a.endpoint,
    }
    completion = plus(
        [
            func.coalesce(a[meter], ZERO)
            for group in ("output", "reasoning")
            for meter in TOKEN_GROUPS[group]
        ]
    )
    took_ms = a.duration_ms - func.coalesce(a.ttft_ms, ZERO)
    first = source.attempts_of_requests.alias("first_attempt")
    serving = source.attempts_of_requests.alias("serving_attempt")
    is_serving = and_(serving.c.outcome == SUCCESS, serving.c.endpoint == r.used_endpoint)
    from_first_to_serving = requests.join(
        serving, and_(belongs(requests, serving), is_serving, serving.c.kind != SHADOW)
    ).join(first, and_(belongs(requests, first), first.c.number == 1))
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
        _sample("speed", by_attempt, completion * 1000 / func.nullif(took_ms, ZERO)).where(
            is_success, completion > 0, took_ms > 0
        ),
    ).subquery()
    s = samples.c
    dimensions: Columns = {
        "at": minute_of(s.at),
        "metric": s.metric,
        "provider": s.provider,
        "model": s.model,
        "endpoint": s.endpoint,
        "bucket": _bucket(s.value),
    }
    return grouped(samples, dimensions, {"samples": func.count()}).where(s.value.is_not(None))


def _latencies_of_keys(requests: FromClause) -> _Select:
    r = requests.c
    is_served = r.outcome == SUCCESS
    by: Columns = {"at": r.received_at, "key_id": r.key_id, **served_by(requests)}
    total, ttft = KEY_METRICS
    samples = union_all(
        _sample(total, by, r.duration_ms).where(is_served),
        _sample(ttft, by, r.ttft_ms).where(is_served, r.stream),
    ).subquery()
    s = samples.c
    dimensions: Columns = {
        "metric": s.metric,
        "at": func.date_bin(HOUR, s.at, ORIGIN),
        "key_id": s.key_id,
        "provider": s.provider,
        "model": s.model,
        "bucket": _bucket(s.value),
    }
    return grouped(samples, dimensions, {"samples": func.count()}).where(s.value.is_not(None))


def _sample(metric: str, columns: Columns, value: ColumnElement[Any]) -> _Select:
    # Text by its type: within a UNION, a bare parameter would not have one.
    name: ColumnElement[str] = literal_column(f"'{metric}'::text", Text())
    named = (column.label(key) for key, column in columns.items())
    return select(name.label("metric"), *named, cast(value, Double).label("value"))


def _bucket(value: ColumnElement[Any]) -> ColumnElement[Any]:
    least = number("1e-9::float8")
    exact = func.floor(func.ln(func.greatest(value, least)) / func.ln(number(f"{GROWTH}::float8")))
    bounded = func.greatest(
        number(str(LOWEST_BUCKET)),
        func.least(number(str(HIGHEST_BUCKET)), exact),
    )
    return cast(bounded, SmallInteger)
