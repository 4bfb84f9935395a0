"""How a day of made-up requests is drawn inside PostgreSQL: two statements for a day's rows.

Forty endpoints of ten providers, sixty keys of which a few send most, and labels that change every
few weeks, so that there are two hundred sets of them. Costs follow from tokens and prices exactly.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid5

from sqlalchemy import Table

from gateway.storage.rows import ATTEMPT_COPY_COLUMNS, REQUEST_COPY_COLUMNS
from gateway.storage.tables import COST_COLUMNS, attempt_record, cost_column, request_record
from pricing.usage import METERS

DAYS = 90
KEYS, PROVIDERS, MODELS = 60, 10, 14
OFFERS_OF_KEY = 8
SETS_OF_KEY = 4
_NAMESPACE = UUID("6f1f3a0e-5f9c-4d8e-9c2d-2b7f9f1f2a11")
_FAILURES = ("overloaded", "rate_limited", "first_token_timeout")
_QUIET_END_S = 60
"""Nothing begins in the last minute of a day, so that no attempt begins on the next one."""

WORLD = """
CREATE SCHEMA made_up;
CREATE UNLOGGED TABLE made_up.offer (
    number int PRIMARY KEY, provider text, model text, endpoint text, provider_model text,
    usd_in numeric, usd_cached numeric, usd_out numeric, is_priced boolean, median_ms float8,
    failing float8, price_version text, plan jsonb
);
CREATE UNLOGGED TABLE made_up.habit (
    number int PRIMARY KEY, key_id uuid, offers int[], labels jsonb[], turns_after int
);
"""


def offers() -> list[tuple[object, ...]]:
    """Rows of ``made_up.offer``: forty, each model at several providers."""
    rows: list[tuple[object, ...]] = []
    pairs = [
        (provider, model)
        for model in range(MODELS)
        for provider in range(PROVIDERS)
        if (provider + model) % 7 < 2
    ]
    for number, (provider, model) in enumerate(pairs[:40], start=1):
        name, slug = f"provider-{provider:02}", f"author-{model % 5}/model-{model:02}"
        usd_in = Decimal(5 + (number * 7) % 40) / 20
        rows.append(
            (
                number,
                name,
                slug,
                f"{name}/model-{model:02}",
                f"model-{model:02}",
                usd_in,
                usd_in / 10,
                usd_in * 4,
                number != 40,
                400 + 90.0 * (number % 23),
                0.006 + 0.05 * (number % 9 == 0),
                f"{name}/model-{model:02}@2026-08-01",
                _plan(name, slug),
            )
        )
    return rows


def habits(count: int) -> list[tuple[object, ...]]:
    """Rows of ``made_up.habit``: what each key asks for, and its labels over time."""
    return [
        (
            number,
            key_id(number),
            [1 + (number * 5 + 3 * place) % count for place in range(OFFERS_OF_KEY)],
            [
                json.dumps(
                    {
                        "team": f"team-{number % 6}",
                        "project": f"project-{number:02}",
                        "env": "prod" if number % 3 else "dev",
                        "cost-centre": f"cc-{100 + (number + turn * 17) % 61}",
                    }
                )
                for turn in range(SETS_OF_KEY)
            ],
            number % 26,
        )
        for number in range(1, KEYS + 1)
    ]


def key_id(number: int) -> UUID:
    """Of a key by its place, from 1."""
    return uuid5(_NAMESPACE, f"key {number}")


def hours(day: datetime, until: datetime, count: int) -> list[tuple[datetime, float, int]]:
    """Starts, seconds and requests of a day's hours, more by day than by night.

    Args:
        day: midnight, UTC.
        until: nothing is later.
        count: of the whole day; of a day that is not over, so many fewer.
    """
    weights = [1 + 0.8 * math.sin((hour - 8) / 24 * 2 * math.pi) for hour in range(24)]
    found: list[tuple[datetime, float, int]] = []
    for hour, weight in enumerate(weights):
        start = day + timedelta(hours=hour)
        whole_s = 3600.0 - (_QUIET_END_S if hour == 23 else 0)
        seconds = min(whole_s, (until - start).total_seconds())
        requests = round(count * weight / sum(weights) * seconds / whole_s)
        if seconds > 0 and requests > 0:
            found.append((start, seconds, requests))
    return found


def draw(found: list[tuple[datetime, float, int]], seed: float) -> list[str]:
    """Statements that make the temporary table ``drawn``, a row for each request."""
    hour_rows = ", ".join(
        f"(timestamptz '{start.astimezone(UTC).isoformat()}', {seconds}, {count})"
        for start, seconds, count in found
    )
    gauss = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"
    return [
        f"SELECT setseed({seed})",
        f"""
        CREATE TEMPORARY TABLE drawn ON COMMIT DROP AS
        WITH thrown AS (
            SELECT start + make_interval(secs => (nth - random()) * seconds / requests) AS at,
                   1 + floor({KEYS} * power(random(), 2))::int AS habit,
                   floor({OFFERS_OF_KEY} * power(random(), 1.6))::int AS place,
                   1 + floor({OFFERS_OF_KEY - 1} * random())::int AS step,
                   random() AS luck, random() AS second_luck, random() AS fate,
                   random() < 0.6 AS stream, md5(random()::text) AS noise,
                   floor(1 + random() * 3)::int AS failure,
                   (200 + 6000 * power(random(), 2))::bigint AS input_tokens,
                   (CASE WHEN random() < 0.3 THEN 2048 ELSE 0 END)::bigint AS cache_read_tokens,
                   (30 + 1500 * power(random(), 2))::bigint AS output_tokens,
                   exp(0.45 * {gauss}) AS slow, exp(0.45 * {gauss}) AS second_slow,
                   0.2 + 0.2 * random() AS ttft, 0.8 + 1.5 * random() AS overhead_ms,
                   floor(random() * 5000)::int AS person
            FROM (VALUES {hour_rows}) AS hour (start, seconds, requests),
                 LATERAL generate_series(1, requests) AS nth
        )
        SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0')
                || '7' || substr(noise, 1, 3) || '8' || substr(noise, 4, 15))::uuid AS id,
               (at AT TIME ZONE 'UTC')::date AS day, thrown.*, h.key_id,
               h.labels[1 + ((at::date - date '2026-01-01' + h.turns_after) / 26) % {SETS_OF_KEY}]
                   AS labels,
               h.offers[1 + place] AS first,
               h.offers[1 + (place + step) % {OFFERS_OF_KEY}] AS second,
               fate < 0.004 AS is_refused,
               fate >= 0.004 AND luck < a.failing AS has_failed,
               luck < a.failing AND second_luck < 0.08 AS has_failed_twice,
               overhead_ms + CASE WHEN luck < a.failing THEN a.median_ms * slow ELSE 0 END
                   AS before_ms,
               a.median_ms * slow AS first_ms
        FROM thrown
        JOIN made_up.habit h ON h.number = thrown.habit
        JOIN made_up.offer a ON a.number = h.offers[1 + place]
        """,
        "ANALYZE drawn",
    ]


def attempts(table: str) -> str:
    """Fill a day's partition of `attempt_record` from ``drawn``."""
    is_served = "NOT d.has_failed OR (t.number = 2 AND NOT d.has_failed_twice)"
    took = "CASE WHEN t.number = 1 THEN d.first_ms ELSE o.median_ms * d.second_slow END"
    status = "CASE WHEN {} THEN 200 ELSE (ARRAY[529, 429, 0])[d.failure] END"
    lines = {
        "input_tokens": "d.input_tokens * o.usd_in / 1000000",
        "cache_read_tokens": "d.cache_read_tokens * o.usd_cached / 1000000",
        "output_tokens": "d.output_tokens * o.usd_out / 1000000",
    }
    metered = {"input_tokens", "cache_read_tokens", "output_tokens"}
    values = {
        "request_id": "d.id",
        "day": "d.day",
        "number": "t.number",
        "started_at": "d.at + make_interval(secs => (CASE WHEN t.number = 1 "
        "THEN d.overhead_ms ELSE d.before_ms END) / 1000)",
        "key_id": "d.key_id",
        "labels": "d.labels",
        "kind": "CASE WHEN t.number = 1 THEN 'primary' ELSE 'fallback' END",
        "provider": "o.provider",
        "model": "o.model",
        "endpoint": "o.endpoint",
        "provider_model": "o.provider_model",
        "outcome": "CASE WHEN s.is_served THEN 'success' "
        f"ELSE (ARRAY{list(_FAILURES)})[d.failure] END",
        "status_code": status.format("s.is_served"),
        "error_code": "CASE WHEN s.is_served THEN NULL ELSE 'overloaded_error' END",
        "error_message": "CASE WHEN s.is_served THEN NULL "
        "ELSE 'The service is overloaded, try again later.' END",
        "upstream_id": "'resp-' || substr(d.noise, 1, 20)",
        "ttft_ms": f"CASE WHEN s.is_served AND d.stream THEN ({took}) * d.ttft END",
        "duration_ms": took,
        "retry_after_ms": "NULL",
        "finish_reason": "CASE WHEN s.is_served THEN 'stop' END",
        "native_finish_reason": "CASE WHEN s.is_served THEN 'stop' END",
        "service_tier": "NULL",
        "usage_source": "CASE WHEN s.is_served THEN 'reported' END",
        **{
            meter: f"CASE WHEN s.is_served THEN {f'd.{meter}' if meter in metered else '0'} END"
            for meter in METERS
        },
        "requests": "CASE WHEN s.is_served THEN 1 END",
        "cost_usd": "CASE WHEN NOT s.is_served THEN 0 "
        f"WHEN o.is_priced THEN {' + '.join(lines.values())} END",
        "cost_status": "CASE WHEN o.is_priced OR NOT s.is_served THEN 'exact' ELSE 'unpriced' END",
        "cost_source": "'computed'",
        "price_version": "CASE WHEN o.is_priced AND s.is_served THEN o.price_version END",
        "computed_cost_usd": "CASE WHEN NOT s.is_served THEN 0 "
        f"WHEN o.is_priced THEN {' + '.join(lines.values())} END",
        **dict.fromkeys(COST_COLUMNS, "NULL"),
        **{
            cost_column(meter): f"CASE WHEN s.is_served AND o.is_priced THEN {line} END"
            for meter, line in lines.items()
        },
    }
    columns = [name for name in ATTEMPT_COPY_COLUMNS if name in values]
    _require(attempt_record, columns)
    return f"""
        INSERT INTO {table} ({", ".join(columns)})
        SELECT {", ".join(values[name] for name in columns)}
        FROM drawn d
        CROSS JOIN generate_series(1, 2) AS t (number)
        JOIN made_up.offer o ON o.number = CASE WHEN t.number = 1 THEN d.first ELSE d.second END
        CROSS JOIN LATERAL (SELECT {is_served} AS is_served) s
        WHERE NOT d.is_refused AND (t.number = 1 OR d.has_failed)
    """


