"""What charts say equals the rows themselves, to the last decimal, for whatever is filtered."""

import asyncio
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard import effects, exports, histograms, queries, sums
from dashboard.narrowing import Narrowing
from dashboard.periods import Period, make_period
from gateway.domain.outcomes import Outcome
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.rollup_upkeep import sum_quarters
from gateway.storage.waiting import run_bounded
from tests.dashboard.conftest import END, FALLBACK, RECORDS
from tests.properties import many
from tests.storage.samples import engine_of

ALL = (*RECORDS, FALLBACK)
PROVIDERS = ("openai", "anthropic", "google", "groq", "amazon-bedrock", "nobody")
MODELS = ("openai/gpt-4o-mini", "anthropic/claude-sonnet-4.5", "google/gemini-2.5-flash")
LABELS = ("team=one", "team=two", "team")

narrowings = st.builds(
    Narrowing,
    providers=st.lists(st.sampled_from(PROVIDERS), max_size=3, unique=True).map(tuple),
    models=st.lists(st.sampled_from(MODELS), max_size=2, unique=True).map(tuple),
    keys=st.lists(st.sampled_from(("team one", "nobody")), max_size=2, unique=True).map(tuple),
    labels=st.lists(st.sampled_from(LABELS), max_size=2, unique=True).map(tuple),
    rules=st.just(()),
    outcomes=st.just(()),
)
zones = st.sampled_from(
    ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
)


@st.composite
def periods(draw: st.DrawFn) -> Period:
    zone = draw(zones)
    now = END + timedelta(seconds=1)
    choice = draw(st.sampled_from(("1h", "24h", "7d", "30d", "90d", "custom")))
    start = None
    if choice == "custom":
        wall = (END - timedelta(hours=draw(st.integers(1, 170)))).replace(tzinfo=None)
        start = wall
    return make_period(choice, now=now, zone=zone, start=start)


@pytest.fixture(scope="module")
def summed_url(postgres_dsn: Callable[..., str], filled_url: str) -> str:
    """Quarters, hours and days are summed, but for those of the last day."""
    url = postgres_dsn(template=filled_url)
    asyncio.run(_sum_up(url, END - timedelta(hours=30)))
    return url


async def _sum_up(url: str, until: datetime) -> None:
    engine = engine_of(url)
    while await run_bounded(engine, lambda one: sum_quarters(one, until), seconds=60):
        pass
    await engine.dispose()


