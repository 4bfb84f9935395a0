"""What budgets reserve covers what an attempt costs, wherever its provider processes it."""

from decimal import Decimal

import msgspec

from gateway.ledger.budget_bounds import BoundRules, attempt_bounds, prompt_bound
from gateway.ledger.settle import settle_attempt
from gateway.routing.plan import Candidate
from pricing.cost import to_nano_usd
from pricing.price import resolve
from pricing.usage import Usage
from tests.execution.samples import make_end
from tests.routing.factories import AT, make_endpoint, make_price, make_request


def test_the_dearest_region_is_reserved_since_only_the_answer_tells_where() -> None:
    listed = make_endpoint("acme", price=make_price("4", "20"))
    version = msgspec.structs.replace(listed.prices[0], region_multiplier={"us": Decimal("1.1")})
    endpoint = msgspec.structs.replace(listed, prices=(version,))
    request = make_request(max_output_tokens=100)
    price = resolve(endpoint, at=AT, prompt_tokens=request.prompt_tokens_estimate)
    candidate = Candidate(endpoint=endpoint, price=price, expected_cost_usd=None)

    bounds = attempt_bounds(
        request,
        [candidate],
        at=AT,
        rules=BoundRules(),
        learned=lambda _model: None,
        is_strict=True,
    )

    # 3,000 tokens at 4.4 and 100 at 22 USD a million, in nano-dollars.
    assert prompt_bound(request) == 3_000
    assert bounds == {endpoint.id: 13_200_000 + 2_200_000}
    answer = make_end(
        endpoint=endpoint,
        usage=Usage(input_tokens=3_000, output_tokens=100),
        served_region="us",
    )
    cost = settle_attempt(answer, prompt_tokens_estimate=0).cost
    assert to_nano_usd(cost.total_usd or Decimal(0)) == bounds[endpoint.id]