def requests(table: str, attempt_table: str) -> str:
    """Fill a day's partition of `request_record` from ``drawn`` and the day's attempts."""
    is_served = "(w.outcome = 'success')"
    values = {
        "id": "d.id",
        "day": "d.day",
        "received_at": "d.at",
        "key_id": "d.key_id",
        "labels": "d.labels",
        "dialect": "'openai'",
        "stream": "d.stream",
        "requested_model": "f.model",
        "requested_provider": "NULL",
        "used_model": f"CASE WHEN {is_served} THEN w.model END",
        "used_provider": f"CASE WHEN {is_served} THEN w.provider END",
        "used_endpoint": f"CASE WHEN {is_served} THEN w.endpoint END",
        "underlying_used_model": f"CASE WHEN {is_served} THEN w.provider_model END",
        "status_code": f"CASE WHEN {is_served} THEN 200 WHEN d.is_refused THEN 404 ELSE 502 END",
        "outcome": "CASE WHEN d.is_refused THEN 'refused' ELSE w.outcome END",
        "error_kind": f"CASE WHEN {is_served} THEN NULL WHEN d.is_refused THEN 'no_endpoint' "
        "ELSE 'provider_error' END",
        "is_fallback": f"coalesce({is_served} AND d.has_failed, false)",
        "ttft_ms": "d.before_ms + w.ttft_ms",
        "duration_ms": "CASE WHEN d.is_refused THEN 0.7 ELSE d.before_ms + w.duration_ms END",
        "overhead_ms": "d.overhead_ms",
        "finish_reason": "w.finish_reason",
        "end_user": "'user-' || d.person",
        "session_id": "CASE WHEN d.person < 1500 THEN 'session-' || substr(d.noise, 1, 8) END",
        "warnings": "'{}'",
        "attempts_count": "CASE WHEN d.is_refused THEN 0 WHEN d.has_failed THEN 2 ELSE 1 END",
        "prompt_tokens": f"CASE WHEN {is_served} THEN d.input_tokens + d.cache_read_tokens END",
        "completion_tokens": f"CASE WHEN {is_served} THEN d.output_tokens END",
        "cached_tokens": f"CASE WHEN {is_served} THEN d.cache_read_tokens END",
        "reasoning_tokens": f"CASE WHEN {is_served} THEN 0 END",
        "cost_usd": "CASE WHEN d.is_refused THEN 0 ELSE w.cost_usd END",
        "cost_status": "coalesce(w.cost_status, 'exact')",
        "rule_version": "'rules-' || (1 + (d.day - date '2026-01-01') / 20)",
        "catalogue_version": "'2026-11-01'",
        "code_version": "'0.1.0'",
        "plan": "CASE WHEN d.is_refused THEN '{}' ELSE f.plan END",
        "tags": "'{}'",
        "baseline_cost_usd": f"CASE WHEN {is_served} THEN w.cost_usd * 1.25 END",
    }
    columns = [name for name in REQUEST_COPY_COLUMNS if name in values]
    _require(request_record, columns)
    return f"""
        INSERT INTO {table} ({", ".join(columns)})
        SELECT {", ".join(values[name] for name in columns)}
        FROM drawn d
        JOIN made_up.offer f ON f.number = d.first
        LEFT JOIN {attempt_table} w
            ON w.request_id = d.id AND w.number = CASE WHEN d.has_failed THEN 2 ELSE 1 END
        ORDER BY d.id
    """


def _require(table: Table, columns: list[str]) -> None:
    missing = [
        column.name
        for column in table.columns
        if not column.nullable and column.server_default is None and column.name not in columns
    ]
    if missing:
        raise RuntimeError(f"nothing is drawn for {', '.join(missing)}")


def _plan(provider: str, model: str) -> str:
    slug = model.partition("/")[2]
    candidates = [
        {
            "endpoint": f"provider-{place:02}/{slug}",
            "model": model,
            "partition": 0,
            "cost_usd": f"0.00{place + 1}2",
            "p": round(0.5 / (place + 1), 3),
        }
        for place in range(3)
    ]
    excluded = [
        {"endpoint": f"provider-{place:02}/{slug}", "reason": "max_price", "detail": "$9 > $6"}
        for place in range(3, 5)
    ]
    return json.dumps(
        {
            "mode": "weighted",
            "seed": 1,
            "candidates": [{"endpoint": f"{provider}/{slug}", "p": 0.6}, *candidates],
            "excluded_by": {"max_price": 2},
            "excluded": excluded,
        }
    )
