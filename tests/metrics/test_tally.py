"""What records add up to."""

from decimal import Decimal

import msgspec
import pytest

from gateway.domain.outcomes import Outcome
from gateway.domain.records import LateAttempts, RequestRecord
from gateway.metrics import tally as tally_module
from gateway.metrics.families import (
    ATTEMPTS,
    CALLER_COST,
    COST,
    DURATION,
    FIRST_TOKEN,
    HISTOGRAMS,
    OVERHEAD,
    RECORDS,
    REPORTED,
    REQUESTS,
    SHIPPED,
    TOKENS,
    UNPRICED,
)
from gateway.metrics.tally import Counted, Spread, Tally, merged
from pricing.cost import Cost
from pricing.usage import Usage
from tests.storage.samples import make_attempt, make_record

USAGE = Usage(input_tokens=100, cache_read_tokens=30, output_tokens=20, requests=1)


def answered(**changes: object) -> RequestRecord:
    attempt = make_attempt(
        provider="alpha",
        model="acme/large",
        usage=USAGE,
        cost=Cost(total_usd=Decimal("0.25")),
        ttft_ms=120.0,
    )
    values: dict[str, object] = {
        "attempts": (attempt,),
        "dialect": "openai",
        "stream": True,
        "status_code": 200,
        "outcome": Outcome.SUCCESS,
        "duration_ms": 900.0,
        "overhead_ms": 0.4,
    }
    return make_record(**(values | changes))


def test_a_request_counts_once_and_each_of_its_attempts_once() -> None:
    record = answered()
    failed = msgspec.structs.replace(record.attempts[0], number=2, outcome=Outcome.SERVER_ERROR)
    tally = Tally()

    tally.take(msgspec.structs.replace(record, attempts=(*record.attempts, failed)))

    counters = tally.counted.counters
    assert counters[REQUESTS] == {("openai", "2xx", "success"): 1}
    kind = record.attempts[0].kind
    assert counters[ATTEMPTS] == {
        ("alpha", "success", kind): 1,
        ("alpha", "server_error", kind): 1,
    }
    assert counters[RECORDS] == {(): 1}


def test_tokens_and_cost_stand_with_provider_and_model() -> None:
    tally = Tally()
    for _ in range(2):
        tally.take(answered())

    counters = tally.counted.counters
    assert counters[COST] == {("alpha", "acme/large"): 0.5}
    assert counters[TOKENS] == {
        ("alpha", "acme/large", "input"): 200,
        ("alpha", "acme/large", "cache_read"): 60,
        ("alpha", "acme/large", "output"): 40,
    }


def test_an_unknown_cost_is_counted_as_unknown_and_never_as_nothing() -> None:
    record = answered()
    unpriced = msgspec.structs.replace(record.attempts[0], cost=Cost(total_usd=None))
    tally = Tally()

    tally.take(msgspec.structs.replace(record, attempts=(unpriced,)))

    assert tally.counted.counters[UNPRICED] == {("alpha", "acme/large"): 1}
    assert COST not in tally.counted.counters


def test_what_callers_pay_is_no_cost_of_ours() -> None:
    record = answered()
    unpriced = msgspec.structs.replace(record.attempts[0], cost=Cost(total_usd=None))
    tally = Tally()

    tally.take(msgspec.structs.replace(record, is_paid_by_caller=True))
    tally.take(msgspec.structs.replace(record, is_paid_by_caller=True, attempts=(unpriced,)))

    assert tally.counted.counters[CALLER_COST] == {("alpha", "acme/large"): 0.25}
    assert not {COST, UNPRICED} & tally.counted.counters.keys()


@pytest.mark.parametrize(
    ("theirs", "ours", "drift"),
    [
        ("1.01", "1", "within"),
        ("0.99", "1", "within"),
        ("1.010000000001", "1", "above"),
        ("0.5", "1", "below"),
        ("0.5", "0", "above"),
        ("0", "0", "within"),
        ("1", None, "unknown"),
    ],
)
def test_a_cost_that_the_provider_told_is_compared_with_ours(
    theirs: str, ours: str | None, drift: str
) -> None:
    record = answered()
    cost = Cost(
        total_usd=Decimal(theirs),
        source="provider_reported",
        computed_usd=None if ours is None else Decimal(ours),
    )
    tally = Tally()

    tally.take(record)
    told = msgspec.structs.replace(record.attempts[0], cost=cost)
    tally.take(msgspec.structs.replace(record, attempts=(told,)))

    assert tally.counted.counters[REPORTED] == {("alpha", "acme/large", drift): 1}


def test_a_late_attempt_is_no_request() -> None:
    record = answered()
    tally = Tally()

    tally.take(
        LateAttempts(
            id=record.id,
            received_at=record.received_at,
            key_id=record.key_id,
            labels={},
            attempts=(msgspec.structs.replace(record.attempts[0], kind="shadow"),),
        )
    )

    assert REQUESTS not in tally.counted.counters
    assert tally.counted.counters[ATTEMPTS] == {("alpha", "success", "shadow"): 1}


def test_durations_fall_into_the_bucket_whose_end_they_do_not_pass() -> None:
    tally = Tally()
    tally.take(answered())

    histograms = tally.counted.histograms
    bounds = HISTOGRAMS[DURATION].bounds
    assert histograms[DURATION][("stream",)].counts[bounds.index(1.0)] == 1
    assert histograms[FIRST_TOKEN][("alpha",)].counts[bounds.index(0.25)] == 1
    assert histograms[OVERHEAD][()].total_s == 0.0004
    tally.observe(DURATION, ("stream",), 1e9)
    tally.observe(DURATION, ("stream",), 1.0)
    assert histograms[DURATION][("stream",)].counts[-1] == 1
    assert histograms[DURATION][("stream",)].counts[bounds.index(1.0)] == 2


def test_pairs_of_provider_and_model_beyond_the_bound_are_others() -> None:
    tally = Tally()
    record = answered()
    for number in range(tally_module.MOST_OFFERS + 5):
        attempt = msgspec.structs.replace(record.attempts[0], model=f"acme/{number}")
        tally.take(msgspec.structs.replace(record, attempts=(attempt,)))

    costs = tally.counted.counters[COST]
    assert len(costs) == tally_module.MOST_OFFERS + 1
    assert costs["other", "other"] == 5 * 0.25


def test_a_count_that_another_room_keeps_is_followed_from_nought() -> None:
    tally = Tally(Counted(counters={SHIPPED: {(): 100.0}}))

    for now in (0, 3, 3, 7):
        tally.follow(SHIPPED, (), now)

    assert tally.counted.counters[SHIPPED] == {(): 107}


def test_processes_add_up() -> None:
    one, two = Tally(), Tally()
    one.take(answered())
    two.take(answered())
    two.take(answered(stream=False))

    whole = merged([one.counted, two.counted])

    assert whole.counters[REQUESTS] == {("openai", "2xx", "success"): 3}
    assert sum(whole.histograms[DURATION][("stream",)].counts) == 2
    assert whole.histograms[DURATION][("stream",)].total_s == 1.8
    assert one.counted.counters[REQUESTS] == {("openai", "2xx", "success"): 1}, "left as it was"


def test_buckets_of_another_release_are_begun_anew() -> None:
    tally = Tally(Counted(histograms={OVERHEAD: {(): Spread(counts=[5, 5], total_s=1.0)}}))
    tally.take(answered())

    assert sum(tally.counted.histograms[OVERHEAD][()].counts) == 1
