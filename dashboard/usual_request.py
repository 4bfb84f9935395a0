"""What a usual request is, by what was asked lately, and what it costs at a price. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from dashboard import numbers
from pricing.cost import Cost, compute_cost, ratio_text
from pricing.price import Price
from pricing.usage import Usage

REQUESTS = 1_000
"""One costs too little to be read, so this many are priced together."""

_METERS = {
    "input": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}


class UsualRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The mean of what was asked; audio and images are counted as the text beside them."""

    usage: Usage
    """Of `REQUESTS` of them."""
    seen: int
    """Attempts that answered, of which this is the mean."""

    @property
    def prompt_tokens(self) -> int:
        """Of one request."""
        return self.usage.prompt_tokens // REQUESTS


def usual_request(sums: dict[str, Any]) -> UsualRequest | None:
    """From a row of `operator_source.TOKEN_MIX`; None when nothing answered."""
    seen: int = sums["attempts"] or 0
    if seen == 0:
        return None
    # Halves up: the mean of a few tokens must not become none.
    tokens = {
        meter: ((sums[f"{group}_tokens"] or 0) * REQUESTS + seen // 2) // seen
        for group, meter in _METERS.items()
    }
    return UsualRequest(usage=Usage(**tokens, requests=REQUESTS), seen=seen)


def usual_cost(request: UsualRequest, price: Price | None) -> Cost:
    """What `REQUESTS` of them cost; the total is None where a price is unknown."""
    return compute_cost(request.usage, price)


def request_words(request: UsualRequest) -> str:
    """What stands in it, by the request."""
    usage = request.usage
    cached = usage.cache_read_tokens / usage.prompt_tokens if usage.prompt_tokens else 0.0
    parts = (
        f"{_each(usage.prompt_tokens)} tokens in",
        f"{numbers.share(cached, decimals=0)} of them from a cache" if cached else "",
        f"{_each(usage.completion_tokens)} out",
    )
    return ", ".join(filter(None, parts))


def times_cheapest(costs: Sequence[Decimal | None]) -> list[str]:
    """How many times the cheapest each is, in words; "" where one of the two is unknown or free."""
    least = min((cost for cost in costs if cost is not None), default=None)
    if not least:
        return ["" for _ in costs]
    return [
        "" if cost is None or cost == least else f"{numbers.TIMES}{ratio_text(cost, least)}"
        for cost in costs
    ]


def _each(tokens: int) -> str:
    return numbers.count(round(tokens / REQUESTS))