@pytest.mark.parametrize("database", ["filled_url", "summed_url"])
@given(period=periods(), only=narrowings)
@settings(max_examples=many(20), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_equal_the_rows_for_any_filter(
    request: pytest.FixtureRequest,
    shown: Callable[[str], None],
    database: str,
    period: Period,
    only: Narrowing,
) -> None:
    shown(request.getfixturevalue(database))
    records = [one for one in ALL if _is_within(one, period, only)]
    attempts = [
        attempt
        for one in ALL
        if _is_callers(one, only)
        for attempt in one.attempts
        if period.start <= attempt.started_at < period.end and _is_chosen(attempt, only)
    ]

    traffic = queries.total_traffic(sums.read_traffic(period, only))
    providers = sums.read_providers(period, only)
    money = queries.total_spend(providers)
    by_model = sums.read_attempts_by("model", period, only)
    by_label = sums.read_attempts_by("label:team", period, only)

    known = [one.cost.total_usd for one in attempts if one.cost.total_usd is not None]
    assert traffic.requests == len(records)
    assert traffic.fell_back == sum(one.is_fallback for one in records)
    assert traffic.succeeded == sum(one.outcome is Outcome.SUCCESS for one in records)
    assert (money.known_usd or 0) == sum(known, Decimal(0))
    assert money.unpriced == len(attempts) - len(known)
    for frame in (by_model, by_label):
        assert queries.total_usd(frame, "cost_usd") == sum(known, Decimal(0))
        assert int(frame["attempts"].sum()) == len(attempts)


@pytest.mark.parametrize("database", ["filled_url", "summed_url"])
def test_percentiles_are_within_two_percent(
    request: pytest.FixtureRequest, shown: Callable[[str], None], database: str
) -> None:
    shown(request.getfixturevalue(database))
    period = make_period("30d", now=END + timedelta(seconds=1), zone="UTC")

    histogram = histograms.read_histogram(period, ("attempt",), by=("provider",))
    found = queries.percentiles(histogram, ["provider"], {"p50": 0.5, "p90": 0.9, "p99": 0.99})

    assert found.height == len(PROVIDERS) - 1
    for row in found.iter_rows(named=True):
        exact = sorted(
            attempt.duration_ms
            for one in ALL
            for attempt in one.attempts
            if attempt.provider == row["provider"] and attempt.outcome is Outcome.SUCCESS
        )
        assert row["samples"] == len(exact)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            assert row[name] == pytest.approx(exact[math.ceil(share * len(exact)) - 1], rel=0.02)


def test_effects_add_up_to_the_change_exactly(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    period = make_period(
        "custom", now=END, zone="UTC", start=(END - timedelta(days=3)).replace(tzinfo=None)
    )
    by = effects.DIMENSIONS
    now, before = (sums.read_attempt_totals(by, of) for of in (period, period.before))

    change = effects.explain(now.iter_rows(named=True), before.iter_rows(named=True))

    assert change is not None
    assert set(change.effects) == set(effects.EFFECTS)
    assert change.before_usd + sum(change.effects.values()) == change.now_usd
    assert change.now_usd <= queries.total_usd(now, "cost_usd")


def test_a_doubled_price_is_price_and_twice_the_attempts_are_volume() -> None:
    before = [_sums(attempts=10, tokens=1_000, cost="1")]

    dearer = effects.explain([_sums(attempts=10, tokens=1_000, cost="2")], before)
    busier = effects.explain([_sums(attempts=20, tokens=2_000, cost="2")], before)
    longer = effects.explain([_sums(attempts=10, tokens=2_000, cost="2")], before)

    for change, name in ((dearer, "price"), (busier, "volume"), (longer, "size")):
        assert change is not None
        assert {key for key, effect in change.effects.items() if effect} == {name}
        assert change.effects[name] == Decimal(1)


def test_waste_is_told_as_it_was_billed_however_the_others_are_rounded() -> None:
    wasted = {**_sums(attempts=1, tokens=9, cost="5.000000000001"), "outcome": "fault"}
    before = [_sums(attempts=7, tokens=11, cost="0.01")]

    changes = [
        effects.explain([_sums(attempts=3, tokens=tokens, cost="0.01"), wasted], before)
        for tokens in range(1, 20)
    ]

    for change in changes:
        assert change is not None
        assert change.effects["waste"] == Decimal("5.000000000001")
        assert change.before_usd + sum(change.effects.values()) == change.now_usd


def test_exports_hold_no_formulas() -> None:
    frame = pl.DataFrame({"name": ["=1+1", "@x", "plain"], "cost_usd": [1, 2, 3]})

    assert exports.as_csv(frame).decode().splitlines()[1:] == ["'=1+1,1", "'@x,2", "plain,3"]
    assert exports.as_parquet(frame)[:4] == b"PAR1"


def _is_within(record: RequestRecord, period: Period, only: Narrowing) -> bool:
    return (
        period.start <= record.received_at < period.end
        and _is_callers(record, only)
        and (not only.providers or record.used_provider in only.providers)
        and (not only.models or record.used_model in only.models)
    )


def _is_callers(record: RequestRecord, only: Narrowing) -> bool:
    return (not only.keys or "team one" in only.keys) and all(
        record.labels.get(name) in values for name, values in only.labels_by_name.items()
    )


def _is_chosen(attempt: AttemptRecord, only: Narrowing) -> bool:
    return (not only.providers or attempt.provider in only.providers) and (
        not only.models or attempt.model in only.models
    )


def _sums(*, attempts: int, tokens: int, cost: str) -> dict[str, object]:
    groups = ("input", "cache_read", "cache_write", "output", "reasoning")
    return {
        "endpoint": "openai/gpt-4o",
        "key": "team one",
        "outcome": "success",
        "attempts": attempts,
        "unpriced": 0,
        "cost_usd": Decimal(cost),
        **{f"{group}_tokens": 0 for group in groups},
        **{f"cost_{group}_usd": Decimal(0) for group in groups},
        "input_tokens": tokens,
        "cost_input_usd": Decimal(cost),
        "cost_other_usd": Decimal(0),
    }
