"""What holds of every cost, whatever the usage and the price."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing.catalogue import endpoint_from_config
from pricing.cost import compute_cost
from pricing.price import RATES, Price, resolve
from pricing.usage import METERS, Usage
from tests.properties import many

COUNTS = st.integers(min_value=0, max_value=2_000_000)
AMOUNTS = st.decimals(min_value=0, max_value=200, places=6, allow_nan=False)
USAGES = st.builds(Usage, **dict.fromkeys(METERS, COUNTS))
PRICES = st.builds(Price, version=st.just("v"), **dict.fromkeys(RATES, AMOUNTS))
MIDNIGHT = datetime(2026, 11, 16, tzinfo=UTC)
ANY_INSTANT = st.integers(0, 366 * 24 * 60).map(lambda n: MIDNIGHT + timedelta(minutes=n))
given_few = settings(max_examples=many(60))


@given_few
@given(usage=USAGES, price=PRICES)
def test_the_lines_add_up_to_the_total(usage: Usage, price: Price) -> None:
    cost = compute_cost(usage, price)

    assert sum(cost.lines.values(), Decimal(0)) == cost.total_usd
    assert set(cost.lines) == {meter for meter in METERS if getattr(usage, meter)}


@given_few
@given(usage=USAGES)
def test_no_token_is_counted_twice(usage: Usage) -> None:
    one_each = [Usage(**{meter: getattr(usage, meter)}) for meter in METERS]

    assert sum(one.prompt_tokens for one in one_each) == usage.prompt_tokens
    assert sum(one.completion_tokens for one in one_each) == usage.completion_tokens
    assert all(not (one.prompt_tokens and one.completion_tokens) for one in one_each)


@given_few
@given(usage=USAGES, price=PRICES, meter=st.sampled_from(METERS), more=COUNTS)
def test_more_usage_never_costs_less(usage: Usage, price: Price, meter: str, more: int) -> None:
    larger = msgspec.structs.replace(usage, **{meter: getattr(usage, meter) + more})
    small, large = compute_cost(usage, price).total_usd, compute_cost(larger, price).total_usd

    assert small is not None
    assert large is not None
    assert small <= large


@given_few
@given(size=st.integers(min_value=1, max_value=1_000_000), below=COUNTS)
def test_a_size_tier_begins_with_its_first_token(size: int, below: int) -> None:
    tier = {"min_prompt_tokens": size, "scale": Decimal(2)}
    rates = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(2)}
    endpoint = endpoint_from_config("acme", {"id": "m", **rates, "size_tiers": [tier]})

    def input_usd(prompt_tokens: int) -> Decimal | None:
        price = resolve(endpoint, at=MIDNIGHT, prompt_tokens=prompt_tokens)
        return None if price is None else price.input_usd_per_mtok

    assert (input_usd(size - 1), input_usd(size)) == (1, 2)
    assert input_usd(min(below, size - 1)) == 1


@given_few
@given(begins=st.integers(0, 22), hours=st.integers(1, 2), at=ANY_INSTANT)
def test_a_window_holds_from_its_first_minute_to_before_its_last(
    begins: int, hours: int, at: datetime
) -> None:
    ends = min(begins + hours, 24)
    window = {
        "utc": [f"{begins:02}:00-{ends:02}:00"],
        "days": list(range(1, 8)),
        "scale": Decimal("0.5"),
    }
    rates = {"input_usd_per_mtok": Decimal(1), "output_usd_per_mtok": Decimal(2)}
    endpoint = endpoint_from_config("acme", {"id": "m", **rates, "windows": [window]})

    def is_cheap(instant: datetime) -> bool:
        price = resolve(endpoint, at=instant, prompt_tokens=1)
        return price is not None and price.input_usd_per_mtok == Decimal("0.5")

    moment = timedelta(microseconds=1)
    first, last = MIDNIGHT + timedelta(hours=begins), MIDNIGHT + timedelta(hours=ends)
    assert [is_cheap(t) for t in (first - moment, first, last - moment, last)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert is_cheap(at) == (begins <= at.hour < ends)
