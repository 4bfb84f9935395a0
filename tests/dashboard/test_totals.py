"""Every number of Overview and Spend equals SQL over the rows themselves, for whatever is filtered.

The statements here know nothing of roll-ups: they read requests, attempts and corrections.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard import effects, numbers, queries, sums
from dashboard.narrowing import Narrowing
from dashboard.periods import MONTH, Period, make_period
from dashboard.views import overview_cards, spend, spend_month
from tests.dashboard import rich
from tests.dashboard.conftest import END
from tests.properties import many

PROVIDERS = ("openai", "anthropic", "google", "groq", "amazon-bedrock", "nobody")
MODELS = ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash")
LABELS = ("team=one", "team=two", "env=prod", "team")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
DIMENSIONS = (
    ("provider",),
    ("model",),
    ("key",),
    ("label:team",),
    ("provider", "model"),
    ("key", "model"),
    ("label:team", "model"),
    ("provider", "outcome"),
    ("key", "provider"),
    effects.DIMENSIONS,
)

FILTERS = """
    (cardinality(cast(:providers AS text[])) = 0 OR {provider} = ANY(:providers))
    AND (cardinality(cast(:models AS text[])) = 0 OR {model} = ANY(:models))
    AND (cardinality(cast(:keys AS text[])) = 0 OR k.name = ANY(:keys))
    AND (cardinality(cast(:teams AS text[])) = 0 OR t.labels ->> 'team' = ANY(:teams))
    AND (cardinality(cast(:envs AS text[])) = 0 OR t.labels ->> 'env' = ANY(:envs))
"""
ATTEMPTS = f"""
    WITH made AS (
        SELECT request_id, day, number, sum(difference_usd) AS usd,
               (array_agg(lines ORDER BY id DESC))[1] AS lines
        FROM cost_adjustment GROUP BY request_id, day, number
    ), counted AS (
        SELECT t.*, k.name AS key, coalesce(t.labels ->> 'team', '') AS "label:team",
               r.is_fallback, r.used_provider, r.outcome AS became,
               CASE WHEN made.usd IS NULL THEN t.cost_usd
                    ELSE coalesce(t.cost_usd, 0) + made.usd END AS usd,
               CASE WHEN made.lines IS NULL THEN t.cost_input_usd
                    ELSE (made.lines ->> 'input_tokens')::numeric END AS input_usd,
               CASE WHEN made.lines IS NULL THEN t.cost_cache_read_usd
                    ELSE (made.lines ->> 'cache_read_tokens')::numeric END AS cache_read_usd,
               CASE WHEN made.lines IS NULL THEN t.cost_output_usd
                    ELSE (made.lines ->> 'output_tokens')::numeric END AS output_usd
        FROM attempt_record t
        JOIN api_key k ON k.id = t.key_id
        JOIN request_record r ON r.id = t.request_id AND r.day = t.day
        LEFT JOIN made ON (made.request_id, made.day, made.number)
                        = (t.request_id, t.day, t.number)
        WHERE t.started_at >= :start AND t.started_at < :end
          AND {FILTERS.format(provider="t.provider", model="t.model")}
    ), ours AS (
        SELECT *, NOT is_paid_by_caller AS is_ours,
               NOT is_paid_by_caller AND usd IS NOT NULL AS is_known,
               coalesce(input_usd, 0) AS in_usd, coalesce(cache_read_usd, 0) AS read_usd,
               coalesce(output_usd, 0) AS out_usd
        FROM counted
    )
    SELECT {{by}} count(*) AS attempts,
        count(*) FILTER (WHERE is_ours AND (usage_source IS NOT NULL OR usd IS NULL)) AS billable,
        count(*) FILTER (WHERE is_ours AND usd IS NULL) AS unpriced,
        count(*) FILTER (WHERE number = 1) AS first_tried,
        count(*) FILTER (WHERE number = 1 AND is_fallback AND used_provider <> provider)
            AS served_elsewhere,
        count(*) FILTER (WHERE became = 'success' AND kind <> 'shadow' AND outcome <> 'success')
            AS rescued,
        count(*) FILTER (WHERE kind <> 'shadow' AND outcome NOT IN
            ('client_cancelled', 'gateway_shutdown', 'superseded')) AS judged,
        count(*) FILTER (WHERE kind <> 'shadow' AND outcome = 'success') AS succeeded,
        coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
        coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
        coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
        coalesce(sum(usd) FILTER (WHERE is_ours), 0) AS cost_usd,
        coalesce(sum(usd) FILTER (WHERE is_ours AND outcome <> 'success'), 0) AS wasted_usd,
        coalesce(sum(in_usd) FILTER (WHERE is_known), 0) AS cost_input_usd,
        coalesce(sum(read_usd) FILTER (WHERE is_known), 0) AS cost_cache_read_usd,
        coalesce(sum(out_usd) FILTER (WHERE is_known), 0) AS cost_output_usd,
        coalesce(sum(usd - in_usd - read_usd - out_usd) FILTER (WHERE is_known), 0)
            AS cost_other_usd
    FROM ours {{group}}
