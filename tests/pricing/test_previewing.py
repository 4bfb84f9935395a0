"""What a period would have cost: attempts computed again, and what stands for all others."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pricing.catalogue import Catalogue, endpoint_from_config, make_catalogue
from pricing.endpoint import Provider
from pricing.previewing import EndpointSpend, PreviewedSpend, PreviewTally
from pricing.rerating import RecordedAttempt
from pricing.usage import Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENDPOINT = "acme/large"


def catalogue(input_usd: str = "3") -> Catalogue:
    table = {"id": "large", "model": ENDPOINT, "input_usd_per_mtok": Decimal(input_usd),
             "output_usd_per_mtok": Decimal(4)}  # fmt: skip
    return make_catalogue(
        providers=[Provider(id="acme", name="Acme")],
        endpoints=[endpoint_from_config("acme", table)],
        version="changed",
    )


def attempt(**changes: Any) -> RecordedAttempt:
    values: dict[str, Any] = {
        "number": 1,
        "kind": "primary",
        "provider": "acme",
        "model": ENDPOINT,
        "endpoint": ENDPOINT,
        "started_at": AT,
        "service_tier": None,
        "usage": Usage(input_tokens=1_000, output_tokens=500, requests=1),
        "is_estimated": False,
        "source": "computed",
        "cost_usd": Decimal("0.002"),
    }
    return RecordedAttempt(**(values | changes))


def spend(attempts: int, usd: str, unpriced: int = 0, endpoint: str = ENDPOINT) -> EndpointSpend:
    return EndpointSpend(
        endpoint=endpoint,
        provider=endpoint.partition("/")[0],
        model=endpoint,
        attempts=attempts,
        recorded_usd=Decimal(usd),
        unpriced=unpriced,
    )


def preview(
    recorded: list[EndpointSpend], *attempts: RecordedAttempt, believed: Catalogue | None = None
) -> PreviewedSpend:
    tally = PreviewTally(believed or catalogue(), recorded)
    for one in attempts:
        tally.add(one)
    return tally.result(frozenset({ENDPOINT}))


def test_every_attempt_is_computed_again_and_what_the_change_leaves_alone_stays() -> None:
    found = preview([spend(2, "0.004"), spend(7, "1.5", endpoint="best/x")], attempt(), attempt())

    # 1,000 tokens at 3 and 500 at 4 are 0.005, where 0.002 was recorded.
    assert (found.recorded_usd, found.would_be_usd) == (Decimal("1.504"), Decimal("1.51"))
    assert found.difference_usd == Decimal("0.006")
    assert (found.attempts, found.attempts_of_change, found.attempts_read) == (9, 2, 2)
    assert (found.is_extrapolated, found.extrapolation) == (False, None)
    assert [one.endpoint for one in found.endpoints] == [ENDPOINT]


def test_the_difference_of_the_newest_stands_for_all_in_proportion_to_what_they_cost() -> None:
    found = preview([spend(10, "0.03")], attempt(), attempt())

    # 0.006 more on 0.004 that were read are 0.045 more on 0.03.
    assert found.difference_usd == Decimal("0.045")
    assert found.is_extrapolated
    assert found.extrapolation is not None
    assert "newest 2 of 10" in found.extrapolation


def test_where_nothing_had_a_cost_attempts_are_the_proportion() -> None:
    found = preview([spend(10, "0", unpriced=10)], *[attempt(cost_usd=None)] * 4)

    # Each of ten would have cost 0.005.
    assert found.would_be_usd == Decimal("0.05")
    assert (found.unpriced_before, found.unpriced_after) == (10, 0)


def test_what_cannot_be_read_is_unknown_and_not_unchanged() -> None:
    found = preview([spend(10, "0.03", unpriced=2)])

    assert found.recorded_usd == Decimal("0.03")
    assert (found.would_be_usd, found.difference_usd) == (None, None)
    assert (found.unpriced_before, found.unpriced_after) == (2, 2)
    assert found.is_extrapolated


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"source": "provider_reported"}, "reported"),
        ({"usage": None}, "unmetered"),
        ({"is_paid_by_caller": True}, "paid_by_caller"),
    ],
)
def test_what_no_price_of_ours_decides_keeps_its_cost(changes: dict[str, Any], why: str) -> None:
    found = preview([spend(1, "0.002")], attempt(**changes))

    assert found.difference_usd == 0
    assert {name for name, count in found.kept.items() if count} == {why}


def test_without_any_traffic_nothing_would_have_been_otherwise() -> None:
    found = preview([])

    assert (found.recorded_usd, found.would_be_usd, found.difference_usd) == (0, 0, 0)
    assert (found.is_extrapolated, found.endpoints) == (False, ())
