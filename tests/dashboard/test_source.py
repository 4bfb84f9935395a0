import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from dashboard import choices, queries, records, schemas, source, sums
from dashboard.periods import PRESETS, Period, make_period
from dashboard.pool import Pool, SourceError
from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from tests.dashboard import traffic
from tests.dashboard.conftest import END, FALLBACK, RECORDS
from tests.storage.samples import make_record, migrated, request_id

ALL_RECORDS = (*RECORDS, FALLBACK)
ROWS = 2_000_000
MANY_ROWS = f"SELECT ({{}})::bigint AS n FROM generate_series(1, {ROWS}) AS n"
NOWHERE = "postgresql://nobody:hunter2@127.0.0.1:1/tollway"


def period(choice: str = "7d", zone: str = "Asia/Kolkata") -> Period:
    return make_period(choice, now=END + timedelta(seconds=1), zone=zone)


def _count_and_sum(lot: pl.DataFrame) -> pl.DataFrame:
    return lot.select(pl.len().cast(pl.Int64).alias("rows"), pl.col("n").sum())


def within(of: Period) -> list[RequestRecord]:
    return [one for one in ALL_RECORDS if of.start <= one.received_at < of.end]


@pytest.mark.parametrize("choice", PRESETS)
def test_frames_of_an_empty_database_have_their_schema(
    empty_url: str, shown: Callable[[str], None], choice: str
) -> None:
    shown(empty_url)
    of = period(choice)

    frames = {
        "traffic": (sums.read_traffic(of), schemas.TRAFFIC),
        "providers": (sums.read_providers(of), schemas.PROVIDERS),
        "fallbacks": (sums.read_fallbacks(of), schemas.FALLBACKS),
        "dimensions": (choices.read_dimensions(), schemas.DIMENSIONS),
        "freshness": (source.read_freshness(), schemas.FRESHNESS),
        "requests": (records.read_requests(of.start, of.end, None, 10), schemas.REQUESTS),
        "request": (records.read_request(str(FALLBACK.id)), schemas.REQUEST),
        "attempts": (records.read_attempts((str(FALLBACK.id),)), schemas.ATTEMPTS),
        "adjustments": (records.read_adjustments((str(FALLBACK.id),)), schemas.ADJUSTMENTS),
        "no attempts": (records.read_attempts(()), schemas.ATTEMPTS),
    }

    for name, (frame, schema) in frames.items():
        assert dict(frame.schema) == schema, name
    assert queries.total_traffic(frames["traffic"][0]).requests == 0


@pytest.mark.parametrize("choice", PRESETS)
def test_totals_equal_the_records_to_the_last_decimal(
    filled_url: str, shown: Callable[[str], None], choice: str
) -> None:
    shown(filled_url)
    of = period(choice)
    records = within(of)
    attempts = [one for record in ALL_RECORDS for one in record.attempts]
    attempts = [one for one in attempts if of.start <= one.started_at < of.end]

    totals = queries.total_traffic(sums.read_traffic(of))
    providers = sums.read_providers(of)
    spend = queries.total_spend(providers)

    assert totals.requests == len(records)
    assert totals.fell_back == sum(one.is_fallback for one in records)
    assert totals.succeeded == sum(one.outcome is Outcome.SUCCESS for one in records)
    assert totals.tokens == sum(
        attempt.usage.total_tokens
        for record in records
        for attempt in record.attempts
        if attempt.usage
    )
    known = [one.cost.total_usd for one in attempts if one.cost.total_usd is not None]
    assert spend.known_usd == sum(known, Decimal(0))
    assert spend.unpriced == len(attempts) - len(known)
    by_bucket = providers.filter(pl.col("bucket").is_not_null())
    assert sum(by_bucket["cost_usd"].drop_nulls(), Decimal(0)) == spend.known_usd