"""
REQUESTS = f"""
    WITH made AS (
        SELECT request_id, day, sum(request_difference_usd) AS usd
        FROM cost_adjustment GROUP BY request_id, day
    ), counted AS (
        SELECT t.*, CASE WHEN made.usd IS NULL THEN t.cost_usd
                         ELSE coalesce(t.cost_usd, 0) + made.usd END AS usd
        FROM request_record t
        JOIN api_key k ON k.id = t.key_id
        LEFT JOIN made ON (made.request_id, made.day) = (t.id, t.day)
        WHERE t.received_at >= :start AND t.received_at < :end
          AND {FILTERS.format(provider="t.used_provider", model="t.used_model")}
          AND (cardinality(cast(:rules AS text[])) = 0 OR t.rule_version = ANY(:rules))
          AND (cardinality(cast(:outcomes AS text[])) = 0 OR CASE
                WHEN t.outcome = 'success' AND t.is_fallback THEN 'fallback'
                WHEN t.outcome = 'success' THEN 'served'
                WHEN t.outcome = 'refused' THEN 'refused'
                WHEN t.outcome IN ('client_cancelled', 'gateway_shutdown') THEN 'given up'
                ELSE 'failed' END = ANY(:outcomes))
    ), ours AS (
        SELECT *, NOT is_paid_by_caller AND baseline_cost_usd IS NOT NULL AND usd IS NOT NULL
               AS is_compared
        FROM counted
    )
    SELECT {{by}} count(*) AS requests,
        count(*) FILTER (WHERE attempts_count > 0) AS tried,
        count(*) FILTER (WHERE attempts_count > 0 AND outcome NOT IN
            ('client_cancelled', 'gateway_shutdown')) AS judged,
        count(*) FILTER (WHERE outcome = 'success') AS succeeded,
        count(*) FILTER (WHERE is_fallback) AS fell_back,
        count(*) FILTER (WHERE is_fallback AND outcome = 'success') AS rescued,
        (coalesce(sum(prompt_tokens), 0) + coalesce(sum(completion_tokens), 0))::bigint AS tokens,
        coalesce(sum(prompt_tokens), 0)::bigint AS prompt_tokens,
        coalesce(sum(cached_tokens), 0)::bigint AS cached_tokens,
        count(*) FILTER (WHERE is_paid_by_caller) AS caller_requests,
        count(*) FILTER (WHERE is_compared) AS baselined,
        coalesce(sum(baseline_cost_usd) FILTER (WHERE is_compared), 0) AS baseline_usd,
        coalesce(sum(usd) FILTER (WHERE is_compared), 0) AS baselined_cost_usd
    FROM ours {{group}}
