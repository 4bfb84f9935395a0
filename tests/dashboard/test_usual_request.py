from decimal import Decimal
from typing import Any

import pytest

from dashboard import numbers, usual_request
from pricing.price import Price


def sums(attempts: int, **tokens: int) -> dict[str, Any]:
    groups = ("input", "cache_read", "cache_write", "output", "reasoning")
    return {"attempts": attempts} | {f"{one}_tokens": tokens.get(one, 0) for one in groups}


def test_a_usual_request_is_the_mean_of_what_answered() -> None:
    found = usual_request.usual_request(sums(4, input=4_000, cache_read=2_000, output=1_002))

    assert found is not None
    assert found.usage.requests == 1_000
    assert found.usage.input_tokens == 1_000_000
    assert found.usage.cache_read_tokens == 500_000
    assert found.usage.output_tokens == 250_500
    assert found.prompt_tokens == 1_500
    assert usual_request.request_words(found) == (
        "1,500 tokens in, 33\N{NO-BREAK SPACE}% of them from a cache, 250 out"
    )


def test_nothing_answered_is_no_usual_request() -> None:
    assert usual_request.usual_request(sums(0)) is None
    assert usual_request.usual_request({**sums(0), "attempts": None}) is None


def test_a_thousand_usual_requests_cost_what_their_tokens_cost() -> None:
    found = usual_request.usual_request(sums(2, input=2_000, output=400))
    assert found is not None
    price = Price(
        version="v",
        input_usd_per_mtok=Decimal("0.15"),
        output_usd_per_mtok=Decimal("0.6"),
        request_usd=Decimal("0.001"),
    )

    # A million tokens in, a fifth of one out, a thousand fees.
    assert usual_request.usual_cost(found, price).total_usd == Decimal("1.27")
    assert usual_request.usual_cost(found, None).total_usd is None


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([], []),
        ([None, None], ["", ""]),
        ([Decimal(2), Decimal(3), None], ["", f"{numbers.TIMES}1.5", ""]),
        pytest.param([Decimal(0), Decimal(3)], ["", ""], id="nothing-is-a-multiple-of-free"),
    ],
)
def test_costs_stand_against_the_cheapest(costs: list[Decimal | None], expected: list[str]) -> None:
    assert usual_request.times_cheapest(costs) == expected