def test_percentiles_are_those_of_the_successes(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    of = period()
    served = sorted(one.duration_ms for one in within(of) if one.outcome is Outcome.SUCCESS)

    totals = queries.total_traffic(sums.read_traffic(of))

    expected = served[math.ceil(0.95 * len(served)) - 1]
    assert totals.p95_ms == pytest.approx(expected, rel=0.02)


def test_fallbacks_are_counted_where_the_request_was_tried_first(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    of = period()
    first = [one for one in within(of) if one.attempts and one.attempts[0].provider == "groq"]

    tries = sums.read_providers(of).filter(pl.col("bucket").is_null(), pl.col("provider") == "groq")

    assert tries["first_tried"].item() == len(first)
    assert tries["served_elsewhere"].item() == sum(
        one.is_fallback and one.used_provider != "groq" for one in first
    )


def test_buckets_lie_on_the_wall_clock_of_the_zone(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    of = period("30d")

    buckets = sums.read_traffic(of)["bucket"].drop_nulls()

    starts = queries.bucket_starts(of.origin, of.wall_end, of.bucket)
    assert set(buckets) <= set(starts)
    assert {bucket.hour for bucket in buckets} <= {0, 12}


def test_pages_of_requests_follow_each_other_without_a_gap(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    of = period()
    found: list[str] = []
    cursor = None

    while True:
        page = records.read_requests(of.start, of.end, cursor, 97)
        found.extend(page["id"])
        if page.height < 97:
            break
        cursor = page["id"][-1]

    assert found == sorted((str(one.id) for one in within(of)), reverse=True)


def test_requests_are_found_at_the_edges_of_a_period_and_where_a_clock_was_set_back(
    postgres_dsn: Callable[..., str], shown: Callable[[str], None]
) -> None:
    start, second = datetime(2026, 11, 20, tzinfo=UTC), timedelta(seconds=1)
    end = start + timedelta(days=1)
    just_in = [
        make_record(received_at=at)
        for at in (start, start + timedelta(microseconds=999), end - timedelta(microseconds=1))
    ]
    # Ids never go back: this one is of before the clock was set back by most of a day.
    set_back = make_record(received_at=start + second, id=request_id(end + timedelta(hours=20)))
    outside = [make_record(received_at=at) for at in (start - second, end)]
    url = migrated(postgres_dsn)
    traffic.fill(url, [*just_in, set_back, *outside])
    shown(url)

    page = records.read_requests(start, end, None, 10)
    newer = records.read_newer(start, end, page["id"][-1], 10)

    assert set(page["id"]) == {str(one.id) for one in (*just_in, set_back)}
    assert newer["id"].to_list() == page["id"].to_list()[-2::-1]


def test_a_request_comes_with_everything_that_was_recorded(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)

    row = records.read_request(str(FALLBACK.id)).row(0, named=True)
    attempts = records.read_attempts((str(FALLBACK.id),))

    assert row["cost_usd"] == FALLBACK.cost_usd
    assert row["end_user"] == "u_4821"
    assert row["key_name"] == "team one"
    assert row["warnings"] == list(FALLBACK.warnings)
    assert attempts["number"].to_list() == [1, 2]
    assert attempts["cost_usd"].to_list() == [one.cost.total_usd for one in FALLBACK.attempts]


def test_nothing_outside_of_the_period_is_read(
    filled_url: str, shown: Callable[[str], None]
) -> None:
    shown(filled_url)
    long_ago = make_period("7d", now=datetime(2024, 2, 29, tzinfo=UTC), zone="UTC")

    assert queries.total_traffic(sums.read_traffic(long_ago)).requests == 0
    assert sums.read_providers(long_ago).is_empty()


def test_a_server_that_is_away_is_an_error_with_a_remedy_and_no_password(
    shown: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    shown(NOWHERE)

    with pytest.raises(SourceError, match="PostgreSQL does not answer") as caught:
        source.read_freshness()

    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}{caplog.text}"


def test_a_database_that_was_never_migrated_says_so(
    postgres_dsn: Callable[..., str], shown: Callable[[str], None]
) -> None:
    shown(postgres_dsn())

    with pytest.raises(SourceError, match="tollway migrate"):
        source.read_freshness()


def test_an_error_does_not_spoil_the_connections(filled_url: str) -> None:
    pool = Pool(filled_url, size=1)

    with pytest.raises(SourceError):
        pool.read("SELECT 1 / 0", [])

    assert pool.read("SELECT 1::bigint AS one", [])["one"].to_list() == [1]
    pool.close()


def test_many_rows_are_folded_as_they_come(filled_url: str) -> None:
    pool = Pool(filled_url, size=1)

    lots = pool.read(MANY_ROWS.format("n"), [], _count_and_sum)

    assert lots.filter(pl.col("rows") > 0).height > 1
    assert lots.sum().row(0) == (ROWS, ROWS * (ROWS + 1) // 2)
    nothing = pool.read("SELECT 1::bigint AS n WHERE false", [], _count_and_sum)
    assert nothing.sum().row(0) == (0, 0)
    pool.close()


def test_an_error_among_many_rows_is_told_as_any_other(filled_url: str) -> None:
    pool = Pool(filled_url, size=1)

    with pytest.raises(SourceError):
        pool.read(MANY_ROWS.format(f"n / ({ROWS} - n)"), [], _count_and_sum)

    assert pool.read("SELECT 1::bigint AS one", [])["one"].to_list() == [1]
    pool.close()


def test_the_dashboard_cannot_write(filled_url: str) -> None:
    pool = Pool(filled_url, size=1)

    with pytest.raises(SourceError) as caught:
        pool.read("SELECT nextval(pg_get_serial_sequence('audit_entry', 'id'))::bigint", [])

    assert "read-only transaction" in str(caught.value.__cause__)
    pool.close()


def test_a_server_that_was_restarted_is_read_again_at_once(filled_url: str) -> None:
    pool, other = Pool(filled_url, size=1), Pool(filled_url, size=1)
    pid = pool.read("SELECT pg_backend_pid() AS pid", [])["pid"].item()

    other.read(f"SELECT pg_terminate_backend({pid}, 5000) AS gone", [])

    assert pool.read("SELECT pg_backend_pid() AS pid", [])["pid"].item() != pid
    pool.close()
    other.close()


def test_a_statement_that_takes_too_long_asks_for_a_shorter_period(filled_url: str) -> None:
    pool = Pool(f"{filled_url}&options=-c%20work_mem%3D8MB", size=1)
    pool.read("SELECT set_config('statement_timeout', '50', false) AS ms", [])

    with pytest.raises(SourceError, match="shorter"):
        pool.read("SELECT pg_sleep(20)::text AS slept FROM generate_series(1, 3)", [])

    pool.close()


def test_a_pool_in_use_answers_busy_rather_than_waiting(filled_url: str) -> None:
    pool = Pool(filled_url, size=0, wait_s=0.01)

    with pytest.raises(SourceError, match="busy"):
        pool.read("SELECT 1", [])


def test_no_address_is_shown_by_a_pool() -> None:
    assert "hunter2" not in repr(Pool(NOWHERE))