"""

_narrowings: dict[str, Any] = {
    "providers": st.lists(st.sampled_from(PROVIDERS), max_size=3, unique=True).map(tuple),
    "models": st.lists(st.sampled_from(MODELS), max_size=2, unique=True).map(tuple),
    "keys": st.lists(st.sampled_from((*rich.KEYS, "nobody")), max_size=2, unique=True).map(tuple),
    "labels": st.lists(st.sampled_from(LABELS), max_size=2, unique=True).map(tuple),
}
_nothing = st.just(())
of_attempts = st.one_of(
    st.just(Narrowing()),
    st.builds(Narrowing, **_narrowings, rules=_nothing, outcomes=_nothing),
)
of_requests = st.builds(
    Narrowing,
    **_narrowings,
    rules=st.lists(st.sampled_from(("r1", "r2", "r9")), max_size=2, unique=True).map(tuple),
    outcomes=st.lists(st.sampled_from(queries.OUTCOME_WORDS), max_size=3, unique=True).map(tuple),
)
several = settings(
    max_examples=many(12),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def raw(rich_url: str) -> Iterator[rich.Rows]:
    found = rich.Rows(rich_url)
    yield found
    found.close()


@pytest.fixture
def rows(raw: rich.Rows, rich_url: str, shown: Callable[[str], None]) -> rich.Rows:
    """What the rows say of the traffic that is shown."""
    shown(rich_url)
    return raw


@st.composite
def periods(draw: st.DrawFn) -> Period:
    zone = draw(st.sampled_from(ZONES))
    choice = draw(st.sampled_from(("1h", "24h", "7d", "30d", "90d", MONTH, "custom")))
    start = end = None
    if choice == "custom":
        wall = END.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        start = wall - timedelta(minutes=draw(st.integers(60, 60_000)))
        end = start + timedelta(minutes=draw(st.integers(1, 60_000)))
    found = make_period(choice, now=END + timedelta(seconds=1), zone=zone, start=start, end=end)
    return found.before if draw(st.booleans()) else found


@given(period=periods(), only=of_requests)
@several
def test_sums_of_requests_equal_the_rows(rows: rich.Rows, period: Period, only: Narrowing) -> None:
    found = sums.read_traffic(period, only)

    (expected,) = _rows(rows, REQUESTS, period, only)
    totals = queries.total_traffic(found)
    assert {name: getattr(totals, name) for name in expected} == expected
    assert (totals.saved_usd or 0) == expected["baseline_usd"] - expected["baselined_cost_usd"]
    by_bucket = _rows(rows, REQUESTS, period, only, bucket="received_at")
    _assert_same(found.filter(pl.col("bucket").is_not_null()), by_bucket, ("bucket",))


@given(period=periods(), only=of_attempts, dimensions=st.sampled_from(DIMENSIONS))
@several
def test_sums_of_attempts_equal_the_rows(
    rows: rich.Rows,
    period: Period,
    only: Narrowing,
    dimensions: tuple[str, ...],
) -> None:
    found = sums.read_attempt_totals(dimensions, period, only)

    _assert_same(found, _rows(rows, ATTEMPTS, period, only, by=dimensions), dimensions)


@given(
    period=periods(),
    only=of_attempts,
    dimension=st.sampled_from(("provider", "model", "key", "label:team")),
)
@several
def test_sums_over_time_equal_the_rows(
    rows: rich.Rows,
    period: Period,
    only: Narrowing,
    dimension: str,
) -> None:
    found = sums.read_attempts_by(dimension, period, only)

    expected = _rows(rows, ATTEMPTS, period, only, by=(dimension,), bucket="started_at")
    _assert_same(found, expected, ("bucket", dimension))


@given(period=periods(), only=of_attempts)
@several
def test_the_figures_of_spend_equal_the_rows(
    rows: rich.Rows, period: Period, only: Narrowing
) -> None:
    now = sums.read_attempts_by("provider", period, only)
    traffic = queries.total_traffic(sums.read_traffic(period, only))

    tiles = spend.cards(now, now.clear(), traffic, queries.Traffic())

    (attempts,) = _rows(rows, ATTEMPTS, period, only)
    (requests,) = _rows(rows, REQUESTS, period, only)
    usd: Decimal = attempts["cost_usd"]
    has_cost = attempts["attempts"] > attempts["unpriced"]
    is_complete = not attempts["unpriced"]

    def of(quantity: int, unit: int = 1) -> str:
        found = usd * unit / quantity if has_cost and quantity else None
        return numbers.usd_sum(found, is_complete=is_complete)

    assert [tile.value for tile in tiles] == [
        numbers.usd_sum(usd if has_cost else None, is_complete=is_complete),
        of(requests["requests"]),
        of(attempts["output_tokens"], 1_000),
        numbers.usd(attempts["wasted_usd"]),
    ]


@given(period=periods(), only=of_attempts)
@several
def test_the_figures_of_the_overview_equal_the_rows(
    rows: rich.Rows, period: Period, only: Narrowing
) -> None:
    traffic, providers = sums.read_traffic(period, only), sums.read_providers(period, only)
    starts = queries.bucket_starts(period.origin, period.wall_end, period.bucket)

    tiles = overview_cards.cards(
        overview_cards.Figures(
            traffic=queries.total_traffic(traffic), money=queries.total_spend(providers)
        ),
        overview_cards.NOTHING,
        queries.filled_traffic(traffic, starts),
        queries.spend_by_bucket(providers, starts, PROVIDERS),
    )

    (attempts,) = _rows(rows, ATTEMPTS, period, only)
    (requests,) = _rows(rows, REQUESTS, period, only)
    usd = attempts["cost_usd"] if attempts["attempts"] > attempts["unpriced"] else None
    saved = requests["baseline_usd"] - requests["baselined_cost_usd"]
    assert [tile.value for tile in tiles[:6]] == [
        numbers.usd_sum(usd, is_complete=not attempts["unpriced"]),
        numbers.count(requests["requests"]),
        numbers.count(requests["tokens"]),
        numbers.usd(saved if requests["baselined"] else None),
        numbers.share(queries.ratio(requests["succeeded"], requests["judged"]), decimals=2),
        numbers.share(queries.ratio(requests["fell_back"], requests["tried"]), decimals=2),
    ]
    if requests["baselined"]:
        payable = requests["requests"] - requests["caller_requests"]
        assert f"{numbers.share(requests['baselined'] / payable)} covered" in tiles[3].note
    table = queries.provider_table(providers)
    _assert_same(table, _rows(rows, ATTEMPTS, period, only, by=("provider",)), ("provider",))


@given(period=periods(), only=of_attempts)
@several
def test_effects_explain_the_whole_change_of_what_is_known(
    rows: rich.Rows, period: Period, only: Narrowing
) -> None:
    now, before = (
        sums.read_attempt_totals(effects.DIMENSIONS, of, only) for of in (period, period.before)
    )

    change = effects.explain(now.iter_rows(named=True), before.iter_rows(named=True))

    if change is None:
        return
    (spent,) = _rows(rows, ATTEMPTS, period, only)
    (spent_before,) = _rows(rows, ATTEMPTS, period.before, only)
    assert change.now_usd == spent["cost_usd"]
    assert change.before_usd == spent_before["cost_usd"]
    assert tuple(change.effects) == ("volume", "mix", "size", "cache", "price", "waste")
    assert change.before_usd + sum(change.effects.values()) == change.now_usd
    assert change.effects["waste"] == spent["wasted_usd"] - spent_before["wasted_usd"]


@pytest.mark.parametrize("zone", ZONES)
@given(only=of_attempts)
@settings(several, max_examples=many(4))
def test_what_a_forecast_is_made_of_equals_the_rows(
    rows: rich.Rows, zone: str, only: Narrowing
) -> None:
    month = spend_month.read_month(zone, only)

    period = make_period(MONTH, now=datetime.fromtimestamp(time.time(), UTC), zone=zone)
    long = spend_month.with_look_back(period)
    days = _rows(rows, ATTEMPTS, long, only, bucket="started_at")
    assert month.days == {row["bucket"].date(): row["cost_usd"] for row in days}
    (this_month,) = _rows(rows, ATTEMPTS, period, only)
    if month.forecast is not None:
        assert month.forecast.points[0].usd == this_month["cost_usd"]
    assert month.is_complete == (not this_month["unpriced"])


def _rows(
    rows: rich.Rows,
    statement: str,
    period: Period,
    only: Narrowing,
    *,
    by: Sequence[str] = (),
    bucket: str | None = None,
) -> list[dict[str, Any]]:
    columns = [f'"{name}"' for name in by]
    parameters: dict[str, Any] = {
        "start": period.start,
        "end": period.end,
        "providers": list(only.providers),
        "models": list(only.models),
        "keys": list(only.keys),
        "teams": only.labels_by_name.get("team", []),
        "envs": only.labels_by_name.get("env", []),
    }
    if bucket:
        columns.insert(0, f"date_bin(:width, {bucket} AT TIME ZONE :zone, :origin) AS bucket")
        parameters |= {"width": period.bucket, "zone": period.zone, "origin": period.origin}
    if statement is REQUESTS:
        parameters |= {"rules": list(only.rules), "outcomes": list(only.outcomes)}
    places = ", ".join(str(place + 1) for place in range(len(columns)))
    return rows.read(
        statement.format(
            by="".join(f"{column}, " for column in columns),
            group=f"GROUP BY {places}" if columns else "",
        ),
        **parameters,
    )


def _assert_same(found: pl.DataFrame, expected: list[dict[str, Any]], keys: Sequence[str]) -> None:
    wanted = {tuple(row[key] for key in keys): row for row in expected}
    names = [name for name in found.columns if name in (expected[0] if expected else {})]
    shown = {
        tuple(row[key] for key in keys): {name: row[name] for name in names}
        for row in found.iter_rows(named=True)
    }
    assert shown == {key: {name: row[name] for name in names} for key, row in wanted.items()}
