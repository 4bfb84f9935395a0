"""The made-up requests are plausible, and the same whenever the same hour is written."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from gateway.demo.catalogue import simulated_catalogue
from gateway.demo.scenario import HABITS, incidents
from gateway.demo.timetable import timetable
from gateway.demo.traffic import Author, World
from gateway.domain.caller import Caller
from gateway.domain.outcomes import Outcome
from gateway.domain.records import RequestRecord
from gateway.routing.record import replay
from gateway.simulator.manifest import MANIFEST
from pricing.cost import add_costs
from pricing.operator_layer import PriceChange, apply_changes

NOW = datetime(2026, 11, 19, 15, 40, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 19, tzinfo=UTC)
REQUESTS = 6_000


def make_world() -> World:
    dearer = PriceChange(
        id="1",
        kind="price",
        target="simulated-dune/fast",
        effective_from=MIDNIGHT - timedelta(days=3),
        terms={"input_usd_per_mtok": Decimal("0.11"), "output_usd_per_mtok": Decimal("0.44")},
        recorded_at=MIDNIGHT - timedelta(days=3),
        recorded_by="tests",
        reason="tests",
    )
    return World(
        seed=1,
        catalogue=apply_changes(simulated_catalogue(), [dearer]),
        callers=tuple(
            Caller(
                key_id=UUID(int=place + 1),
                kid=f"kid{place:05}",
                name=habit.name,
                labels=habit.labels,
                allowed_models=habit.allowed_models,
            )
            for place, habit in enumerate(HABITS)
        ),
        budgets=(),
        rules=(),
        incidents=incidents(NOW),
    )


@pytest.fixture(scope="module")
def records() -> list[RequestRecord]:
    author = Author(make_world())
    return [record for slot in timetable(NOW, REQUESTS) for record in author.hour(slot)]


def test_there_are_as_many_as_were_asked_for_and_all_lie_in_the_past(
    records: list[RequestRecord],
) -> None:
    assert len(records) == REQUESTS
    assert len({record.id for record in records}) == REQUESTS
    assert all(NOW - timedelta(days=14, hours=1) <= record.received_at <= NOW for record in records)


def test_six_teams_twelve_models_and_five_providers_take_part(
    records: list[RequestRecord],
) -> None:
    served = [record for record in records if record.used_endpoint is not None]

    assert len({record.labels["team"] for record in records}) == 6
    assert {record.used_model for record in served} == {
        model.model for provider in MANIFEST for model in provider.models
    }
    assert {record.used_provider for record in served} == {one.id for one in MANIFEST}


def test_most_requests_are_served_and_every_kind_of_mishap_is_there(
    records: list[RequestRecord],
) -> None:
    outcomes = Counter(record.outcome for record in records)
    of_attempts = Counter(one.outcome for record in records for one in record.attempts)

    assert 0.94 < outcomes[Outcome.SUCCESS] / REQUESTS < 0.995
    assert 0.005 < sum(record.is_fallback for record in records) / REQUESTS < 0.1
    assert outcomes[Outcome.REFUSED] > 0
    assert outcomes[Outcome.CLIENT_CANCELLED] > 0
    for outcome in (Outcome.RATE_LIMITED, Outcome.SERVER_ERROR, Outcome.OVERLOADED):
        assert of_attempts[outcome] > 0


def test_a_request_costs_what_its_attempts_cost_and_unknown_prices_stay_unknown(
    records: list[RequestRecord],
) -> None:
    for record in records:
        assert record.cost_usd == add_costs(one.cost for one in record.attempts).total_usd
    unpriced = [record for record in records if record.cost_usd is None]
    assert {record.requested_model for record in unpriced} == {"simulated/preview"}


def test_an_attempt_costs_its_tokens_at_the_price_of_that_day(
    records: list[RequestRecord],
) -> None:
    dearer_since = MIDNIGHT - timedelta(days=3)
    seen: set[bool] = set()
    for record in records:
        for one in record.attempts:
            if one.endpoint != "simulated-dune/fast" or one.usage is None:
                continue
            is_dearer = one.started_at >= dearer_since
            per_input, per_output = ("0.11", "0.44") if is_dearer else ("0.06", "0.24")
            expected = one.usage.input_tokens * Decimal(per_input) / 1_000_000
            expected += one.usage.output_tokens * Decimal(per_output) / 1_000_000
            assert one.cost.total_usd == expected
            seen.add(is_dearer)
    assert seen == {False, True}


def test_while_a_provider_is_out_its_calls_fail_and_others_serve(
    records: list[RequestRecord],
) -> None:
    (outage,) = (
        one
        for one in incidents(NOW)
        if (one.provider, one.trouble) == ("simulated-birch", "outage")
    )
    during = [one for one in records if outage.since <= one.received_at < outage.until]
    tried = [one for record in during for one in record.attempts if one.provider == outage.provider]

    assert len(during) > 30
    assert sum(one.outcome is Outcome.SUCCESS for one in tried) <= max(1, len(tried) // 4)
    assert sum(one.outcome is Outcome.SUCCESS for one in during) > 0.85 * len(during)


def test_a_stored_plan_gives_the_same_order_again(records: list[RequestRecord]) -> None:
    planned = [record for record in records if "candidates" in record.plan][:200]

    for record in planned:
        assert replay(record.plan).endpoints[0] == record.plan["drawn_endpoint"]
        assert record.attempts[0].endpoint == record.plan["drawn_endpoint"]


def test_offices_rest_at_the_weekend_and_the_pipeline_works_at_night(
    records: list[RequestRecord],
) -> None:
    growth = [record for record in records if record.labels["team"] == "growth"]
    weekend = sum(record.received_at.isoweekday() > 5 for record in growth)
    nightly = [record for record in records if record.labels["project"] == "documents"]
    early = sum(record.received_at.hour < 6 for record in nightly)

    assert weekend / len(growth) < 0.15
    assert early / len(nightly) > 0.5


def test_the_same_hour_is_the_same_again() -> None:
    slot = timetable(NOW, REQUESTS)[200]

    assert list(Author(make_world()).hour(slot)) == list(Author(make_world()).hour(slot))
