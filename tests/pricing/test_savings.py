"""What answers would have cost elsewhere, and what was saved, as far as it can be told."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from pricing.catalogue import Endpoint, make_catalogue
from pricing.endpoint import Provider
from pricing.price import resolve
from pricing.savings import Baseline, baseline_cost_usd, savings_of
from pricing.usage import Usage
from tests.pricing.conftest import MakeEndpoint

AT = datetime(2026, 11, 21, tzinfo=UTC)
USAGE = Usage(input_tokens=1_000, output_tokens=500, requests=1)


class Considered(msgspec.Struct, frozen=True):
    endpoint: Endpoint
    expected_cost_usd: Decimal | None


def cost_at(
    baseline: Baseline, *endpoints: Endpoint, expected: tuple[str | None, ...] = ()
) -> Decimal | None:
    told = [None if usd is None else Decimal(usd) for usd in expected]
    return baseline_cost_usd(
        baseline,
        usage=USAGE,
        served=endpoints[0],
        candidates=[Considered(one, usd) for one, usd in zip(endpoints, told, strict=False)],
        catalogue=make_catalogue(
            providers=[Provider(id="acme", name="Acme")], endpoints=endpoints, version="v"
        ),
        at=AT,
    )


def test_a_fixed_baseline_is_priced_as_the_operator_believes_now(
    make_endpoint: MakeEndpoint,
) -> None:
    served = make_endpoint()
    listed = make_endpoint(
        id="big", input_usd_per_mtok=Decimal(10), output_usd_per_mtok=Decimal(20)
    )
    negotiated = make_endpoint(
        id="big", input_usd_per_mtok=Decimal(5), output_usd_per_mtok=Decimal(10)
    )

    # 1,000 x 10 + 500 x 20 micro-USD; half of it once the price was negotiated.
    assert cost_at(Baseline(endpoint=listed), served) == Decimal("0.02")
    assert cost_at(Baseline(endpoint=listed), served, negotiated) == Decimal("0.01")


def test_the_dearest_is_the_one_that_was_expected_to_cost_most(
    make_endpoint: MakeEndpoint,
) -> None:
    served = make_endpoint()
    dear = make_endpoint(id="dear", input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal(6))
    unknown = make_endpoint(id="unknown", prices=[])

    found = cost_at(Baseline(), served, dear, unknown, expected=("0.002", "0.006", None))

    assert found == Decimal("0.006")


@pytest.mark.parametrize(
    "keys", [{"prices": []}, {"mode": "embedding"}], ids=["unpriced", "another-kind"]
)
def test_what_cannot_be_compared_has_no_baseline(
    make_endpoint: MakeEndpoint, keys: dict[str, object]
) -> None:
    assert cost_at(Baseline(endpoint=make_endpoint(id="other", **keys)), make_endpoint()) is None


def test_savings_may_be_negative_and_say_what_they_cover() -> None:
    savings = savings_of(
        [
            (Decimal("0.02"), Decimal("0.01")),
            (Decimal("0.01"), Decimal("0.05")),
            (None, Decimal("0.3")),
            (Decimal("0.4"), None),
            (None, None),
        ]
    )

    assert savings.saved_usd == Decimal("-0.03")
    assert (savings.baseline_usd, savings.cost_usd) == (Decimal("0.03"), Decimal("0.06"))
    assert (savings.covered_requests, savings.requests) == (2, 5)
    assert savings.uncovered_cost_usd == Decimal("0.3")
    assert savings.unpriced_requests == 2


def test_prices_of_a_baseline_depend_on_the_size_of_the_prompt(
    make_endpoint: MakeEndpoint,
) -> None:
    tiered = make_endpoint(
        id="tiered", size_tiers=[{"min_prompt_tokens": 1_000, "scale": Decimal(2)}]
    )
    assert resolve(tiered, at=AT, prompt_tokens=999) != resolve(tiered, at=AT, prompt_tokens=1_000)

    # (1,000 x 1 + 500 x 2) x 2 micro-USD.
    assert cost_at(Baseline(endpoint=tiered), make_endpoint()) == Decimal("0.004")
